"""What running a bundle's graph must show: that it takes and gives what bundle.json says, and gives the reference cells
their probabilities.

Works on bytes, knows no folder; `child.py` calls it in a process of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..text import plain
from .arrays import read_arrays
from .parts import AGAIN, DESCRIPTION, LONGEST_FAULT, SEEN, error_line

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

INPUT, OUTPUTS = "cells", ("probabilities", "energy")
FEATURES = "features"
"""Names in the graph. It may also give features, which a head is fitted to; older ones do not."""
TOLERANCE = 1e-4
"""Largest difference of the probabilities of the reference cells between two machines."""
TOLERANCE_INT8 = 0.05
"""The same for a network in 8 bits, where a rounding that differs is a step of an activation."""
MOST_CELLS = 4
"""Reference cells at most."""
_UNSAFE = "do not use this bundle"


@dataclass(frozen=True)
class Expected:
    """What bundle.json says of the graph. size: of its cells, px; int8: whether it computes in 8 bits."""

    size: int
    classes: tuple[str, ...]
    int8: bool


class Fault(Exception):
    """What is wrong with a bundle, and what to do about it."""

    def __init__(self, what: str, hint: str = AGAIN) -> None:
        self.what, self.hint = plain(what, LONGEST_FAULT), hint
        super().__init__(self.what)


def verify(model: bytes, golden: bytes, seen: bytes, expected: Expected, threads: int) -> None:
    """All checks of a bundle that somebody else has made. seen: b"" where it has none. Raises Fault."""
    check_operators(model)
    reference = read_golden(golden, expected.size)
    check_answers(open_session(model, threads, patient=True), *reference, expected)
    if seen:
        from ..tables import read_parquet

        try:
            read_parquet(seen)
        except Exception as error:  # polars' own
            raise Fault(f"{SEEN} cannot be read ({error_line(error)})") from error


def check_operators(content: bytes) -> None:
    """Raises Fault where the graph is none that the exporter writes."""
    import onnx

    from .operators import forbidden  # with onnx, which the built-in model does without

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own
        raise Fault(f"model.onnx cannot be read ({error_line(error)})") from error
    what = forbidden(model)
    if what is not None:
        raise Fault(f"model.onnx {what}", _UNSAFE)


def open_session(content: bytes, threads: int, *, patient: bool = False) -> InferenceSession:
    """The graph in ONNX Runtime, on the processor, with so many threads a call. patient: threads without work sleep,
    so that only work counts as time. Raises Fault."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what it writes of a damaged graph names no file
    if patient:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime names no class of its own
        raise Fault(f"model.onnx cannot be read ({error_line(error)})") from error


def read_golden(content: bytes, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The reference cells (n, size, size, 3) uint8, and the probabilities (n, classes) that the graph gave them where
    it was exported. Raises Fault."""
    try:
        cells, expected = read_arrays(content, ("cells", "probabilities"), MOST_CELLS * 1024 * 1024 * 3 + 4096)
    except ValueError as error:
        raise Fault(f"golden.npz cannot be read ({error_line(error)})") from error
    if cells.dtype != np.uint8 or cells.ndim != 4 or cells.shape[1:] != (size, size, 3) or (
            not 0 < len(cells) <= MOST_CELLS):
        raise Fault(f"golden.npz holds {cells.dtype} {cells.shape}, expected uint8 cells of {size} px")
    if expected.dtype != np.float32 or expected.ndim != 2 or not np.isfinite(expected).all():
        raise Fault(f"golden.npz holds probabilities of {expected.dtype} {expected.shape}, expected finite float32 for "
                    "each cell and class")
    return cells, expected


def check_answers(session: InferenceSession, cells: np.ndarray, expected: np.ndarray, told: Expected) -> None:
    """The graph takes and gives what bundle.json says, and gives the reference cells the expected probabilities, all
    at once and the first one alone. Raises Fault."""
    inputs, outputs = ([end.name for end in ends] for ends in (session.get_inputs(), session.get_outputs()))
    if inputs != [INPUT] or not set(OUTPUTS) <= set(outputs):
        raise Fault(f"the graph goes from {', '.join(inputs) or 'nothing'} to {', '.join(outputs)}, expected {INPUT} "
                    f"to {', '.join(OUTPUTS)}")
    given, size, classes = session.get_inputs()[0], told.size, told.classes
    if given.type != "tensor(uint8)" or list(given.shape[1:]) != [size, size, 3]:
        raise Fault(f"the graph takes {given.type} of {given.shape}, {DESCRIPTION} says uint8 cells of {size} px")
    for some, wanted in ((cells[:1], expected[:1]), (cells, expected)):
        try:
            probabilities, energies = map(np.asarray, session.run(list(OUTPUTS), {INPUT: some}))
        except Exception as error:  # onnxruntime's own
            raise Fault(f"the graph does not run ({error_line(error)})") from error
        if probabilities.ndim != 2 or energies.shape != (len(some),) or not np.isfinite(energies).all():
            raise Fault(f"the graph gives probabilities {probabilities.shape} and energies {energies.shape} for "
                        f"{len(some)} cells, or energies that are not finite")
        if probabilities.shape[1] != len(classes):
            raise Fault(f"the graph has {probabilities.shape[1]} classes, {DESCRIPTION} names {len(classes)} "
                        f"({', '.join(classes)})")
        difference = float(np.abs(probabilities - wanted).max()) if probabilities.shape == wanted.shape else math.inf
        if not difference <= (TOLERANCE_INT8 if told.int8 else TOLERANCE):
            raise Fault(f"the reference cells give different probabilities on this machine (by up to {difference:.2g})",
                        "do not use it here; report it with the version of onnxruntime")
