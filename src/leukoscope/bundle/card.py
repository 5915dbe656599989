"""The model card of a bundle: what it is, what it was trained on, what it can and cannot say. Text alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_card(description: Mapping[str, Any]) -> str:
    """Markdown from what bundle.json says."""
    trained, metrics = description["trained"], description["metrics"]
    counts = ", ".join(f"{count:,} {name}" for name, count in trained["counts"].items())
    people = f"{len(trained['subjects'])} subjects" if trained["subjects"] else "subjects that are not known"
    sources = ", ".join(trained["sources"]) or "a source that is not named"
    scale = f"{description['micrometres']:g} micrometres" if description["micrometres"] else "not stated"
    lines = [
        f"# {description['title'] or description['name']}", "",
        "For research. Not a medical device: nothing that it says may decide on a patient.", "",
        "## What it is",
        f"- Tells apart: {', '.join(description['classes'])}. Whatever else it is shown, it will call one of these.",
        f"- Network: {trained['network']}, on cells of {description['size']} px"
        + (", each brought to one light, azure and scale by its own pixels" if description["frame"] == "cell" else "")
        + (f" cut to {description['crop']} px before" if description["crop"] else "") + f"; pixel: {scale}.",
        f"- Trained on {trained['cells']:,} cells ({counts}) of {sources}, of {people}; protocol "
        f"{trained['protocol']}.",
        f"- Licence of the weights: {description['licence']}.", "",
        "## How often it is right",
        _tested(metrics), "",
        "| figure | value |", "|---|---|"]
    lines += [f"| {key.replace('_', ' ')} | {_shown(key, estimate)} |" for key, estimate in metrics["overall"].items()]
    lines += [f"| sensitivity for {name} | {_shown('', estimate)} |"
              for name, estimate in metrics["sensitivity"].items()]
    if metrics["calibration_error"]:
        lines.append(f"| expected calibration error | {_shown('', metrics['calibration_error'])} |")
    if description["notes"]:
        lines += ["", "## What else to know", *(f"- {note}" for note in description["notes"])]
    lines += ["", "Cells of another laboratory look otherwise, and it will be right less often there.", "",
              "## When it doubts", *_doubts(description), ""]
    return "\n".join(lines)


def _tested(metrics: Mapping[str, Any]) -> str:
    if metrics["protocol"] == "paper":
        return (f"On {metrics['cells']:,} cells that the protocol of a paper calls tested: what leaks from training "
                "into them makes these figures too good. With 95 % intervals:")
    return f"On {metrics['cells']:,} cells of the same source that were not trained on, with 95 % intervals:"


def _doubts(description: Mapping[str, Any]) -> list[str]:
    if description["radius"] is None:
        return ["- No cells were validated on: its probabilities are not calibrated, and it marks no cell as unsure."]
    cells = description["trained"]["validation_cells"]
    return [f"- Probabilities are divided by a temperature of {description['temperature']:.3g}, fitted on {cells:,} "
            "validation cells, which also chose the epoch; so did the sets below.",
            f"- `unsure`: the conformal set for a coverage of {100 * description['coverage']:g} % does not hold "
            "exactly one class. The promise holds about, and on the average over cells like those, not for each class, "
            "subject or laboratory." + ("" if description["radius"] < 1 else " There were too few to promise "
                                        "anything, so every cell is unsure."),
            f"- `known` is false where the energy is below that of {100 * description['rejected']:g} % of the "
            "validation cells: the cell is unlike those of training."]


def _shown(key: str, estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "not defined"
    if key in ("macro_auc", "log_loss"):
        value, low, high = (None if v is None else f"{v:.3f}" for v in _bounds(estimate))
        unit = ""
    else:
        value, low, high = (None if v is None else f"{100 * v:.1f}" for v in _bounds(estimate))
        unit = " %"
    return f"{value}{unit}" if low is None else f"{value}{unit} ({low} to {high})"


def _bounds(estimate: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    return estimate["value"], estimate["low"], estimate["high"]
