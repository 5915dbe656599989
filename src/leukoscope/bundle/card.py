"""The model card of a bundle: what it is, what it was trained on, what it can and cannot say. Text only."""

from __future__ import annotations

from ..files import JsonObject
from ..stats.estimate import Estimate
from ..text import TO_FILL, figure_name, interval, join, number, percent, plural, points, share, type_name

AUTHORS = ("Intended use, and by whom", "Who labelled the cells, and how (reference standard)",
           "Age, sex and diagnoses of the people", "Stain, microscope and camera", "Ethical approval",
           "Funding and conflicts of interest", "Contact")
"""What no training run knows."""
NOT_SHARES = ("macro_auc", "log_loss")


def model_card(description: JsonObject) -> str:
    """Markdown from what bundle.json says."""
    trained, metrics, size = description["trained"], description["metrics"], description["size"]
    counts = ", ".join(f"{count:,} {type_name(name)}" for name, count in trained["counts"].items())
    people = f"{len(trained['subjects'])} subjects" if trained["subjects"] else "unknown subjects"
    sources = ", ".join(trained["sources"]) or "an unnamed source"
    width = f"{description['micrometres']:g} micrometres" if description["micrometres"] else "not known"
    steps = {"cell": ", each brought to one light, depth of stain and size by its own pixels",
             "light": ", each brought to one light by its own pixels", "image": ""}[description["frame"]]
    steps += f", cut to {description['crop']} px before" if description["crop"] else ""
    tested = ("that the protocol of a paper calls test cells. Some leaked from the training cells, so the figures are "
              "too good" if metrics["protocol"] == "paper" else "of the same source that were not trained on")
    rows = [(figure_name(key), key, estimate) for key, estimate in metrics["overall"].items()]
    rows += [(f"sensitivity for {type_name(name)}", "", one) for name, one in metrics["sensitivity"].items()]
    if metrics["calibration_error"]:
        rows.append(("expected calibration error", "", metrics["calibration_error"]))
    notes = ["## What else to know", *(f"- {note}" for note in description["notes"]), ""] * bool(description["notes"])
    return "\n".join([
        f"# {description['title'] or description['name']}", "",
        "For research. Not a medical device: no decision about a patient may rest on it.", "",
        "## What it is",
        f"- Tells apart: {join(type_name(name) for name in description['classes'])}. It calls anything else one of "
        "these too.",
        f"- Network: {trained['network']}, on cells of {size} x {size} px{steps}. Width of a pixel: {width}.",
        f"- Trained on {trained['cells']:,} cells ({counts}) of {sources}, from {people}; protocol "
        f"{trained['protocol']}.",
        f"- Licence of the weights: {description['licence']}.", "",
        "## How often it is right", f"On {metrics['cells']:,} cells {tested}:", "",
        "| figure | value (95 % CI) |", "|---|---|",
        *(f"| {name} | {_written(Estimate.from_dict(estimate), key in NOT_SHARES)} |" for name, key, estimate in rows),
        "", *_int8(metrics), *notes,
        *_elsewhere(metrics),
        "## When it is unsure", *_doubts(description), "",
        "## What only people know", *(f"- {what}: *{TO_FILL}*" for what in AUTHORS), ""])


def _written(estimate: Estimate, plain: bool) -> str:
    return interval(estimate, number if plain else share, "" if plain else " %", confidence=None)


def _elsewhere(metrics: JsonObject) -> list[str]:
    """What is known of laboratories that it was not trained on."""
    if "elsewhere" not in metrics:
        return ["Cells of another laboratory look different, and it will be right less often there.", ""]
    known = metrics["elsewhere"]
    area = f" | area, {known['positive']} against all others (95 % CI)" if known["positive"] else ""
    rows = [f"| {row['name']} | {row['cells']:,} | {_written(Estimate.from_dict(row['accuracy']), False)}" +
            (f" | {_written(Estimate.from_dict(row['area']), True) if row['area'] else 'not defined'}" if area else "")
            + " |" for row in known["rows"]]
    return ["## In a laboratory that it was not trained on",
            "Networks of the same recipe were trained on all laboratories but one and tested on that one. This is what "
            f"to expect elsewhere: in the mean {percent(known['accuracy'])} are right, with a calibration error of "
            f"{percent(known['calibration_error'])}; the sets hold the true class in {percent(known['covered'])}.", "",
            f"| laboratory | cells | accuracy (95 % CI){area} |", f"|---|---|---{'|---' * bool(area)}|", *rows, ""]


def _int8(metrics: JsonObject) -> list[str]:
    """What computing in 8 bits costs on the test cells."""
    if "int8" not in metrics:
        return []
    cost = metrics["int8"]
    difference = interval(Estimate.from_dict(cost["difference"]), points, " points")
    return [f"It computes its convolutions in 8 bits (int8). With 32 bits it is right in "
            f"{interval(Estimate.from_dict(cost['accuracy_float32']))} of the same cells; 8 bits change that by "
            f"{difference}. They change the class of {plural(cost['changed'], 'cell')}, and the probabilities by "
            f"{cost['mean_change']:.2g} on average and by at most {cost['largest_change']:.2g}.", ""]


def _doubts(description: JsonObject) -> list[str]:
    if description["radius"] is None:
        return ["- There were no validation cells: its probabilities are not calibrated, and it marks no cell as "
                "unsure."]
    cells = description["trained"]["validation_cells"]
    few = "" if description["radius"] < 1 else (" There were too few validation cells to promise anything, so every "
                                                "cell is unsure.")
    return [f"- Probabilities are divided by a temperature of {description['temperature']:.3g}, fitted on {cells:,} "
            "validation cells. The same cells chose the epoch and the sets below.",
            f"- `unsure`: the conformal set for a coverage of {100 * description['coverage']:g} % does not hold "
            "exactly one class. The coverage is approximate. It holds on average over cells like those of the "
            f"validation, not for each class, subject or laboratory.{few}",
            f"- `known` is false where the energy is below that of {100 * description['rejected']:g} % of the "
            "validation cells: the cell is unlike those of training."]
