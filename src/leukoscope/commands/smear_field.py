"""One field of a smear: read, its cells found, cut and typed, picture and outlines written. Knows no counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from ..errors import LeukoscopeError
from ..figures.smear import annotated, reduced
from ..figures.svg import image_uri
from ..files import atomic_path, write_json
from ..images.read import image_size
from ..predict.model import Model
from ..predict.sources import Source
from ..smear.crops import THUMB_SIDE, cut_square, frames_cells, scale_remarks, square_for
from ..smear.find import find_leukocytes
from ..smear.formats import NamedField, cells_table, coco_annotations, geojson
from ..smear.source import FieldSource, field_source, open_field
from ..smear.summary import FieldSummary
from ..smear.survey import COARSEST, survey
from .smear_resume import FieldResult, FieldScale

OTHER_CAMERA = 2.5
"""A field keeps its own scale if MANY red cells say this many times the scale of all fields, or as many times less."""
MANY = 10
"""Few red cells err: four of BCCD's field 390 say 0.208 um per pixel, the camera's fields 0.083."""
LARGE = 50_000_000  # px: above it a TIFF stays on disk where it can
PICTURE_SIDE = 1400  # px, of a field in the page


@dataclass(frozen=True)
class ScaleChoice:
    """What a field is measured by. micrometres: um per pixel; None for its own red cells. origin: "given" or "other
    fields". remark: why it differs from the other fields, or ""."""

    micrometres: float | None
    origin: str = "given"
    remark: str = ""


def first_look(source: Source, given: float | None) -> FieldScale:
    """Whether a field can be read and, where no scale is given and it looks like a smear, what its red cells say."""
    try:
        look = survey(read_field(source), None)
    except LeukoscopeError as error:
        return FieldScale(getattr(error, "reason", error.what), None, 0)
    if given is not None or look.unlike:
        return FieldScale("", None, 0)
    return FieldScale("", look.red_cells.scale, len(look.red_cells.diameters))


def read_field(source: Source) -> FieldSource:
    """As a whole, or a very large TIFF one window at a time. Raises LeukoscopeError where it cannot be read."""
    path = Path(source.image)
    if source.page is None and path.suffix.lower() in (".tif", ".tiff"):
        width, height = image_size(path)
        if width * height > LARGE:
            return field_source(open_field(path))
    return field_source(source.read())


def common_scale(scales: Sequence[float | None]) -> float | None:
    """um per pixel for all fields of a camera: the median of those that are known and fine enough; None without any."""
    known = [scale for scale in scales if scale is not None and scale <= COARSEST]
    return float(np.median(known)) if known else None


def choose_scale(own: FieldScale, scales: Sequence[FieldScale], given: float | None) -> ScaleChoice:
    """The given scale, otherwise that of all fields unless this one is clearly of another magnification. own: of the
    field; scales: of all fields that can be read."""
    if given is not None:
        return ScaleChoice(given)
    common = common_scale([scale.scale for scale in scales])
    if common is None or len(scales) == 1:
        return ScaleChoice(None)
    if own.scale is None or own.red_cells < MANY or 1 / OTHER_CAMERA < own.scale / common < OTHER_CAMERA:
        return ScaleChoice(common, "other fields")
    return ScaleChoice(None, remark=f"its red cells say {own.scale:.3g} um a pixel and those of all fields "
                                    f"{common:.3g}: taken for another magnification")


def process_field(source: Source, name: str, model: Model | None, choice: ScaleChoice, *, subject: str,
                  colours: Mapping[str, str], out: Path) -> FieldResult:
    """Find and type the cells of a field; write its picture and outlines into `out`, under `name`."""
    field = read_field(source)
    found = find_leukocytes(field, pixel=choice.micrometres, origin=choice.origin)
    description, scale = model.description if model else None, found.scale.micrometres_per_pixel
    squares = [square_for(description, cell, scale) for cell in found.cells]
    # A nucleus mirrored at the border would look like a lobe to a model that searches for the cell.
    beyond = found.white if frames_cells(description) else None
    remarks = [*found.remarks, *([choice.remark] if choice.remark and found.is_smear else []),
               *(scale_remarks(description, scale) if found.cells else [])]
    thumbs = (cut_square(field, replace(square, size=THUMB_SIDE), beyond) for square in squares)
    answers = model.predict(cut_square(field, square, beyond) for square in squares) if model else None
    named = NamedField(name, source.name, found)
    table = cells_table([named], answers, subject)
    rows = table.rows(named=True)
    annotations = coco_annotations(named, rows, model.classes if model else ())
    write_json(out / f"{name}.geojson", geojson(named, rows, colours))
    with atomic_path(out / f"{name}.png") as beside:
        # Level 4 takes a quarter of the default's time, for about the same size.
        annotated(field, named, rows, colours).save(beside, format="PNG", compress_level=4)
    picture = reduced(field, PICTURE_SIDE)
    summary = FieldSummary(
        name, source.name, found.width, found.height, scale, found.scale.source, found.scale.red_cells, found.is_smear,
        table.height, table.filter(~pl.col("cut") & ~pl.col("damaged")).height, table["flag"].drop_nulls().len(),
        tuple(remarks))
    return FieldResult(summary, table, annotations, list(map(image_uri, thumbs)), image_uri(picture))
