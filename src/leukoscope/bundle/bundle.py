"""Bundles: a folder or a ZIP file with all that prediction needs. Written, opened, verified.

Opening one runs no code of its maker: JSON, safetensors, ONNX without files outside it, arrays without pickle.
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
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Float32, UInt8
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from ..errors import BundleError
from ..files import atomic_path
from ..images.decode import usable_cores
from ..images.frame import FRAMING, framing
from ..leaks.training_table import read_training_table

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FORMAT = 1
DESCRIPTION = "bundle.json"
SEEN = "seen.parquet"
"""The cells that it was trained and chosen on, for the leak guard. Older bundles have none."""
FILES = ("model.onnx", "weights.safetensors", "recipe.toml", "golden.npz", "MODEL_CARD.md", SEEN)
TOLERANCE = 1e-4
"""Largest difference of the probabilities of the reference cells between two machines."""
TOLERANCE_INT8 = 0.05
"""The same for a network in 8 bits, where a rounding that differs is a step of an activation."""
MOST_BYTES = 2 * 2**30
"""Size of a bundle, unpacked, at most."""
INPUT, OUTPUTS = "cells", ("probabilities", "energy")
"""Names in the graph."""
_EXPORT = "export it again: leukoscope export RUN -o BUNDLE"


class Description(BaseModel):
    """The content of bundle.json.

    frame, crop, size, smaller: how a cell is framed, cut and resized before the graph (px; see recipes.md). framing:
    the version of the framing (images/frame.py), None where cells are not framed.
    micrometres: width of a pixel of the images it was trained on, or None. temperature: as in the graph. coverage,
    radius: of the conformal set, which holds the classes of a probability of at least 1 - radius. least_energy: a cell
    below it is unlike those of training; `rejected` is the share of the validation cells that are. None where there
    were no validation cells. threshold: probability from which the positive class is called, at the sensitivity that
    the recipe asks for. notes: sentences of its maker. trained: facts of the training; metrics: of its test part.
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
    coverage: FiniteFloat | None
    radius: FiniteFloat | None
    least_energy: FiniteFloat | None
    rejected: FiniteFloat | None
    threshold: FiniteFloat | None
    licence: str
    notes: tuple[str, ...]
    trained: dict[str, Any]
    metrics: dict[str, Any]
    files: dict[str, str]
    digest: str

    @model_validator(mode="after")
    def _consistent(self) -> Description:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes must be unique")
        if self.positive and self.positive not in self.classes:
            raise ValueError(f"positive: '{self.positive}' is not a class")
        return self

    def digested(self) -> str:
        """The SHA-256 of everything but the digest itself."""
        content = json.dumps(self.model_dump(exclude={"digest"}), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True, repr=False)
class Bundle:
    """An opened bundle. path: the folder or file; parts: the content of its files."""

    path: Path
    description: Description
    parts: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"Bundle({str(self.path)!r}, {self.description.name!r}, classes={self.classes})"

    @property
    def classes(self) -> tuple[str, ...]:
        return self.description.classes

    @cached_property
    def session(self) -> InferenceSession:
        """The graph in ONNX Runtime, on the processor. Each call computes in one thread, on many cores in a few, so
        that several threads can call it at once (see `parallel_calls`)."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, usable_cores() // parallel_calls())
        try:
            return onnxruntime.InferenceSession(self.parts["model.onnx"], options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime names no class of its own
            raise _damaged(self.path, f"model.onnx cannot be read ({_line(error)})") from error

    @cached_property
    def seen(self) -> pl.DataFrame | None:
        """The cells that it was trained and chosen on (see `leaks.training_table`); None where it does not say.
        BundleError where that file is damaged."""
        if SEEN not in self.description.files:
            return None
        try:
            return read_training_table(self.parts[SEEN])
        except ValueError as error:
            raise _damaged(self.path, f"{SEEN} cannot be read ({error})") from error

    def probabilities(self, cells: UInt8[np.ndarray, "n size size 3"]) \
            -> tuple[Float32[np.ndarray, "n classes"], Float32[np.ndarray, " n"]]:
        """Probabilities and energies of cells that are cut and resized. They do not depend on what else is in the
        batch, nor on the number of threads."""
        probabilities, energies = self.session.run(list(OUTPUTS), {INPUT: np.ascontiguousarray(cells)})
        return np.asarray(probabilities), np.asarray(energies)


def parallel_calls() -> int:
    """How many threads call a network at once: one a core, but no more than eight, since each needs memory for its
    maps. Threads that share one call wait for each other in every layer and slow down the decoding beside them."""
    return min(usable_cores(), 8)


def write_bundle(out: Path, description: Mapping[str, Any], parts: Mapping[str, bytes]) -> None:
    """Write a bundle, whole or not at all: a folder, or a ZIP file where `out` ends in .zip. description: all that
    bundle.json says but its format and digests. Raises BundleError where `out` exists."""
    out = Path(out)
    if out.exists():
        raise BundleError(f"{out}: already exists", "name another bundle with -o, or remove this one")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    described = Description.model_validate({**description, "format": FORMAT, "files": digests, "digest": ""})
    described = described.model_copy(update={"digest": described.digested()})
    text = json.dumps(described.model_dump(), indent=2, ensure_ascii=False, allow_nan=False)
    files = {DESCRIPTION: text.encode(), **parts}
    if out.suffix == ".zip":
        with atomic_path(out) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        return
    beside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        for name, content in files.items():
            (beside / name).write_bytes(content)
        os.rename(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def open_bundle(path: Path | str) -> Bundle:
    """Open and verify a bundle: its format, the digest of each file, that the graph reads no other file, and that it
    gives the reference cells their probabilities. Raises BundleError, saying what is wrong."""
    path = Path(path)
    parts = _read_zip(path) if path.is_file() else _read_folder(path)
    bundle = Bundle(path, _described(path, parts), parts)
    for name, digest in bundle.description.files.items():
        if name not in parts:
            raise _damaged(path, f"{name} is missing")
        if hashlib.sha256(parts[name]).hexdigest() != digest:
            raise _damaged(path, f"{name} is not the file that the bundle was made with")
    _check_inside(path, parts["model.onnx"])
    _check_graph(bundle, *_read_golden(bundle))
    return bundle


def _damaged(path: Path, what: str) -> BundleError:
    return BundleError(f"{path}: {what}", "export it again, or download it again")


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def _read_folder(path: Path) -> dict[str, bytes]:
    if not (path / DESCRIPTION).is_file():
        if (path / "metrics.json").is_file():
            raise BundleError(f"{path}: a run, not a bundle", f"make one: leukoscope export {path} -o BUNDLE")
        what = f"holds no {DESCRIPTION}" if path.is_dir() else "no such file or folder"
        raise BundleError(f"{path}: not a bundle ({what})", "name one that leukoscope export has made")
    try:
        return {name: (path / name).read_bytes() for name in (DESCRIPTION, *FILES) if (path / name).is_file()}
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from error


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
                raise _damaged(path, f"would unpack to {sum(sizes.values()):,} bytes")
            return {name: archive.read(name) for name in (DESCRIPTION, *FILES) if name in sizes}
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, zlib.error) as error:
        raise _damaged(path, f"not a bundle, or a damaged one ({_line(error)})") from error


def _described(path: Path, parts: Mapping[str, bytes]) -> Description:
    try:
        content = json.loads(parts[DESCRIPTION])
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"{DESCRIPTION} is not valid JSON ({_line(error)})") from error
    version = content.get("format") if isinstance(content, dict) else None
    if not isinstance(version, int) or version < 1:
        raise _damaged(path, f"{DESCRIPTION} names no format")
    if version > FORMAT:
        raise BundleError(f"{path}: is of format {version}, and this version reads up to {FORMAT}",
                          "install a newer leukoscope")
    try:
        described = Description.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise BundleError(f"{path}: an older version made it ({DESCRIPTION} lacks {key})", _EXPORT) from error
        raise _damaged(path, f"{DESCRIPTION}: {key}: {first['msg']}") from error
    if described.digest != described.digested():
        raise _damaged(path, f"{DESCRIPTION} is not what the bundle was made with")
    if described.framing != framing(described):
        raise BundleError(f"{path}: its cells were framed by framing {described.framing}, and this version has framing "
                          f"{FRAMING}", f"train its run with this version and {_EXPORT}")
    missing = [name for name in FILES if name not in described.files and name != SEEN]
    if missing:
        raise _damaged(path, f"{DESCRIPTION} names no {missing[0]}")
    return described


def _check_inside(path: Path, content: bytes) -> None:
    """The graph names no other file, whose path could lead anywhere."""
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own
        raise _damaged(path, f"model.onnx cannot be read ({_line(error)})") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data for tensor in _tensors(model)):
        raise BundleError(f"{path}: model.onnx keeps its weights in another file", "do not use this bundle")


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor of a model, wherever it is: in graphs inside nodes, functions, attributes, sparse tensors."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for item in value if field.is_repeated else [value]:
            if field.message_type.name == "TensorProto":
                yield item
            else:
                yield from _tensors(item)


def _read_golden(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """The reference cells, and the probabilities that the graph gave them where it was exported."""
    size = bundle.description.size
    try:
        with np.load(io.BytesIO(bundle.parts["golden.npz"]), allow_pickle=False) as golden:
            cells, expected = golden["cells"], golden["probabilities"]
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile,
            zlib.error) as error:
        raise _damaged(bundle.path, f"golden.npz cannot be read ({_line(error)})") from error
    if cells.dtype != np.uint8 or cells.shape != (len(cells), size, size, 3) or not len(cells):
        raise _damaged(bundle.path, f"golden.npz holds {cells.dtype} {cells.shape}, expected uint8 cells of {size} px")
    return cells, expected


def _check_graph(bundle: Bundle, cells: np.ndarray, expected: np.ndarray) -> None:
    """The graph takes and gives what bundle.json says, and gives the reference cells the expected probabilities."""
    path, session, size, classes = bundle.path, bundle.session, bundle.description.size, bundle.classes
    inputs, outputs = ([end.name for end in ends] for ends in (session.get_inputs(), session.get_outputs()))
    if inputs != [INPUT] or not set(OUTPUTS) <= set(outputs):
        raise _damaged(path, f"the graph goes from {', '.join(inputs) or 'nothing'} to {', '.join(outputs)}, expected "
                       f"{INPUT} to {', '.join(OUTPUTS)}")
    given = session.get_inputs()[0]
    if given.type != "tensor(uint8)" or list(given.shape[1:]) != [size, size, 3]:
        raise _damaged(path, f"the graph takes {given.type} of {given.shape}, {DESCRIPTION} says uint8 cells of {size} "
                       "px")
    try:
        probabilities, _ = bundle.probabilities(cells)
    except Exception as error:  # onnxruntime's own
        raise _damaged(path, f"the graph does not run ({_line(error)})") from error
    if probabilities.shape[1] != len(classes):
        raise _damaged(path, f"the graph has {probabilities.shape[1]} classes, {DESCRIPTION} names {len(classes)} "
                       f"({', '.join(classes)})")
    difference = (float(np.abs(probabilities - expected).max()) if probabilities.shape == expected.shape else math.inf)
    if not difference <= (TOLERANCE_INT8 if "int8" in bundle.description.metrics else TOLERANCE):
        raise BundleError(f"{path}: the reference cells give different probabilities on this machine (by up to "
                          f"{difference:.2g})", "do not use it here; report it with the version of onnxruntime")
