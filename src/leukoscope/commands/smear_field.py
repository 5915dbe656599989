"""One field of a smear: read, found, typed, and written as picture and outlines. Knows nothing of counts and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..bundle.bundle import Description
from ..errors import LeukoscopeError
from ..figures.smear import annotated, reduced
from ..figures.svg import image_uri
from ..files import atomic_path, write_json
from ..images.read import image_size
from ..predict.model import Model
from ..predict.sources import Source
from ..smear.crops import Square, cut_square, framed_square, square_about
from ..smear.field import FoundCell, FoundField
from ..smear.find import find_leukocytes
from ..smear.formats import NamedField, cells_table, coco_annotations, geojson
from ..smear.source import FieldSource, field_source, open_field
from ..smear.survey import COARSEST, survey
from .smear_resume import FieldScale, Part

OTHER_CAMERA = 2.5
"""A field of which MANY red cells say a scale this many times that of all fields, or as many times less, keeps it."""
MANY = 10
"""Few red cells err: four of BCCD's field 390 say 0.208 um a pixel, the camera's fields 0.083."""
ENLARGED = 1.5
"""Cells that are enlarged more than this for a bundle are remarked upon."""
LARGE = 50_000_000  # px: above it a TIFF stays on disk where it can
PICTURE_SIDE, THUMB_SIDE = 1400, 112  # px


def first_look(source: Source, given: float | None) -> FieldScale:
    """Whether a field can be read and, where no scale is given and it looks like a smear, what its red cells say."""
    try:
        seen = survey(_read(source), None)
    except LeukoscopeError as error:
        return FieldScale(getattr(error, "reason", error.what), None, 0)
    if given is not None or not seen.judge(())[0]:
        return FieldScale("", None, 0)
    return FieldScale("", seen.red_cells.scale, len(seen.red_cells.diameters))


def common_scale(scales: Sequence[float | None]) -> float | None:
    """um a pixel for all fields of a camera: the median of those that are known and fine enough; None without any."""
    known = [scale for scale in scales if scale is not None and scale <= COARSEST]
    return float(np.median(known)) if known else None


def frames_cells(told: Description) -> bool:
    """Whether a bundle finds the cell in a cut by itself, and brings it to one scale."""
    return told.frame == "cell"


def square_for(told: Description | None, cell: FoundCell, scale: float | None) -> Square:
    """The square of a cell that a bundle is shown, or that a picture without a bundle is of. scale: um a pixel."""
    if told is None:
        return square_about(cell, THUMB_SIDE)
    if frames_cells(told):
        return framed_square(cell)
    return square_about(cell, told.crop or told.size, wanted=told.micrometres if told.crop else None, scale=scale)


def process_field(source: Source, name: str, model: Model | None, given: float | None, own: FieldScale,
                  scales: Sequence[FieldScale], *, subject: str, colours: dict[str, str], out: Path) -> Part:
    """Find and type the cells of a field; write its picture and outlines into `out`. own: its own scale, scales: of all
    fields that can be read."""
    field = _read(source)
    found = _find(field, own, given, scales)
    named, told = NamedField(name, source.name, found), model.description if model else None
    squares = [square_for(told, cell, found.scale.micrometres_per_pixel) for cell in found.cells]
    # A nucleus reflected at the border would be taken for a lobe by who looks for it.
    beyond = found.white if told is not None and frames_cells(told) else None
    answers = model.predict(cut_square(field, square, beyond) for square in squares) if model else None
    table = cells_table([named], answers, subject)
    rows = list(table.iter_rows(named=True))
    with atomic_path(out / f"{name}.png") as beside:
        annotated(field, found, rows, colours).save(beside, format="PNG")
    write_json(out / f"{name}.geojson", geojson(named, rows, colours))
    thumbs = [image_uri(cut_square(field, replace(square, size=THUMB_SIDE), beyond)) for square in squares]
    remarks = [*found.remarks, *_scale_remarks(told, found)]
    return Part(_facts(named, table, remarks), table, coco_annotations(named, rows, model.classes if model else ()),
                thumbs, image_uri(reduced(field, PICTURE_SIDE)))


def _read(source: Source) -> FieldSource:
    """Whole, or of a very large TIFF a window at a time."""
    path = Path(source.image)
    if source.page is None and path.suffix.lower() in (".tif", ".tiff"):
        width, height = image_size(path)
        if width * height > LARGE:
            return field_source(open_field(path))
    return field_source(source.read())


def _find(field: FieldSource, own: FieldScale, given: float | None, scales: Sequence[FieldScale]) -> FoundField:
    """By the scale that was given, else by that of all fields unless this one is clearly of another magnification."""
    if given is not None:
        return find_leukocytes(field, pixel=given)
    common = common_scale([one.scale for one in scales])
    sure = own.scale if own.red_cells >= MANY else None
    other = common is not None and sure is not None and not 1 / OTHER_CAMERA < sure / common < OTHER_CAMERA
    if common is None or len(scales) == 1 or other:
        found = find_leukocytes(field)
        if other and found.is_smear:
            remark = (f"its red cells say {sure:.3g} um a pixel and those of all fields {common:.3g}: taken for "
                      "another magnification")
            found = replace(found, remarks=(*found.remarks, remark))
        return found
    return find_leukocytes(field, pixel=common, origin="other fields")


def _scale_remarks(told: Description | None, found: FoundField) -> list[str]:
    """Where the scale of the field does not suit a bundle that wants cells at its own."""
    scale = found.scale.micrometres_per_pixel
    if told is None or not found.cells or not told.crop or told.micrometres is None or frames_cells(told):
        return []
    if scale is None:
        return ["without a scale, cells are cut by their size and not at the bundle's scale; types are doubtful"]
    if scale <= ENLARGED * told.micrometres:
        return []
    return [f"a pixel has {scale:.3g} um and the bundle was trained at {told.micrometres:.3g}: cells are enlarged "
            f"{scale / told.micrometres:.1f} times and lack detail"]


def _facts(field: NamedField, table: pl.DataFrame, remarks: list[str]) -> dict[str, Any]:
    found = field.found
    return {
        "name": field.name, "image": field.image, "width": found.width, "height": found.height,
        "micrometres_per_pixel": found.scale.micrometres_per_pixel, "scale_from": found.scale.source,
        "red_cells": found.scale.red_cells, "is_smear": found.is_smear, "cells": table.height,
        "whole": table.filter(~pl.col("cut") & ~pl.col("damaged")).height,
        "flagged": table["flag"].drop_nulls().len(), "remarks": remarks}
