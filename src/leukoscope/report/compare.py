"""The page of a comparison: one self-contained HTML file from what compare.json holds. Computes nothing."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from ..evaluation.compare import AREAS
from ..evaluation.costs import pareto
from ..figures.compare import comparison_figures
from ..files import JsonObject
from ..runs.comparison import Comparison, Test
from ..runs.results import json_view
from ..text import aligned, figure_name, interval, join, number, p_of, points, share, signed, span
from .html import write_page
from .numbers import change


def read_comparison(table: JsonObject, file: Path = Path("compare.json")) -> Comparison:
    """What compare.json holds; RunError where a key is missing or wrong."""
    return json_view(Comparison, table, file, "compare the runs again")


def write_comparison(table: JsonObject, folder: Path) -> Path:
    """Write `compare.html`, and its figures as `figures/*.svg`, into a folder. table: what compare.json holds."""
    comparison = read_comparison(table, folder / "compare.json")
    pages = {network.name: (Path(network.runs[0]) / "report.html").resolve()
             for network in comparison.kinds if network.runs}
    reports = {name: page.relative_to(folder.resolve()).as_posix() for name, page in pages.items()
               if page.is_file() and page.is_relative_to(folder.resolve())}
    return write_page(
        folder / "compare.html", "compare.html", comparison_figures(comparison), comparison=comparison,
        networks=comparison.ordered, reports=reports, front=on_front(comparison), once=trained_once(comparison),
        difference=difference, span=span)


def on_front(comparison: Comparison) -> set[str]:
    """The networks on the Pareto front of accuracy and prediction time, or operations where no time was taken."""
    networks = comparison.kinds
    times = [network.cost.prediction_ms if network.cost else None for network in networks]
    costs = [network.cost.operations if network.cost else None for network in networks] if None in times else times
    front = pareto([network.figures["accuracy"].value or 0.0 for network in networks], costs)
    return {network.name for network, on in zip(networks, front, strict=True) if on}


def trained_once(comparison: Comparison) -> str:
    """The limits of a comparison of networks that were trained once, or ""."""
    once = [network.name for network in comparison.kinds if network.trainings == 1]
    if len(once) == len(comparison.kinds):
        return "Each was trained once, so no interval and no test includes the variation between trainings."
    return (f"{join(once)} {'was' if len(once) == 1 else 'were'} trained once: the intervals do not include the "
            "variation between trainings, and tests against networks that were trained several times assume the same "
            "variation for both.") if once else ""


def difference(key: str, test: Test) -> Markup:
    """A difference over its interval, for a table: areas as numbers, other figures in percentage points."""
    return change(test.difference, form=signed if key in AREAS else points)


def comparison_lines(table: JsonObject) -> list[str]:
    """The answer and a table for a terminal. table: what compare.json holds."""
    comparison = read_comparison(table)
    keys = [key for key in ("accuracy", "sensitivity", "specificity", "auc", "macro_sensitivity", "macro_auc")
            if key in comparison.kinds[0].figures]
    label = f"({100 * comparison.confidence:g} % CI)"
    rows = [["", *(f"{figure_name(key)} {label}" for key in keys), "rank", "parameters", "prediction"]]
    for network in comparison.ordered:
        cost = network.cost
        figures = [interval(network.figures[key], number if key in AREAS else share, "", confidence=None)
                   for key in keys]
        rows.append([network.name, *figures, f"{network.rank.mean:.1f}",
                     f"{cost.parameters / 1e6:.1f} M" if cost else "-",
                     _milliseconds(cost.prediction_ms) if cost and cost.prediction_ms else "-"])
    pairs = []
    for pair in comparison.pairs:
        test = pair.tests["accuracy"]
        ahead = interval(test.difference, points, " points", confidence=comparison.confidence)
        pairs.append(f"{pair.first} minus {pair.second}: {ahead}, {p_of(test.holm) or 'no test'}")
    once = trained_once(comparison)
    return [*aligned(rows), "", *pairs, "", comparison.answer, *([once] if once else []), *comparison.remarks]


def _milliseconds(value: float) -> str:
    """Two digits or more."""
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"
