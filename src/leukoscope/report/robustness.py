"""The page of robustness, and its lines for a terminal, from what shift.json holds. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .. import __version__
from ..evaluate.corruptions import ASSUMED_SPAN
from ..figures.robustness import curves_figure, summary_figure
from ..figures.svg import image_uri, inline_svg, svg_text
from ..files import write_text
from ..images.read import read_image
from ..text import NO_ESTIMATE, aligned, count, join, percent, plain, plural
from . import numbers
from .html import render

RESULT, SHEET = "shift.json", "figures/shift/example.png"
LITTLE = 0.05
"""Drop in accuracy that is called little."""

Found = Mapping[str, Any]


def write_robustness(found: Found, folder: Path) -> Path:
    """Write `shift.html`, and its figures as `figures/*.svg`, into the folder of an evaluation."""
    drawn = {}
    for name, figure in (("shift_summary", summary_figure(found)), ("shift_curves", curves_figure(found))):
        text = svg_text(figure)
        write_text(folder / "figures" / f"{name}.svg", text)
        drawn[name] = inline_svg(text, figure)
    sheet = folder / SHEET
    picture = image_uri(read_image(sheet)) if sheet.is_file() else ""
    notes = numbers.Notes()
    path = folder / "shift.html"
    write_text(path, render(
        "shift.html", found=found, figures=drawn, sheet=picture, notes=notes, version=__version__,
        rows=[_summary_row(found, name, notes) for name in found["order"]], cards=_cards(found),
        every=[_row(found, row, notes) for row in _all_rows(found)], known=found["corruptions"].values(),
        banners=_banners(found), little=percent(LITTLE, 0), doubts=found["clean"]["unsure"] is not None,
        unknown=found["clean"]["unknown"] is not None, drawn=_drawn(found)))
    return path


def points(estimate: Mapping[str, Any], *, interval: bool = True) -> str:
    """A drop in percentage points: "−3.2 (−5.0 to −1.5)"; a loss is negative."""
    if estimate["value"] is None:
        return NO_ESTIMATE
    value = _signed(-estimate["value"])
    if not interval or estimate["low"] is None:
        return value
    return f"{value} ({_signed(-estimate['high'])} to {_signed(-estimate['low'])})"


def _signed(share: float) -> str:
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def held_to(found: Found, name: str) -> int:
    """The strength up to which the drop stays below LITTLE, 0 for none."""
    held = 0
    for row in found["corruptions"][name]["strengths"]:
        if row["drop"]["value"] >= LITTLE:
            break
        held = row["strength"]
    return held


def robustness_lines(found: Found) -> list[str]:
    """What matters, for a terminal: the clean level, then a line a corruption, the worst first."""
    clean = found["clean"]["accuracy"]
    span = "" if clean["low"] is None else f" ({100 * clean['low']:.1f} to {100 * clean['high']:.1f})"
    rows: list[list[str]] = [["corruption", "mean accuracy", "against clean, points", "at strength 1", "3", "5"]]
    for name in found["order"]:
        one = found["corruptions"][name]
        at = [f"{100 * one['strengths'][k]['accuracy']['value']:.1f} %" for k in (0, 2, 4)]
        rows.append([one["title"], f"{100 * one['mean_accuracy']['value']:.1f} %", points(one["mean_drop"]), *at])
    return [f"robustness on {found['cells']:,} of {plural(found['of'], 'cell')}: accuracy "
            f"{100 * clean['value']:.1f} %{span} as they are", *aligned(rows)]


def _summary_row(found: Found, name: str, notes: numbers.Notes) -> dict[str, Any]:
    one = found["corruptions"][name]
    key = f"corruptions.{name}"
    drop = one["mean_drop"]
    span = "" if drop["low"] is None else f"{_signed(-drop['high'])} to {_signed(-drop['low'])}"
    mark = notes.mark(drop["method"]) if drop["low"] is None else Markup("")
    return {"title": one["title"], "mean": numbers.shown(f"{key}.mean_accuracy", one["mean_accuracy"], notes=notes),
            "drop": points(drop, interval=False), "drop_interval": span, "mark": mark, "held": held_to(found, name),
            "at": [numbers.shown(f"{key}.{row['strength']}.accuracy", row["accuracy"], notes=notes)
                   for row in one["strengths"]],
            "unsure": [percent(row["unsure"], 0) for row in (one["strengths"][0], one["strengths"][-1])]}


def _all_rows(found: Found) -> list[Mapping[str, Any]]:
    return [found["clean"], *(row for one in found["corruptions"].values() for row in one["strengths"])]


def _row(found: Found, row: Mapping[str, Any], notes: numbers.Notes) -> dict[str, Any]:
    own = found["corruptions"].get(row["corruption"])
    key = f"{row['corruption']}.{row['strength']}"
    drop = row["drop"]
    span = "" if drop is None or drop["low"] is None else f"{_signed(-drop['high'])} to {_signed(-drop['low'])}"
    sides = [(side, percent(one["value"])) for side, one in row["sides"].items()]
    return {"title": own["title"] if own else "Clean", "strength": row["strength"] or "",
            "value": f"{row['value']:g}" if own else "", "sides": sides,
            "figures": [numbers.shown(f"{key}.{name}", row[name], notes=notes)
                        for name in ("accuracy", "macro_f1", "calibration_error")],
            "drop": points(drop, interval=False) if drop else "", "drop_interval": span,
            "unsure": percent(row["unsure"]), "unknown": percent(row["unknown"])}


def _cards(found: Found) -> list[dict[str, Any]]:
    worst, best = (found["corruptions"][found["order"][k]] for k in (0, -1))
    whole = found["all_cells"]
    cards = [("Accuracy, clean", numbers.value_of("all.accuracy", whole["accuracy"]),
              [numbers.interval_of("accuracy", whole["accuracy"], unit=True),
               f"all {plural(whole['cells'], 'cell')}",
               *([f"{percent(found['clean']['accuracy']['value'])} of the {count(found['cells'])} below"]
                 if found["cells"] < whole["cells"] else [])])]
    for head, one in (("Costs most", worst), ("Costs least", best)):
        cards.append((f"{head}: {one['title'].lower() if one['title'] != 'JPEG' else 'JPEG'}",
                      Markup("{}").format(points(one["mean_drop"], interval=False)),
                      ["points, mean over five strengths", *([] if one["mean_drop"]["low"] is None else [
                          points(one["mean_drop"]).partition(" ")[2].strip("()")])]))
    held = sum(held_to(found, name) >= 2 for name in found["order"])
    cards.append(("Loses little at strengths 1 and 2", Markup("{} of {}").format(held, len(found["order"])),
                  [f"corruptions: below {100 * LITTLE:g} points"]))
    return [{"name": name, "value": value, "more": [line for line in more if line]} for name, value, more in cards]


def _banners(found: Found) -> list[str]:
    sources = found["facts"]["sources"]
    there, here = sources["trained"], sources["here"]
    lines = []
    if there and here and set(there).isdisjoint(here):
        lines.append(f"Another laboratory: it was trained on {join(there)}, these cells are of "
                     f"{join(here)}. Clean means as they came from there, so that step is in the clean accuracy "
                     "already, and every corruption comes on top.")
    if found["micrometres"] is None:
        lines.append(f"The scale of these cells is not known: the square that the network is shown was taken to span "
                     f"{ASSUMED_SPAN:g} µm. Sizes in µm are right only as far as that is; --micrometres tells it.")
    if found["facts"]["within_labels"]:
        lines.append("Only classes that stand in the labels could be answers (--within-labels).")
    return lines


def _drawn(found: Found) -> str:
    counts = ", ".join(f"{plain(name)} {count(number)}" for name, number in found["counts"].items())
    if found["cells"] == found["of"]:
        return f"All {plural(found['cells'], 'cell')} ({counts})."
    return (f"{count(found['cells'])} of {plural(found['of'], 'cell')}, drawn by the seed "
            f"{found['seed']}, each class by its share ({counts}).")
