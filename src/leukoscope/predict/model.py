"""A model for Python: `load()` or `load(path)`, then `predict(images)` on files, arrays or Pillow images."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl

from ..bundle.bundle import Bundle, Description, open_bundle
from ..errors import LeukoscopeError
from ..finder.frame import Frame
from ..images.pillow import Pixels, picture_pixels
from ..images.read import read_image
from ..stats.estimate import Estimate
from ..text import interval, join, plural, type_name
from .batches import Picture, predict_pictures, reason_of
from .classifiers import prepared
from .fields import FIRST, field_warning
from .sources import Source
from .stream import verdicts

if TYPE_CHECKING:
    from PIL.Image import Image

    GivenImage = str | Path | np.ndarray | Image

PACKAGED = "packaged"
"""The word for the built-in model, wherever a bundle may be named."""
PACKAGED_FILE = "leukoscope.zip"


@dataclass(frozen=True, repr=False)
class Model:
    """An opened bundle that predicts. Only the graph stays in memory between calls."""

    bundle: Bundle

    def __repr__(self) -> str:
        where = "built in" if self.is_packaged else f"from {self.bundle.path}"
        return f"Model({self.description.name}, {plural(len(self.classes), 'class', 'classes')}: " \
               f"{', '.join(self.classes)}; {where})"

    def _repr_html_(self) -> str:
        described = self.description
        accuracy = Estimate.from_dict(described.metrics["overall"]["accuracy"])
        rows = {"classes": join(map(type_name, self.classes)), "network": f"{described.trained['network']}, "
                f"{described.size} x {described.size} px", "trained on": f"{described.trained['cells']:,} cells of "
                f"{', '.join(described.trained['sources']) or 'an unnamed source'}",
                "accuracy there": f"{interval(accuracy, page=True)}, {described.metrics['cells']:,} test cells",
                "file": "built in" if self.is_packaged else str(self.bundle.path)}
        cells = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
        return (f"<table><caption>{escape(described.title or described.name)}. For research, not a medical device."
                f"</caption>{cells}</table>")

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.bundle.classes

    @property
    def description(self) -> Description:
        """What bundle.json says."""
        return self.bundle.description

    @property
    def is_packaged(self) -> bool:
        """Whether it is the built-in model."""
        return self.bundle.path == _packaged()

    def predict(self, images: GivenImage | Iterable[GivenImage], *,
                frames: Sequence[Frame] | None = None) -> pl.DataFrame:
        """One row an image: predicted, unsure, set, known, energy, p_<class> (see `leukoscope predict`).

        images: files, uint8 arrays (h, w, 3) of RGB, or Pillow images, of any sizes; one or many. Raises ImageError for
        a file that cannot be read, LeukoscopeError for an array that is not an image. frames: where the cell lies in
        each image, if that is known already; else a model that frames cells searches for it. Warns where a file looks
        like a whole field.
        """
        alone = isinstance(images, str | Path) or hasattr(images, "convert") or getattr(images, "ndim", 4) != 4
        alone = alone or isinstance(images, bytes | bytearray | memoryview) or not isinstance(images, Iterable)
        given = cast("Iterable[GivenImage]", [images] if alone else images)
        if isinstance(given, list | tuple):
            paths = [str(image) for image in given[:FIRST] if isinstance(image, str | Path)]
            warning = field_warning([Source(path, path) for path in paths], self.description)
            if warning:
                warnings.warn(warning, stacklevel=2)
        return self._answers(given, frames, strict=True)[0]

    def predict_some(self, images: Iterable[GivenImage], *,
                     frames: Sequence[Frame] | None = None) -> tuple[pl.DataFrame, tuple[str, ...]]:
        """Like `predict`, but an image without an answer is a row of nulls; and why these have none, in their order."""
        table, errors = self._answers(images, frames, strict=False)
        return table, tuple(reason_of(errors[place]) for place in sorted(errors))

    def _answers(self, images: Iterable[GivenImage], frames: Sequence[Frame] | None, *,
                 strict: bool) -> tuple[pl.DataFrame, dict[int, LeukoscopeError]]:
        answers = predict_pictures(
            _pictures(images, frames),
            lambda row, pixels: ([prepared(pixels, self.description, row.get("frame"))], None),
            self.bundle.probabilities, parallel=True, classes=len(self.classes), strict=strict)
        table = verdicts(self.description, answers.probabilities[0].astype(np.float32),
                         answers.energies[0].astype(np.float32))
        return table, answers.errors


def packaged_model() -> Path:
    """The bundle of the built-in model. Raises LeukoscopeError where this installation lacks it."""
    path = _packaged()
    if not path.is_file():
        raise LeukoscopeError(f"{path}: the built-in model is missing",
                              "install leukoscope again, or name a bundle of leukoscope export")
    return path


def _packaged() -> Path:
    return Path(str(files("leukoscope") / "packaged" / PACKAGED_FILE))


def bundle_path(text: str | Path) -> Path:
    """The path of a bundle that a user has named: a path, or `packaged`, unless a file or folder has that name."""
    path = Path(text)
    return packaged_model() if str(text) == PACKAGED and not path.exists() else path


def load(path: str | Path | None = None) -> Model:
    """The model of a bundle (a folder, a ZIP file, or "packaged"), verified; without a path the built-in model.
    BundleError says what is wrong with it."""
    return Model(open_bundle(packaged_model() if path is None else bundle_path(path)))


def _pictures(images: Iterable[GivenImage], frames: Sequence[Frame] | None = None) -> Iterator[Picture]:
    """Files are decoded later, in threads; Pillow images here, since two threads must not load the same one."""
    for place, image in enumerate(images):
        row = {} if frames is None else {"frame": frames[place]}
        if isinstance(image, str | Path):
            yield Picture(partial(read_image, Path(image)), [(place, row)])
        else:
            pixels = _pixels(image)
            yield Picture(lambda pixels=pixels: pixels, [(place, row)])


def _pixels(image: Any) -> Pixels:
    if hasattr(image, "convert") and hasattr(image, "getexif"):
        if 0 in image.size:
            raise LeukoscopeError(f"a Pillow image of {image.size[0]} x {image.size[1]} px is not an image",
                                  "give one with pixels")
        return picture_pixels(image)
    if np.ma.is_masked(image):
        raise LeukoscopeError("an array with masked pixels is not an image", "give all pixels, as a plain array")
    if not isinstance(image, np.ndarray):
        raise LeukoscopeError(f"{type(image).__name__} is not an image", "give paths, uint8 arrays or Pillow images")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise LeukoscopeError(f"an array of {image.dtype} {image.shape} is not an image",
                              "give uint8 of (height, width, 3), red, green and blue")
    return image
