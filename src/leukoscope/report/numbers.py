"""Estimates as a page shows them: value, interval, and a note where there is none.

Each number carries its full value (`<data value>`) and its key in metrics.json (`data-key`), so that a program, or a
test, can read the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from string import ascii_lowercase

from markupsafe import Markup

from ..runs.results import Metrics
from ..stats.estimate import Estimate
from ..text import NO_ESTIMATE, count, number, percent, plain, points, span, type_name

PLAIN_NUMBERS = {"auc", "label_auc", "macro_auc", "weighted_auc", "micro_auc", "average_precision",
                 "micro_average_precision", "kappa", "mcc", "log_loss", "brier"}
"""Estimates that are shown as numbers; all others are shares, in percent."""
PER_CLASS = ("sensitivity", "specificity", "ppv", "npv", "f1", "fpr", "fnr", "auc", "average_precision")


@dataclass
class Notes:
    """Reasons for missing figures, each named once by a letter; a table prints them below itself."""

    reasons: list[str] = field(default_factory=list)

    def mark(self, reason: str) -> Markup:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return Markup('<sup title="{}">{}</sup>').format(reason, self._letter(self.reasons.index(reason)))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((self._letter(i), reason) for i, reason in enumerate(self.reasons))

    @staticmethod
    def _letter(index: int) -> str:
        return (ascii_lowercase[index // 26 - 1] if index >= 26 else "") + ascii_lowercase[index % 26]


@dataclass(frozen=True)
class Card:
    """One of the large numbers at the top of a page, and the lines below it."""

    name: str
    value: Markup | str
    more: tuple[Markup | str, ...]


def form(key: str, value: float | None, *, unit: bool = True) -> str:
    """The value of the estimate `key` with its usual digits and unit."""
    last = key.rpartition(".")[2]
    return number(value) if last in PLAIN_NUMBERS else percent(value, unit=unit)


def value_of(key: str, estimate: Estimate, *, unit: bool = True, notes: Notes | None = None) -> Markup:
    """The value alone; a dash, with its reason as a note, where there is none."""
    if estimate.value is None:
        mark = notes.mark(estimate.method) if notes is not None else Markup("")
        return Markup('<span class="none" title="{}">{}</span>{}').format(estimate.method, NO_ESTIMATE, mark)
    return Markup('<data value="{}" data-key="{}" title="{}">{}</data>').format(
        repr(float(estimate.value)), key, how(estimate), form(key, estimate.value, unit=unit))


def interval_of(key: str, estimate: Estimate) -> str:
    """The interval as "96.2–97.9", for below a heading "95 % CI"; empty where there is none."""
    return "" if estimate.value is None else span(
        estimate.low, estimate.high, lambda end: form(key, end, unit=False), page=True)


def shown(key: str, estimate: Estimate, notes: Notes | None = None) -> Markup:
    """Value over interval, for a table; the reason for a missing interval becomes a note."""
    value, interval = value_of(key, estimate, unit=False, notes=notes), interval_of(key, estimate)
    if interval:
        return Markup('{}<span class="interval">{}</span>').format(value, interval)
    return value + (notes.mark(estimate.method) if estimate.value is not None and notes is not None else "")


def change(estimate: Estimate, notes: Notes | None = None, form: Callable[[float | None], str] = points) -> Markup:
    """A difference over its interval, for a table; in percentage points if `form` does not write it otherwise."""
    mark = notes.mark(estimate.method) if notes is not None and estimate.low is None else ""
    return Markup('{}{}<span class="interval">{}</span>').format(
        form(estimate.value), mark, span(estimate.low, estimate.high, form, page=True))


def how(estimate: Estimate) -> str:
    """ "wilson; 98 of 101"."""
    if estimate.total is None or estimate.count is None:
        return estimate.method
    return f"{estimate.method}; {count(estimate.count)} of {count(estimate.total)}"


def class_keys(metrics: Metrics) -> list[str]:
    """The figures of a class; with a positive class also the AUC of the labels, which papers often print."""
    wanted = (*PER_CLASS, "label_auc") if metrics.positive else PER_CLASS
    return [key for key in wanted if all(key in own for own in metrics.per_class.values())]


def weakest_classes(metrics: Metrics) -> dict[str, str]:
    """Figure -> the class in which it is lowest; of three classes or more, where one is below 1."""
    weakest = {}
    for key in ("sensitivity", "ppv", "f1", "auc"):
        values = {name: own[key].value for name, own in metrics.per_class.items() if key in own}
        known = {name: value for name, value in values.items() if value is not None}
        if len(known) > 2 and min(known.values()) < 1:
            weakest[key] = min(known, key=lambda name: known[name])
    return weakest


def cards(metrics: Metrics) -> list[Card]:
    """The answer first: accuracy, then the positive class, or the weakest class and means over classes."""
    wanted = [("Accuracy", "overall.accuracy", metrics.accuracy)]
    if metrics.positive in metrics.per_class:
        label, own = metrics.positive, metrics.per_class[metrics.positive]
        wanted += [(f"{name} for {plain(type_name(label, 30))}", f"per_class.{label}.{key}", own[key])
                   for key, name in (("sensitivity", "Sensitivity"), ("specificity", "Specificity"), ("auc", "AUC"))]
    else:
        if metrics.weakest:
            label, estimate = metrics.weakest
            weak = (estimate.value or 0) < 1
            name = f"Weakest class: {plain(type_name(label, 30))}" if weak else "Lowest sensitivity of a class"
            wanted.append((name, f"per_class.{label}.sensitivity", estimate))
        wanted += [(name, f"overall.{key}", metrics.overall[key]) for key, name in (
            ("macro_sensitivity", "Sensitivity, mean over classes"), ("macro_auc", "AUC, mean over classes"))
            if key in metrics.overall]
    made = []
    for name, key, estimate in wanted:
        interval = interval_of(key, estimate)
        more = [Markup('{} CI <span class="nowrap">{}</span>').format(percent(metrics.confidence, 0), interval)
                if interval else estimate.method]
        if interval and estimate.count is not None and estimate.total is not None:
            more.append(f"{count(estimate.count)} of {count(estimate.total)} cells")
        made.append(Card(name, value_of(key, estimate), tuple(more)))
    return made
