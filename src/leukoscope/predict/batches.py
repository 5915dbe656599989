"""Pictures of cells through a network, batch by batch: the one loop behind every prediction.

Images are decoded and prepared in threads, a little ahead, so memory does not grow with the number of cells. Knows no
run, no bundle and no table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ..bundle.bundle import parallel_calls
from ..errors import LeukoscopeError
from ..images.read import Pixels, cut_cell

BATCH = 16
"""Cells that go through a network together; more are not faster, and need more memory."""

Prepared = UInt8[np.ndarray, "size size channels"]
Look = Callable[[Mapping[str, Any], Pixels], tuple[Sequence[Prepared], Any]]
"""From a manifest row and the pixels of its cell to the cell prepared for the network, in one or several ways, and a
note that comes back with the answer."""
Answer = Callable[[UInt8[np.ndarray, "n size size channels"]], tuple[np.ndarray, np.ndarray | None]]
"""From prepared cells to probabilities (n, classes) and energies (n,) or None."""
Seen = tuple[int, Sequence[Prepared], Any]
"""A cell's place, its prepared pictures and note; no picture, and the error, where it cannot be read."""


@dataclass(frozen=True)
class Picture:
    """An image and the cells in it: how to decode it, and each cell's place in the result and its row with the box."""

    read: Callable[[], Pixels]
    cells: Sequence[tuple[int, Mapping[str, Any]]]


@dataclass(frozen=True, eq=False)
class Answered:
    """What a network says of one cell: probabilities (ways, classes), energies (ways,) or None; note: of `Look`."""

    probabilities: np.ndarray
    energies: np.ndarray | None
    note: Any


def predict_pictures(pictures: Iterable[Picture], look: Look, answer: Answer, *, parallel: bool,
                     batch: int | None = None) -> Iterator[tuple[int, Answered | LeukoscopeError]]:
    """Each cell's place, and its answer or why there is none, in the order of the pictures. parallel: whether several
    threads may call `answer` at once; else the caller's thread does. batch: cells that are answered together."""
    size, threads = batch or BATCH, parallel_calls()

    def work(group: list[Picture]) -> list[list[Any]]:
        cells = _prepare(group, look)
        chunks = iter(lambda: list(islice(cells, size)), [])
        return [list(_answer(chunk, answer)) for chunk in chunks] if parallel else list(chunks)

    waiting: deque[Future[list[list[Any]]]] = deque()
    groups = _groups(pictures, size)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
    try:
        while True:
            for group in islice(groups, 2 * threads - len(waiting)):
                waiting.append(pool.submit(work, group))
            if not waiting:
                return
            for chunk in waiting.popleft().result():
                yield from chunk if parallel else _answer(chunk, answer)
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


def _prepare(group: list[Picture], look: Look) -> Iterator[Seen]:
    for picture in group:
        try:
            pixels = picture.read()
        except LeukoscopeError as error:
            yield from ((place, (), error) for place, _ in picture.cells)
            continue
        for place, row in picture.cells:
            try:
                yield place, *look(row, cut_cell(pixels, row))
            except LeukoscopeError as error:
                yield place, (), error


def _answer(chunk: list[Seen], answer: Answer) -> Iterator[tuple[int, Answered | LeukoscopeError]]:
    cells = [cell for _, ways, _ in chunk for cell in ways]
    probabilities, energies = answer(np.stack(cells)) if cells else (np.empty(0), None)
    end = 0
    for place, ways, note in chunk:
        own = slice(end, end := end + len(ways))
        yield place, Answered(probabilities[own], None if energies is None else energies[own], note) if ways else note
