"""What leaves the workbench: tables, a spreadsheet, outlines for QuPath, and confirmed cells to learn from. Text stays
text: a spreadsheet runs none of it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import polars as pl

from .. import __version__
from ..errors import LeukoscopeError
from ..manifest import make_manifest
from ..smear.formats import UNTYPED, coco_categories
from ..smear.geojson import Feature, Features, polygons_of
from ..tables import Row, harmless
from ..text import plain
from .outcome import outcome_of
from .result import SmearResult
from .smear import Review
from .state import ABSENT, CONFIRMED, REJECTED, State

if TYPE_CHECKING:
    from xlsxwriter.worksheet import Worksheet

FRAME = 2.2
"""Side of the square of an exported cell over the longer side of its box: as much around it as `smear` gives the
built-in model."""
_MEASURES = ("x", "y", "width", "height", "micrometres_per_pixel", "cell_diameter_um", "nucleus_diameter_um",
             "cell_area_um", "nucleus_area_um", "nucleus_to_cytoplasm", "lobes")


def present(review: Review, state: State) -> Iterator[tuple[str, Row]]:
    """(name, row) of the cells that are there: without those that were split or joined."""
    cells = review.cells
    for name, row in zip(cells.names, cells.table.iter_rows(named=True), strict=True):
        if state.cells[name][1] != ABSENT:
            yield name, row


def cell_rows(review: Review, state: State) -> list[dict[str, object]]:
    """A row for each cell: what it is now, by whom, and what the machine said."""
    notes: dict[str, list[str]] = {}
    for one in state.comments:
        if one.cell is not None:
            notes.setdefault(one.cell, []).append(f"{one.who}: {one.text}")
    times = {event.seq: event.at for event in state.events}
    rows = []
    for name, row in present(review, state):
        kind, how = state.cells[name]
        seq, who = state.changed.get(name, (0, None))
        counted = how != REJECTED and not row["cut"] and (how == CONFIRMED or not row["damaged"])
        rows.append({
            "subject": review.result.summary.subject, "field": row["field"], "number": row["number"],
            "type": kind or UNTYPED, "decided": how, "decided_by": who, "decided_at": times.get(seq),
            "counted": counted, "machine": row["predicted"], "machine_probability": row.get(f"p_{row['predicted']}"),
            "unsure": row["unsure"], "known": row["known"], "flag": row["flag"], "flag_reason": row["flag_reason"],
            "cut": row["cut"], "damaged": row["damaged"], **{key: row.get(key) for key in _MEASURES},
            "comments": "\n".join(notes.get(name, [])) or None})
    return rows


def smear_row(review: Review, state: State) -> dict[str, object]:
    """One row for a smear: state, signature, and of each type its cells, share (0 to 1), interval and the machine's
    cells."""
    found, signed = outcome_of(review, state), state.signatures[-1] if state.locked else None
    now, platelets, second = found.standing, found.platelets, state.second
    row: dict[str, object] = {
        "subject": review.result.name, "folder": str(review.result.folder), "state": state.word,
        "signed_by": signed and signed.who, "signed_at": signed and signed.at,
        "signature_comment": (signed and signed.text) or None, "signature_hash": signed and signed.hash,
        "second_signed_by": second and second.who, "second_signed_at": second and second.at,
        "second_signature_comment": (second and second.text) or None,
        "fields": len(review.result.summary.fields),
        "not_read": "; ".join(plain(one.image) for one in review.result.summary.unreadable) or None,
        "found": now.count.found + now.rejected,
        "leukocytes": now.count.total, "rejected": now.rejected, "answered": now.answered, "changed": now.changed,
        "unsure_open": len(now.unsure),
        "flagged_open": len(now.flagged), "nucleated_red_cells": now.count.nucleated,
        "nucleated_per_100_leukocytes": now.count.per_hundred.value if now.count.per_hundred else None,
        "comments": "\n".join(f"{one.who}: {one.text}" for one in state.comments if one.cell is None) or None}
    row |= {"target": found.target, "white_cells_10_9_per_litre": found.white_cells,
            "platelets_counted": platelets and platelets.cells,
            "platelets_estimated_10_9_per_litre": platelets and platelets.per_litre.value,
            **{f"finding_{name}": grade for name, grade in found.findings}}
    for kind in found.rows:
        row[f"cells_{kind.name}"] = kind.cells
        if kind.share is not None:
            row |= {f"share_{kind.name}": kind.share.value, f"share_{kind.name}_low": kind.share.low,
                    f"share_{kind.name}_high": kind.share.high}
        if kind.per_litre is not None:
            row[f"per_litre_{kind.name}"] = kind.per_litre.value
        row |= {f"flag_{kind.name}": kind.flag or kind.litre_flag or None, f"machine_{kind.name}": kind.machine}
    return row


def to_csv(rows: Sequence[Mapping[str, object]]) -> bytes:
    """CSV as UTF-8. A text that a spreadsheet would take for a formula begins with an apostrophe."""
    return harmless(_frame(rows)).write_csv().encode()


def _frame(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """Rows that need not have the same columns."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return pl.DataFrame([[row.get(key) for key in columns] for row in rows], schema=columns, orient="row",
                        infer_schema_length=None)


def to_xlsx(sheets: Mapping[str, Sequence[Mapping[str, object]]]) -> bytes:
    """A workbook with a table for each sheet; all text is text."""
    import xlsxwriter  # late: few requests need it

    stream = BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(stream, options) as book:
        bold = book.add_format({"bold": True, "bottom": 1})
        for title, rows in sheets.items():
            sheet, frame = book.add_worksheet(title), _frame(rows)
            sheet.freeze_panes(1, 0)
            for column, name in enumerate(frame.columns):
                sheet.write_string(0, column, name, bold)
                sheet.set_column(column, column, min(max(len(name) + 2, 10), 28))
                for place, value in enumerate(frame[name].to_list(), start=1):
                    _write(sheet, place, column, value)
            if rows:
                sheet.autofilter(0, 0, len(rows), len(frame.columns) - 1)
    return stream.getvalue()


def _write(sheet: Worksheet, row: int, column: int, value: object) -> None:
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, int | float):
        sheet.write_number(row, column, value)
    elif value is not None:
        sheet.write_string(row, column, str(value)[:32_000])


def features_of(review: Review, state: State) -> Iterator[tuple[str, Features, list[tuple[str, Feature]]]]:
    """(field, its GeoJSON, (name, feature) of the cells that are there and not rejected). Raises LeukoscopeError for a
    file that has gone."""
    drawn: dict[str, list[Feature]] = {}
    for one in state.drawn:
        drawn.setdefault(one.row["field"], []).append(one.feature)
    for field in review.result.summary.fields:
        path = review.result.folder / f"{field.name}.geojson"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            named = [(f"{field.name}/{one['properties']['name']}", one)
                     for one in (*found["features"], *drawn.get(field.name, ()))]
            yield field.name, found, [(name, one) for name, one in named
                                      if state.cells[name][1] not in (REJECTED, ABSENT)]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LeukoscopeError(f"{path}: cannot be read ({error})", "count the smear again") from error


def outlines_zip(review: Review, state: State) -> bytes:
    """The GeoJSON of each field as `smear` writes it, with the types as they are now, and without rejected cells.
    Raises LeukoscopeError for a file that has gone."""
    colours = type_colours(review, state)
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for field, found, features in features_of(review, state):
            corrected = [_corrected(one, state.cells[name], colours) for name, one in features]
            file.writestr(f"{field}.geojson", json.dumps(found | {"features": corrected}, ensure_ascii=False))
    return stream.getvalue()


def coco(review: Review, state: State) -> dict[str, object]:
    """All fields as one COCO data set, with the types as they are now, and without rejected cells. Polygons are the
    outer rings, areas those of the pixels. Raises LeukoscopeError for a file that has gone."""
    cells, fields = review.cells, review.result.summary.fields
    categories = coco_categories([*review.types(state), UNTYPED])
    kinds = {one["name"]: one["id"] for one in categories}
    numbers, annotations = {field.name: number for number, field in enumerate(fields, start=1)}, []
    for field, _, features in features_of(review, state):
        for name, feature in features:
            row, polygons = cells.row(cells.places[name]), polygons_of(feature["geometry"])
            annotations.append({
                "id": len(annotations) + 1, "image_id": numbers[field],
                "category_id": kinds[state.cells[name][0] or UNTYPED],
                "bbox": [row[key] for key in ("x", "y", "width", "height")], "area": row["cell_area_px"], "iscrowd": 0,
                "segmentation": [[value for point in rings[0][:-1] for value in point] for rings in polygons],
                "attributes": {"cell": name, "decided": state.cells[name][1], "cut": row["cut"]}})
    images = [{"id": numbers[field.name], "file_name": field.image, "width": field.width, "height": field.height}
              for field in fields]
    return {"info": {"description": f"Leukoscope review of {review.result.name}", "version": __version__},
            "images": images, "annotations": annotations, "categories": categories}


def _corrected(feature: Feature, cell: tuple[str | None, str], colours: Mapping[str, str]) -> Feature:
    name = cell[0] or UNTYPED
    colour = list(bytes.fromhex(colours[name][1:]))
    return {**feature, "properties": {
        **feature["properties"], "classification": {"name": name, "color": colour}, "decided": cell[1]}}


def type_colours(review: Review, state: State) -> dict[str, str]:
    """Type -> "#rrggbb", those that a person added too."""
    from ..figures.palette import colours_of

    return colours_of(review.types(state))


def confirmed_cells(review: Review, state: State) -> pl.DataFrame:
    """The manifest of the cells whose type a person has decided: squares of the photographs. Left out are rejected and
    cut cells, and those of photographs that have gone or are pages of a file. Raises LeukoscopeError where no cell is
    left."""
    result, rows = review.result, []
    images = {field.name: found for field in result.summary.fields if (found := result.photograph(field)) is not None}
    sizes = {field.name: (field.width, field.height) for field in result.summary.fields}
    for name, row in present(review, state):
        kind, how = state.cells[name]
        image, page = images.get(row["field"], (None, None))
        if how == CONFIRMED and kind is not None and not row["cut"] and image is not None and page is None:
            rows.append({"cell_id": f"{result.name}/{name}", "image": str(image.resolve()), "label": kind,
                         "subject": result.summary.subject, "field": row["field"],
                         **_framed(row, *sizes[row["field"]])})
    if not rows:
        raise LeukoscopeError(f"{result.name}: no cell of this smear has been confirmed",
                              "confirm or change the types of cells first")
    return make_manifest(rows)


def _framed(row: Row, width: int, height: int) -> dict[str, int]:
    """The square about a cell, as far as it lies within the field."""
    half = FRAME * max(row["width"], row["height"]) / 2
    left, top = (max(round(row[f"centre_{axis}"] - half), 0) for axis in "xy")
    return {"x": left, "y": top, "width": min(round(row["centre_x"] + half), width) - left,
            "height": min(round(row["centre_y"] + half), height) - top}


def parquet(frame: pl.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file."""
    stream = BytesIO()
    frame.write_parquet(stream)
    return stream.getvalue()


def file_stem(result: SmearResult) -> str:
    """The beginning of the names of exported files, of letters that every system takes."""
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in result.name)
    return plain.strip("._")[:80] or "smear"
