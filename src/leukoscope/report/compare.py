"""The page of a comparison: one self-contained HTML file from what compare.json holds. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..evaluate.compare import AREAS, trained_once
from ..evaluate.costs import pareto
from ..figures.compare import (
    costs_figure,
    critical_difference,
    differences_figure,
    metrics_sheet,
    ranks_figure,
    roc_of_all,
)
from ..figures.svg import inline_svg, svg_text
from ..files import write_text
from ..text import NO_ESTIMATE, aligned, number, p_of, percent, points
from . import numbers
from .html import render

MOST_PAIRS = 21
"""Of more pairs, only those with the best kind are drawn; the table has all."""
Compared = Mapping[str, Any]


def write_comparison(found: Compared, folder: Path) -> Path:
    """Write `compare.html`, and its figures as `figures/*.svg`, into a folder."""
    drawn = {}
    for name, figure in comparison_figures(found).items():
        text = svg_text(figure)
        write_text(folder / "figures" / f"{name}.svg", text)
        drawn[name] = inline_svg(text, figure)
    notes = numbers.Notes()
    path = folder / "compare.html"
    write_text(path, render(
        "compare.html", found=found, figures=drawn, notes=notes, rows=kind_rows(found, notes, folder),
        pairs=pair_rows(found), names=[title_of(name) for name in shown_figures(found)],
        tested=[title_of(name) for name in tested(found)], once=trained_once(found),
        several=any(kind["trainings"] > 1 for kind in found["kinds"]),
        confidence=percent(found["confidence"], 0)))
    return path


def comparison_figures(found: Compared) -> dict[str, Figure]:
    """Name -> figure, kinds in the order of their accuracy."""
    kinds = in_order(found)
    names = [kind["name"] for kind in kinds]
    keys = [key for key in shown_figures(found) if key not in (*AREAS, "log_loss", "f1", "macro_ppv")]
    published = found.get("published") or {}
    others = {key: [published.get(name, {}).get(key) for name in names] for key in keys} if published else None
    figures = {"metrics": metrics_sheet(names, {key: [kind["figures"][key] for kind in kinds] for key in keys},
                                        {key: title_of(key) for key in keys}, others)}
    if found.get("curves"):
        area = "auc" if found["positive"] else "macro_auc"
        figures["roc"] = roc_of_all(
            names, [found["curves"][name] for name in names], [kind["figures"][area] for kind in kinds],
            title=f"ROC for {found['positive']}" if found["positive"] else "ROC, mean over classes")
    rows = [(f"{pair['first']} − {pair['second']}", pair["tests"]["accuracy"]) for pair in found["pairs"]
            if len(found["pairs"]) <= MOST_PAIRS or names[0] in (pair["first"], pair["second"])]
    figures["differences"] = differences_figure(rows, title="Differences in accuracy")
    figures["ranks"] = ranks_figure(names, [kind["rank"] for kind in kinds])
    blocks = found.get("blocks")
    if blocks and blocks["critical"] is not None:
        figures["critical_difference"] = critical_difference([kind["name"] for kind in found["kinds"]], blocks)
    if all(kind.get("cost") for kind in kinds):
        figures["costs"] = costs_figure(names, [kind["figures"]["accuracy"] for kind in kinds],
                                        [kind["cost"] for kind in kinds])
    return figures


def in_order(found: Compared) -> list[Mapping[str, Any]]:
    """The kinds by falling accuracy."""
    by_name = {kind["name"]: kind for kind in found["kinds"]}
    return [by_name[name] for name in found["order"]]


def shown_figures(found: Compared) -> list[str]:
    return list(found["kinds"][0]["figures"])


def tested(found: Compared) -> list[str]:
    return list(found["pairs"][0]["tests"])


def title_of(key: str) -> str:
    name = numbers.name_of(key)
    return name[:1].upper() + name[1:]


def kind_rows(found: Compared, notes: numbers.Notes, folder: Path) -> list[dict[str, Any]]:
    """One row a kind, by falling accuracy: figures, rank, costs, whether it is on the Pareto front of prediction time
    (of operations where no time was taken), and the report of its first run where that lies below `folder`."""
    kinds = in_order(found)
    costs = [kind.get("cost") or {} for kind in kinds]
    key = "prediction_ms" if all(cost.get("prediction_ms") is not None for cost in costs) else "operations"
    front = pareto([kind["figures"]["accuracy"]["value"] or 0.0 for kind in kinds], [cost.get(key) for cost in costs])
    rows = []
    for kind, cost, on in zip(kinds, costs, front, strict=True):
        rank = kind["rank"]
        rows.append({
            "name": kind["name"], "report": _report(kind, folder), "trainings": kind["trainings"], "cost": cost,
            "front": on, "rank": f"{rank['mean']:.1f}", "rank_interval": f"{rank['low']:g} to {rank['high']:g}",
            "best": percent(rank["best"], 0),
            "estimates": [numbers.shown(f"{kind['name']}.{name}", estimate, notes=notes)
                          for name, estimate in kind["figures"].items()]})
    return rows


def _report(kind: Mapping[str, Any], folder: Path) -> str:
    page = Path(kind["runs"][0]) / "report.html"
    inside = page.is_file() and page.resolve().is_relative_to(folder.resolve())
    return page.resolve().relative_to(folder.resolve()).as_posix() if inside else ""


def pair_rows(found: Compared) -> list[dict[str, Any]]:
    """One row a pair: each tested difference, its interval and corrected p value, and how alike the two answer."""
    rows = []
    for pair in found["pairs"]:
        alike = pair["agreement"]
        rows.append({
            "first": pair["first"], "second": pair["second"],
            "tests": [_tested(name, test) for name, test in pair["tests"].items()],
            "same": percent(alike["same"]), "kappa": number(alike["kappa"], 2),
            "shared": percent(alike["shared_errors"], 0)})
    return rows


def _tested(name: str, test: Mapping[str, Any]) -> dict[str, str]:
    found = test["difference"]
    form = (lambda v: f"{v:+.3f}".replace("-", "−")) if name in AREAS else points
    span = "" if found["low"] is None else f"{form(found['low'])} to {form(found['high'])}"
    return {"difference": NO_ESTIMATE if found["value"] is None else form(found["value"]), "interval": span,
            "p": p_of(test["holm"]), "test": f"{test['test']}; {found['method']}"}


def comparison_lines(found: Compared) -> list[str]:
    """The answer and a table for a terminal."""
    keys = [key for key in ("accuracy", "sensitivity", "specificity", "auc", "macro_sensitivity", "macro_auc")
            if key in shown_figures(found)]
    rows = [["", *(numbers.name_of(key) for key in keys), "rank", "parameters", "prediction"]]
    for kind in in_order(found):
        cost = kind.get("cost") or {}
        rows.append([kind["name"], *(_said(key, kind["figures"][key]) for key in keys),
                     f"{kind['rank']['mean']:.1f}",
                     f"{cost['parameters'] / 1e6:.1f} M" if cost else "-",
                     f"{cost['prediction_ms']:.2g} ms" if cost.get("prediction_ms") else "-"])
    pairs = []
    for pair in found["pairs"]:
        test = _tested("accuracy", pair["tests"]["accuracy"])
        span = f" ({test['interval']})" if test["interval"] else ""
        pairs.append(f"{pair['first']} minus {pair['second']}: {test['difference']} points{span}, "
                     f"{test['p'] or 'no test'}")
    once = trained_once(found)
    return [*aligned(rows), "", *pairs, "", found["answer"], *([once] if once else []), *found.get("remarks", [])]


def _said(key: str, estimate: Mapping[str, Any]) -> str:
    interval = numbers.interval_of(key, estimate)
    value = numbers.form(key, estimate["value"], unit=False) if estimate["value"] is not None else NO_ESTIMATE
    return f"{value} ({interval})" if interval else value
