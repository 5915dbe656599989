"""Tables of anybody's predictions of the same cells to a comparison with a page: no runs, no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from ..errors import LeukoscopeError
from ..evaluation.compare import ROUNDS, Kind, compare
from ..evaluation.predictions_table import GivenPredictions
from ..evaluation.table import read_cells
from ..files import JsonObject
from .compare import check_comparison, finish_comparison
from .evaluate_table import table_metrics


def compare_tables(paths: Sequence[Path], out: Path, *, columns: Mapping[str, str] | None = None, positive: str = "",
                   rounds: int = ROUNDS, seed: int = 0) -> tuple[list[str], JsonObject]:
    """Compare models by tables of their predictions; see `compare_runs`. Raises LeukoscopeError where the tables are
    not of the same cells, labels, subjects and classes."""
    check_comparison(out, rounds)
    names = _names(paths)
    if len(paths) < 2 or len({path.resolve() for path in paths}) < len(paths):
        raise LeukoscopeError("compare: give two or more different tables", "one for each model")
    known = [table_metrics(path / "predictions.parquet", columns={}, positive=positive, seed=seed) if path.is_dir() else
             table_metrics(path, columns=columns, positive=positive, seed=seed) for path in paths]
    first = known[0][0]
    for path, (given, _) in zip(paths[1:], known[1:], strict=True):
        _check_same(first, given, str(paths[0]), str(path))
    kinds = tuple(Kind(name, (read_cells(_known(given), first.classes, str(path)),), (metrics,), ((0, 0),))
                  for name, path, (given, metrics) in zip(names, paths, known, strict=True))
    compared = compare(kinds, positive=positive or "", rounds=rounds, seed=seed)
    remarks = list(dict.fromkeys(f"{text[:1].upper()}{text[1:]}." for given, _ in known for text in given.remarks))
    return finish_comparison(compared, kinds, out, {"remarks": remarks})


def _names(paths: Sequence[Path]) -> list[str]:
    """What each table is called: by its name, or by its path where names are the same."""
    names = [path.name if path.is_dir() else path.stem for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _known(given: GivenPredictions) -> pl.DataFrame:
    """Without the other columns."""
    return given.table.select(given.table.columns[:6 + len(given.classes)])


def _check_same(first: GivenPredictions, other: GivenPredictions, here: str, there: str) -> None:
    if sorted(first.classes) != sorted(other.classes):
        raise LeukoscopeError(f"{there}: its classes are {', '.join(other.classes)}, those of {here} "
                              f"{', '.join(first.classes)}", "compare models of the same classes")
    tables = [given.table.select("cell_id", "label", "subject") for given in (first, other)]
    for ours, theirs, at, elsewhere in ((*tables, here, there), (*tables[::-1], there, here)):
        alone = ours.join(theirs, on="cell_id", how="anti")
        if alone.height:
            raise LeukoscopeError(f"different cells: {alone.height} of {ours.height} cells of {at} are not in "
                                  f"{elsewhere}, such as '{alone['cell_id'][0]}'", "compare the same cells")
    both = tables[0].join(tables[1], on="cell_id", suffix="_other")
    for name in ("label", "subject"):
        for row in both.filter(~pl.col(name).eq_missing(pl.col(f"{name}_other"))).head(1).iter_rows(named=True):
            raise LeukoscopeError(f"cell '{row['cell_id']}' has {name} {row[name]!r} in {here} and "
                                  f"{row[f'{name}_other']!r} in {there}", "correct one of them")
