"""Pictures of cells through a network, batch by batch: the one loop behind every prediction.

Images are decoded and prepared in threads, a little ahead, so that only the answers grow with the number of cells.
Knows no run, no bundle and no table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ..bundle.bundle import parallel_calls
from ..errors import ImageError, LeukoscopeError, input_error
from ..images.read import Pixels, cut_cell
from ..progress import OnProgress
from ..tables import Row

BATCH = 16
"""Pictures that go through a network together; more are not faster, and need more memory."""

Prepared = UInt8[np.ndarray, "size size channels"]
Note = TypeVar("Note")
Look = Callable[[Row, Pixels], tuple[Sequence[Prepared], Note]]
"""From a manifest row and the pixels of its cell to the cell prepared for the network, in one or several ways, and a
note that comes back with the answer."""
Answer = Callable[[UInt8[np.ndarray, "n size size channels"]],
                  tuple[np.ndarray, np.ndarray | None] | tuple[np.ndarray, np.ndarray, np.ndarray]]
"""From prepared cells to probabilities (n, classes), energies (n,) or None and, where asked for, features."""
Outcome = tuple[np.ndarray, np.ndarray | float, np.ndarray | None, Note] | LeukoscopeError
"""For one cell: probabilities (ways, classes), energies (ways,), features (ways, features) or None, and note; or why
there is no answer."""
Looked = tuple[int, Sequence[Prepared], Note | LeukoscopeError]
"""A cell's place, prepared pictures and note; no picture, and the error, where it cannot be read."""


@dataclass(frozen=True)
class Picture:
    """An image and the cells in it: how to decode it, and each cell's place in the result and its row with the box."""

    read: Callable[[], Pixels]
    cells: Sequence[tuple[int, Row]]


@dataclass(frozen=True, eq=False)
class Answers(Generic[Note]):
    """For n cells, by their places. notes: of `Look`. errors: why cells have no answer; they are NaN, with no note.
    features: None where `Answer` gives none."""

    probabilities: Float64[np.ndarray, "ways n classes"]
    energies: Float64[np.ndarray, "ways n"]
    notes: list[Note | None]
    errors: dict[int, LeukoscopeError]
    features: Float32[np.ndarray, "ways n features"] | None = None


def predict_pictures(pictures: Iterable[Picture], look: Look[Note], answer: Answer, *, parallel: bool,
                     classes: int = 0, ways: int = 1, batch: int = 0, strict: bool = False, total: int = 0,
                     on_progress: OnProgress | None = None) -> Answers[Note]:
    """The answers for all cells. parallel: whether several threads may call `answer` at once; else the caller's thread
    does. ways: pictures that `look` makes of a cell; batch: pictures that are answered together, BATCH unless given.
    strict: raise the first error. classes: how many, where no cell has an answer; total: cells, for the progress."""
    outcomes: dict[int, Outcome[Note]] = {}
    for place, outcome in _outcomes(pictures, look, answer, parallel, max(1, (batch or BATCH) // ways)):
        if strict and isinstance(outcome, LeukoscopeError):
            raise outcome
        outcomes[place] = outcome
        if on_progress is not None:
            on_progress(len(outcomes), total)
    count = len(outcomes)
    first = next((one for one in outcomes.values() if not isinstance(one, LeukoscopeError)), None)
    classes = classes if first is None else first[0].shape[-1]
    features = None if first is None or first[2] is None else np.full(
        (ways, count, first[2].shape[-1]), np.nan, np.float32)
    notes: list[Note | None] = [None] * count
    answers = Answers(np.full((ways, count, classes), np.nan), np.full((ways, count), np.nan), notes, {}, features)
    for place, outcome in outcomes.items():
        if isinstance(outcome, LeukoscopeError):
            answers.errors[place] = outcome
            continue
        answers.probabilities[:, place], answers.energies[:, place], own, notes[place] = outcome
        if features is not None:
            features[:, place] = own
    return answers


def reason_of(error: LeukoscopeError) -> str:
    """Why a cell has no answer, without the name of its file."""
    return error.reason if isinstance(error, ImageError) else error.what


def _outcomes(pictures: Iterable[Picture], look: Look[Note], answer: Answer, parallel: bool,
              size: int) -> Iterator[tuple[int, Outcome[Note]]]:
    """In the order of the pictures, of which few are ahead of the caller."""
    def work(group: list[Picture]) -> Sequence[Iterable[tuple[int, Outcome[Note]]]]:
        cells = _prepare(group, look)
        chunks = iter(lambda: list(islice(cells, size)), [])
        answers = (_answer(chunk, answer) for chunk in chunks)
        return [list(one) for one in answers] if parallel else list(answers)  # else they are asked for below

    waiting: deque[Future[Sequence[Iterable[tuple[int, Outcome[Note]]]]]] = deque()
    groups, threads = _groups(pictures, size), parallel_calls()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
    try:
        while True:
            waiting.extend(pool.submit(work, group) for group in islice(groups, 2 * threads - len(waiting)))
            if not waiting:
                return
            for outcomes in waiting.popleft().result():
                yield from outcomes
    finally:
        pool.shutdown(cancel_futures=True)


def _groups(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    """Pictures that together hold at least `size` cells."""
    group: list[Picture] = []
    for picture in pictures:
        group.append(picture)
        if sum(len(member.cells) for member in group) >= size:
            yield group
            group = []
    if group:
        yield group


def _prepare(group: list[Picture], look: Look[Note]) -> Iterator[Looked[Note]]:
    for picture in group:
        try:
            pixels = picture.read()
        except Exception as error:  # a damaged or hostile file may raise anything, and is one line of the result
            yield from ((place, (), input_error(error)) for place, _ in picture.cells)
            continue
        for place, row in picture.cells:
            try:
                prepared, note = look(row, cut_cell(pixels, row))
            except Exception as error:
                yield place, (), input_error(error)
            else:
                yield place, prepared, note


def _answer(chunk: list[Looked[Note]], answer: Answer) -> Iterator[tuple[int, Outcome[Note]]]:
    cells = [cell for _, seen, _ in chunk for cell in seen]
    probabilities, energies, *more = answer(np.stack(cells)) if cells else (np.empty(0), None)
    end = 0
    for place, seen, note in chunk:
        own = slice(end, end := end + len(seen))
        yield place, note if isinstance(note, LeukoscopeError) else (
            probabilities[own], np.nan if energies is None else energies[own], more[0][own] if more else None, note)
