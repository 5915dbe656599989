"""A table of a paper's figures beside ours: for study.json or compare.json, and for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from ..files import JsonObject
from ..stats.estimate import Estimate
from ..text import TERMINAL, aligned, interval, share

EMPTY = "-"


@dataclass(frozen=True)
class Table:
    """Texts, with their intervals; note: what a reader has to know."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str

    def to_dict(self) -> JsonObject:
        """As JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Title and rows for a terminal."""
        return [line.translate(TERMINAL) for line in (self.title, *aligned([self.columns, *self.rows]))]


def cell(estimate: Estimate | None, form: Callable[[float], str] = share) -> str:
    """`98.8 (98.2–99.2)`; a dash where there is no estimate. form: writes a value, by default a share in percent."""
    return EMPTY if estimate is None else interval(estimate, form, "", confidence=None, page=True)


def printed(value: float | None, low_high: tuple[float, float] | None = None, *, percent: bool = True) -> str:
    """A figure of a paper with the digits that it has there: in percent with two, else with four."""
    if value is None:
        return EMPTY
    low, high = low_high or (None, None)
    return cell(Estimate(value, low, high, "printed"), lambda v: f"{100 * v:.2f}" if percent else f"{v:.4f}")
