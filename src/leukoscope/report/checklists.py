"""Reporting checklists filled with what a run or an evaluation knows, as a page and as Markdown. Computes no metric."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from .. import __version__
from ..figures.flow import flow_figure, flow_lines
from ..files import write_text
from ..runs.results import Metrics, Results, read_results
from ..stats.estimate import Estimate
from ..text import TO_FILL, count, figure_name, interval, join, number, percent, plain, plural, type_name
from .checklist_items import CHECKLISTS, Checklist
from .html import write_page
from .numbers import PLAIN_NUMBERS
from .sentences import describe, recipe_facts

PAGE = "checklists.html"


def write_checklists(run: Path, out: Path) -> list[Path]:
    """Write checklists.html and a Markdown file for each checklist into `out`, from a finished run or an evaluation.
    RunError where it is not one."""
    results = read_results(run)
    facts = run_facts(results)
    files = [out / f"{checklist.name.lower().replace('+', '-')}.md" for checklist in CHECKLISTS]
    for checklist, file in zip(CHECKLISTS, files, strict=True):
        write_text(file, as_markdown(checklist, facts, results.name))
    page = write_page(
        out / PAGE, "checklists.html", {"flow": flow_figure(results)}, checklists=CHECKLISTS, facts=facts,
        to_fill=TO_FILL, name=results.name, version=__version__,
        filled={checklist.name: filled(checklist, facts) for checklist in CHECKLISTS})
    return [page, *files]


def filled(checklist: Checklist, facts: Mapping[str, str]) -> int:
    """How many items the run answers."""
    return sum(bool(facts.get(item.fact)) for item in checklist.items)


def as_markdown(checklist: Checklist, facts: Mapping[str, str], name: str) -> str:
    """A table: number, item, what the run knows."""
    lines = [f"# {checklist.name}: {plain(name)}", "",
             f"For {checklist.purpose} ({checklist.source}). Items are in our own words: compare with the published "
             "checklist before submitting. "
             f"{filled(checklist, facts)} of {len(checklist.items)} are filled from the run, by Leukoscope "
             f"{__version__}.", "", "| item | | what the run knows |", "|---|---|---|"]
    lines += [f"| {item.number} | {item.text} | {_cell(facts.get(item.fact) or f'*{TO_FILL}*')} |"
              for item in checklist.items]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def run_facts(results: Results) -> dict[str, str]:
    """What a run knows, by the names that `checklist_items` uses; a name without a fact is missing or ""."""
    words, metrics = describe(results), results.metrics
    verdict = words.verdict
    facts = {
        "classes": f"{plural(len(metrics.classes), 'class', 'classes')}: {join(map(_type, metrics.classes))}",
        "size": _size(results), "flow": " ".join(flow_lines(results)), "sources": _sources(results),
        "left_out": _left_out(results), "missing": _left_out(results), "labels": _labels(results),
        "disjoint": " ".join([verdict.head + ".", *verdict.lines,
                              *([f"Checked: {'; '.join(verdict.checked)}."] if verdict.checked else [])]),
        "blind": "The model sees the pixels only, not the labels of the test cells." if results.manifest is not None
                 else "",
        "measures": f"{join(map(figure_name, metrics.overall.estimates))}; of each class "
                    f"{join(map(figure_name, next(iter(metrics.per_class.values())).estimates))}.",
        "uncertainty": f"{percent(metrics.confidence, 0)} intervals: {metrics.accuracy.method}. docs/statistics.md "
                       "says which interval is used where.",
        "result": _result(metrics), "confusion": _confusion(metrics), "errors": words.answer,
        "limits": " ".join(f"{note[:1].upper()}{note[1:]}." for note in metrics.notes), "output": _output(metrics),
        "external": " ".join(words.summary[1:]) if results.evaluated and not results.evaluated.table else "",
        "subjects": _subjects(results), "doubt": _doubt(metrics), "software": _software(results),
        "version": f"Leukoscope {results.environment.leukoscope or __version__}; the weights are fixed, nothing is "
                   "learned in use." if results.recipe else "",
        "stored": "predictions.parquet holds label, answer and probabilities of each test cell.",
        "laboratories": "", "balance": "", "robustness": "See shift.html: accuracy under blur, stain, light and noise."
        if (results.folder / "shift.json").is_file() else "",
        "explanations": "Grad-CAM and occlusion in the report."
        if any((results.folder / "figures" / "explanations").glob("*.png")) else ""}
    facts |= _recipe_facts(results) if results.recipe else {}
    development = f"{facts['partition']} {facts['flow']}" if results.recipe else ""
    return facts | {"algorithm": " ".join(filter(None, [facts.get("network"), facts["version"]])),
                    "development": development}


def _recipe_facts(results: Results) -> dict[str, str]:
    recipe, summary = results.recipe, describe(results).summary
    assert recipe is not None
    known = dict(recipe_facts(recipe))
    own = results.evaluated is None
    weights = f", {count(results.parameters)} parameters" if results.parameters else ""
    return {
        "network": f"{known['Network']}{weights}; input: {known['Input']}.", "input": f"{known['Input']}.",
        "start": summary[0] if own else "", "training": f"{known['Augmentation']}; {known['Optimiser']}. "
        f"{summary[2] if own and len(summary) > 2 else ''}".strip(),
        "selection": summary[2] if own and len(summary) > 2 else "", "partition": f"{known['Split']}. "
        f"{summary[1] if own and len(summary) > 1 else ''}".strip(),
        "balance": f"{known['Class balance'][:1].upper()}{known['Class balance'][1:]}.",
        "ensemble": "The answer is the mean of the networks of all folds." if recipe.split.kind == "holdout-kfold" else
                    "One network for each cell, no ensemble." if own else "",
        "laboratories": known["Split"] if recipe.split.kind == "laboratory" else "",
        "recipe": "recipe.toml holds every setting, splits.parquet the part of each cell." if own else "",
        "available": "The folder of the run holds recipe, cells, parts, probabilities and weights; leukoscope export "
                     "makes a portable model of it." if own else ""}


def _type(label: str) -> str:
    return plain(type_name(label))


def _estimate(key: str, estimate: Estimate) -> str:
    plainly = key in PLAIN_NUMBERS
    return f"{figure_name(key)} " + interval(estimate, number if plainly else lambda v: percent(v, unit=False),
                                             "" if plainly else "\u202f%", page=True)


def _result(metrics: Metrics) -> str:
    keys = [key for key in ("accuracy", "macro_sensitivity", "macro_auc") if key in metrics.overall]
    lines = [_estimate(key, metrics.overall[key]) for key in keys]
    lines += [f"{_type(name)}: {_estimate('sensitivity', own['sensitivity'])}"
              for name, own in metrics.per_class.items() if "sensitivity" in own]
    return "; ".join(lines) + "."


def _confusion(metrics: Metrics) -> str:
    rows = []
    for name, row in zip(metrics.classes, metrics.confusion, strict=True):
        answers = [f"{_type(other)} {count(cells)}" for other, cells in zip(metrics.classes, row, strict=True) if cells]
        rows.append(f"{_type(name)}: {', '.join(answers) or 'no cell'}")
    return f"True class, then answers. {'; '.join(rows)}."


def _size(results: Results) -> str:
    metrics, tested = results.metrics, results.predictions
    people = tested["subject"].drop_nulls().n_unique() if "subject" in tested.columns else 0
    by_class = ", ".join(f"{_type(name)} {count(own.support)}" for name, own in metrics.per_class.items())
    of = f" of {plural(people, 'subject')}" if people else ""
    return f"{plural(metrics.cells, 'test cell')}{of} ({by_class})."


def _subjects(results: Results) -> str:
    table = results.predictions if results.manifest is None else results.manifest
    if "subject" not in table.columns or table["subject"].null_count() == table.height:
        return ""
    known = table.filter(pl.col("subject").is_not_null())
    by_class = known.group_by("label").agg(pl.col("subject").n_unique().alias("n")).sort("label")
    return (f"{plural(known['subject'].n_unique(), 'subject')}; by class "
            + ", ".join(f"{_type(str(name))} {n}" for name, n in by_class.iter_rows()) + ".")


def _sources(results: Results) -> str:
    if results.manifest is None:
        return f"The table {plain(Path(results.evaluated.table).name)}." if results.evaluated else ""
    names = results.manifest["source"].drop_nulls().unique().sort().to_list()
    return f"{plural(results.manifest.height, 'cell')}" + (f" of {join(map(plain, names[:8]))}." if names else ".")


def _labels(results: Results) -> str:
    merged = results.recipe.data.merge if results.recipe else {}
    pairs = "; ".join(f"{plain(old)} to {plain(new)}" for old, new in merged.items())
    merges = f"; merged: {pairs}" if pairs else ""
    return f"The labels of the table of cells{merges}. Who gave them, and how: {TO_FILL}."


def _left_out(results: Results) -> str:
    out = results.left_out
    if out is None:
        return ""
    parts = [f"{plural(len(out.damaged), 'damaged image')}" if out.damaged else "",
             f"{plural(sum(out.other_labels.values()), 'cell')} of other types" if out.other_labels else "",
             f"{plural(out.unlabelled, 'cell')} without a label" if out.unlabelled else "",
             f"{plural(out.over_per_class, 'cell')} above the number for each class" if out.over_per_class else "",
             f"{plural(out.trained, 'cell')} that the model was trained on" if out.trained else ""]
    known = [part for part in parts if part]
    return f"Left out: {join(known)}." if known else "No cell was left out."


def _output(metrics: Metrics) -> str:
    point = metrics.operating_point
    text = (f"A probability for each of {plural(len(metrics.classes), 'class', 'classes')}; the most probable is the "
            "answer.")
    return text if point is None else (f"{text} A cell is called {_type(metrics.positive)} from a probability of "
                                       f"{number(point.threshold)} on, chosen on the {plain(point.chosen_on)} part.")


def _doubt(metrics: Metrics) -> str:
    doubt = metrics.doubt
    return "" if doubt is None or "unsure" not in doubt else f"{_estimate('unsure', doubt['unsure'])} of the cells."


def _software(results: Results) -> str:
    it = results.environment
    if not it.python:
        return ""
    packages = ", ".join(f"{name} {version}" for name, version in sorted(it.packages.items()))
    return (f"Leukoscope {it.leukoscope}, Python {it.python}" + (f", {packages}" if packages else "")
            + (f"; {it.cpu}, {it.device}" if it.cpu else "") + ".")
