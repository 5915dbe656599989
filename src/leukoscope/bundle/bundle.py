"""Bundles: a folder, or a ZIP file of it, with all that prediction needs. Written, opened, verified.

Opening one runs nothing of its maker's: JSON, safetensors, ONNX without files outside it, arrays without pickle.
Trains nothing, and knows no run.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Float32, UInt8
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import BundleError
from ..files import atomic_path
from ..images.frame import FRAMING, framing
from ..leaks.training_table import read_training_table

FORMAT = 1
DESCRIPTION = "bundle.json"
SEEN = "seen.parquet"
"""What it was trained and chosen on, for the leak guard. Older bundles have none."""
FILES = ("model.onnx", "weights.safetensors", "recipe.toml", "golden.npz", "MODEL_CARD.md", SEEN)
TOLERANCE = 1e-4
"""Largest difference between the golden probabilities and those found here."""
MOST_BYTES = 2 * 2**30
"""What a bundle may hold, unpacked."""


class Description(BaseModel):
    """What bundle.json says.

    frame, crop, size, smaller: how a cell is framed, cut and resized before the graph (px; see recipes.md). framing:
    which framing `frame` means (images/frame.py's), None where a cell stays as it is.
    micrometres: side of a pixel of the images it was trained on, or None. temperature: as in the graph. coverage,
    radius: of the conformal set, classes of at least 1 - radius; least_energy: below it a cell is unlike those of
    training, which `rejected` of the validation cells are. None where there were no validation cells. threshold:
    probability from which the positive class is called, at the sensitivity that the run aimed at. notes: what else its
    maker says, a sentence each. trained: facts of the training; metrics: of its test part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    leukoscope: str
    name: str
    title: str
    classes: tuple[str, ...] = Field(min_length=2)
    positive: str
    frame: Literal["image", "light", "cell"]
    framing: int | None
    crop: int = Field(ge=0)
    size: int = Field(ge=8, le=1024)
    smaller: str
    micrometres: float | None = Field(gt=0)
    temperature: float = Field(gt=0)
    coverage: float | None
    radius: float | None
    least_energy: float | None
    rejected: float | None
    threshold: float | None
    licence: str
    notes: tuple[str, ...]
    trained: dict[str, Any]
    metrics: dict[str, Any]
    files: dict[str, str]
    digest: str

    @model_validator(mode="after")
    def _consistent(self) -> Description:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: each may stand there once")
        if self.positive and self.positive not in self.classes:
            raise ValueError(f"positive: '{self.positive}' is no class")
        numbers = (self.radius, self.least_energy, self.coverage, self.threshold)
        if not all(math.isfinite(number) for number in numbers if number is not None):
            raise ValueError("a threshold is not a finite number")
        return self


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. `path` is the folder or file; the files are read when they are asked for."""

    path: Path
    description: Description
    parts: Mapping[str, bytes]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.description.classes

    @cached_property
    def session(self) -> Any:
        """The graph in ONNX Runtime, on the processor."""
        import onnxruntime

        try:
            return onnxruntime.InferenceSession(self.parts["model.onnx"], providers=["CPUExecutionProvider"])
        except Exception as error:  # of classes that onnxruntime does not name
            raise BundleError(f"{self.path}: model.onnx cannot be read ({_line(error)})", _AGAIN) from error

    @cached_property
    def seen(self) -> pl.DataFrame | None:
        """What it was trained and chosen on (see `seen.training_table`); None where it does not say. BundleError where
        that file is damaged."""
        if SEEN not in self.description.files:
            return None
        try:
            return read_training_table(self.parts[SEEN])
        except ValueError as error:
            raise BundleError(f"{self.path}: {SEEN} cannot be read ({error})", _AGAIN) from error

    def probabilities(self, cells: UInt8[np.ndarray, "n size size 3"]) \
            -> tuple[Float32[np.ndarray, "n classes"], Float32[np.ndarray, " n"]]:
        """Probabilities and energies of cells that are cut and resized."""
        found, energy = self.session.run(list(OUTPUTS), {INPUT: np.ascontiguousarray(cells)})
        return found, energy


INPUT, OUTPUTS = "cells", ("probabilities", "energy")
"""Names in the graph."""
_AGAIN = "export or fetch the bundle anew"


def write_bundle(out: Path, description: Mapping[str, Any], parts: Mapping[str, bytes]) -> None:
    """Write a bundle, whole or not at all: a folder, or a ZIP file where `out` ends in .zip. Raises BundleError where
    `out` is there already."""
    out = Path(out)
    if out.exists():
        raise BundleError(f"{out}: is there already", "name another bundle, or remove that one")
    plain = {**description, "format": FORMAT, "files": {
        name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}}
    told = Description.model_validate({**plain, "digest": ""})
    told = told.model_copy(update={"digest": _digest(told)})
    text = json.dumps(told.model_dump(), indent=2, ensure_ascii=False, allow_nan=False)
    whole = {DESCRIPTION: text.encode(), **parts}
    if out.suffix == ".zip":
        with atomic_path(out) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
            for name, content in whole.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        return
    beside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        for name, content in whole.items():
            (beside / name).write_bytes(content)
        os.rename(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _digest(described: Description) -> str:
    """Of all that is said, but the digest itself."""
    return hashlib.sha256(json.dumps(described.model_dump(exclude={"digest"}), sort_keys=True).encode()).hexdigest()


def open_bundle(path: Path | str, *, check: bool = True) -> Bundle:
    """Open and verify a bundle: its format, the digest of each file, that the graph reaches nothing outside it, and
    (`check`) that it gives the golden answer. Raises BundleError, saying what is wrong."""
    path = Path(path)
    parts = _read_zip(path) if path.is_file() else _read_folder(path)
    bundle = Bundle(path, _described(path, parts), parts)
    for name, digest in bundle.description.files.items():
        if name not in parts:
            raise BundleError(f"{path}: {name} is missing", _AGAIN)
        if hashlib.sha256(parts[name]).hexdigest() != digest:
            raise BundleError(f"{path}: {name} is not the file that the bundle was made with", _AGAIN)
    _check_inside(path, parts["model.onnx"])
    if check:
        _check_golden(bundle)
    return bundle


def _read_folder(path: Path) -> dict[str, bytes]:
    if (path / "metrics.json").is_file() and not (path / DESCRIPTION).is_file():
        raise BundleError(f"{path}: a run, not a bundle", f"make one: leukoscope export {path} -o BUNDLE")
    if not (path / DESCRIPTION).is_file():
        what = f"holds no {DESCRIPTION}" if path.is_dir() else "no such file or folder"
        raise BundleError(f"{path}: not a bundle ({what})", "name one that leukoscope export has made")
    try:
        return {name: (path / name).read_bytes() for name in (DESCRIPTION, *FILES) if (path / name).is_file()}
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})", _AGAIN) from error


def _read_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if len(sizes) < len(archive.infolist()):
                raise BundleError(f"{path}: holds a file twice", "do not use this bundle")
            if DESCRIPTION not in sizes:
                raise BundleError(f"{path}: not a bundle (holds no {DESCRIPTION})",
                                  "name one that leukoscope export has made")
            if sum(sizes.values()) > MOST_BYTES:
                raise BundleError(f"{path}: says that it unpacks to {sum(sizes.values()):,} bytes", _AGAIN)
            return {name: archive.read(name) for name in (DESCRIPTION, *FILES) if name in sizes}
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, zlib.error) as error:
        raise BundleError(f"{path}: not a bundle, or a damaged one ({_line(error)})", _AGAIN) from error


def _described(path: Path, parts: Mapping[str, bytes]) -> Description:
    try:
        told = json.loads(parts[DESCRIPTION])
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: {DESCRIPTION} is no JSON ({_line(error)})", _AGAIN) from error
    version = told.get("format") if isinstance(told, dict) else None
    if not isinstance(version, int) or version < 1:
        raise BundleError(f"{path}: {DESCRIPTION} names no format", _AGAIN)
    if version > FORMAT:
        raise BundleError(f"{path}: is of format {version}, and this version reads up to {FORMAT}",
                          "install a newer leukoscope")
    try:
        described = Description.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise BundleError(f"{path}: {DESCRIPTION}: {key}: {first['msg']}", _AGAIN) from error
    if described.digest != _digest(described):
        raise BundleError(f"{path}: {DESCRIPTION} is not what the bundle was made with", _AGAIN)
    if described.framing != framing(described):
        raise BundleError(f"{path}: its cells were framed by framing {described.framing}, and this version has framing "
                          f"{FRAMING}", "export it anew from a run that was trained with this version")
    missing = [name for name in FILES if name not in described.files and name != SEEN]
    if missing:
        raise BundleError(f"{path}: {DESCRIPTION} names no {missing[0]}", _AGAIN)
    return described


def _check_inside(path: Path, content: bytes) -> None:
    """The graph names no file beside itself, whose path could lead anywhere."""
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own
        raise BundleError(f"{path}: model.onnx cannot be read ({_line(error)})", _AGAIN) from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data for tensor in _tensors(model)):
        raise BundleError(f"{path}: model.onnx keeps its weights in another file", "do not use this bundle")


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a model, wherever it stands: graphs inside nodes, functions, attributes, sparse tensors."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for one in value if field.is_repeated else [value]:
            if field.message_type.name == "TensorProto":
                yield one
            else:
                yield from _tensors(one)


def _check_golden(bundle: Bundle) -> None:
    told, path = bundle.description, bundle.path
    try:
        with np.load(io.BytesIO(bundle.parts["golden.npz"]), allow_pickle=False) as golden:
            cells, expected = golden["cells"], golden["probabilities"]
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile,
            zlib.error) as error:
        raise BundleError(f"{path}: golden.npz cannot be read ({_line(error)})", _AGAIN) from error
    if cells.dtype != np.uint8 or cells.shape != (len(cells), told.size, told.size, 3) or not len(cells):
        raise BundleError(f"{path}: golden.npz holds {cells.dtype} {cells.shape}, expected uint8 cells of "
                          f"{told.size} px", _AGAIN)
    session = bundle.session
    inputs, outputs = ([one.name for one in ends] for ends in (session.get_inputs(), session.get_outputs()))
    if inputs != [INPUT] or not set(OUTPUTS) <= set(outputs):
        raise BundleError(f"{path}: the graph goes from {', '.join(inputs) or 'nothing'} to {', '.join(outputs)}, "
                          f"expected {INPUT} to {', '.join(OUTPUTS)}", _AGAIN)
    given = session.get_inputs()[0]
    if given.type != "tensor(uint8)" or list(given.shape[1:]) != [told.size, told.size, 3]:
        raise BundleError(f"{path}: the graph takes {given.type} of {given.shape}, and {DESCRIPTION} says uint8 cells "
                          f"of {told.size} px", _AGAIN)
    try:
        found, _ = bundle.probabilities(cells)
    except Exception as error:  # onnxruntime's own
        raise BundleError(f"{path}: the graph does not run ({_line(error)})", _AGAIN) from error
    if found.shape[1] != len(told.classes):
        raise BundleError(f"{path}: the graph tells {found.shape[1]} classes apart, the class map names "
                          f"{len(told.classes)} ({', '.join(told.classes)})", _AGAIN)
    apart = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    if not apart <= TOLERANCE:
        raise BundleError(f"{path}: the golden cells come out otherwise here (probabilities differ by {apart:.2g})",
                          "do not use it on this machine; report it with the version of onnxruntime")


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
