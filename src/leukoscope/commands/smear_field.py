"""One field of a smear: read, its cells found, cut and typed, picture and outlines written. Knows no counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from ..errors import input_error
from ..figures.smear import annotated, reduced
from ..figures.svg import image_uri
from ..files import atomic_path, write_json
from ..images.colour import profile_remark
from ..images.pixel_size import stated_pixel_size
from ..images.read import colour_profile, image_size
from ..images.stacks import is_tiff
from ..predict.batches import reason_of
from ..predict.model import Model
from ..predict.sources import Source
from ..smear.count import without_large_platelets
from ..smear.crops import THUMB_SIDE, Square, cell_frame, cut_square, frames_cells, scale_remarks, square_for
from ..smear.even import even_field
from ..smear.field import FoundField
from ..smear.find import find_leukocytes
from ..smear.formats import NamedField, all_classes, cells_table, coco_annotations, geojson
from ..smear.source import FieldSource, field_source, open_field
from ..smear.summary import FieldSummary
from ..smear.survey import COARSEST, survey
from ..text import escaped, plural
from .smear_resume import FieldResult, FieldScale

CONTRADICTED = 2.0
"""A pixel size that a file states is not used where MANY red cells say this many times as much, or as little: red cells
of people have 6 to 9.5 um."""
OTHER_CAMERA = 2.5
"""A field keeps its own scale if MANY red cells say this many times the scale of all fields, or as many times less."""
MANY = 10
"""Few red cells err: four of BCCD's field 390 say 0.208 um per pixel, the camera's fields 0.083."""
LARGE = 50_000_000  # px: above it a TIFF is read by windows
PICTURE_SIDE = 1400  # px, of a field in the page


@dataclass(frozen=True)
class ScaleChoice:
    """What a field is measured by. micrometres: um per pixel; None for its own red cells. origin: "given", "file" or
    "other fields". remark: why it is not what the file or the other fields say, or ""."""

    micrometres: float | None
    origin: str = "given"
    remark: str = ""


def first_look(source: Source, given: float | None) -> FieldScale:
    """Whether a field can be read and, where no scale is given and it looks like a smear, what its red cells say."""
    try:
        field = read_field(source)
        look = survey(even_field(field) or field, None)
        stated = stated_pixel_size(source.image, page=source.pages)
        profile = colour_profile(source.image, page=source.pages)
    except Exception as error:  # a stranger's file may raise anything, and is one line of the result
        return FieldScale(reason_of(input_error(error)), None, 0)
    remarks = tuple(filter(None, (source.note, profile_remark(profile), stated.remark)))
    if given is not None or look.unlike:
        return FieldScale("", None, 0, stated.micrometres, stated.origin, remarks)
    return FieldScale("", look.red_cells.scale, len(look.red_cells.diameters), stated.micrometres, stated.origin,
                      remarks)


def read_field(source: Source) -> FieldSource:
    """As a whole, or a very large TIFF one window at a time. Raises LeukoscopeError where it cannot be read."""
    path = Path(source.image)
    if not source.missing and not source.channels and is_tiff(path):
        width, height = image_size(path, page=source.page)
        if width * height > LARGE:
            return field_source(open_field(path, page=source.page))
    return field_source(source.read())


def common_scale(scales: Sequence[float | None]) -> float | None:
    """um per pixel for all fields of a camera: the median of those that are known and fine enough; None without any."""
    known = [scale for scale in scales if scale is not None and scale <= COARSEST]
    return float(np.median(known)) if known else None


def choose_scale(own: FieldScale, scales: Sequence[FieldScale], given: float | None) -> ScaleChoice:
    """The given scale, otherwise that which the file states unless its red cells contradict it, otherwise that of all
    fields unless this one is clearly of another magnification. own: of the field; scales: of all fields that can be
    read."""
    said = f"the file states {own.stated:.3g} um a pixel ({own.origin})" if own.stated is not None else ""
    if given is not None:
        differs = own.stated is not None and not 0.98 < given / own.stated < 1.02
        return ScaleChoice(given, remark=f"{said}, and {given:.3g} was given" if differs else "")
    if own.stated is not None:
        by = own.scale / own.stated if own.scale is not None and own.red_cells >= MANY else 1.0
        if 1 / CONTRADICTED < by < CONTRADICTED:
            return ScaleChoice(own.stated, "file")
        others = choose_scale(replace(own, stated=None), scales, None)
        said += f", but {own.red_cells} red cells say {own.scale:.3g}: not used"
        return replace(others, remark="; ".join(filter(None, (said, others.remark))))
    common = common_scale([scale.scale for scale in scales])
    if common is None or len(scales) == 1:
        return ScaleChoice(None)
    if own.scale is None or own.red_cells < MANY or 1 / OTHER_CAMERA < own.scale / common < OTHER_CAMERA:
        return ScaleChoice(common, "other fields")
    return ScaleChoice(None, remark=f"its red cells say {own.scale:.3g} um a pixel and those of all fields "
                                    f"{common:.3g}: taken for another magnification")


def _answers(model: Model, found: FoundField, field: FieldSource, squares: Sequence[Square],
             beyond: tuple[float, float, float] | None) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """What a model says of the cells, and why some have no answer. One that frames each cell is given the outlines that
    were found."""
    pictures = (cut_square(field, square, beyond) for square in squares)
    frames = [cell_frame(field, cell, square, found.white)
              for cell, square in zip(found.cells, squares, strict=True)] if frames_cells(model.description) else None
    answers, untyped = model.predict_some(pictures, frames=frames)
    return without_large_platelets(answers, found, model.classes), untyped


def process_field(source: Source, name: str, model: Model | None, looked: FieldScale, choice: ScaleChoice, *,
                  subject: str, colours: Mapping[str, str], out: Path) -> FieldResult:
    """Find and type the cells of a field; write its picture and outlines into `out`, under `name`. looked: what the
    first look gave."""
    field = read_field(source)
    found = find_leukocytes(field, pixel=choice.micrometres, origin=choice.origin)
    description, scale = model.description if model else None, found.scale.micrometres_per_pixel
    worked = found.even or field
    squares = [square_for(description, cell, scale) for cell in found.cells]
    # A nucleus mirrored at the border would look like a lobe to a model that searches for the cell.
    beyond = found.white if frames_cells(description) else None
    remarks = [*looked.remarks, *found.remarks, *([choice.remark] if choice.remark and found.is_smear else []),
               *(scale_remarks(description, scale) if found.cells else [])]
    thumbs = (cut_square(field, replace(square, size=THUMB_SIDE), beyond) for square in squares)
    answers: pl.DataFrame | None = None
    if model is not None:
        answers, untyped = _answers(model, found, worked, squares, beyond)
        for reason in untyped[:1]:
            remarks.append(f"{plural(len(untyped), 'cell')} could not be typed and "
                           f"{'are' if len(untyped) > 1 else 'is'} called damaged: {reason}")
    named = NamedField(name, escaped(source.name), found)
    table = cells_table([named], answers, subject)
    rows = table.rows(named=True)
    annotations = coco_annotations(named, rows, all_classes(model.classes if model else (), table))
    write_json(out / f"{name}.geojson", geojson(named, rows, colours))
    with atomic_path(out / f"{name}.png") as beside:
        # Level 4 takes a quarter of the default's time, for about the same size.
        annotated(field, named, rows, colours).save(beside, format="PNG", compress_level=4)
    picture = reduced(field, PICTURE_SIDE)
    summary = FieldSummary(
        name, named.image, found.width, found.height, scale, found.scale.source, found.scale.red_cells, found.is_smear,
        table.height, table.filter(~pl.col("cut") & ~pl.col("damaged")).height, table["flag"].drop_nulls().len(),
        tuple(remarks))
    return FieldResult(summary, table, annotations, list(map(image_uri, thumbs)), image_uri(picture))
