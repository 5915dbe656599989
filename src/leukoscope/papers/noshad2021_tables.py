"""Tables 4 and 5 of Noshad and Fallahi 2021 beside our figures, and how much the paper's protocol adds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..evaluation.results import Metrics
from ..stats.estimate import Estimate
from ..stats.rates import difference
from ..text import number, points, share, signed
from .tables import Table, cell, printed

FIGURES: Sequence[tuple[str, str, float | None, float | None]] = (
    ("accuracy", "accuracy", 0.9880, 0.9955),
    ("positive.sensitivity", "{positive}: sensitivity", 0.9964, 1.0),
    ("positive.specificity", "{positive}: specificity", 0.9798, 0.9909),
    ("positive.ppv", "{positive}: precision", 0.98, 0.9913), ("positive.f1", "{positive}: F1", 0.9881, 0.9956),
    ("negative.sensitivity", "{negative}: sensitivity", 0.9798, 0.9909),
    ("negative.specificity", "{negative}: specificity", 0.9964, 1.0),
    ("negative.ppv", "{negative}: precision", 0.9963, 1.0), ("negative.f1", "{negative}: F1", 0.9879, 0.9954),
    ("macro_sensitivity", "mean sensitivity", 0.9881, 0.9954),
    ("macro_specificity", "mean specificity", 0.9881, 0.9954),
    ("macro_ppv", "mean precision", 0.9881, 0.9956), ("macro_f1", "mean F1", 0.9880, 0.9955),
    ("auc", "AUC of probabilities", None, 1.0), ("label_auc", "AUC of labels", 0.9881, None))
"""Figure, its name, and what the paper prints for the test part and for the validation part of C-NMC. The AUC of 0.9881
can only be that of labels: docs/papers.md says why."""

PUBLISHED: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "noshad2021-allidb": {part: {figure: 1.0 for figure, *_ in FIGURES} for part in ("test", "validation")},
    "noshad2021-cnmc": {"test": {figure: value for figure, _, value, _ in FIGURES if value is not None},
                        "validation": {figure: value for figure, _, _, value in FIGURES if value is not None}}}
"""Recipe -> part -> figure."""

PRINTED_INTERVALS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "noshad2021-cnmc": {"accuracy": (0.9817, 0.9923), "positive.sensitivity": (0.9895, 0.9988),
                        "positive.specificity": (0.9680, 0.9874), "label_auc": (0.9829, 0.9932)},
    "noshad2021-allidb": {"accuracy": (0.771, 1.0), "positive.sensitivity": (0.70, 1.0),
                          "positive.specificity": (0.851, 1.0)},
}
"""Of the test part, as printed. On ALL-IDB those of accuracy and specificity are interchanged."""

PARTS = {"test": "Test part", "validation": "Validation part", "preliminary": "Official preliminary test set"}
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


def comparison(parts: Mapping[str, Mapping[str, Metrics]], published: str) -> list[Row]:
    """Rows from metrics: protocol -> part -> metrics. published: the recipe whose tables are shown beside
    ours; "" where the cells are not the paper's."""
    rows = []
    for part in PARTS:
        metrics = {protocol: by_part[part] for protocol, by_part in parts.items() if part in by_part}
        if not metrics:
            continue
        paper = PUBLISHED.get(published, {}).get(part, {})
        intervals = PRINTED_INTERVALS.get(published, {}) if part == "test" else {}
        first = next(iter(metrics.values()))
        names = {"positive": first.positive, "negative": next(name for name in first.classes if name != first.positive)}
        for figure, name, *_ in FIGURES:
            ours = {protocol: _estimate(own, figure, names) for protocol, own in metrics.items()}
            inflation = difference(ours["paper"], ours["clean"]) if {"paper", "clean"} <= ours.keys() else None
            rows.append(Row(part, figure, name.format(**names), paper.get(figure), intervals.get(figure), ours,
                            inflation))
    return rows


def _estimate(metrics: Metrics, figure: str, names: Mapping[str, str]) -> Estimate:
    # Of two classes, the mean specificity is the mean sensitivity: the same two numbers.
    figure = "macro_sensitivity" if figure == "macro_specificity" else figure
    side, _, key = figure.rpartition(".")
    estimates = metrics.per_class[names[side or "positive"]].estimates if side or figure in AREAS else metrics.overall
    return estimates[key]


def study_tables(rows: Sequence[Row], protocols: Sequence[str]) -> list[Table]:
    """One table for each part."""
    both = len(protocols) > 1
    names = {"clean": "clean protocol", "paper": "paper's protocol"}
    columns = ["figure", "the paper", *(names[p] for p in protocols), *(["inflation"] if both else [])]
    note = ("In percent, areas as numbers, with 95 % CI. Each figure is the mean over the networks of the single folds "
            "(on the preliminary set: that of the mean of all networks).")
    if both:
        note += (" The inflation is the paper's protocol minus the clean one, in percentage points. The two are tested "
                 "on different cells, some of them the same, so its interval (from both, squared and added) is rather "
                 "too wide than too narrow.")
    return [Table(title, columns, [_cells(row, protocols) for row in rows if row.part == part], note)
            for part, title in PARTS.items() if any(row.part == part for row in rows)]


def _cells(row: Row, protocols: Sequence[str]) -> list[str]:
    area = row.figure in AREAS
    ours = [cell(row.ours[protocol], number if area else share) for protocol in protocols if protocol in row.ours]
    more = [] if row.inflation is None else [cell(row.inflation, signed if area else points)]
    return [row.name, printed(row.paper, row.paper_interval, percent=not area), *ours, *more]
