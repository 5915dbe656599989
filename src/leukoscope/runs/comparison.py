"""compare.json as its page and its figures read it. Knows nothing of pages, and compares nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..stats import estimate as stats
from ..stats.estimate import Estimate
from ..stats.several import Ranks
from .results import Roc


@dataclass(frozen=True)
class Rank:
    """Rank by accuracy (1 is best) when cells and trainings are drawn again: its mean and the middle 95 % of draws;
    best: the share of draws in which the network is best."""

    mean: float
    low: float
    high: float
    best: float


@dataclass(frozen=True)
class Cost:
    """size: side of an image in px; operations: multiplications with an addition (MAC) for one image; weights, maps:
    bytes (see `networks.costs`); training_seconds: of all folds, mean of the trainings; prediction_ms: an image in a
    batch of 16, without decoding, None where not measured."""

    size: int
    parameters: int
    operations: int
    weights: int
    maps: int
    training_seconds: float
    prediction_ms: float | None


@dataclass(frozen=True)
class Network:
    """One kind of network, trained once or several times; runs: the folders of its trainings."""

    name: str
    trainings: int
    rank: Rank
    figures: Mapping[str, Estimate]
    cost: Cost | None = None
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Test(stats.Comparison):
    """First minus second network; holm: the p value corrected for the number of pairs."""

    holm: float | None = None


@dataclass(frozen=True)
class Agreement:
    """Share of cells with the same answer, Cohen's kappa, and of the cells that either got wrong, the share that both
    did."""

    same: float | None
    kappa: float | None
    shared_errors: float | None


@dataclass(frozen=True)
class Pair:
    """Two networks, their differences by figure, and how much they agree."""

    first: str
    second: str
    tests: Mapping[str, Test]
    agreement: Agreement


@dataclass(frozen=True)
class TextTable:
    """A table made elsewhere, shown as it is."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Networks on the same cells. order: names by falling accuracy; blocks: ranks over folds and trainings; curves:
    network -> the ROC curve of each training; published: network -> figure -> what its paper gives."""

    cells: int
    kinds: tuple[Network, ...]
    order: tuple[str, ...]
    pairs: tuple[Pair, ...]
    answer: str
    positive: str
    unit: str
    clusters: int
    confidence: float
    rounds: int
    blocks: Ranks | None = None
    curves: Mapping[str, tuple[Roc, ...]] = field(default_factory=dict)
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    title: str = ""
    description: str = ""
    tables: tuple[TextTable, ...] = ()

    @property
    def ordered(self) -> list[Network]:
        """The networks by falling accuracy."""
        by_name = {network.name: network for network in self.kinds}
        return [by_name[name] for name in self.order]
