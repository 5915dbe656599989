"""Large PNG and JPEG: they hold no windows, so libvips rewrites them once, row by row, as a tiled TIFF in the cache.

The TIFF has the same pixels (it is compressed without loss) and a pyramid. It may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import filelock
import platformdirs
import pyvips

from ..errors import ImageError
from ..files import atomic_path, remove_partials
from .slide import Facts
from .tiff import TiffSlide

_TILE = 512
_VERSION = "1"


class StreamedSlide(TiffSlide):
    """A large PNG or JPEG, read from its tiled copy."""

    def __init__(self, path: Path) -> None:
        super().__init__(_tiled_copy(path), source=path)
        it = self.facts
        self.facts = Facts(f"libvips {pyvips.version(0)}.{pyvips.version(1)}", it.levels, it.pixel, it.objective,
                           it.vendor)


def _tiled_copy(path: Path) -> Path:
    """The tiled copy of a file as it is now, made where it is missing."""
    state = os.stat(path)
    key = hashlib.sha256(f"{_VERSION}\0{path.resolve()}\0{state.st_size}\0{state.st_mtime_ns}".encode(
        "utf-8", "surrogateescape")).hexdigest()[:32]
    folder = Path(os.environ.get("LEUKOSCOPE_CACHE") or platformdirs.user_cache_path("leukoscope")) / "slides"
    copy = folder / f"{key}.tif"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{copy}.lock"):
        remove_partials(folder, key)
        if not copy.is_file():
            with atomic_path(copy) as beside:
                _write(path, beside)
    return copy


def _write(path: Path, to: Path) -> None:
    try:
        image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="truncated")
        if image.hasalpha():
            image = image.flatten(background=[255, 255, 255])
        if image.format != "uchar":
            image = (image >> 8).cast("uchar")
        image.colourspace("srgb").tiffsave(str(to), tile=True, tile_width=_TILE, tile_height=_TILE, pyramid=True,
                                           compression="deflate", predictor="horizontal", level=1, bigtiff=True)
    except pyvips.Error as error:
        reason = " ".join(str(error).split())
        if "No space left" in reason:
            raise OSError(28, "No space left on device", str(to)) from error
        raise ImageError(path, f"cannot be decoded ({reason[:200]})", "export the slide again") from error
