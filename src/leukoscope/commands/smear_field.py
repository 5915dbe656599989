"""One field of a smear: read, its cells found, cut and typed, picture and outlines written. Knows no counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from ..errors import input_error
from ..figures.smear import annotated
from ..figures.svg import image_uri
from ..files import atomic_path, write_json
from ..images.colour import profile_remark
from ..images.pixel_size import stated_pixel_size
from ..images.read import colour_profile, image_size
from ..images.stacks import is_tiff
from ..predict.batches import reason_of
from ..predict.found import type_found
from ..predict.model import Model
from ..predict.sources import Source
from ..smear.crops import THUMB_SIDE, cut_square, frames_cells, scale_remarks, squares_of
from ..smear.field import moved
from ..smear.find import FirstLook, first_look_at, search
from ..smear.formats import NamedField, all_classes, cells_table, coco_annotations, geojson
from ..smear.source import FieldSource, field_source, open_field, reduced
from ..smear.summary import FieldSummary
from ..smear.survey import COARSEST
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


def first_look(source: Source, given: float | None) -> tuple[FieldScale, FirstLook | None]:
    """Whether a field can be read and, where no scale is given and it looks like a smear, what its red cells say; and
    the whole look, for `process_field`."""
    try:
        looked = first_look_at(read_field(source))
        stated = stated_pixel_size(source.image, page=source.pages)
        profile = colour_profile(source.image, page=source.pages)
    except Exception as error:  # a stranger's file may raise anything, and is one line of the result
        return FieldScale(reason_of(input_error(error)), None, 0), None
    remarks, look = tuple(filter(None, (source.note, profile_remark(profile), stated.remark))), looked.survey
    known = given is not None or look.unlike
    own, count = (None, 0) if known else (look.scale.micrometres_per_pixel, len(look.red_cells.diameters))
    return FieldScale("", own, count, stated.micrometres, stated.origin, remarks), looked


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


@dataclass(frozen=True, eq=False)
class CountedField:
    """The cells of a field: outlined, typed and measured. named: what was found. table: of `cells_table`. thumbs: their
    pictures. remarks: what a reader must know."""

    named: NamedField
    table: pl.DataFrame
    thumbs: list[str]
    remarks: list[str]


def count_field(field: FieldSource, name: str, image: str, model: Model | None, choice: ScaleChoice, *, subject: str,
                at: tuple[int, int] | None = None, look: FirstLook | None = None) -> CountedField:
    """Find, type and measure the cells of a field, as `field_source` gives it. name: of its files; image: the
    photograph or slide. at: (x, y) of its corner, where it is a part of a slide: places are those on the slide. look:
    what the first look gave, if it is known."""
    found = search(field, look or first_look_at(field), pixel=choice.micrometres, origin=choice.origin,
                   skim=at is not None)
    description = model.description if model else None
    squares = squares_of(description, found)
    remarks = [*found.remarks, *([choice.remark] if choice.remark and found.is_smear else []),
               *scale_remarks(description, found.cells, found.scale.micrometres_per_pixel)]
    beyond = found.white if frames_cells(description) else None
    pictures = (cut_square(field, replace(square, size=THUMB_SIDE), beyond) for square in squares)
    thumbs = [image_uri(picture) for picture in pictures]
    answers: pl.DataFrame | None = None
    if model is not None:
        answers, untyped = type_found(model, found, found.even or field)
        for reason in untyped[:1]:
            remarks.append(f"{plural(len(untyped), 'cell')} could not be typed and "
                           f"{'are' if len(untyped) > 1 else 'is'} called damaged: {reason}")
    named = NamedField(name, image, moved(found, *(at or (0, 0))))
    return CountedField(named, cells_table([named], answers, subject), thumbs, remarks)


def process_field(source: Source, name: str, model: Model | None, looked: FieldScale, choice: ScaleChoice, *,
                  subject: str, colours: Mapping[str, str], out: Path, look: FirstLook | None = None) -> FieldResult:
    """Find and type the cells of a field; write its picture and outlines into `out`, under `name`. looked, look: what
    the first look gave; a call that goes on after a stop has only the former."""
    field = read_field(source)
    counted = count_field(field, name, escaped(source.name), model, choice, subject=subject, look=look)
    named, table, found = counted.named, counted.table, counted.named.found
    rows = table.rows(named=True)
    annotations = coco_annotations(named, rows, all_classes(model.classes if model else (), table))
    write_json(out / f"{name}.geojson", geojson(named, rows, colours))
    with atomic_path(out / f"{name}.png") as beside:
        # Level 4 takes a quarter of the default's time, for about the same size.
        annotated(field, named, rows, colours).save(beside, format="PNG", compress_level=4)
    picture = reduced(field, PICTURE_SIDE)
    summary = FieldSummary(
        name, named.image, found.width, found.height, found.scale.micrometres_per_pixel, found.scale.source,
        found.scale.red_cells, found.is_smear, table.height, whole_cells(table).height,
        table["flag"].drop_nulls().len(), (*looked.remarks, *counted.remarks))
    return FieldResult(summary, table, annotations, counted.thumbs, image_uri(picture))


def whole_cells(table: pl.DataFrame) -> pl.DataFrame:
    """The cells of a `cells_table` that are neither cut nor damaged."""
    return table.filter(~pl.col("cut") & ~pl.col("damaged"))
