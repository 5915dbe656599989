"""The page of robustness, and its lines for a terminal, from what shift.json holds. Computes nothing."""

from __future__ import annotations

from pathlib import Path

from .. import __version__
from ..evaluation.corruptions import ASSUMED_SPAN
from ..figures.robustness import curves_figure, summary_figure
from ..figures.sheets import sheet_uri
from ..files import JsonObject
from ..runs.results import json_view
from ..runs.robustness import LITTLE, Robustness
from ..text import aligned, count, interval, join, percent, plain, plural, points, span, type_name
from .html import write_page
from .numbers import Card, interval_of, value_of

RESULT, SHEET = "shift.json", "figures/shift/example.png"


def write_robustness(table: JsonObject, folder: Path) -> Path:
    """Write `shift.html`, and its figures as `figures/*.svg`, into the folder of an evaluation. table: what shift.json
    holds."""
    robustness = json_view(Robustness, table, folder / RESULT)
    sheet = folder / SHEET
    counts = ", ".join(f"{plain(type_name(name))} {count(number)}" for name, number in robustness.counts.items())
    cells = plural(robustness.of, "cell")
    used = f"All {cells}" if robustness.cells == robustness.of else (
        f"{count(robustness.cells)} of {cells}, drawn by the seed {robustness.seed}, each class by its share")
    return write_page(
        folder / "shift.html", "shift.html",
        {"shift_summary": summary_figure(robustness), "shift_curves": curves_figure(robustness)}, robustness=robustness,
        sheet=sheet_uri(sheet) if sheet.is_file() else "", version=__version__, cards=_cards(robustness),
        banners=_banners(robustness), little=LITTLE, used=f"{used} ({counts}).")


def robustness_lines(table: JsonObject) -> list[str]:
    """The clean accuracy, then one line for each corruption, the worst first, for a terminal. table: what shift.json
    holds."""
    robustness = json_view(Robustness, table, Path(RESULT))
    rows = [["corruption", "mean accuracy", "against clean, points (95 % CI)", "at strength 1", "3", "5"]]
    for own in robustness.ordered:
        at = [f"{100 * (own.strengths[k].accuracy.value or 0.0):.1f} %" for k in (0, 2, 4)]
        mean = f"{100 * (own.mean_accuracy.value or 0.0):.1f} %"
        rows.append([own.title, mean, interval(own.mean_change, points, "", confidence=None), *at])
    return [f"robustness on {robustness.cells:,} of {plural(robustness.of, 'cell')}: accuracy "
            f"{interval(robustness.clean.accuracy)} for clean cells", *aligned(rows)]


def _cards(robustness: Robustness) -> list[Card]:
    whole = robustness.all_cells
    ends = interval_of("accuracy", whole.accuracy)
    cards = [Card("Accuracy, clean", value_of("all.accuracy", whole.accuracy), (
        *([f"95\u202f% CI {ends}"] if ends else []), f"all {plural(whole.cells, 'cell')}",
        *([f"{percent(robustness.clean.accuracy.value)} of the {count(robustness.cells)} below"]
          if robustness.cells < whole.cells else [])))]
    for head, own in (("Largest loss", robustness.ordered[0]), ("Smallest loss", robustness.ordered[-1])):
        ends = span(own.mean_change.low, own.mean_change.high, points, page=True)
        title = own.title if own.title == "JPEG" else own.title.lower()
        cards.append(Card(f"{head}: {title}", points(own.mean_change.value), (
            "points, mean over five strengths", *([f"95\u202f% CI {ends}"] if ends else []))))
    robust = sum(own.robust_up_to >= 2 for own in robustness.ordered)
    return [*cards, Card("Little loss at strengths 1 and 2", f"{robust} of {len(robustness.order)}",
                         (f"corruptions: below {100 * LITTLE:g} points",))]


def _banners(robustness: Robustness) -> list[str]:
    sources, lines = robustness.facts.sources, []
    if sources.other:
        lines.append(f"It was trained on cells of {join(sources.trained)}, these cells are of {join(sources.here)}. "
                     "Where that is another laboratory, the clean accuracy already contains the loss from the change; "
                     "every corruption is added to it.")
    if robustness.micrometres is None:
        lines.append("The scale of these cells is not known: the square that the network gets was assumed to be "
                     f"{ASSUMED_SPAN:g} µm wide. Sizes in µm are only as right as that; set it with --micrometres.")
    if robustness.facts.within_labels:
        lines.append("Only classes among the labels could be answers (--within-labels).")
    return lines
