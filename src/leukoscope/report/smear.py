"""The page of a smear, and its lines for a terminal, from what was found and counted. Computes no share itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl
from markupsafe import Markup, escape

from ..figures.palette import colours_of
from ..figures.slide import key
from ..figures.smear import differential_figure, marked
from ..slides.monolayer import MONOLAYER
from ..smear.count import LEUKOCYTE, TypeCount
from ..smear.flag import MICROMETRES, ORDER, RATIO, counted
from ..smear.formats import UNTYPED
from ..smear.geojson import Feature, path_of
from ..smear.summary import FieldSummary, SlideSummary, SmearSummary, SubjectsSummary, Unreadable
from ..tables import Row
from ..text import NO_ESTIMATE, aligned, grouped, interval, join, percent, plain, plural, span, type_name
from .html import render

GALLERY, FIRST = 24, 60
"""Cells of a type that the page shows, the most doubtful first; and flagged cells, which come before all."""
THUMBS = 450_000  # characters: pictures of cells in the page, which stays below 1.5 MB
MOST = 10
"""Remarks that a terminal shows."""
MEASURES = (("cell_diameter", "cell, diameter", 1), ("nucleus_diameter", "nucleus, diameter", 1),
            ("cell_area", "cell, area", 0), ("nucleus_to_cytoplasm", "N:C ratio", 2),
            ("cell_roundness", "cell, roundness", 2), ("nucleus_roundness", "nucleus, roundness", 2),
            ("lobes", "lobes", 0))

FLAGS = {"blast": ("cell typed as a blast", "cells typed as blasts"),
         "blast-like": ("cell that looks like a blast", "cells that look like blasts"),
         "immature": ("cell typed as immature", "cells typed as immature"),
         "nucleated red cell": ("nucleated red cell", "nucleated red cells")}
Thumb = Callable[[str, int], str]
"""Field and number of a cell -> its picture as a data URI."""
tenths = "{:.1f}".format
page_span = partial(span, page=True)


@dataclass(frozen=True)
class CellCard:
    """A cell in the page: its picture (a data URI), its field and where that is in the page ("" if it is not), the mark
    of its type (see `TypeGroup`), its number and whether it is the only cell of its field, the flag and its reason, the
    probability of its type (None if there is none), and what makes it doubtful."""

    picture: str
    field: str
    place: str
    mark: str
    number: int
    alone: bool
    flag: str | None
    reason: str
    sure: float | None
    doubts: list[str]


@dataclass(frozen=True)
class TypeGroup:
    """The cells of a type in the page, and how many there are. mark: the class of their outlines and pictures."""

    name: str
    mark: str
    cells: int
    cards: list[CellCard]


@dataclass(frozen=True)
class Sizes:
    """Of the whole cells of a type: median, and quartiles, in words, of each of MEASURES."""

    name: str
    cells: int
    values: list[tuple[str, str]]


def smear_page(summary: SmearSummary, table: pl.DataFrame, shown: Mapping[str, tuple[str, Sequence[Feature]]],
               thumb: Thumb, colours: Mapping[str, str], slide_map: Markup | None = None) -> str:
    """The page's text. shown: fields for whose picture (a data URI) the page has room, with their features as `geojson`
    makes them. slide_map: of a slide, instead of fields."""
    table = table.with_row_index("place").with_columns(pl.col("predicted").fill_null(UNTYPED).alias("type"))
    count = summary.differential
    drawn = [kind for kind in count.types if kind.share and kind.share.value is not None]
    names = [name for name in dict.fromkeys([*(kind.name for kind in count.types), UNTYPED])
             if (table["type"] == name).any()]
    flagged = table.filter(pl.col("flag").is_not_null())
    headings, sizes = _morphometry(table, names)
    remarks: dict[str, list[str]] = {}
    for field in summary.fields:
        for remark in field.remarks:
            remarks.setdefault(remark, []).append(field.name)
    places = {name: f"field-{place}" for place, name in enumerate(shown, start=1)}
    alone = {field.name for field in summary.fields if field.cells == 1}
    card = partial(_card, thumb=thumb, places=places, alone=alone,
                   marks={name: f"t{place}" for place, name in enumerate(names)})
    return render(
        "smear.html", summary=summary, slide=summary.slide, slide_map=slide_map,
        kinds_of_squares=key(summary.slide.squares) if summary.slide else [], count=count,
        typed=bool(count.types), colours=colours, type_name=type_name,
        span=page_span, tenths=tenths, figure=differential_figure(drawn, colours) if drawn else "",
        fields=[(field, _field_svg(field, *shown[field.name], table, colours, names) if field.name in shown else "")
                for field in summary.fields],
        places=places, shares=_in_words(drawn),
        first=[card(row) for row in flagged.head(FIRST).iter_rows(named=True)], flagged=flagged.height,
        kinds=join(plural(summary.flags[kind], *FLAGS[kind]) for kind in ORDER if kind in summary.flags),
        torn=flagged.filter(pl.col("cut") | pl.col("damaged")).height, rule=_rule(summary),
        unscaled=sum(1 for field in summary.fields if field.cells and field.micrometres_per_pixel is None),
        groups=_groups(table, card, names), measures=headings, sizes=sizes,
        left_out=grouped(((plain(one.image, 60), one.reason) for one in summary.left_out), most=20),
        remarks=[{"text": text, "fields": fields} for text, fields in remarks.items()])


def _field_svg(field: FieldSummary, picture: str, features: Sequence[Feature], table: pl.DataFrame,
               colours: Mapping[str, str], names: Sequence[str]) -> Markup:
    """A field's picture with its outlines as SVG; a cell that is the only one of its field has no number."""
    line, letter = max(field.width, field.height) / 260, max(field.width, field.height) / 45
    rows = {row["number"]: row for row in table.filter(pl.col("field") == field.name).iter_rows(named=True)}
    shapes = []
    for number, feature in enumerate(features, start=1):
        row, path = rows[number], path_of(feature["geometry"])
        dashes = Markup(' stroke-dasharray="{0:.1f}"').format(3 * line) if row["cut"] or row["damaged"] else ""
        shapes.append(Markup(
            '<g class="t{}"><title>{}</title><path class="halo" d="{}" stroke-width="{:.2f}"/>'
            '<path d="{}" stroke="{}" stroke-width="{:.2f}"{}/><text x="{:.1f}" y="{:.1f}" font-size="{:.1f}" '
            'stroke-width="{:.2f}">{}</text></g>').format(
                names.index(row["type"]), _in_one_line(row), path, 1.8 * line, path, colours[row["type"]], line, dashes,
                row["centre_x"] + 0.5, row["centre_y"] + 0.5, letter, letter / 5,
                marked(row) if len(rows) > 1 else "!" if row["flag"] else ""))
    label = escape(f"{plural(len(shapes), 'cell')} in {field.name}")
    return Markup(
        '<svg class="field" viewBox="0 0 {0} {1}" role="img" aria-label="{2}"><image href="{3}" width="{0}" '
        'height="{1}"/>{4}</svg>').format(field.width, field.height, label, picture, Markup("").join(shapes))


def _in_one_line(row: Row) -> str:
    """A cell's number, type, how sure that is, size, flag and doubts."""
    size = (f"{row['cell_diameter_um']:.1f} µm" if row["cell_diameter_um"] is not None else
            f"{row['cell_diameter_px']:.0f} px")
    sure = row.get(f"p_{row['type']}")
    answer = plain(type_name(row["type"])) + (f" {percent(sure, 0)}" if sure is not None else "")
    return ", ".join([f"{row['number']}: {answer}", size, *([_reason(row)] if row["flag"] else []), *_doubts(row)])


def _in_words(types: Sequence[TypeCount]) -> str:
    """The differential in a sentence, the largest share first: "neutrophil 61 %, lymphocyte 30 %"."""
    known = sorted((kind for kind in types if kind.cells), key=lambda kind: -kind.cells)
    return ", ".join(f"{plain(type_name(kind.name))} {percent(kind.share.value, 0)}" for kind in known if kind.share)


def _card(row: Row, *, thumb: Thumb, places: Mapping[str, str], alone: Collection[str],
          marks: Mapping[str, str]) -> CellCard:
    return CellCard(thumb(row["field"], row["number"]), row["field"], places.get(row["field"], ""), marks[row["type"]],
                    row["number"], row["field"] in alone, row["flag"], _reason(row), row.get(f"p_{row['type']}"),
                    _doubts(row))


def _reason(row: Row) -> str:
    """Why a cell is flagged, with its type's full name; or ""."""
    reason = (row["flag_reason"] or "").replace(f"typed as {row['type']}", f"typed as {type_name(row['type'])}", 1)
    return plain(reason).replace(" %", "\u202f%") if reason else ""


def _doubts(row: Row) -> list[str]:
    return [word for word, is_so in (("cut by the border", row["cut"]), ("damaged", row["damaged"]),
                                     ("unsure", row["unsure"]), ("unlike training", row["known"] is False)) if is_so]


def _rule(summary: SmearSummary) -> str:
    """What the flag of cells that look like blasts rests on."""
    low, high = MICROMETRES
    rule = (f"“Blast-like” is a rule, not a diagnosis: N:C at least {RATIO:g}, one round nucleus, {low:g} to {high:g} "
            "µm. Some mature lymphocytes and basophils meet it too.")
    if summary.bundle is None or summary.bundle.knows_blasts:
        return rule
    return f"The model has no class of blasts. {rule}"


def _groups(table: pl.DataFrame, card: Callable[[Row], CellCard], names: Sequence[str]) -> list[TypeGroup]:
    """Of each type the flagged cells, then the most doubtful ones, as many as the page has room for.

    Doubtful are cells unlike those of training, then those with much probability left for other types; without types,
    those whose outline is unclear.
    """
    probabilities = [name for name in table.columns if name.startswith("p_")]
    doubt = (1 - pl.max_horizontal(probabilities) + (~pl.col("known")).fill_null(False).cast(pl.Float64)
             if probabilities else 1 - pl.col("score"))
    room, groups = THUMBS, []
    for place, name in enumerate(names):
        own = table.filter(pl.col("type") == name).sort(pl.col("flag").is_null(), -doubt, "place")
        cards = []
        for row in own.head(GALLERY).iter_rows(named=True):
            cell = card(row)
            room -= len(cell.picture)
            cards += [cell] if room > 0 else []
        groups.append(TypeGroup(name, f"t{place}", own.height, cards))
    return groups


def _morphometry(table: pl.DataFrame, names: Sequence[str]) -> tuple[list[str], list[Sizes]]:
    """Headings with units, and the sizes of whole cells, type by type; in um where every cell has a scale."""
    whole = table.filter(~pl.col("cut") & ~pl.col("damaged"))
    unit, sign = ("um", "µm") if whole.height and whole["cell_area_um"].null_count() == 0 else ("px", "px")
    headings = [title if key in whole.columns else f"{title}, {sign}{'²' if 'area' in key else ''}"
                for key, title, _ in MEASURES]
    columns = [(key if key in whole.columns else f"{key}_{unit}", digits) for key, _, digits in MEASURES]
    kinds = [(name, whole.filter(pl.col("type") == name)) for name in names]
    return headings, [Sizes(name, own.height, [_quartiles(own[column].drop_nulls().to_numpy(), digits)
                                               for column, digits in columns]) for name, own in kinds]


def _quartiles(values: np.ndarray, digits: int) -> tuple[str, str]:
    """Median, and quartiles of at least four values, in words."""
    if not len(values):
        return NO_ESTIMATE, ""
    low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
    write = f"{{:,.{digits}f}}".format
    return write(middle), page_span(low, high, write) if len(values) >= 4 else ""


def summary_lines(summary: SmearSummary | SubjectsSummary, out: Path) -> list[str]:
    """What a terminal shows: the count, or a line for each subject; what is to be said of it; and where the page is."""
    if isinstance(summary, SmearSummary):
        return [*smear_lines(summary), f"page: {out / 'smear.html'}"]
    return [*index_lines(summary), f"{plural(len(summary.smears), 'subject')}: {out / 'index.html'}"]


def smear_lines(summary: SmearSummary) -> list[str]:
    """The count and what is to be said of it, for a terminal."""
    count, first = summary.differential, counted(summary.flags)
    lines = [f"called by the model, and not a differential: {_called(count.types)}"] if summary.unreliable else \
        aligned([[plain(type_name(kind.name)), f"{kind.cells:>5,}", _share(kind)] for kind in count.types])
    where = _looked(summary.slide) if summary.slide else plural(len(summary.fields), "field")
    numbers = [f"{plural(count.found, 'cell')} in {where}",
               f"{count.total:,} counted", f"{count.cut:,} cut by a border", f"{count.damaged:,} damaged"]
    numbers += [f"{number:,} {what}" for number, what in (
        (count.platelets, "taken for platelets and set aside"), (count.unsure, "unsure"),
        (count.unknown, "unlike those of training")) if number is not None]
    remarks = grouped((field.name, remark) for field in summary.fields for remark in field.remarks)
    return [*filter(None, (summary.unreliable, summary.finding)), *lines, ", ".join(numbers),
            *([f"look at these first: {first}"] if first else []),
            *([summary.meaning] if summary.meaning else []), *summary.remarks,
            *(f"{image.image}: left out, {image.reason}" for image in summary.unreadable),
            *left_out_lines(summary.left_out), *remarks[:MOST],
            *([f"and {len(remarks) - MOST} more remarks, in the page"] if len(remarks) > MOST else [])]


def _called(types: Sequence[TypeCount]) -> str:
    """How many cells a model calls each type, in words."""
    return join(f"{kind.cells:,} {plain(type_name(kind.name))}" for kind in types if kind.cells) or "nothing"


def _looked(slide: SlideSummary) -> str:
    """How much of a slide was looked at, in words."""
    return f"{plural(slide.looked, 'square')} of the monolayer ({slide.squares[MONOLAYER]:,})"


def _share(kind: TypeCount) -> str:
    """A type's share with its interval, or what is said instead."""
    if kind.per_hundred:
        return interval(kind.per_hundred, tenths, " per 100 leukocytes")
    return interval(kind.share) if kind.share else "set aside: not a leukocyte"


def index_page(summary: SubjectsSummary) -> str:
    """The text of the page that leads to the subjects."""
    smears = summary.smears
    return render("smear_index.html", summary=summary, smears=smears, names=leukocytes_of(summary), quote=quote,
                  slides=_of_slides(summary), type_name=type_name, span=page_span, counted=counted,
                  colours=colours_of(summary.bundle.classes if summary.bundle else ()),
                  left_out=grouped(((plain(one.image, 60), one.reason) for one in summary.left_out), most=20),
                  fields=sum(len(smear.fields) for smear in smears.values()),
                  leukocytes=sum(smear.differential.total for smear in smears.values()))


def index_lines(summary: SubjectsSummary) -> list[str]:
    """A line for each subject, and what could not be read."""
    names = leukocytes_of(summary)
    slides = _of_slides(summary)
    first = ["slide", "mm2"] if slides else ["subject", "fields"]
    rows = [[*first, "leukocytes", *map(type_name, names), "look at first"]]
    for smear in summary.smears.values():
        shares = [percent(kind.share.value) for kind in smear.differential.types if kind.share]
        size = f"{smear.area_mm2 or 0:.3g}" if slides else str(len(smear.fields))
        rows.append([plain(smear.subject), size, f"{smear.differential.total:,}", *shares,
                     join([*(["types are not reliable"] if smear.unreliable else []),
                           *filter(None, [counted(smear.flags)])]) or "none"])
    return [*filter(None, [summary.unreliable]), *aligned(rows), *summary.remarks,
            *(f"{name}: left out, {reason}" for name, reason in summary.unreadable.items()),
            *left_out_lines((*summary.left_out, *(one for smear in summary.smears.values() for one in smear.left_out)))]


def _of_slides(summary: SubjectsSummary) -> bool:
    """Whether the smears are slides, and not photographs of fields."""
    return all(smear.slide is not None for smear in summary.smears.values())


def left_out_lines(left_out: Sequence[Unreadable]) -> list[str]:
    """What lay in the input and is in no count, a line for each reason."""
    return [f"left out: {line}" for line in grouped((plain(one.image), one.reason) for one in left_out)]


def leukocytes_of(summary: SubjectsSummary) -> list[str]:
    """The classes that are in the differential."""
    return [kind.name for kind in next(iter(summary.smears.values())).differential.types if kind.kind == LEUKOCYTE]
