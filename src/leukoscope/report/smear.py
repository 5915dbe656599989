"""The page of a smear, and its lines for a terminal: from what was found and counted. Computes no share itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
from markupsafe import Markup, escape

from ..figures.smear import colours_of, differential_figure, marked
from ..figures.svg import svg
from ..smear.count import is_leukocyte
from ..smear.flag import MICROMETRES, ORDER, RATIO, counted
from ..smear.formats import UNTYPED
from ..text import NO_ESTIMATE, aligned, join, percent, plain, plural
from .html import render

GALLERY, FIRST = 24, 60
"""Cells of a type that the page shows, the most doubtful first; and flagged cells, which stand before all."""
THUMBS = 4_000_000  # characters: pictures of cells in the page
MOST = 10
"""Remarks that a terminal is shown."""
MEASURES = (("cell_diameter", "cell, diameter", 1), ("nucleus_diameter", "nucleus, diameter", 1),
            ("cell_area", "cell, area", 0), ("nucleus_to_cytoplasm", "N:C ratio", 2),
            ("cell_roundness", "cell, roundness", 2), ("nucleus_roundness", "nucleus, roundness", 2),
            ("lobes", "lobes", 0))

FLAGS = {"blast": ("cell typed as a blast", "cells typed as blasts"),
         "blast-like": ("cell that looks like a blast", "cells that look like blasts"),
         "immature": ("cell typed as immature", "cells typed as immature"),
         "nucleated red cell": ("nucleated red cell", "nucleated red cells")}
Summary = Mapping[str, Any]


def smear_page(summary: Summary, table: pl.DataFrame, shown: Mapping[str, tuple[str, Sequence[Any]]],
               thumb: Callable[[str, int], str], colours: Mapping[str, str]) -> str:
    """The page's text. shown: fields whose picture (a data URI) the page has room for, with their features as `geojson`
    makes them; thumb: field and number of a cell -> a data URI."""
    table = table.with_row_index("place").with_columns(
        pl.col("predicted").fill_null(UNTYPED).alias("type"), (_doubt(table)).alias("doubt"))
    count = summary["differential"]
    drawn = [one for one in count["types"] if one["share"] and one["share"]["value"] is not None]
    types = [name for name in ([one["name"] for one in count["types"]] or [UNTYPED]) if (table["type"] == name).any()]
    return render(
        "smear.html", summary=summary, count=count, typed=bool(count["types"]), colours=colours,
        figure=svg(differential_figure(drawn, colours)) if drawn else "",
        rows=[_counted(one) for one in count["types"]], types=[
            {"name": name, "class": f"t{i}", "cells": int((table["type"] == name).sum())}
            for i, name in enumerate(types)],
        fields=[{"facts": facts, "svg": _drawn(facts, *shown[facts["name"]], table, colours, types)
                 if facts["name"] in shown else ""} for facts in summary["fields"]],
        first=_first(summary, table, thumb), gallery=_gallery(table, thumb, types), **_morphometry(table, types),
        remarks=_remarks(summary))


def _doubt(table: pl.DataFrame) -> pl.Expr:
    """How doubtful a type is: cells unlike those of training first, then by what is left for other types; without
    types, by the outline's score."""
    probabilities = [name for name in table.columns if name.startswith("p_")]
    if not probabilities:
        return 1 - pl.col("score")
    return 1 - pl.max_horizontal(probabilities) + (~pl.col("known")).fill_null(False).cast(pl.Float64)


def _counted(one: Mapping[str, Any]) -> dict[str, Any]:
    share = one["share"] or {"value": None, "low": None, "high": None}
    span = "" if share["low"] is None else (f"{percent(share['low'], unit=False)} to "
                                            f"{percent(share['high'])}")
    return {**one, "apart": one["share"] is None, "percent": percent(share["value"]), "interval": span,
            "hundred": _per_hundred(one["per_hundred"]) if one["per_hundred"] else None}


def _per_hundred(ratio: Mapping[str, Any]) -> tuple[str, str]:
    """How many there are per 100 leukocytes, and the interval."""
    if ratio["value"] is None:
        return NO_ESTIMATE, ""
    return f"{ratio['value']:.1f}", f"{ratio['low']:.1f} to {ratio['high']:.1f}"


def _drawn(facts: Mapping[str, Any], picture: str, features: Sequence[Any], table: pl.DataFrame,
           colours: Mapping[str, str], types: Sequence[str]) -> Markup:
    """A field's picture with its outlines as SVG."""
    width, height = facts["width"], facts["height"]
    line, letter = max(width, height) / 260, max(width, height) / 45
    rows = {row["number"]: row for row in table.filter(pl.col("field") == facts["name"]).iter_rows(named=True)}
    shapes = []
    for number, feature in enumerate(features, start=1):
        row, geometry = rows[number], feature["geometry"]
        polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
        path = "".join(f"M{' '.join(f'{x:.1f},{y:.1f}' for x, y in ring[:-1])}Z"
                       for rings in polygons for ring in rings)
        dashes = Markup(' stroke-dasharray="{0:.1f}"').format(3 * line) if row["cut"] or row["damaged"] else ""
        shapes.append(Markup(
            '<g class="t{}"><title>{}</title><path class="halo" d="{}" stroke-width="{:.2f}"/>'
            '<path d="{}" stroke="{}" stroke-width="{:.2f}"{}/><text x="{:.1f}" y="{:.1f}" font-size="{:.1f}" '
            'stroke-width="{:.2f}">{}</text></g>').format(
                types.index(row["type"]), _told(row), path, 1.8 * line, path, colours[row["type"]], line, dashes,
                row["centre_x"] + 0.5, row["centre_y"] + 0.5, letter, letter / 5, marked(row)))
    label = escape(f"{plural(len(shapes), 'cell')} in {facts['name']}")
    return Markup(
        '<svg class="field" viewBox="0 0 {} {}" role="img" aria-label="{}"><image href="{}" width="{}" height="{}"/>{}'
        "</svg>").format(width, height, label, picture, width, height, Markup("").join(shapes))


def _told(row: Mapping[str, Any]) -> str:
    """A cell in one line: number, type, how sure, size."""
    size = (f"{row['cell_diameter_um']:.1f} µm" if row["cell_diameter_um"] is not None else
            f"{row['cell_diameter_px']:.0f} px")
    sure = row.get(f"p_{row['type']}")
    answer = plain(row["type"]) + (f" {percent(sure, 0)}" if sure is not None else "")
    return ", ".join([f"{row['number']}: {answer}", size, *([row["flag_reason"]] if row["flag"] else []), *_flags(row)])


def _flags(row: Mapping[str, Any]) -> list[str]:
    return [word for word, is_so in (("cut by the border", row["cut"]), ("damaged", row["damaged"]),
                                     ("unsure", row["unsure"]), ("unlike training", row["known"] is False)) if is_so]


def _first(summary: Summary, table: pl.DataFrame, thumb: Callable[[str, int], str]) -> dict[str, Any]:
    """The flagged cells, and what is to be said of their flags."""
    rows = table.filter(pl.col("flag").is_not_null())
    kinds = [plural(summary["flags"][kind], *FLAGS[kind]) for kind in ORDER if kind in summary["flags"]]
    unscaled = sum(1 for one in summary["fields"] if one["cells"] and one["micrometres_per_pixel"] is None)
    torn = rows.filter(pl.col("cut") | pl.col("damaged")).height
    return {"all": rows.height, "torn": torn, "kinds": join(kinds), "rule": _rule(summary["bundle"]),
            "unscaled": unscaled,
            "cells": [{"picture": thumb(row["field"], row["number"]), "field": row["field"], "number": row["number"],
                       "kind": row["flag"], "reason": row["flag_reason"].replace(" %", "\u202f%"), "flags": _flags(row)}
                      for row in rows.head(FIRST).iter_rows(named=True)]}


def _rule(bundle: Mapping[str, Any] | None) -> str:
    """What the flag of cells that look like blasts rests on."""
    low, high = MICROMETRES
    rule = (f"“blast-like” is a rule (N:C at least {RATIO:g}, one round nucleus, {low:g} to {high:g} µm) that some "
            "mature lymphocytes and basophils meet as well, and no diagnosis.")
    if bundle is None or bundle["knows_blasts"]:
        return rule[0] + rule[1].upper() + rule[2:]
    if bundle["packaged"]:
        return f"The packaged model has never seen lymphoblasts: {rule}"
    return f"The model has no class of blasts: {rule}"


def _gallery(table: pl.DataFrame, thumb: Callable[[str, int], str], types: Sequence[str]) -> list[dict[str, Any]]:
    """Of each type the flagged cells, then the most doubtful, as many as the page has room for."""
    room, shown = THUMBS, []
    for name in types:
        own = table.filter(pl.col("type") == name).sort(pl.col("flag").is_null(), -pl.col("doubt"), "place")
        cells = []
        for row in own.head(GALLERY).iter_rows(named=True):
            picture = thumb(row["field"], row["number"])
            room -= len(picture)
            if room > 0:
                cells.append({"picture": picture, "field": row["field"], "number": row["number"],
                              "sure": row.get(f"p_{name}"), "flags": [*([row["flag"]] if row["flag"] else []),
                                                                      *_flags(row)]})
        shown.append({"name": name, "cells": cells, "all": own.height})
    return shown


def _morphometry(table: pl.DataFrame, types: Sequence[str]) -> dict[str, Any]:
    """Median and quartiles of whole cells, type by type; in um where every cell has a scale."""
    whole = table.filter(~pl.col("cut") & ~pl.col("damaged"))
    unit = "um" if whole.height and whole["cell_area_um"].null_count() == 0 else "px"
    rows = []
    for name in types:
        own = whole.filter(pl.col("type") == name)
        rows.append({"name": name, "cells": own.height, "values": [
            _quartiles(own[key if key in own.columns else f"{key}_{unit}"].drop_nulls().to_numpy(), digits)
            for key, _, digits in MEASURES]})
    said = {"um": "µm", "px": "px"}[unit]
    heads = [f"{title}, {said}{'²' if 'area' in key else ''}" if f"{key}_{unit}" in whole.columns else title
             for key, title, _ in MEASURES]
    return {"measured": rows, "measures": heads}


def _quartiles(values: np.ndarray, digits: int) -> tuple[str, str]:
    if not len(values):
        return NO_ESTIMATE, ""
    low, middle, high = (f"{value:,.{digits}f}" for value in np.percentile(values, [25, 50, 75]))
    return middle, f"{low} to {high}" if len(values) >= 4 else ""


def _remarks(summary: Summary) -> list[dict[str, Any]]:
    """Each remark once, with the fields that it is of."""
    found: dict[str, list[str]] = {}
    for field in summary["fields"]:
        for remark in field["remarks"]:
            found.setdefault(remark, []).append(field["name"])
    return [{"text": text, "fields": names} for text, names in found.items()]


def smear_lines(summary: Summary) -> list[str]:
    """The count and what is to be said of it, for a terminal."""
    count = summary["differential"]
    lines = aligned([[plain(one["name"]), f"{one['cells']:>5,}", _share(one)] for one in count["types"]])
    fields = summary["fields"]
    said = [f"{plural(count['found'], 'cell')} in {plural(len(fields), 'field')}",
            f"{count['total']:,} counted", f"{count['cut']:,} cut by a border", f"{count['damaged']:,} damaged"]
    said += [f"{count[key]:,} {what}" for key, what in (
        ("platelets", "taken for platelets and set aside"), ("unsure", "unsure"),
        ("unknown", "unlike those of training"))
        if count[key] is not None]
    first = counted(summary["flags"])
    lines += [", ".join(said), *([f"to be looked at first: {first}"] if first else []),
              *([summary["meaning"]] if summary["meaning"] else []), *summary["remarks"]]
    remarks = [f"{field['name']}: {remark}" for field in fields for remark in field["remarks"]]
    lines += [f"{one['image']}: left out, {one['reason']}" for one in summary["unreadable"]]
    more = [f"and {len(remarks) - MOST} more remarks, in the page"] if len(remarks) > MOST else []
    return [*lines, *remarks[:MOST], *more]


def _share(one: Mapping[str, Any]) -> str:
    share = one["share"]
    if one["per_hundred"]:
        value, span = _per_hundred(one["per_hundred"])
        return f"{value} per 100 leukocytes{f' ({span})' if span else ''}"
    if share is None:
        return "no leukocyte; set aside"
    if share["value"] is None:
        return str(share["method"])
    return (f"{percent(share['value'])} ({percent(share['low'], unit=False)} to "
            f"{percent(share['high'])})")


def index_page(summary: Summary, smears: Sequence[Summary]) -> str:
    """The page's text. smears: the summaries of the subjects, in the order of summary["subjects"]."""
    rows = [{**row, "link": f"{quote(row['folder'])}/smear.html", "kinds": kinds_of(row),
             "shares": [_share_of_subject(row, name) for name in _leukocytes(summary)], "meaning": smear["meaning"],
             "bar": _bar(row, _leukocytes(summary)), "remarks": sum(len(one["remarks"]) for one in smear["fields"])}
            for row, smear in zip(summary["subjects"], smears, strict=True)]
    return render("smear_index.html", summary=summary, rows=rows, types=_leukocytes(summary),
                  colours=colours_of(summary["classes"]), fields=sum(row["fields"] for row in rows),
                  counted=sum(row["leukocytes"] for row in rows))


def index_lines(summary: Summary) -> list[str]:
    """A line a subject, and what could not be read."""
    rows = [["subject", "fields", "leukocytes", *_leukocytes(summary), "to be looked at first"]]
    rows += [[plain(row["subject"]), str(row["fields"]), f"{row['leukocytes']:,}",
              *(_share_of_subject(row, name)[0] for name in _leukocytes(summary)), kinds_of(row) or "none"]
             for row in summary["subjects"]]
    return [*aligned(rows), *summary["remarks"],
            *(f"{one['subject']}: left out, {one['reason']}" for one in summary["unreadable"])]


def kinds_of(row: Mapping[str, Any]) -> str:
    """How many cells of a subject are flagged, kind by kind, or ""."""
    return counted({kind: row[f"flagged_{kind.replace(' ', '_').replace('-', '_')}"] for kind in ORDER})


def _leukocytes(summary: Summary) -> list[str]:
    return [name for name in summary["classes"] if is_leukocyte(name)]


def _share_of_subject(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    """(share, interval) in words."""
    value, low, high = (row[f"share_{name}{end}"] for end in ("", "_low", "_high"))
    span = "" if low is None else f"{percent(low, unit=False)} to {percent(high)}"
    return percent(value), span


def _bar(row: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, float]]:
    """(type, percent) of those that were seen."""
    return [(name, 100 * row[f"share_{name}"]) for name in names if row[f"share_{name}"]]
