"""Any number of images to a table of predictions by a bundle: constant memory, decoding ahead, nothing left unsaid.

Rows are kept in parts beside the table until all are there, so that a killed run goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..bundle.bundle import Bundle, Description
from ..bundle.calibration import conformal_sets
from ..errors import ImageError, LeukoscopeError
from ..files import alone, atomic_path, read_json, write_json
from ..images.decode import usable_cores
from ..images.frame import find_frame, frame_cell, shaped
from ..manifest import write_table
from ..progress import OnProgress, behind
from ..recipes.sections import Preprocess
from .sources import Source, digest_of, list_sources

PART = 1024
"""Rows of a part: what a killed run loses at most."""
BATCH = 32
KINDS = (".parquet", ".csv", ".jsonl")


@dataclass(frozen=True)
class Streamed:
    """What a prediction ends with: the table, how many cells it holds, and how many of them could not be read, are
    unsure, or unlike those of training (None where the bundle cannot say); counts: class -> cells."""

    table: Path
    cells: int
    damaged: int
    unsure: int | None
    unknown: int | None
    counts: dict[str, int]


def predict_stream(bundle: Bundle, inputs: Sequence[str | Path], out: Path, *, resume: bool = False,
                   overwrite: bool = False, on_progress: OnProgress | None = None) -> Streamed:
    """Predict every cell of the inputs (see `predict_sources`) into a table: .parquet, .csv or .jsonl.

    A cell that cannot be read has its reason in the column `error` and no prediction. Raises LeukoscopeError where
    `out` is there already, or a stopped run of other inputs is, unless told to overwrite or resume.
    """
    out = Path(out)
    if out.suffix not in KINDS:
        raise LeukoscopeError(f"{out}: predictions are written as {', '.join(KINDS)}", "name a file that ends so")
    if out.is_dir():
        raise LeukoscopeError(f"{out}: is a folder", "name another file")
    parts = out.with_name(f".{out.name}.parts")
    sources = list_sources(inputs)
    with alone(parts.with_name(f"{parts.name}.lock"), str(out)):
        if out.exists() and resume and not parts.exists():
            return _finished(bundle, out, sources)
        if out.exists() and not overwrite:
            raise LeukoscopeError(f"{out}: is there already", "name another file, or take --overwrite")
        if overwrite and not resume:
            shutil.rmtree(parts, ignore_errors=True)
        start = _begin(parts, {"cells": digest_of(sources), "bundle": bundle.description.files, "part": PART}, resume)
        for first in range(start * PART, len(sources), PART):
            some = sources[first:first + PART]
            done = behind(on_progress, first, len(sources))
            write_table(predict_sources(bundle, some, on_progress=done), parts / f"{first // PART:06d}.parquet")
        return _join(bundle, parts, out)


def predict_sources(bundle: Bundle, sources: Sequence[Source], *,
                    on_progress: OnProgress | None = None) -> pl.DataFrame:
    """The table of some cells, in their order: cell, image, page, error, predicted, unsure, set, known, energy, p_."""
    told, size = bundle.description, bundle.description.size
    probabilities = np.full((len(sources), len(told.classes)), np.nan, np.float32)
    energy, errors = np.full(len(sources), np.nan, np.float32), [None] * len(sources)
    for places, cells, failed in _batches(sources, told):
        if places:
            assert cells.shape[1:] == (size, size, 3)
            probabilities[places], energy[places] = bundle.probabilities(cells)
        for place in places:
            if not (np.isfinite(energy[place]) and np.isfinite(probabilities[place]).all()):
                failed[place], energy[place] = "the network gives no number for it", np.nan
        for place, reason in failed.items():
            errors[place] = reason  # type: ignore[call-overload]  # a list of text or None
        if on_progress is not None:
            on_progress(max([*places, *failed]) + 1, len(sources))
    where = pl.DataFrame({
        "cell": [_text(source.name) for source in sources], "image": [_text(source.image) for source in sources],
        "page": pl.Series([source.page for source in sources], dtype=pl.Int32),
        "error": pl.Series(errors, dtype=pl.String)})
    return where.with_columns(verdicts(told, probabilities, energy).get_columns())


def verdicts(told: Description, probabilities: np.ndarray, energy: np.ndarray) -> pl.DataFrame:
    """What a bundle says of cells: predicted class, whether it is unsure (its conformal set, `set`, does not hold
    exactly one class), whether it knows such cells; null where there is nothing to say. NaN rows are cells without an
    answer."""
    answered = np.isfinite(energy)
    names = np.array(told.classes, object)
    best = np.where(answered, np.nan_to_num(probabilities).argmax(1), 0)
    columns: dict[str, Any] = {"predicted": pl.Series(names[best], dtype=pl.String)}
    if told.radius is not None:
        inside = conformal_sets(np.nan_to_num(probabilities), told.radius)
        columns["unsure"] = pl.Series(inside.sum(1) != 1)
        columns["set"] = pl.Series([json.dumps(names[row].tolist(), ensure_ascii=False) for row in inside],
                                   dtype=pl.String)
    else:
        columns |= {"unsure": pl.Series([None] * len(energy), dtype=pl.Boolean),
                    "set": pl.Series([None] * len(energy), dtype=pl.String)}
    columns["known"] = (pl.Series(energy >= told.least_energy) if told.least_energy is not None
                        else pl.Series([None] * len(energy), dtype=pl.Boolean))
    columns["energy"] = pl.Series(energy, dtype=pl.Float32)
    columns |= {f"p_{name}": pl.Series(probabilities[:, i], dtype=pl.Float32) for i, name in enumerate(told.classes)}
    table = pl.DataFrame(columns)
    return table.select(pl.when(pl.Series(answered)).then(pl.col(name)).otherwise(None).alias(name)
                        for name in table.columns)


def _text(name: str) -> str:
    """A name as a table can hold it: bytes that are no UTF-8 written out."""
    return name.encode("utf-8", "backslashreplace").decode()


def prepared(pixels: np.ndarray, told: Description) -> np.ndarray:
    """A cell as the graph takes it. LeukoscopeError as in `squared`, and where a bundle that frames cells finds none.
    """
    if told.frame != "cell":
        return squared(pixels, told)
    frame = find_frame(pixels)
    if not frame.found:
        raise LeukoscopeError("nothing in it is stained as a nucleus is, so there is no cell to name",
                              "give images of stained cells")
    return frame_cell(pixels, told.size, frame)


def squared(pixels: np.ndarray, steps: Description | Preprocess) -> np.ndarray:
    """A picture cut about its centre, or framed, and resized, also where no cell stands out in it: a corruption may
    have hidden it. LeukoscopeError where it is smaller than the cut and that is refused."""
    if steps.crop and steps.smaller == "refuse" and min(pixels.shape[:2]) < steps.crop:
        raise LeukoscopeError(f"{pixels.shape[1]} x {pixels.shape[0]} px, and cells of {steps.crop} px are wanted",
                              "give larger images")
    return shaped(pixels, steps)


def _batches(sources: Sequence[Source], told: Description) -> Iterator[tuple[list[int], np.ndarray, dict[int, str]]]:
    """Places, cells and the reasons of those that cannot be read, batch by batch, decoded ahead."""
    def load(place: int) -> np.ndarray | str:
        try:
            return prepared(sources[place].read(), told)
        except ImageError as error:
            return error.reason
        except LeukoscopeError as error:
            return error.what

    waiting: deque[tuple[int, Future[np.ndarray | str]]] = deque()
    pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode")
    try:
        ahead = iter(range(len(sources)))
        for place in ahead:
            waiting.append((place, pool.submit(load, place)))
            if len(waiting) >= 3 * BATCH:
                yield _taken(waiting, BATCH)
        while waiting:
            yield _taken(waiting, BATCH)
    finally:
        pool.shutdown(cancel_futures=True)


def _taken(waiting: deque[tuple[int, Future[np.ndarray | str]]],
           count: int) -> tuple[list[int], np.ndarray, dict[int, str]]:
    places, cells, failed = [], [], {}
    for _ in range(min(count, len(waiting))):
        place, future = waiting.popleft()
        found = future.result()
        if isinstance(found, str):
            failed[place] = found
        else:
            places.append(place)
            cells.append(found)
    return places, np.stack(cells) if cells else np.empty((0, 0, 0, 3), np.uint8), failed


def _begin(parts: Path, plan: dict[str, Any], resume: bool) -> int:
    """How many parts are done already, of the same plan."""
    if not (parts / "plan.json").is_file():
        shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir(parents=True)
        write_json(parts / "plan.json", plan)
        return 0
    if not resume:
        raise LeukoscopeError(f"{parts}: a stopped run", "go on with --resume, or remove that folder")
    if read_json(parts / "plan.json") != json.loads(json.dumps(plan)):
        raise LeukoscopeError(f"{parts}: a stopped run of other images or of another bundle", "remove that folder")
    done = 0
    while _whole(parts / f"{done:06d}.parquet"):
        done += 1
    return done


def _whole(part: Path) -> bool:
    try:
        return part.is_file() and pl.read_parquet_schema(part) is not None
    except (OSError, pl.exceptions.PolarsError):
        return False


def _join(bundle: Bundle, parts: Path, out: Path) -> Streamed:
    """All parts as one table, a stretch of rows at a time; then the parts go."""
    files = sorted(parts.glob("[0-9]*.parquet"))
    if not files:
        write_table(predict_sources(bundle, []), parts / "000000.parquet")
        files = [parts / "000000.parquet"]
    rows = pl.scan_parquet(files)
    with atomic_path(out) as beside:
        if out.suffix == ".parquet":
            rows.sink_parquet(beside)
        elif out.suffix == ".csv":
            rows.sink_csv(beside)
        else:
            rows.sink_ndjson(beside)
    found = _summary(bundle, out, rows)
    shutil.rmtree(parts)
    return found


def _finished(bundle: Bundle, out: Path, sources: Sequence[Source]) -> Streamed:
    """The summary of a table that an earlier call has written of these cells."""
    hint = "name another file, or take --overwrite instead of --resume"
    try:
        rows = pl.read_parquet(out).lazy() if out.suffix == ".parquet" else (
            pl.scan_csv(out) if out.suffix == ".csv" else pl.scan_ndjson(out))
        found, cells = _summary(bundle, out, rows), rows.select(pl.col("cell").cast(pl.String)).collect()["cell"]
    except pl.exceptions.PolarsError as error:
        raise LeukoscopeError(f"{out}: is no table of this bundle's predictions", hint) from error
    if cells.to_list() != [_text(source.name) for source in sources]:
        raise LeukoscopeError(f"{out}: is a table of other cells", hint)
    return found


def _summary(bundle: Bundle, out: Path, rows: pl.LazyFrame) -> Streamed:
    told = bundle.description
    summed = rows.select(
        pl.len().alias("cells"), pl.col("error").is_not_null().sum().alias("damaged"),
        pl.col("unsure").sum().alias("unsure"), (~pl.col("known")).sum().alias("unknown"),
        *((pl.col("predicted") == name).sum().alias(f"is {name}") for name in told.classes)
    ).collect().row(0, named=True)
    return Streamed(out, summed["cells"], summed["damaged"], summed["unsure"] if told.radius is not None else None,
                    summed["unknown"] if told.least_energy is not None else None,
                    {name: summed[f"is {name}"] for name in told.classes})
