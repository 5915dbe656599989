"""What a command ends with, and the lines that sum it up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..files import JsonObject
from ..runs.results import Guard, Results
from ..text import interval


@dataclass(frozen=True)
class Outcome:
    """What a command ends with: the folder, its page, the lines that matter, the metrics behind them as JSON."""

    folder: Path
    page: Path
    lines: tuple[str, ...]
    metrics: JsonObject = field(default_factory=dict)

    def to_dict(self) -> JsonObject:
        """As JSON."""
        return {"folder": str(self.folder), "report": str(self.page), "summary": list(self.lines),
                "metrics": dict(self.metrics)}


def summary(results: Results) -> list[str]:
    """The lines that matter of a run or an evaluation: accuracy, the weakest class, leaks."""
    metrics, guard = results.metrics, results.guard or Guard()
    unchecked, folds, leaks = not guard.leaks and not guard.checked, len(metrics.folds), len(guard.leaks)
    cells = (f"{metrics.cells:,} cells{'' if unchecked else ' that were not trained on'}"
             f"{f', {folds} folds' if folds > 1 else ''}")
    verdict = (f"not checked: {'; '.join(guard.not_checked)}" if unchecked else
               f"{leaks} leaks, named in the report" if leaks else "no leak found")
    weakest = [f"weakest class: {name}, sensitivity {interval(rate)}" if (rate.value or 0) < 1 else
               f"lowest sensitivity of a class: {name}, {interval(rate)}"
               for name, rate in filter(None, (metrics.weakest,))]
    return [f"accuracy {interval(metrics.accuracy)} on {cells}", *weakest,
            f"leak guard (protocol {guard.protocol}): {verdict}"]
