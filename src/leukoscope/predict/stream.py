"""Any number of images to a table of predictions by a bundle, in constant memory; what cannot be read is a row too.

Rows are written in parts beside the table and joined at the end, so that a killed run can go on.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl

from ..bundle.bundle import Bundle, Description
from ..bundle.calibration import conformal_sets
from ..errors import LeukoscopeError
from ..filenames import check_predictions_path
from ..files import alone, atomic_path, read_json, write_json
from ..images.read import read_image
from ..manifest import write_table
from ..progress import OnProgress, behind
from ..tables import harmless, restored, scan, writable
from ..text import escaped, grouped
from .batches import Picture, predict_pictures, reason_of
from .classifiers import NO_CELL, prepared
from .fields import field_warning
from .sources import Listed, Source, digest_of, look_through
from .table import doubt_columns

PART = 1024
"""Rows of a part: what a killed run loses at most."""
NO_NUMBER = "the network returned NaN"


@dataclass(frozen=True)
class Streamed:
    """The result of a prediction: the table, how many cells it holds, and how many of them cannot be read, show no
    cell, are unsure, or are unlike those of training (None where the bundle cannot say); counts: class -> cells.
    left_out: (name, reason) of each file, or of pages of one, that lies in the inputs and is not in the table."""

    table: Path
    cells: int
    damaged: int
    without_cell: int
    unsure: int | None
    unknown: int | None
    counts: dict[str, int]
    left_out: tuple[tuple[str, str], ...] = ()


def predict_stream(bundle: Bundle, inputs: Sequence[str | Path], out: Path, *, resume: bool = False,
                   overwrite: bool = False, on_progress: OnProgress | None = None,
                   on_warning: Callable[[str], None] = warnings.warn) -> Streamed:
    """Predict every cell of the inputs (see `predict_sources`) into a table: .parquet, .csv or .jsonl.

    A cell that cannot be read has its reason in the column `error` and no prediction. Raises LeukoscopeError where
    `out` or a stopped run exists, unless `overwrite` or `resume` says what to do with it. on_warning: gets a line for
    what lies in the inputs and is left out, for pages that were chosen among several, and where an image looks like a
    whole field.
    """
    out = Path(out)
    check_predictions_path(out)
    parts = out.with_name(f".{out.name}.parts")
    listed = look_through(inputs)
    sources = listed.sources
    with alone(parts.with_name(f"{parts.name}.lock"), str(out)):
        shutil.rmtree(_joined(parts), ignore_errors=True)  # of a process that was killed after it wrote the table
        if out.exists() and resume and not parts.exists():
            return replace(_finished(bundle, out, sources), left_out=_left_out(listed))
        plan = {"cells": digest_of(sources), "bundle": bundle.description.files, "part": PART}
        written = resume and _is_plan(parts, plan) and _done(parts) * PART >= len(sources)
        if out.exists() and not overwrite and not written:
            raise LeukoscopeError(f"{out}: already exists", "name another file with -o, or use --overwrite")
        if overwrite and not resume:
            shutil.rmtree(parts, ignore_errors=True)
        start = _begin(parts, plan, resume)
        for warning in _warnings(listed, bundle.description):
            on_warning(warning)
        for first in range(start * PART, max(len(sources), 1), PART):  # nothing is an empty part
            table = predict_sources(bundle, sources[first:first + PART],
                                    on_progress=behind(on_progress, first, len(sources)))
            write_table(table, _part(parts, first // PART))
        return replace(_join(bundle, parts, out, -(-max(len(sources), 1) // PART)), left_out=_left_out(listed))


def _warnings(listed: Listed, described: Description) -> list[str]:
    """What a reader must know of the cells that are listed."""
    left_out = [f"left out: {line}" for line in grouped((one.name, one.reason) for one in listed.left_out)]
    notes = grouped((source.name, source.note) for source in listed.sources if source.note)
    return [*left_out, *notes, *filter(None, [field_warning(listed.sources, described)])]


def _left_out(listed: Listed) -> tuple[tuple[str, str], ...]:
    return tuple((escaped(one.name), one.reason) for one in listed.left_out)


def predict_sources(bundle: Bundle, sources: Sequence[Source], *,
                    on_progress: OnProgress | None = None) -> pl.DataFrame:
    """The table of some cells, in their order: cell, image, page, error, predicted, unsure, set, known, energy, p_."""
    described = bundle.description
    answers = predict_pictures(
        _pictures(sources), lambda _, pixels: ([prepared(pixels, described)], None), bundle.probabilities,
        parallel=True, classes=len(described.classes), total=len(sources), on_progress=on_progress)
    probabilities, energies = answers.probabilities[0].astype(np.float32), answers.energies[0].astype(np.float32)
    whole = np.isfinite(probabilities).all(1) & np.isfinite(energies)
    errors = [None if good else reason_of(answers.errors[place]) if place in answers.errors else NO_NUMBER
              for place, good in enumerate(whole)]
    energies[~whole] = np.nan
    where = pl.DataFrame({
        "cell": [escaped(source.name) for source in sources], "image": [escaped(source.image) for source in sources],
        "page": pl.Series([source.page for source in sources], dtype=pl.Int32),
        "error": pl.Series(errors, dtype=pl.String)})
    return where.hstack(verdicts(described, probabilities, energies))


def _pictures(sources: Sequence[Source]) -> Iterator[Picture]:
    """Rows of a manifest that follow each other and are of one image are one picture."""
    for _, group in groupby(enumerate(sources), lambda numbered: numbered[1].image if numbered[1].row else numbered[0]):
        cells = list(group)
        first = cells[0][1]
        yield Picture(partial(read_image, Path(first.image)) if first.row else first.read,
                      [(place, dict(source.row)) for place, source in cells])


def verdicts(described: Description, probabilities: np.ndarray, energies: np.ndarray) -> pl.DataFrame:
    """What a bundle says of cells: predicted class, whether it is unsure (its conformal set, `set`, does not hold
    exactly one class), whether it knows such cells; null where it cannot say. NaN rows are cells without an answer."""
    answered, names = np.isfinite(energies), np.array(described.classes, object)
    numbers = np.where(answered[:, None], probabilities, 0)
    sets = None if described.radius is None else conformal_sets(numbers, described.radius)
    table = pl.DataFrame([
        pl.Series("predicted", names[numbers.argmax(1)], dtype=pl.String),
        *doubt_columns(names, sets, energies, described.least_energy),
        *(pl.Series(f"p_{name}", probabilities[:, i], dtype=pl.Float32) for i, name in enumerate(described.classes))])
    return table.select(pl.when(pl.Series(answered)).then(pl.col(name)).otherwise(None).alias(name)
                        for name in table.columns)


def _begin(parts: Path, plan: Mapping[str, object], resume: bool) -> int:
    """How many parts of the same plan are done already."""
    if not (parts / "plan.json").is_file():
        shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir(parents=True)
        write_json(parts / "plan.json", plan)
        return 0
    if not resume:
        raise LeukoscopeError(f"{parts}: a stopped run", "continue with --resume, or remove that folder")
    if not _is_plan(parts, plan):
        raise LeukoscopeError(f"{parts}: a stopped run of other images or of another bundle", "remove that folder")
    return _done(parts)


def _is_plan(parts: Path, plan: Mapping[str, object]) -> bool:
    file = parts / "plan.json"
    return file.is_file() and read_json(file) == json.loads(json.dumps(plan))


def _done(parts: Path) -> int:
    """How many parts are whole, from the first."""
    done = 0
    while _is_whole(_part(parts, done)):
        done += 1
    return done


def _part(parts: Path, number: int) -> Path:
    return parts / f"{number:06d}.parquet"


def _joined(parts: Path) -> Path:
    """The name of a folder of parts once its table is written."""
    return parts.with_name(f"{parts.name}.joined")


def _is_whole(part: Path) -> bool:
    try:
        return part.is_file() and scan([part]).collect_schema() is not None
    except (OSError, pl.exceptions.PolarsError):
        return False


def _join(bundle: Bundle, parts: Path, out: Path, count: int) -> Streamed:
    """All parts, of which there are `count`, as one table, in constant memory; then the parts are removed. Raises
    LeukoscopeError where somebody has removed one meanwhile."""
    if _done(parts) < count:
        raise LeukoscopeError(f"{parts}: {_part(parts, _done(parts)).name} is missing, which this command had written",
                              "repeat it with --resume")
    rows = scan([_part(parts, number) for number in range(count)])
    with atomic_path(out) as beside:
        write = {".parquet": rows.sink_parquet, ".csv": harmless(rows).sink_csv, ".jsonl": rows.sink_ndjson}[out.suffix]
        with writable(beside) as target:
            write(target)
    summary = _summary(bundle, out, rows)
    parts.rename(_joined(parts))  # in one step, so that a killed process leaves all parts or none
    shutil.rmtree(_joined(parts))
    return summary


def _finished(bundle: Bundle, out: Path, sources: Sequence[Source]) -> Streamed:
    """The summary of a table that an earlier call has written of these cells."""
    hint = "name another file with -o, or use --overwrite instead of --resume"
    try:
        rows = scan(out, texts=("cell", "predicted"))
        if out.suffix == ".csv":
            rows = rows.with_columns(restored(pl.col("cell")), restored(pl.col("predicted")))
        summary, cells = _summary(bundle, out, rows), rows.select(pl.col("cell").cast(pl.String)).collect()["cell"]
    except pl.exceptions.PolarsError as error:
        raise LeukoscopeError(f"{out}: not a table of this bundle's predictions", hint) from error
    if cells.to_list() != [escaped(source.name) for source in sources]:
        raise LeukoscopeError(f"{out}: holds predictions of other cells", hint)
    return summary


def _summary(bundle: Bundle, out: Path, rows: pl.LazyFrame) -> Streamed:
    def count(column: str, value: str) -> pl.Expr:
        # As text, since a file without any answer does not say of which type its columns are.
        return (pl.col(column).cast(pl.String) == value).sum().alias(f"{column} {value}")

    described = bundle.description
    cells, failed, without_cell, unsure, unknown, *counts = rows.select(
        pl.len().alias("cells"), pl.col("error").is_not_null().sum().alias("failed"), count("error", NO_CELL),
        count("unsure", "true"), count("known", "false"),
        *(count("predicted", name) for name in described.classes)).collect().row(0)
    return Streamed(out, cells, failed - without_cell, without_cell, None if described.radius is None else unsure,
                    None if described.least_energy is None else unknown,
                    dict(zip(described.classes, counts, strict=True)))
