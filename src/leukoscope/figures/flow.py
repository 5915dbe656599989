"""The flow of cases: how many cells there were, which were left out and why, and how many are in each part."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from ..runs.results import Results
from ..text import count, plural
from .common import blank_axes, styled
from .svg import INK, SOFT

PARTS = ("train", "validation", "test")
WIDE, HIGH, GAP = 2.1, 0.52, 0.34
"""Inches: a box, and the room below it."""


def flow_lines(results: Results) -> list[str]:
    """The same in words."""
    start, out, used, parts = flow_of(results)
    return [f"{start}.", *([f"Left out: {', '.join(out)}."] if out else []), f"{used}.",
            *([f"Parts: {'; '.join(parts)}."] if parts else [])]


def flow_of(results: Results) -> tuple[str, list[str], str, list[str]]:
    """(cells at the start, each reason with its cells, cells used, each part with its cells), in words."""
    table = results.predictions if results.manifest is None else results.manifest
    copies = int((table["copy"] > 0).sum()) if "copy" in table.columns else 0
    used, left = table.height - copies, results.left_out
    reasons = [] if left is None else [(len(left.damaged), "damaged"), (sum(left.other_labels.values()), "other types"),
                                       (left.unlabelled, "no label"), (left.over_per_class, "above the number a class"),
                                       (left.trained or 0, "trained on")]
    gone = sum(number for number, _ in reasons)
    subjects = table["subject"].drop_nulls().n_unique() if "subject" in table.columns else 0
    people = f" of {plural(subjects, 'subject')}" if subjects else ""
    parts = []
    if results.splits is not None and results.splits.height:
        counts = results.splits.group_by("fold", "part").len()
        for part in PARTS:
            own = counts.filter(counts["part"] == part)["len"].to_list()
            if own:
                spread = count(own[0]) if min(own) == max(own) else f"{count(min(own))} to {count(max(own))}"
                parts.append(f"{part} {spread}" + (f" in each of {len(own)} folds" if len(own) > 1 else ""))
    else:
        parts.append(f"test {count(results.metrics.cells)}")
    return (f"{plural(used + gone, 'cell')} in the table",
            [f"{count(number)} {why}" for number, why in reasons if number], f"{plural(used, 'cell')} used{people}",
            parts)


@styled
def flow_figure(results: Results) -> Figure:
    """Boxes from the table of cells to the parts, and what was left out beside them."""
    start, out, used, parts = flow_of(results)
    across = max(len(parts), 2 if out else 1)
    width = across * (WIDE + 0.25) + 0.1
    figure = Figure(figsize=(width, 0.1 + 3 * (HIGH + GAP) + 0.13 * max(len(out) - 2, 0)))
    axes = blank_axes(figure, 0.0, 0.0, *figure.get_size_inches())

    def box(x: float, y: float, text: str, colour: str = INK, high: float = HIGH) -> None:
        axes.add_patch(FancyBboxPatch((x, y), WIDE, high, boxstyle="round,pad=0,rounding_size=0.06",
                                      facecolor="#f6f5fa", edgecolor="#b9bec9", linewidth=0.8))
        axes.text(x + WIDE / 2, y + high / 2, text, ha="center", va="center", fontsize=8, color=colour)

    top, second = 0.05, 0.05 + HIGH + GAP
    box(0.05, top, start)
    box(0.05, second, used.replace(" of ", "\nof "))
    _arrow(axes, (0.05 + WIDE / 2, top + HIGH), (0.05 + WIDE / 2, second))
    if out:
        high = max(HIGH, 0.16 * (len(out) + 1))
        box(WIDE + 0.3, top, "left out:\n" + "\n".join(out), SOFT, high)
        _arrow(axes, (0.05 + WIDE, top + HIGH / 2), (WIDE + 0.3, top + HIGH / 2))
    third = second + HIGH + GAP
    for k, part in enumerate(parts):
        x = 0.05 + k * (WIDE + 0.25)
        box(x, third, part.replace(" in each", "\nin each"))
        _arrow(axes, (0.05 + WIDE / 2, second + HIGH), (x + WIDE / 2, third))
    return figure


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "#9aa0ac", "linewidth": 0.9, "shrinkA": 0,
                                              "shrinkB": 0})
