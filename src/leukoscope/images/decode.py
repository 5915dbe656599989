"""Decode many cells in threads, each image once, in constant memory; a damaged cell is a value, not an exception."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl

from ..errors import ImageError, input_error
from ..progress import OnProgress
from ..tables import Row
from .read import cut_cell, read_image

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Damaged:
    """A cell whose pixels cannot be read, and why."""

    cell_id: str
    image: str
    reason: str


def map_cells(manifest: pl.DataFrame, measure: Callable[[np.ndarray], Measured], *, workers: int = 4,
              on_progress: OnProgress | None = None) -> Iterator[tuple[int, Measured | Damaged]]:
    """(row number, result of `measure` for its pixels); each image is decoded once, in threads, in constant memory.

    A cell that cannot be decoded gives `Damaged`. Rows of one image come together, otherwise in the manifest's order.
    """
    return map_rows(manifest, lambda _, pixels: measure(pixels), workers=workers, on_progress=on_progress)


def map_rows(manifest: pl.DataFrame, measure: Callable[[Row, np.ndarray], Measured], *, workers: int = 4,
             on_progress: OnProgress | None = None) -> Iterator[tuple[int, Measured | Damaged]]:
    """Like `map_cells`; `measure` also gets the row: `cell_id`, `image` and the box."""
    columns = [name for name in ("cell_id", "image", "x", "y", "width", "height") if name in manifest.columns]
    table = manifest.select(columns).with_row_index("row")
    by_image = table.group_by("image", maintain_order=True).agg("row")["row"]
    rows = table.to_dicts()
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[list[tuple[int, Measured | Damaged]]]] = deque()
        images = iter(by_image)
        while True:
            while len(waiting) < 4 * workers and (numbers := next(images, None)) is not None:
                waiting.append(pool.submit(_measure_image, [rows[number] for number in numbers], measure))
            if not waiting:
                return
            for result in waiting.popleft().result():
                yield result
                done += 1
                if on_progress:
                    on_progress(done, manifest.height)


def _measure_image(rows: Sequence[Row], measure: Callable[[Row, np.ndarray], Measured]
                   ) -> list[tuple[int, Measured | Damaged]]:
    path = rows[0]["image"]
    try:
        image = read_image(path)
    except Exception as error:  # a damaged or hostile file may raise anything, and is one line of the result
        return [(row["row"], Damaged(row["cell_id"], path, _reason(error))) for row in rows]
    results: list[tuple[int, Measured | Damaged]] = []
    for row in rows:
        try:
            results.append((row["row"], measure(row, cut_cell(image, row))))
        except OSError:  # of what is written, such as a full disk
            raise
        except Exception as error:
            results.append((row["row"], Damaged(row["cell_id"], path, _reason(error))))
    return results


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, ImageError) else input_error(error).what


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
