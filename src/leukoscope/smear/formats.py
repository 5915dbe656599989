"""Found cells as tables, as GeoJSON for QuPath, and as COCO. Writes no file, and draws nothing."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

import contourpy
import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import LeukoscopeError
from .count import is_damaged
from .field import FoundCell, FoundField, Morphometry
from .flag import flagged

UNTYPED = "leukocyte"
"""The class of a cell where no model was asked."""
_SIMPLER = 0.25  # px: how far a point may lie from the exact outline for it to be left out

_SIZES = ("cell_area", "nucleus_area", "cell_diameter", "nucleus_diameter")
_SHAPES = ("nucleus_share", "nucleus_to_cytoplasm", "cell_roundness", "nucleus_roundness", "cell_solidity",
           "nucleus_solidity")


@dataclass(frozen=True, eq=False)
class NamedField:
    """What was found in a field, and the field's name: that of its files. image: the file (with its page)."""

    name: str
    image: str
    found: FoundField


def cells_table(fields: Sequence[NamedField], answers: pl.DataFrame | None, subject: str = "") -> pl.DataFrame:
    """One row a cell, numbered from 1 within its field. answers: of a model, a row a cell in the same order.

    Boxes and centres in px of the field, the middle of its first pixel being 0; colours over the field's white point.
    flag, flag_reason: of a cell to be looked at first (see flag.py). Null: a ratio without cytoplasm, um without a
    scale, no flag, and all that a model would say where there is none.
    """
    rows = [_row(field, number, cell) for field in fields for number, cell in enumerate(field.found.cells, start=1)]
    table = pl.DataFrame(rows, schema=_SCHEMA, orient="row").with_columns(
        pl.lit(subject or None, dtype=pl.String).alias("subject"))
    if answers is None:
        empty = {"predicted": pl.String, "unsure": pl.Boolean, "set": pl.String, "known": pl.Boolean,
                 "energy": pl.Float32}
        return flagged(table.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in empty.items()))
    return flagged(table.with_columns(answers.get_columns()))


def outlines(mask: NDArray[np.bool_], left: int, top: int) -> list[list[NDArray[np.float64]]]:
    """Polygons of a mask whose first pixel's corner lies at (left, top): of each its outer ring, then its holes, as
    (n, 2) points x, y without the repeated last. Largest first. They run between the pixels in and outside, so that
    they have the area of the mask, less what corners lose."""
    around = np.pad(mask, 1).astype(np.float64)
    filled: Any = contourpy.contour_generator(z=around, fill_type=contourpy.FillType.OuterOffset).filled(0.5, 2)
    found = []
    for own, parts in zip(*filled, strict=True):  # points of a polygon, and where each of its rings begins
        rings = [_simplified(own[first:last - 1]) for first, last in pairwise(parts)]
        found.append([ring - 0.5 + (left, top) for ring in rings if len(ring) >= 3])
    return sorted((rings for rings in found if rings), key=lambda rings: -_area(rings[0]))


def geojson(field: NamedField, rows: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> dict[str, Any]:
    """A FeatureCollection of detections, as QuPath reads them. rows: the field's, of `cells_table`; colours: class ->
    "#rrggbb". Points in px from the corner of the first pixel. Raises LeukoscopeError for a class without a colour."""
    _check_classes(rows, colours)
    features = []
    for cell, row in zip(field.found.cells, rows, strict=True):
        polygons = [[_closed(ring) for ring in rings] for rings in outlines(cell.cell, cell.x, cell.y)]
        name = row["predicted"] or UNTYPED
        # One piece is by far the most frequent: QuPath takes both.
        shape: dict[str, Any] = ({"type": "Polygon", "coordinates": polygons[0]} if len(polygons) == 1 else
                                 {"type": "MultiPolygon", "coordinates": polygons})
        flag = {"flag": row["flag"], "flag_reason": row["flag_reason"]}
        features.append({
            "type": "Feature", "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{field.name}/{row['number']}")),
            "geometry": shape,
            "properties": {"objectType": "detection", "name": str(row["number"]),
                           "classification": {"name": name, "color": _rgb(colours[name])},
                           "measurements": measurements(row), **flag,
                           **({"metadata": flag} if row["flag"] else {})}})  # QuPath shows metadata of text alone
    return {"type": "FeatureCollection", "features": features}


def measurements(row: Mapping[str, Any]) -> dict[str, float]:
    """Name with unit -> number, of a row of `cells_table`; what is not known is left out."""
    named = {f"{key.replace('_', ' ')} px{'^2' if 'area' in key else ''}": row[f"{key}_px"] for key in _SIZES}
    named |= {f"{key.replace('_', ' ')} µm{'^2' if 'area' in key else ''}": row[f"{key}_um"] for key in _SIZES}
    named |= {key.replace("_", " "): row[key] for key in (*_SHAPES, "lobes", "score")}
    named |= {key: float(row[key]) for key in ("cut", "damaged")}
    named |= {key.replace("p_", "probability ", 1): value for key, value in row.items() if key.startswith("p_")}
    return {name[:1].upper() + name[1:]: value for name, value in named.items() if value is not None}


def coco_categories(classes: Sequence[str]) -> list[dict[str, Any]]:
    """The classes in COCO's form, with ids from 1; without classes the one of untyped cells."""
    return [{"id": number, "name": name, "supercategory": UNTYPED}
            for number, name in enumerate(classes or [UNTYPED], start=1)]


def coco_annotations(field: NamedField, rows: Sequence[Mapping[str, Any]],
                     classes: Sequence[str]) -> list[dict[str, Any]]:
    """A field's cells in COCO's form, without the ids of annotation and image: polygons without holes, boxes, areas of
    the masks. rows: as in `geojson`. Raises LeukoscopeError for a class that is not among `classes`."""
    numbers = {one["name"]: one["id"] for one in coco_categories(classes)}
    _check_classes(rows, numbers)
    return [{"category_id": numbers[row["predicted"] or UNTYPED], "bbox": list(cell.box), "area": int(cell.cell.sum()),
             "iscrowd": 0, "score": round(cell.score, 4), "flag": row["flag"], "flag_reason": row["flag_reason"],
             "segmentation": [np.round(rings[0], 2).ravel().tolist()
                              for rings in outlines(cell.cell, cell.x, cell.y)]}
            for cell, row in zip(field.found.cells, rows, strict=True)]


def _check_classes(rows: Sequence[Mapping[str, Any]], known: Mapping[str, Any]) -> None:
    odd = next((row for row in rows if (row["predicted"] or UNTYPED) not in known), None)
    if odd is not None:
        raise LeukoscopeError(f"cell {odd['number']} of {odd['field']} is typed as '{odd['predicted'] or UNTYPED}', "
                              f"which is not among {', '.join(known)}", "give the classes of the model that typed it")


_SCHEMA: dict[str, Any] = {
    "field": pl.String, "image": pl.String, "number": pl.Int32,
    **dict.fromkeys(("x", "y", "width", "height"), pl.Int32), "centre_x": pl.Float64, "centre_y": pl.Float64,
    "cut": pl.Boolean, "damaged": pl.Boolean, "score": pl.Float64, "micrometres_per_pixel": pl.Float64,
    **{f"{key}_{unit}": pl.Float64 for unit in ("px", "um") for key in _SIZES},
    **dict.fromkeys(_SHAPES, pl.Float64), "lobes": pl.Int32,
    **{f"{part}_{colour}": pl.Float64 for part in ("nucleus", "cytoplasm") for colour in ("red", "green", "blue")}}


def _row(field: NamedField, number: int, cell: FoundCell) -> tuple[Any, ...]:
    sizes: Morphometry = cell.morphometry
    shapes = [getattr(sizes, key) for key in _SHAPES]
    return (field.name, field.image, number, *cell.box, *cell.centre, cell.cut, is_damaged(cell), cell.score,
            field.found.scale.micrometres_per_pixel, *(getattr(sizes, key) for key in _SIZES),
            sizes.cell_area_um2, sizes.nucleus_area_um2, sizes.cell_diameter_um, sizes.nucleus_diameter_um,
            *(value if isfinite(value) else None for value in shapes), sizes.lobes,
            *(sizes.nucleus_colour or (None,) * 3), *(sizes.cytoplasm_colour or (None,) * 3))


def _simplified(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    return cv2.approxPolyDP(ring.astype(np.float32)[:, None], _SIMPLER, True)[:, 0].astype(np.float64)


def _area(ring: NDArray[np.float64]) -> float:
    """By the shoelace formula."""
    x, y = ring.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _closed(ring: NDArray[np.float64]) -> list[list[float]]:
    points = np.round(ring, 2).tolist()
    return [*points, points[0]]


def _rgb(colour: str) -> list[int]:
    return [int(colour[i:i + 2], 16) for i in (1, 3, 5)]
