"""What a command ends with, and the lines that sum it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What a command ends with: the folder, its page, the lines that matter, the figures behind them."""

    folder: Path
    page: Path
    lines: tuple[str, ...]
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"folder": str(self.folder), "report": str(self.page), "summary": list(self.lines),
                "metrics": dict(self.metrics)}


def summary(metrics: Mapping[str, Any], guard: Mapping[str, Any]) -> tuple[str, str, str]:
    """The three lines that matter: how often right, where weakest, what leaks."""
    accuracy = metrics["overall"]["accuracy"]
    folds = len(metrics["folds"])
    unchecked = not guard["leaks"] and not guard["checked"]
    where = (f"{metrics['cells']:,} cells" + ("" if unchecked else " that were not trained on")
             + (f", {folds} folds" if folds > 1 else ""))
    rated = {c: m["sensitivity"] for c, m in metrics["per_class"].items() if m["sensitivity"]["value"] is not None}
    weakest = min(rated, key=lambda c: rated[c]["value"])
    leaks = len(guard["leaks"])
    found = f"{leaks} leaks, named in the report" if leaks else "no leak found"
    if unchecked:
        found = f"not checked: {'; '.join(guard['not_checked'])}"
    return (
        f"accuracy {interval(accuracy)} on {where}",
        f"weakest class: {weakest}, sensitivity {interval(rated[weakest])}",
        f"leak guard (protocol {guard['protocol']}): {found}",
    )


def interval(estimate: Mapping[str, Any]) -> str:
    """An estimate in percent: `95.2 % (94.1 to 96.1)`."""
    if estimate["value"] is None:
        return f"not defined ({estimate['method']})"
    value = f"{100 * estimate['value']:.1f} %"
    if estimate["low"] is None:
        return value
    return f"{value} ({100 * estimate['low']:.1f} to {100 * estimate['high']:.1f})"
