"""A model for Python: `load()` or `load(path)`, then `predict(images)` on files, arrays or Pillow images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ..bundle.bundle import Bundle, Description, open_bundle
from ..errors import LeukoscopeError
from ..images.read import picture_pixels, read_image
from .stream import BATCH, prepared, verdicts

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = str | Path | np.ndarray | Image

PACKAGED = "packaged"
"""The word that stands for the model of the package, wherever a bundle may be named."""
PACKAGED_FILE = "leukoscope-small.zip"


@dataclass(frozen=True)
class Model:
    """An opened bundle that predicts. Nothing is cached between calls but the graph."""

    bundle: Bundle

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.bundle.classes

    @property
    def description(self) -> Description:
        """What the bundle says of itself."""
        return self.bundle.description

    @property
    def is_packaged(self) -> bool:
        """Whether it is the model that comes with the package."""
        return self.bundle.path == _packaged()

    def predict(self, images: Picture | Iterable[Picture]) -> pl.DataFrame:
        """One row an image: predicted, unsure, set, known, energy, p_<class> (see `leukoscope predict`).

        images: files, uint8 arrays (h, w, 3) of RGB, or Pillow images; one alone will do. Any sizes. Raises ImageError
        for a file that cannot be read, LeukoscopeError for an array that is no image.
        """
        cells: list[np.ndarray] = []
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for image in _each(images):
            cells.append(prepared(_pixels(image), self.description))
            if len(cells) == BATCH:
                found.append(self.bundle.probabilities(np.stack(cells)))
                cells = []
        if cells:
            found.append(self.bundle.probabilities(np.stack(cells)))
        if not found:
            found = [(np.empty((0, len(self.classes)), np.float32), np.empty(0, np.float32))]
        probabilities, energy = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return verdicts(self.description, probabilities, energy)


def packaged_model() -> Path:
    """The bundle that comes with the package. Raises LeukoscopeError where this installation lacks it."""
    path = _packaged()
    if not path.is_file():
        raise LeukoscopeError(f"{path}: the model of the package is missing",
                              "install leukoscope anew, or name a bundle of leukoscope export")
    return path


def _packaged() -> Path:
    return Path(str(files("leukoscope") / "packaged" / PACKAGED_FILE))


def bundle_path(text: str | Path) -> Path:
    """Where a bundle lies that a user has named: a path, or `packaged`, unless a file or folder has that name."""
    path = Path(text)
    return packaged_model() if str(text) == PACKAGED and not path.exists() else path


def load(path: str | Path | None = None) -> Model:
    """The model of a bundle (a folder, a ZIP file, or "packaged"), verified; without a path that of the package.
    BundleError says what is wrong with it."""
    return Model(open_bundle(packaged_model() if path is None else bundle_path(path)))


def _each(images: Any) -> Iterable[Any]:
    """One picture alone, or each of many."""
    if isinstance(images, str | Path) or hasattr(images, "convert"):
        return [images]
    return [images] if isinstance(images, np.ndarray) and images.ndim != 4 else images


def _pixels(image: Any) -> np.ndarray:
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if hasattr(image, "convert") and hasattr(image, "getexif"):
        if 0 in image.size:
            raise LeukoscopeError(f"a Pillow image of {image.size[0]} x {image.size[1]} px is no image",
                                  "give one with pixels")
        return picture_pixels(image)
    if not isinstance(image, np.ndarray):
        raise LeukoscopeError(f"{type(image).__name__} is no image", "give paths, uint8 arrays or Pillow images")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise LeukoscopeError(f"an array of {image.dtype} {image.shape} is no image",
                              "give uint8 of (height, width, 3), red, green and blue")
    return image
