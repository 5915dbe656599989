"""Bundles: a folder or a ZIP file with all that prediction needs. Written, opened, verified.

Opening one runs no code of its maker: JSON, safetensors, arrays without pickle, ONNX of known operators, which is
tried in a process with limits. docs/security.md says what is promised. Trains nothing, and knows no run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from jaxtyping import Float32, UInt8
from pydantic import ValidationError

from ..errors import BundleError
from ..files import JsonObject, atomic_path, parse_toml
from ..finder.frame import FRAMING, framing
from ..images.decode import usable_cores
from ..leaks.training_table import read_training_table
from .child import checking_process, verify_in
from .description import FORMAT, Description, check_values
from .head import Head, read_head
from .parts import (
    DESCRIPTION,
    FILES,
    HEAD,
    OPTIONAL,
    SEEN,
    check_replaceable,
    check_sizes,
    damaged,
    error_line,
    read_parts,
)
from .verify import FEATURES, INPUT, OUTPUTS, Expected, Fault, check_answers, open_session, read_golden

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BUILT_IN = "a8894a2d17015e65bc3ec771afafda6156bd31e3fc15629d57afa741a24ee490"
"""The digest of the built-in model, which is part of this package: it is opened without a process of its own. (Of
another one than this, the opening only takes longer.)"""
_EXPORT = "export it again: leukoscope export RUN -o BUNDLE"


@dataclass(frozen=True, repr=False)
class Bundle:
    """An opened bundle. path: the folder or file; parts: the content of its files but the weights for torch."""

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
        try:
            return open_session(self.parts["model.onnx"], max(1, usable_cores() // parallel_calls()))
        except Fault as fault:
            raise damaged(self.path, fault.what, fault.hint) from fault

    @cached_property
    def seen(self) -> pl.DataFrame | None:
        """The cells that it was trained and chosen on (see `leaks.training_table`); None where it does not say.
        BundleError where that file is damaged."""
        if SEEN not in self.description.files:
            return None
        try:
            return read_training_table(self.parts[SEEN])
        except Exception as error:  # polars' own
            raise damaged(self.path, f"{SEEN} cannot be read ({error_line(error)})") from error

    def probabilities(self, cells: UInt8[np.ndarray, "n size size 3"]) \
            -> tuple[Float32[np.ndarray, "n classes"], Float32[np.ndarray, " n"]]:
        """Probabilities and energies of cells that are cut and resized. They do not depend on what else is in the
        batch, nor on the number of threads."""
        if self.head is not None:
            probabilities, energies, features = self.features(cells)
            return self.head.probabilities(probabilities, features).astype(np.float32), energies
        probabilities, energies = self.session.run(list(OUTPUTS), {INPUT: np.ascontiguousarray(cells)})
        return np.asarray(probabilities), np.asarray(energies)

    @cached_property
    def head(self) -> Head | None:
        """What was fitted to the cells of one laboratory; None where nothing was. BundleError where it is damaged."""
        if HEAD not in self.description.files:
            return None
        shapes = {end.name: end.shape for end in self.session.get_outputs()}
        try:
            if FEATURES not in shapes or not isinstance(shapes[FEATURES][-1], int):
                raise ValueError("the graph gives no features")
            return read_head(self.parts[HEAD], shapes[FEATURES][-1], len(self.classes))
        except ValueError as error:
            raise damaged(self.path, f"{HEAD}: {error}") from error

    def features(self, cells: UInt8[np.ndarray, "n size size 3"]) -> tuple[
            Float32[np.ndarray, "n classes"], Float32[np.ndarray, " n"], Float32[np.ndarray, "n features"]]:
        """Probabilities and energies of the graph itself, before any head, and the features that its last layer weighs.
        BundleError where the graph gives none."""
        if FEATURES not in {end.name for end in self.session.get_outputs()}:
            raise BundleError(f"{self.path}: its graph gives no features", f"{_EXPORT} (its network must end in a "
                              "linear layer)")
        probabilities, energies, features = self.session.run([*OUTPUTS, FEATURES], {INPUT: np.ascontiguousarray(cells)})
        return np.asarray(probabilities), np.asarray(energies), np.asarray(features)


def parallel_calls() -> int:
    """How many threads call a network at once: one a core, but no more than eight, since each needs memory for its
    maps. Threads that share one call wait for each other in every layer and slow down the decoding beside them."""
    return min(usable_cores(), 8)


def write_bundle(out: Path, description: JsonObject, parts: Mapping[str, bytes], *,
                 overwrite: bool = False) -> None:
    """Write a bundle, whole or not at all: a folder, or a ZIP file where `out` ends in .zip. description: all that
    bundle.json says but its format and digests. Raises BundleError as `check_replaceable` does, or where a file is too
    large."""
    out = Path(out)
    check_replaceable(out, overwrite)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    described = Description.model_validate({**description, "format": FORMAT, "files": digests, "digest": ""})
    described = described.model_copy(update={"digest": described.digested()})
    text = json.dumps(described.content(), indent=2, ensure_ascii=False, allow_nan=False)
    files = {DESCRIPTION: text.encode(), **parts}
    check_sizes(out, {name: len(content) for name, content in files.items()})
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
        if out.is_dir():  # no system replaces a folder with files in one step
            before = out.with_name(f".{out.name}.before")
            shutil.rmtree(before, ignore_errors=True)
            os.rename(out, before)
            os.rename(beside, out)
            shutil.rmtree(before)
        else:
            os.rename(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def open_bundle(path: Path | str) -> Bundle:
    """Open and verify a bundle: sizes, format, the digest of each file, the operators of the graph, and that it gives
    the reference cells their probabilities. Raises BundleError, saying what is wrong.

    A graph runs here only after it has run in a process with limits (see `child`), unless it is the built-in one.
    """
    path = Path(path)
    parts = read_parts(path)
    described = read_description(path, parts.content[DESCRIPTION])
    bundle = Bundle(path, described, parts.content)
    expected = Expected(described.size, described.classes, "int8" in described.metrics)
    try:
        if described.digest == BUILT_IN:
            _check_parts(bundle, parts.digests)
            check_answers(bundle.session, *read_golden(parts.content["golden.npz"], described.size), expected)
        else:
            with checking_process() as process:
                _check_parts(bundle, parts.digests)
                verify_in(process, parts.content, expected, min(usable_cores(), 4))
            _ = bundle.seen, bundle.head  # damage is found now, not after the work
    except Fault as fault:
        raise damaged(path, fault.what, fault.hint) from fault
    return bundle


def read_description(path: Path, text: bytes) -> Description:
    """What bundle.json says. path: of the bundle, for messages. BundleError where a field is wrong."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"{DESCRIPTION} is not valid JSON ({error_line(error)})") from error
    version = content.get("format") if isinstance(content, dict) else None
    if not isinstance(version, int) or version < 1:
        raise damaged(path, f"{DESCRIPTION} names no format")
    if version > FORMAT:
        raise damaged(path, f"is of format {version}, and this version reads up to {FORMAT}",
                      "install a newer leukoscope")
    try:
        described = Description.model_validate(content)
        check_values(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "its fields"
        if first["type"] == "missing":
            raise BundleError(f"{path}: an older version made it ({DESCRIPTION} lacks {key})", _EXPORT) from error
        raise damaged(path, f"{DESCRIPTION}: {key}: {first['msg'].removeprefix('Value error, ')}") from error
    except ValueError as error:
        raise damaged(path, f"{DESCRIPTION}: {error}") from error
    if described.digest != described.digested():
        raise damaged(path, f"{DESCRIPTION} is not what the bundle was made with")
    if described.framing != framing(described):
        raise BundleError(f"{path}: its cells were framed by framing {described.framing}, and this version has framing "
                          f"{FRAMING}", f"train its run with this version and {_EXPORT}")
    missing = [name for name in FILES if name not in described.files and name not in OPTIONAL]
    if missing:
        raise damaged(path, f"{DESCRIPTION} names no {missing[0]}")
    return described


def _check_parts(bundle: Bundle, digests: Mapping[str, str]) -> None:
    """Each file has its digest, and what is text can be read."""
    for name, digest in bundle.description.files.items():
        if name not in digests:
            raise Fault(f"{name} is missing")
        if digests[name] != digest:
            raise Fault(f"{name} is not the file that the bundle was made with")
    readers = {"MODEL_CARD.md": bytes.decode, "recipe.toml": lambda content: parse_toml(content.decode())}
    for name, read in readers.items():
        try:
            read(bundle.parts[name])
        except (ValueError, RecursionError) as error:
            raise Fault(f"{name} cannot be read ({error_line(error)})") from error
