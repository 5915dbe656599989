"""Run folders to a comparison with a page. Joins reading, statistics, costs and pages; does none of it itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from ..errors import LeukoscopeError, RunError
from ..evaluation.compare import ROUNDS, Compared, Kind, compare
from ..evaluation.compare_runs import read_kinds
from ..evaluation.costs import costs
from ..evaluation.ranking import mean_curve
from ..files import JsonObject, read_json, write_json
from ..manifest import write_table
from ..report.compare import comparison_lines, read_comparison, write_comparison
from ..runs.comparison import Comparison
from ..runs.stored import to_json

RESULT = "compare.json"


def compare_runs(folders: Sequence[Path], out: Path, *, rounds: int = ROUNDS, timed: bool = True, seed: int = 0,
                 published: Mapping[str, Mapping[str, float]] | None = None,
                 more: Callable[[Comparison], JsonObject] | None = None) -> tuple[list[str], JsonObject]:
    """Compare finished runs (or evaluations) on the same cells; writes compare.json, pairs.csv and compare.html into
    `out`. Gives the lines for a terminal, and what compare.json holds.

    published: kind -> metric -> what a paper gives for it, drawn beside ours. more: from the comparison to what the
    page shows besides: "title", "description", "tables" as in study.json. Raises RunError where the runs do
    not match, LeukoscopeError where `out` is one of them.
    """
    check_comparison(out, rounds)
    matched = read_kinds(folders)
    out.mkdir(parents=True, exist_ok=True)  # before the work, in case the folder cannot be made
    compared = compare(matched.kinds, positive=matched.positive, rounds=rounds, seed=seed)
    facts = [{"cost": to_json(cost), "runs": [str(opened.folder) for opened in own]}
             for own, cost in zip(matched.runs, costs(matched.runs, timed=timed), strict=True)]
    return finish_comparison(compared, matched.kinds, out, {
        "remarks": list(matched.remarks), "published": dict(published or {})}, facts, more)


def check_comparison(out: Path, rounds: int) -> None:
    """RunError unless a comparison may be written into `out`, LeukoscopeError for too few rounds."""
    holds = {"recipe.toml": "a run", "evaluation.json": "an evaluation", "study.json": "a study"}
    what = next((f"holds {what}" for name, what in holds.items() if (out / name).is_file()), "")
    if what or out.is_file():
        raise LeukoscopeError(f"{out}: {what or 'is a file'}", "name another folder")
    if rounds < 100:
        raise LeukoscopeError(f"rounds is {rounds}, expected 100 or more", f"{ROUNDS} is usual")


def finish_comparison(compared: Compared, kinds: Sequence[Kind], out: Path, facts: JsonObject,
                      of_kinds: Sequence[JsonObject] = (),
                      more: Callable[[Comparison], JsonObject] | None = None
                      ) -> tuple[list[str], JsonObject]:
    """Write a comparison's files and page. facts: what compare.json holds besides; of_kinds: of each kind."""
    content = compared.to_dict()
    for kind, own in zip(content["kinds"], of_kinds, strict=bool(of_kinds)):
        kind.update(own)
    content |= {"curves": _curves(kinds, compared.positive), "published": {}, **facts}
    content |= {"title": "", "description": "", "tables": []} | dict(more(read_comparison(content)) if more else {})
    write_json(out / RESULT, content)
    write_table(pairs_table(compared), out / "pairs.csv")
    page = write_comparison(content, out)
    return [*comparison_lines(content), f"report: {page}"], content


def draw_comparison(folder: Path) -> Path:
    """The page of a comparison, drawn again from its folder; RunError where compare.json is damaged."""
    content = read_json(folder / RESULT)
    try:
        return write_comparison(content, folder)
    except (KeyError, TypeError, IndexError, StopIteration, AttributeError) as error:
        raise RunError(f"{folder / RESULT}: not written by leukoscope compare, or damaged", "compare the runs again") \
            from error


def pairs_table(compared: Compared) -> pl.DataFrame:
    """One row a pair and metric: the difference, its interval, p values, and the test."""
    return pl.DataFrame([
        {"first": pair.first, "second": pair.second, "figure": name, "difference": test.difference.value,
         "low": test.difference.low, "high": test.difference.high, "p": test.p_value, "p_holm": test.holm,
         "test": test.test}
        for pair in compared.pairs for name, test in pair.tests.items()], infer_schema_length=None)


def _curves(kinds: Sequence[Kind], name: str) -> dict[str, list[JsonObject]]:
    """Kind -> the ROC curve of each training: of the positive class `name`, else the mean over classes."""
    drawn = {}
    for kind in kinds:
        known = [metrics.curves for metrics in kind.metrics]
        drawn[kind.name] = ([to_json(curves[name].roc) for curves in known if name in curves] if name else
                            [mean_curve(tuple(curves.values())) for curves in known if curves])
    return drawn if all(drawn.values()) else {}
