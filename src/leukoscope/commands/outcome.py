"""What a command ends with, and the lines that sum it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import text
from ..stats.estimate import Estimate


@dataclass(frozen=True)
class Outcome:
    """What a command ends with: the folder, its page, the lines that matter, the metrics behind them as JSON."""

    folder: Path
    page: Path
    lines: tuple[str, ...]
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"folder": str(self.folder), "report": str(self.page), "summary": list(self.lines),
                "metrics": dict(self.metrics)}


def summary(metrics: Mapping[str, Any], guard: Mapping[str, Any]) -> tuple[str, str, str]:
    """From metrics.json and guard.json the three lines that matter: accuracy, the weakest class, leaks."""
    sensitivities = {name: own["sensitivity"] for name, own in metrics["per_class"].items()}
    weakest = min((name for name, own in sensitivities.items() if own["value"] is not None),
                  key=lambda name: sensitivities[name]["value"])
    unchecked, folds, leaks = not guard["leaks"] and not guard["checked"], len(metrics["folds"]), len(guard["leaks"])
    cells = (f"{metrics['cells']:,} cells{'' if unchecked else ' that were not trained on'}"
             f"{f', {folds} folds' if folds > 1 else ''}")
    verdict = (f"not checked: {'; '.join(guard['not_checked'])}" if unchecked else
               f"{leaks} leaks, named in the report" if leaks else "no leak found")
    return (f"accuracy {interval(metrics['overall']['accuracy'])} on {cells}",
            f"weakest class: {weakest}, sensitivity {interval(sensitivities[weakest])}",
            f"leak guard (protocol {guard['protocol']}): {verdict}")


def interval(estimate: Mapping[str, Any]) -> str:
    """An estimate from JSON in percent, as `text.interval`."""
    return text.interval(Estimate.from_dict(estimate))
