"""Metrics and comparisons as frozen dataclasses.

Rates, areas and probabilities are shares from 0 to 1, and so are their intervals; kappa and MCC are from -1 to 1, log
loss is in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..runs.stored import Result
from ..stats.estimate import Comparison, Estimate
from ..stats.several import Ranks

Estimates = Mapping[str, Estimate]
"""Metrics by name, such as `macro_f1`."""


@dataclass(frozen=True)
class ClassMetrics:
    """One class against the rest. support: its cells. estimates: sensitivity, specificity, ppv, npv, f1, fpr and fnr
    (false positive and false negative rate), auc, label_auc (of the predicted labels), average_precision."""

    support: int
    estimates: Estimates


@dataclass(frozen=True)
class Curves:
    """Of one class against the rest, from the strictest threshold to the loosest. roc: fpr, tpr and thresholds, None
    where no cell is called positive; pr: recall and precision."""

    roc: Mapping[str, tuple[float | None, ...]]
    pr: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class CalibrationBin:
    """`count` cells whose predicted class has a probability from `low` to `high`, `confidence` on the average."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True)
class Calibration:
    """brier: from 0 to 2, with two classes to 1. bins: of the reliability diagram."""

    brier: Estimate
    expected_calibration_error: Estimate
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True)
class FoldThreshold:
    """The probability from which the network of one fold calls a cell positive."""

    fold: int
    threshold: float


@dataclass(frozen=True)
class OperatingPoint:
    """Rates where cells are called positive from a probability on, `threshold` (of several folds their median)."""

    class_: str
    chosen_on: str
    target_sensitivity: float
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    threshold: float
    fold_thresholds: tuple[FoldThreshold, ...]


@dataclass(frozen=True)
class FoldMetrics:
    """Of the cells that one fold tests: accuracy, balanced_accuracy, macro_f1, macro_auc."""

    fold: int
    cells: int
    estimates: Estimates


@dataclass(frozen=True)
class SubjectLevel:
    """Of one answer for each subject. rule: how it follows from the answers for the subject's cells."""

    subjects: int
    rule: str
    confusion: tuple[tuple[int, ...], ...]
    estimates: Estimates
    per_class: Mapping[str, ClassMetrics]


@dataclass(frozen=True)
class Doubt:
    """How good a bundle's warnings are, None where it gives none. unsure: share of cells whose conformal set does not
    hold exactly one class; covered: whose set holds the true class (intended: `coverage`); wrong_unsure, wrong_sure:
    share of errors among the unsure cells and the others; unknown: share unlike the cells of training (`rejected` of
    its validation cells)."""

    unsure: Estimate | None = None
    covered: Estimate | None = None
    wrong_unsure: Estimate | None = None
    wrong_sure: Estimate | None = None
    coverage: float | None = None
    unknown: Estimate | None = None
    rejected: float | None = None


@dataclass(frozen=True)
class Metrics(Result):
    """What metrics.json holds. subjects: None where not known. confusion: cells, rows true, columns predicted. overall:
    accuracy, balanced_accuracy, macro_ and weighted_ means over classes, kappa, mcc, log_loss."""

    classes: tuple[str, ...]
    positive: str
    confidence: float
    cells: int
    subjects: int | None
    folds: tuple[int, ...]
    confusion: tuple[tuple[int, ...], ...]
    overall: Estimates
    per_class: Mapping[str, ClassMetrics]
    curves: Mapping[str, Curves]
    calibration: Calibration
    operating_point: OperatingPoint | None
    per_fold: tuple[FoldMetrics, ...]
    subject_level: SubjectLevel | None
    notes: tuple[str, ...]
    doubt: Doubt | None = None


@dataclass(frozen=True)
class Rank:
    """Rank by accuracy (1 is best) when cells, by cluster, and trainings are drawn again: mean and middle 95 % of the
    rounds, and the share of rounds in which the kind is best (shared where several are)."""

    mean: float
    low: float
    high: float
    best: float


@dataclass(frozen=True)
class ComparedKind:
    """How often a kind was trained, its rank and its metrics by name."""

    name: str
    trainings: int
    rank: Rank
    figures: Estimates


@dataclass(frozen=True)
class PairTest(Comparison):
    """holm: the p value corrected over all pairs of kinds."""

    holm: float | None


@dataclass(frozen=True)
class Pair:
    """First minus second, metric by metric. agreement: how alike they answer (`stats.same_answers`), the mean over all
    pairs of trainings, None where not defined."""

    first: str
    second: str
    tests: Mapping[str, PairTest]
    agreement: Mapping[str, float | None]


@dataclass(frozen=True)
class BlockRanks(Ranks):
    """Ranks over folds and trainings. accuracy: (blocks, kinds)."""

    accuracy: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Compared(Result):
    """What compare.json holds, but for costs and remarks. clusters: how many `unit`s there are; order: names by falling
    accuracy; blocks: None where the kinds have none in common; answer: in words."""

    cells: int
    classes: tuple[str, ...]
    positive: str
    unit: str
    clusters: int
    confidence: float
    rounds: int
    kinds: tuple[ComparedKind, ...]
    order: tuple[str, ...]
    pairs: tuple[Pair, ...]
    blocks: BlockRanks | None
    answer: str
