"""Run folders to a comparison with a page. Joins reading, statistics, costs and pages; does none of it itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import LeukoscopeError, RunError
from ..evaluate.compare import ROUNDS, compare
from ..evaluate.compare_runs import Matched, read_kinds
from ..evaluate.costs import costs
from ..figures.compare import mean_curve
from ..files import read_json, write_json
from ..manifest import write_table
from ..report.compare import comparison_lines, write_comparison

RESULT = "compare.json"


def compare_runs(folders: Sequence[Path], out: Path, *, rounds: int = ROUNDS, timed: bool = True, seed: int = 0,
                 published: Mapping[str, Mapping[str, float]] | None = None,
                 more: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None) \
        -> tuple[list[str], dict[str, Any]]:
    """Compare finished runs (or evaluations) on the same cells; writes compare.json, pairs.csv and compare.html into
    `out`. Gives the lines for a terminal, and what compare.json holds.

    published: kind -> figure -> what a paper gives for it, drawn beside ours. more: from what was found to what the
    page shows of it beyond: "title", "description", "tables" as in study.json. Raises RunError where the runs do not
    match, LeukoscopeError where `out` is one of them.
    """
    held = {"recipe.toml": "a run", "evaluation.json": "an evaluation", "study.json": "a study"}
    what = next((f"holds {what}" for name, what in held.items() if (out / name).is_file()), "")
    if what or out.is_file():
        raise LeukoscopeError(f"{out}: {what or 'is a file'}", "name another folder")
    if rounds < 100:
        raise LeukoscopeError(f"rounds is {rounds}, expected 100 or more", f"{ROUNDS} is usual")
    matched = read_kinds(folders)
    out.mkdir(parents=True, exist_ok=True)  # before the work: it may not be allowed
    found = compare(matched.kinds, positive=matched.positive, rounds=rounds, seed=seed)
    for kind, own, table in zip(found["kinds"], matched.runs, costs(matched.runs, timed=timed), strict=True):
        kind |= {"cost": table, "runs": [str(one.folder) for one in own]}
    found |= {"remarks": list(matched.remarks), "curves": _curves(matched), "published": dict(published or {})}
    found |= {"title": "", "description": "", "tables": []} | dict(more(found) if more else {})
    write_json(out / RESULT, found)
    write_table(pairs_table(found), out / "pairs.csv")
    page = write_comparison(found, out)
    return [*comparison_lines(found), f"report: {page}"], found


def draw_comparison(folder: Path) -> Path:
    """The page of a comparison, drawn anew from its folder; RunError where compare.json is not what it was."""
    found = read_json(folder / RESULT)
    try:
        return write_comparison(found, folder)
    except (KeyError, TypeError, IndexError, StopIteration, AttributeError) as error:
        raise RunError(f"{folder / RESULT}: is not what leukoscope compare leaves", "compare the runs anew") from error


def pairs_table(found: Mapping[str, Any]) -> pl.DataFrame:
    """One row a pair and figure: the difference, its interval, p values, and the test."""
    return pl.DataFrame([
        {"first": pair["first"], "second": pair["second"], "figure": name, "difference": test["difference"]["value"],
         "low": test["difference"]["low"], "high": test["difference"]["high"], "p": test["p_value"],
         "p_holm": test["holm"], "test": test["test"]}
        for pair in found["pairs"] for name, test in pair["tests"].items()], infer_schema_length=None)


def _curves(matched: Matched) -> dict[str, list[Any]]:
    """Kind -> the ROC curve of each training: of the positive class, else the mean over classes."""
    drawn: dict[str, list[Any]] = {}
    for kind in matched.kinds:
        known = [metrics.get("curves") or {} for metrics in kind.metrics]
        if matched.positive:
            drawn[kind.name] = [curves[matched.positive]["roc"] for curves in known if matched.positive in curves]
        else:
            drawn[kind.name] = [mean_curve(curves) for curves in known if curves]
    return drawn if all(drawn.values()) else {}
