"""Found cells as tables, as GeoJSON for QuPath, and as COCO. Writes no file, and draws nothing."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import isfinite
from typing import Any, TypedDict

import contourpy
import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import LeukoscopeError
from ..tables import Row
from .count import is_damaged
from .field import FoundCell, FoundField
from .flag import flagged
from .geojson import Feature, Features, Properties, geometry_of

UNTYPED = "leukocyte"
"""The class of a cell that no model has typed."""
_SIMPLER = 0.25  # px: how far the exact outline may lie from a point that is left out

_SIZES = ("cell_area", "nucleus_area", "cell_diameter", "nucleus_diameter")
_SHAPES = ("nucleus_share", "nucleus_to_cytoplasm", "cell_roundness", "nucleus_roundness", "cell_solidity",
           "nucleus_solidity")
_SCHEMA: dict[str, type[pl.DataType]] = {
    "field": pl.String, "image": pl.String, "number": pl.Int32,
    **dict.fromkeys(("x", "y", "width", "height"), pl.Int32), "centre_x": pl.Float64, "centre_y": pl.Float64,
    "cut": pl.Boolean, "damaged": pl.Boolean, "score": pl.Float64, "micrometres_per_pixel": pl.Float64,
    **{f"{key}_{unit}": pl.Float64 for unit in ("px", "um") for key in _SIZES},
    **dict.fromkeys(_SHAPES, pl.Float64), "lobes": pl.Int32,
    **{f"{part}_{colour}": pl.Float64 for part in ("nucleus", "cytoplasm") for colour in ("red", "green", "blue")}}
_ANSWERS: dict[str, type[pl.DataType]] = {"predicted": pl.String, "unsure": pl.Boolean, "set": pl.String,
                                          "known": pl.Boolean, "energy": pl.Float32}

Ring = NDArray[np.float64]


class Annotation(TypedDict):
    """A cell in COCO's form, without the ids of annotation and image. bbox: x, y, width, height in px; segmentation: of
    each polygon x, y in turn."""

    category_id: int
    bbox: list[int]
    area: int
    iscrowd: int
    score: float
    flag: str | None
    flag_reason: str | None
    segmentation: list[list[float]]


class Category(TypedDict):
    """A class in COCO's form."""

    id: int
    name: str
    supercategory: str


@dataclass(frozen=True, eq=False)
class NamedField:
    """What was found in a field; name: that of the field's files; image: the photograph (with its page)."""

    name: str
    image: str
    found: FoundField

    @cached_property
    def outlines(self) -> list[list[list[Ring]]]:
        """The `outlines` of each cell."""
        return [outlines(cell.cell, cell.x, cell.y) for cell in self.found.cells]


def cells_table(fields: Sequence[NamedField], answers: pl.DataFrame | None, subject: str = "") -> pl.DataFrame:
    """One row for each cell, numbered from 1 within its field. answers: of a model, in the same order; a cell without
    an answer, since nothing in it is stained like a nucleus, is damaged.

    Boxes and centres in px of the field, where the middle of the first pixel is 0; colours over its white point. flag,
    flag_reason: of a cell to look at first (see flag.py). Null: a ratio without cytoplasm, um without a scale, no flag,
    and a model's answers where there is no model.
    """
    rows = [_row(field, number, cell) for field in fields for number, cell in enumerate(field.found.cells, start=1)]
    table = pl.DataFrame(rows, schema=_SCHEMA, orient="row").with_columns(
        pl.lit(subject or None, dtype=pl.String).alias("subject"))
    if answers is None:
        return flagged(table.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in _ANSWERS.items()))
    unanswered = answers["predicted"].is_null()
    return flagged(table.with_columns(answers.get_columns()).with_columns(pl.col("damaged") | unanswered))


def all_classes(classes: Sequence[str], table: pl.DataFrame) -> tuple[str, ...]:
    """The classes of a model and, where it gave some cell of a `cells_table` no type, that of untyped cells."""
    untyped = bool(classes) and UNTYPED not in classes and table["predicted"].null_count() > 0
    return (*classes, *([UNTYPED] if untyped else []))


def _row(field: NamedField, number: int, cell: FoundCell) -> tuple[object, ...]:
    sizes = cell.morphometry
    shapes = [getattr(sizes, key) for key in _SHAPES]
    return (field.name, field.image, number, *cell.box, *cell.centre, cell.cut, is_damaged(cell), cell.score,
            field.found.scale.micrometres_per_pixel, *(getattr(sizes, key) for key in _SIZES),
            sizes.cell_area_um2, sizes.nucleus_area_um2, sizes.cell_diameter_um, sizes.nucleus_diameter_um,
            *(value if isfinite(value) else None for value in shapes), sizes.lobes,
            *(sizes.nucleus_colour or (None,) * 3), *(sizes.cytoplasm_colour or (None,) * 3))


def outlines(mask: NDArray[np.bool_], left: int, top: int) -> list[list[Ring]]:
    """Polygons of a mask whose first pixel has its corner at (left, top). Of each, the outer ring, then its holes, as
    (n, 2) points x, y, the last not repeated. Largest first. They run between the pixels inside and outside, so they
    have the area of the mask, less a little at corners."""
    around = np.pad(mask, 1).astype(np.float64)
    filled: Any = contourpy.contour_generator(z=around, fill_type=contourpy.FillType.OuterOffset).filled(0.5, 2)
    polygons = []
    for points, starts in zip(*filled, strict=True):  # points of a polygon, and where each of its rings begins
        rings = [cv2.approxPolyDP(points[first:last - 1].astype(np.float32)[:, None], _SIMPLER, True)[:, 0]
                 for first, last in pairwise(starts)]
        rings = [ring.astype(np.float64) - 0.5 + (left, top) for ring in rings if len(ring) >= 3]
        polygons += [rings] if rings else []
    return sorted(polygons, key=lambda rings: -_area(rings[0]))


def _area(ring: Ring) -> float:
    """By the shoelace formula."""
    x, y = ring.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def geojson(field: NamedField, rows: Sequence[Row], colours: Mapping[str, str]) -> Features:
    """A FeatureCollection of detections, as QuPath reads them. rows: the field's, of `cells_table`; colours: class ->
    "#rrggbb". Points in px from the corner of the first pixel. Raises LeukoscopeError for a class without a colour."""
    _check_classes(rows, colours)
    features: list[Feature] = []
    for rings_of, row in zip(field.outlines, rows, strict=True):
        polygons = [[[*points, points[0]] for points in (np.round(ring, 2).tolist() for ring in rings)]
                    for rings in rings_of]
        name, flag, reason = row["predicted"] or UNTYPED, row["flag"], row["flag_reason"]
        properties: Properties = {
            "objectType": "detection", "name": str(row["number"]),
            "classification": {"name": name, "color": list(bytes.fromhex(colours[name][1:]))},
            "measurements": _measurements(row), "flag": flag, "flag_reason": reason}
        if flag:  # QuPath shows metadata of text alone
            properties["metadata"] = {"flag": flag, "flag_reason": reason}
        features.append({
            "type": "Feature", "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{field.name}/{row['number']}")),
            "geometry": geometry_of(polygons), "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def _measurements(row: Row) -> dict[str, int | float]:
    """Name with unit -> number; unknown values are left out."""
    named = {f"{key.replace('_', ' ')} {sign}{'^2' if 'area' in key else ''}": row[f"{key}_{unit}"]
             for unit, sign in (("px", "px"), ("um", "µm")) for key in _SIZES}
    named |= {key.replace("_", " "): row[key] for key in (*_SHAPES, "lobes", "score")}
    named |= {key: float(row[key]) for key in ("cut", "damaged")}
    named |= {key.replace("p_", "probability ", 1): value for key, value in row.items() if key.startswith("p_")}
    return {name[:1].upper() + name[1:]: value for name, value in named.items() if value is not None}


def coco_categories(classes: Sequence[str]) -> list[Category]:
    """The classes in COCO's form, with ids from 1; without classes, that of untyped cells."""
    return [{"id": number, "name": name, "supercategory": UNTYPED}
            for number, name in enumerate(classes or [UNTYPED], start=1)]


def coco_annotations(field: NamedField, rows: Sequence[Row], classes: Sequence[str]) -> list[Annotation]:
    """A field's cells in COCO's form, without the ids of annotation and image: polygons without holes, boxes, areas of
    the masks. rows: as in `geojson`. Raises LeukoscopeError for a class that is not among `classes`."""
    numbers = {category["name"]: category["id"] for category in coco_categories(classes)}
    _check_classes(rows, numbers)
    return [{"category_id": numbers[row["predicted"] or UNTYPED], "bbox": list(cell.box), "area": int(cell.cell.sum()),
             "iscrowd": 0, "score": round(cell.score, 4), "flag": row["flag"], "flag_reason": row["flag_reason"],
             "segmentation": [np.round(rings[0], 2).ravel().tolist() for rings in polygons]}
            for cell, row, polygons in zip(field.found.cells, rows, field.outlines, strict=True)]


def _check_classes(rows: Sequence[Row], classes: Collection[str]) -> None:
    odd = next((row for row in rows if (row["predicted"] or UNTYPED) not in classes), None)
    if odd is not None:
        raise LeukoscopeError(f"cell {odd['number']} of {odd['field']} is typed as '{odd['predicted'] or UNTYPED}', "
                              f"which is not among {', '.join(classes)}", "give the classes of the model that typed it")
