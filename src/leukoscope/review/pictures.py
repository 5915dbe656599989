"""Cells and fields as JPEG, cut from the photographs. Where a photograph has gone, from the picture with outlines that
`smear` wrote. What is cut ahead is kept beside the result."""

from __future__ import annotations

import json
import threading
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from ..errors import LeukoscopeError
from ..files import atomic_path
from ..images.read import read_image
from ..smear.crops import Square, cut_square
from ..smear.geojson import path_of
from ..smear.source import ArrayField, FieldSource, reduced
from ..smear.summary import FieldSummary
from ..tables import Row
from .result import SmearResult
from .slides import SlidePictures

TILE, TILE_UM = 160, 24.0
"""px and um: side of the picture of a cell in the gallery. All cells have the same scale, where it is known."""
AROUND, AROUND_UM = 560, 42.0
"""The same, of the picture that shows a cell in its field."""
UNSCALED, UNSCALED_AROUND = 1.6, 3.2
"""Sides of these pictures over the longer side of the cell's box, where the scale is not known."""
LARGEST = 6000
"""px: longest side of the picture of a field."""
PIXELS = 20_000_000
"""Pixels of decoded fields that stay in memory."""
FIELDS = 150
"""Fields whose cut cells stay in memory."""
CACHE = "review.pictures"
_OUTSIDE = (236.0, 236.0, 240.0)


@dataclass(frozen=True)
class Place:
    """The square of a field that a picture shows, px of the field."""

    left: int
    top: int
    side: int


class Asked:
    """How many requests somebody waits for; work in the background rests meanwhile."""

    def __init__(self) -> None:
        self._lock, self._waiting = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._waiting += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._waiting -= 1

    def rest(self, stopped: threading.Event) -> None:
        """Return once nobody waits, or when `stopped` is set."""
        while self._waiting and not stopped.is_set():
            stopped.wait(0.02)


class Pictures:
    """Of one smear, for several threads. asked: the requests, which come before what is cut ahead."""

    def __init__(self, result: SmearResult, asked: Asked | None = None) -> None:
        self._asked = asked or Asked()
        self._result = result
        self._fields = {field.name: field for field in result.summary.fields}
        self._places = {name: place for place, name in enumerate(self._fields)}
        self._decoded: OrderedDict[str, ArrayField] = OrderedDict()
        self._tiles: OrderedDict[str, dict[int, bytes]] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding = {name: threading.Lock() for name in self._fields}
        self.slide = SlidePictures.of(result)

    def tile(self, row: Row) -> bytes:
        """A cell of the gallery. row: of the table of cells. Raises LeukoscopeError where there is no picture."""
        tiles = self._kept(row["field"])
        if row["number"] in tiles:
            return tiles[row["number"]]
        return self._shown(row, TILE, around=False)

    def around(self, row: Row) -> bytes:
        """A cell with its field around it."""
        return self._shown(row, AROUND, around=True)

    def field(self, name: str) -> bytes:
        """A whole field."""
        return _jpeg(self.slide.overview if self.slide is not None else reduced(self._field(name), LARGEST))

    def source(self, name: str) -> FieldSource:
        """The pixels of a field."""
        return self._field(name)

    def cut_ahead(self, name: str, stopped: threading.Event) -> None:
        """Cut all cells of a field and keep them, while nobody asks for another picture."""
        if self._path(name).is_file():
            return
        tiles = {}
        for row in self._result.cells.filter(pl.col("field") == name).iter_rows(named=True):
            self._asked.rest(stopped)
            if stopped.is_set():
                return
            tiles[row["number"]] = _jpeg(self._cut(self._field(name), name, place_of(row), TILE))
        _write_tiles(self._path(name), tiles)

    def _shown(self, row: Row, size: int, *, around: bool) -> bytes:
        return _jpeg(self._cut(self._field(row["field"]), row["field"], place_of(row, around=around), size))

    def _path(self, name: str) -> Path:
        return self._result.folder / CACHE / f"{self._result.digest[:8]}-{self._places[name]}.zip"

    def _kept(self, name: str) -> dict[int, bytes]:
        """The cells of a field that were cut before, by number."""
        with self._lock:
            if name in self._tiles:
                self._tiles.move_to_end(name)
                return self._tiles[name]
        tiles = _read_tiles(self._path(name))
        with self._lock:
            if tiles:
                self._tiles[name] = tiles
            while len(self._tiles) > FIELDS:
                self._tiles.popitem(last=False)
        return tiles

    def _cut(self, field: FieldSource, name: str, place: Place, size: int) -> NDArray[np.uint8]:
        # The picture with outlines is smaller than a very large field.
        zoom = field.width / self._fields[name].width
        left, top, side = (round(value * zoom) for value in (place.left, place.top, place.side))
        return cut_square(field, Square(left, top, max(side, 1), size), _OUTSIDE)

    def _field(self, name: str) -> FieldSource:
        """The photograph, decoded, or what stands in for it; a slide is read by windows."""
        if self.slide is not None:
            return self.slide.field
        with self._decoding[name]:
            with self._lock:
                if name in self._decoded:
                    self._decoded.move_to_end(name)
                    return self._decoded[name]
            pixels = _photograph(self._result, self._fields[name])
            field = ArrayField(read_image(self._result.folder / f"{name}.png") if pixels is None else pixels)
            with self._lock:
                self._decoded[name] = field
                while len(self._decoded) > 1 and sum(one.width * one.height for one in self._decoded.values()) > PIXELS:
                    self._decoded.popitem(last=False)
            return field


def _photograph(result: SmearResult, field: FieldSummary) -> NDArray[np.uint8] | None:
    """The pixels of a field, or None where its photograph has gone, cannot be read or has another size now."""
    found = result.photograph(field)
    if found is None:
        return None
    try:
        pixels = read_image(found[0], page=found[1])
    except LeukoscopeError:
        return None
    return pixels if pixels.shape[:2] == (field.height, field.width) else None


def place_of(row: Row, *, around: bool = False) -> Place:
    """The square of a cell. row: of the table of cells."""
    micrometres, scale = AROUND_UM if around else TILE_UM, row["micrometres_per_pixel"]
    box = max(row["width"], row["height"])
    side = round(micrometres / scale) if scale else ceil((UNSCALED_AROUND if around else UNSCALED) * box)
    left, top = (round(row[f"centre_{axis}"] - (side - 1) / 2) for axis in "xy")
    return Place(left, top, side)


def outlines(folder: Path, name: str) -> dict[int, str]:
    """The outlines of a field as `smear` wrote them: number of the cell -> path of an SVG, px of the field. Raises
    LeukoscopeError where the file is damaged."""
    path = folder / f"{name}.geojson"
    try:
        features = json.loads(path.read_text(encoding="utf-8"))["features"]
        return {int(feature["properties"]["name"]): path_of(feature["geometry"]) for feature in features}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LeukoscopeError(f"{path}: cannot be read ({error})", "count the smear again") from error


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=88)
    return stream.getvalue()


def _read_tiles(path: Path) -> dict[int, bytes]:
    try:
        with zipfile.ZipFile(path) as file:
            return {int(name): file.read(name) for name in file.namelist()}
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}


def _write_tiles(path: Path, tiles: dict[int, bytes]) -> None:
    """Keep pictures for the next time; where that cannot be done, they are cut again."""
    try:
        with atomic_path(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as file:
            for number, tile in tiles.items():
                file.writestr(str(number), tile)
    except OSError:
        pass
