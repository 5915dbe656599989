"""A table of anybody's predictions to metrics and a page: no model, no images, no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..evaluation.evaluate import evaluate
from ..evaluation.predictions_table import GivenPredictions, read_predictions
from ..evaluation.results import Metrics
from ..files import write_json
from ..manifest import write_table
from ..report.run import draw_report
from ..runs.results import BUNDLE_RECIPE, read_results
from .outcome import Outcome, summary

FILES = ("evaluation.json", "metrics.json", "predictions.parquet", "report.html")
OLD = ("manifest.parquet", "left_out.json", BUNDLE_RECIPE, "shift.json", "shift.html", "shift.parquet")
"""Files of an earlier evaluation of a model in the same folder."""
UNCHECKED = "which cells the model was trained on, since a table does not say it"


def evaluate_table(path: Path, out: Path, *, columns: Mapping[str, str] | None = None, positive: str = "",
                   seed: int = 0) -> Outcome:
    """Evaluate the predictions in a table (see `read_predictions`); writes predictions.parquet, metrics.json,
    evaluation.json and report.html into `out`."""
    given, metrics = table_metrics(path, columns=columns, positive=positive, seed=seed)
    content = metrics.to_dict()
    for old in OLD:
        (out / old).unlink(missing_ok=True)
    write_table(given.table, out / "predictions.parquet")
    write_json(out / "guard.json", {"protocol": "clean", "leaks": [], "checked": [], "not_checked": [UNCHECKED]})
    write_json(out / "evaluation.json", {"table": str(path.resolve()), "title": path.stem, "recipe": path.stem,
                                         "classes": given.classes, "columns": dict(given.columns)})
    write_json(out / "metrics.json", content)
    results = read_results(out)
    page = draw_report(results)
    return Outcome(out, page, (*summary(results), *given.remarks, f"report: {page}"), content)


def table_metrics(path: Path, *, columns: Mapping[str, str] | None = None, positive: str = "",
                  seed: int = 0) -> tuple[GivenPredictions, Metrics]:
    """A table's predictions and their metrics, the remarks on the table among its notes."""
    given = read_predictions(path, columns=columns, positive=positive)
    metrics = evaluate(given.table.select(*given.table.columns[:6 + len(given.classes)]), given.classes,
                       positive=positive, seed=seed)
    return given, replace(metrics, notes=(*metrics.notes, *given.remarks))
