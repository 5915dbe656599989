"""The outlines of cells in GeoJSON, as QuPath reads them: points in px from the corner of the field's first pixel."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

Rings = list[list[list[int | float]]]
"""The outer ring of a polygon, then its holes; points x, y, the last one the same as the first."""


class Polygon(TypedDict):
    """A cell of one piece, as nearly all are."""

    type: Literal["Polygon"]
    coordinates: Rings


class MultiPolygon(TypedDict):
    """A cell of several pieces."""

    type: Literal["MultiPolygon"]
    coordinates: list[Rings]


Geometry = Polygon | MultiPolygon


class Classification(TypedDict):
    """A type, and its colour: red, green, blue, 0 to 255."""

    name: str
    color: list[int]


class Properties(TypedDict):
    """Facts of a cell. name: its number in the field; measurements: name with unit -> number; metadata: the flag again,
    where there is one; decided: in a review, how the type stands."""

    objectType: str
    name: str
    classification: Classification
    measurements: dict[str, int | float]
    flag: str | None
    flag_reason: str | None
    metadata: NotRequired[dict[str, str | None]]
    decided: NotRequired[str]


class Feature(TypedDict):
    """A cell."""

    type: str
    id: str
    geometry: Geometry
    properties: Properties


class Features(TypedDict):
    """The cells of a field."""

    type: str
    features: list[Feature]


def geometry_of(polygons: list[Rings]) -> Geometry:
    """Of one polygon or of several."""
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def polygons_of(geometry: Geometry) -> list[Rings]:
    """All polygons of a geometry."""
    return [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]


def path_of(geometry: Geometry) -> str:
    """A geometry as the path of an SVG."""
    return "".join(f"M{' '.join(f'{float(x):.1f},{float(y):.1f}' for x, y in ring[:-1])}Z"
                   for rings in polygons_of(geometry) for ring in rings)
