"""Tables 4 and 5 of Noshad and Fallahi 2021 beside our figures, and how much the paper's protocol adds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..stats.estimate import Estimate
from ..stats.rates import difference
from ..text import aligned

PUBLISHED: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "noshad2021-allidb": {
        part: dict.fromkeys(("accuracy", "positive.sensitivity", "positive.specificity", "positive.ppv", "positive.f1",
                             "negative.sensitivity", "negative.specificity", "negative.ppv", "negative.f1",
                             "macro_sensitivity", "macro_specificity", "macro_ppv", "macro_f1", "auc", "label_auc"),
                            1.0)
        for part in ("test", "validation")},
    "noshad2021-cnmc": {
        "test": {
            "accuracy": 0.9880, "positive.sensitivity": 0.9964, "positive.specificity": 0.9798, "positive.ppv": 0.98,
            "positive.f1": 0.9881, "negative.sensitivity": 0.9798, "negative.specificity": 0.9964,
            "negative.ppv": 0.9963, "negative.f1": 0.9879, "macro_sensitivity": 0.9881, "macro_specificity": 0.9881,
            "macro_ppv": 0.9881, "macro_f1": 0.9880, "label_auc": 0.9881},
        "validation": {
            "accuracy": 0.9955, "positive.sensitivity": 1.0, "positive.specificity": 0.9909, "positive.ppv": 0.9913,
            "positive.f1": 0.9956, "negative.sensitivity": 0.9909, "negative.specificity": 1.0, "negative.ppv": 1.0,
            "negative.f1": 0.9954, "macro_sensitivity": 0.9954, "macro_specificity": 0.9954, "macro_ppv": 0.9956,
            "macro_f1": 0.9955, "auc": 1.0},
    },
}
"""Recipe -> part -> figure. The AUC of 0.9881 on C-NMC can only be that of labels: docs/papers.md says why."""

PRINTED_INTERVALS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "noshad2021-cnmc": {"accuracy": (0.9817, 0.9923), "positive.sensitivity": (0.9895, 0.9988),
                        "positive.specificity": (0.9680, 0.9874), "label_auc": (0.9829, 0.9932)},
    "noshad2021-allidb": {"accuracy": (0.771, 1.0), "positive.sensitivity": (0.70, 1.0),
                          "positive.specificity": (0.851, 1.0)},
}
"""Of the test part, as printed. On ALL-IDB those of accuracy and specificity stand in each other's place."""

PARTS = {"test": "test part", "validation": "validation part", "preliminary": "official preliminary test set"}
FIGURES = (
    ("accuracy", "accuracy"), ("positive.sensitivity", "{positive}: sensitivity"),
    ("positive.specificity", "{positive}: specificity"), ("positive.ppv", "{positive}: precision"),
    ("positive.f1", "{positive}: F1"), ("negative.sensitivity", "{negative}: sensitivity"),
    ("negative.specificity", "{negative}: specificity"), ("negative.ppv", "{negative}: precision"),
    ("negative.f1", "{negative}: F1"), ("macro_sensitivity", "mean sensitivity"),
    ("macro_specificity", "mean specificity"), ("macro_ppv", "mean precision"), ("macro_f1", "mean F1"),
    ("auc", "AUC of probabilities"), ("label_auc", "AUC of labels"))
AREAS = ("auc", "label_auc")


@dataclass(frozen=True)
class Row:
    """One figure of one part: the paper's (None where it gives none), ours under each protocol, and the paper's
    protocol minus the clean one where both were run."""

    part: str
    figure: str
    name: str
    paper: float | None
    paper_interval: tuple[float, float] | None
    ours: Mapping[str, Estimate]
    inflation: Estimate | None


def comparison(parts: Mapping[str, Mapping[str, Mapping[str, Any]]], published: str) -> list[Row]:
    """Rows from metrics: protocol -> part -> what `evaluate` gives. published: the recipe whose tables stand beside
    ours; "" where the cells are not the paper's."""
    rows = []
    for part in PARTS:
        found = {protocol: metrics[part] for protocol, metrics in parts.items() if part in metrics}
        if not found:
            continue
        printed = PUBLISHED.get(published, {}).get(part, {})
        intervals = PRINTED_INTERVALS.get(published, {}) if part == "test" else {}
        first = next(iter(found.values()))
        names = {"positive": first["positive"], "negative": next(c for c in first["classes"] if c != first["positive"])}
        for figure, name in FIGURES:
            ours = {protocol: _estimate(metrics, figure, names) for protocol, metrics in found.items()}
            inflation = difference(ours["paper"], ours["clean"]) if {"paper", "clean"} <= ours.keys() else None
            rows.append(Row(part, figure, name.format(**names), printed.get(figure), intervals.get(figure), ours,
                            inflation))
    return rows


def _estimate(metrics: Mapping[str, Any], figure: str, names: Mapping[str, str]) -> Estimate:
    # Of two classes, the mean specificity is the mean sensitivity: the same two numbers.
    figure = "macro_sensitivity" if figure == "macro_specificity" else figure
    side, _, key = figure.rpartition(".")
    if side or figure in AREAS:
        found = metrics["per_class"][names[side or "positive"]][key]
    else:
        found = metrics["overall"][figure]
    return Estimate.from_dict(found)


def shown(figure: str, value: float | None, interval: tuple[float | None, float | None] | None = None, *,
          signed: bool = False) -> str:
    """`98.8 (98.2 to 99.2)` in percent, areas as numbers; differences of shares in percentage points with a sign."""
    if value is None:
        return "-"

    def one(number: float) -> str:
        text = (f"{number:+.3f}" if signed else f"{number:.3f}") if figure in AREAS else (
            f"{100 * number:+.1f}" if signed else f"{100 * number:.1f}")
        return text.replace("-", "−") if signed else text

    if interval is None or interval[0] is None or interval[1] is None:
        return one(value)
    return f"{one(value)} ({one(interval[0])} to {one(interval[1])})"


def _printed(row: Row) -> str:
    """The paper's figure with the digits that it has there."""
    if row.paper is None:
        return "-"
    scale, digits = (1, 4) if row.figure in AREAS else (100, 2)
    text = f"{scale * row.paper:.{digits}f}"
    if row.paper_interval is None:
        return text
    return f"{text} ({' to '.join(f'{scale * bound:.{digits}f}' for bound in row.paper_interval)})"


def _cells(row: Row, protocols: Sequence[str]) -> list[str]:
    ours = [shown(row.figure, e.value, (e.low, e.high)) for e in (row.ours[p] for p in protocols if p in row.ours)]
    added = row.inflation
    more = [] if added is None else [shown(row.figure, added.value, (added.low, added.high), signed=True)]
    return [row.name, _printed(row), *ours, *more]


def _columns(protocols: Sequence[str]) -> list[str]:
    names = {"clean": "clean protocol", "paper": "paper's protocol"}
    return ["figure", "the paper", *(names[p] for p in protocols), *(["inflation"] if len(protocols) > 1 else [])]


def study_tables(rows: Sequence[Row], protocols: Sequence[str]) -> list[dict[str, Any]]:
    """For study.json: one table a part."""
    note = ("In percent, areas as numbers, with 95 % intervals. Each is what one network has on the average over the "
            "folds (on the preliminary set: what the mean of all networks has).")
    if len(protocols) > 1:
        note += (" The inflation is the paper's protocol minus the clean one, in percentage points; the two test "
                 "different cells, some of them the same, so its interval (of the two, squared and added) is wide "
                 "rather than narrow.")
    return [{"title": f"The {name}", "columns": _columns(protocols), "note": note,
             "rows": [_cells(row, protocols) for row in rows if row.part == part]}
            for part, name in PARTS.items() if any(row.part == part for row in rows)]


def text_lines(rows: Sequence[Row], protocols: Sequence[str]) -> list[str]:
    """The same for a terminal."""
    lines = []
    columns = _columns(protocols)
    for part, name in PARTS.items():
        table = [_cells(row, protocols) for row in rows if row.part == part]
        if not table:
            continue
        lines += [name, *aligned([columns, *table]), ""]
    return lines
