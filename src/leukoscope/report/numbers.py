"""Estimates as they stand in a page: value, interval, and a note where there is none.

Each number carries its full value (`<data value>`) and its key in metrics.json (`data-key`), so that a program, or a
test, can read the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any, TypeGuard

from markupsafe import Markup

from ..text import NO_ESTIMATE, count, number, percent

PLAIN_NUMBERS = {"auc", "label_auc", "macro_auc", "weighted_auc", "average_precision", "kappa", "mcc", "log_loss",
                 "brier"}
"""Estimates that are read as numbers; all others are shares, in percent."""

NAMES = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "sensitivity": "sensitivity",
    "specificity": "specificity", "ppv": "PPV", "npv": "NPV", "f1": "F1", "fpr": "false positive rate",
    "fnr": "false negative rate", "auc": "AUC", "label_auc": "AUC of labels",
    "average_precision": "average precision", "kappa": "Cohen's κ",
    "mcc": "Matthews correlation", "log_loss": "log loss", "brier": "Brier score",
    "expected_calibration_error": "expected calibration error",
}
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


def is_estimate(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys()


def name_of(key: str) -> str:
    """`macro_ppv` -> "macro PPV"."""
    for head in ("macro_", "weighted_"):
        if key.startswith(head):
            return f"{head[:-1]} {NAMES.get(key.removeprefix(head), key.removeprefix(head).replace('_', ' '))}"
    return NAMES.get(key, key.replace("_", " "))


def form(key: str, value: float | None, *, unit: bool = True) -> str:
    """The value of the estimate `key` with the digits and the unit that it is read with."""
    last = key.rpartition(".")[2]
    return number(value) if last in PLAIN_NUMBERS else percent(value, unit=unit)


def value_of(key: str, estimate: Mapping[str, Any], *, unit: bool = True, notes: Notes | None = None) -> Markup:
    """The value alone; a dash, with its reason as a note, where there is none."""
    reason = str(estimate.get("method") or "not defined")
    if estimate["value"] is None:
        mark = notes.mark(reason) if notes is not None else Markup("")
        return Markup('<span class="none" title="{}">{}</span>{}').format(reason, NO_ESTIMATE, mark)
    return Markup('<data value="{}" data-key="{}" title="{}">{}</data>').format(
        repr(float(estimate["value"])), key, _how(estimate), form(key, estimate["value"], unit=unit))


def interval_of(key: str, estimate: Mapping[str, Any], *, unit: bool = False) -> str:
    """The interval as "96.2–97.9"; empty where there is none."""
    if estimate["value"] is None or estimate["low"] is None or estimate["high"] is None:
        return ""
    return f"{form(key, estimate['low'], unit=False)}–{form(key, estimate['high'], unit=unit)}"


def shown(key: str, estimate: Mapping[str, Any], *, unit: bool = False, notes: Notes | None = None) -> Markup:
    """Value over interval, for a table; why there is no interval becomes a note."""
    value = value_of(key, estimate, unit=unit, notes=notes)
    interval = interval_of(key, estimate)
    if not interval:
        missing = estimate["value"] is not None and notes is not None
        return value + (notes.mark(str(estimate.get("method") or "no interval")) if missing and notes else Markup(""))
    return Markup('{}<span class="interval">{}</span>').format(value, interval)


def per_class_keys(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """The figures of a class: where one class is looked for, the area of the labels too, which papers often print."""
    known = all("label_auc" in found for found in metrics["per_class"].values())
    return (*PER_CLASS, "label_auc") if metrics.get("positive") and known else PER_CLASS


def per_class_rows(metrics: Mapping[str, Any], notes: Notes) -> list[dict[str, Any]]:
    """One row a class, then the macro and the weighted mean: cells, and each of its figures with its interval."""
    wanted = per_class_keys(metrics)
    weak = {key: _lowest(metrics, key) for key in ("sensitivity", "ppv", "f1", "auc")}
    rows: list[dict[str, Any]] = []
    for name, found in metrics["per_class"].items():
        cells = [{"text": shown(f"per_class.{name}.{key}", found[key], notes=notes), "weak": weak.get(key) == name}
                 for key in wanted if key in found]
        rows.append({"name": name, "support": found["support"], "cells": cells, "total": False})
    keys = [key for key in wanted if all(key in found for found in metrics["per_class"].values())]
    for head, label in (("macro", "mean over classes (macro)"), ("weighted", "mean weighted by cells")):
        means = [metrics["overall"].get(f"{head}_{key}") for key in keys]
        if any(means):
            cells = [{"text": shown(f"overall.{head}_{key}", mean, notes=notes) if mean else Markup(""), "weak": False}
                     for key, mean in zip(keys, means, strict=True)]
            rows.append({"name": label, "support": None, "cells": cells, "total": True})
    return rows


def overall_rows(metrics: Mapping[str, Any], notes: Notes) -> list[tuple[str, Markup, str, str]]:
    """(name, value, interval, how) of every overall figure that is not a mean over classes, and of calibration."""
    tables = [("overall", metrics["overall"]), ("calibration", metrics.get("calibration") or {})]
    rows = []
    for where, table in tables:
        for key, estimate in table.items():
            if is_estimate(estimate) and not key.startswith(("macro_", "weighted_")):
                rows.append((name_of(key), value_of(f"{where}.{key}", estimate, notes=notes),
                             interval_of(key, estimate, unit=True), _how(estimate)))
    return rows


def trust(metrics: Mapping[str, Any]) -> list[tuple[str, Markup, str]]:
    """(name, value, interval) of the figures that say how far the probabilities can be trusted."""
    wanted = (("calibration", "expected_calibration_error"), ("calibration", "brier"), ("overall", "log_loss"))
    found = [(f"{where}.{key}", key, (metrics.get(where) or {}).get(key)) for where, key in wanted]
    return [(name_of(key), value_of(full, estimate), interval_of(key, estimate, unit=True))
            for full, key, estimate in found if is_estimate(estimate) and estimate["value"] is not None]


def doubts(found: Mapping[str, Any] | None) -> list[tuple[str, Markup, str, str]]:
    """(what, value, interval, beside what it stands) of the doubts of a bundle, as metrics.json holds them."""
    if not found:
        return []
    aimed = f"aimed at: {percent(found['coverage'], 0)}" if found.get("coverage") is not None else ""
    rejected = f"of validation cells: {percent(found['rejected'], 0)}" if found.get("rejected") is not None else ""
    rows = (("unsure", "unsure: the conformal set is not one class", ""),
            ("covered", "the conformal set holds the true class", aimed),
            ("wrong_unsure", "wrong among those that are unsure", ""), ("wrong_sure", "wrong among the others", ""),
            ("unknown", "unlike those of training, by their energy", rejected))
    return [(text, value_of(f"doubt.{key}", found[key]), interval_of(key, found[key], unit=True), beside)
            for key, text, beside in rows if key in found]


def estimates_in(table: Mapping[str, Any], prefix: str, notes: Notes) -> list[tuple[str, Markup, str]]:
    """(name, value, interval) of each estimate of a table such as the operating point, without weighted means."""
    return [(name_of(key), value_of(f"{prefix}.{key}", estimate, notes=notes), interval_of(key, estimate, unit=True))
            for key, estimate in table.items() if is_estimate(estimate) and not key.startswith("weighted_")]


def fold_columns(per_fold: Sequence[Mapping[str, Any]]) -> list[str]:
    """The estimates that every fold has."""
    return [key for key in (per_fold[0] if per_fold else ()) if all(is_estimate(fold.get(key)) for fold in per_fold)]


def _lowest(metrics: Mapping[str, Any], key: str) -> str:
    values = {c: found[key]["value"] for c, found in metrics["per_class"].items()
              if key in found and found[key]["value"] is not None}
    return min(values, key=lambda c: values[c]) if len(values) > 2 and min(values.values()) < 1 else ""


def _how(estimate: Mapping[str, Any]) -> str:
    """ "wilson; 98 of 101"."""
    method = str(estimate.get("method") or "")
    if estimate.get("total") is not None and estimate.get("count") is not None:
        return f"{method}; {count(estimate['count'])} of {count(estimate['total'])}"
    return method
