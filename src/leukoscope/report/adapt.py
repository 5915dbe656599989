"""The page of a model that was fitted to a laboratory: before, after, and what more confirmed cells would bring."""

from __future__ import annotations

from pathlib import Path

from ..adaptation.validate import Adapted
from ..figures.adapt import curve_figure
from ..figures.metrics import confusion_figure
from ..figures.svg import svg
from ..files import write_text
from ..text import interval, percent, plural, points
from .html import render

NO_SLIDES = ("It is not known of every cell from which slide it is. Cells of one slide look alike, so expect less on "
             "other slides. Name the slides in the column group, or count each smear with --subject.")
_FLAT = 0.01
"""A gain of accuracy below which more cells bring little."""


def write_adapted(adapted: Adapted, out: Path) -> Path:
    """Write the page beside the bundle `out`: the bundle's name, with .html. Returns its path."""
    page = out.with_name(f"{out.stem if out.suffix == '.zip' else out.name}.html")
    before, after = adapted.before, adapted.after
    figures = {"before": svg(confusion_figure(before.classes, before.confusion, title="Before")),
               "after": svg(confusion_figure(after.classes, after.confusion, title="After"))}
    if len(adapted.curve) > 1:
        figures["curve"] = svg(curve_figure(adapted.curve, adapted.accuracies[0].value or 0.0))
    write_text(page, render("adapt.html", adapted=adapted, bundle=out.name, figures=figures, answer=answer(adapted),
                            advice=advice(adapted), no_slides=NO_SLIDES))
    return page


def answer(adapted: Adapted) -> str:
    """The result in one sentence."""
    before, after = adapted.accuracies
    return (f"Of {plural(adapted.after.cells, 'confirmed cell')}, {percent(before.value)} were classified correctly "
            f"before and {interval(after, page=True)} after, in cells that the fit did not see: "
            f"{interval(adapted.difference.difference, points, ' points', page=True)}.")


def advice(adapted: Adapted) -> str:
    """Whether more confirmed cells would help, from the curve."""
    if len(adapted.curve) < 2:
        return ("There are too few cells to tell how much more would help. With 20 of each type from several slides, "
                "this page draws the curve.")
    last, previous = adapted.curve[-1], adapted.curve[-2]
    gain = last.middle - previous.middle
    if gain < _FLAT:
        return (f"From {previous.cells} to {last.cells} cells of each type, accuracy changed by {points(gain)} points: "
                "more cells of the same kind would bring little. Cells of other slides or stains may.")
    return (f"From {previous.cells} to {last.cells} cells of each type, accuracy rose by {points(gain)} points: more "
            "confirmed cells will probably help.")
