"""Di Muro, "Optimal Blurring and Illumination Patterns for Leukocytes Classification".

The microscope in front of DenseNet-121, for each N frozen and learned, trained several times from different weights;
the paper's Table 1 beside ours, what learning adds at each N, and whether it makes up for the lost pixels.
"""

from __future__ import annotations

from ..commands.outcome import Outcome
from ..errors import RecipeError
from ..files import write_json
from ..recipes.recipe import expand_variants
from ..report.study import write_study
from ..text import plural
from .dimuro2020_tables import PUBLISHED_CURVES, answers, table_one
from .request import Request

RECIPE = "dimuro2020"
SOURCE = "Di Muro, Table 1: validation accuracy, seven of the eight classes"
REPEATS = 3


def reproduce(request: Request) -> Outcome:
    """Train every microscope of the recipe, `repeats` times (3 if None), each in a folder PROTOCOL/repeat-K/NAME."""
    request.refuse_transfer(RECIPE)
    cells, remarks = request.read_cells(request.data, "pbc", "eight")
    count = request.repeats or REPEATS
    jobs = {protocol: request.repeated(RECIPE, protocol, cells, count) for protocol in request.protocols}
    for name, variant in (item for own in jobs.values() for item in expand_variants(own[0].recipe).items()):
        if not variant.optics.simulate:
            raise RecipeError(f"optics.simulate = false{f' in variants.{name}' if name else ''}: dimuro2020 compares "
                              "microscopes", "leave the key unchanged, or use leukoscope train")
    countdown = request.countdown([job for own in jobs.values() for job in own])
    lines, metrics, page = list(remarks), {}, request.out
    for protocol, own in jobs.items():
        folder = request.out / protocol
        for job in own:
            request.train(job, countdown)
        study = {"title": f"The microscope that learns, {protocol} protocol, {request.scale} scale", "source": SOURCE,
                 "runs": ["/".join(filter(None, (job.out.name, name))) for job in own
                          for name in expand_variants(job.recipe)],
                 "description": " ".join(remarks), "published": PUBLISHED_CURVES}
        write_json(folder / "study.json", study)
        rows = table_one(folder)
        table, sentences = answers(folder, rows)
        write_json(folder / "study.json",
                   study | {"tables": [table.to_dict()], "description": " ".join([*sentences, *remarks])})
        page = write_study(folder)
        lines += ["", f"protocol {protocol}, {request.scale} scale, {plural(count, 'repeat')}", "", *table.lines(), "",
                  *sentences, f"report: {page}"]
        metrics[protocol] = {row.kind.name: {"accuracy": row.accuracy.to_dict(), "repeats": row.repeats,
                                             "cells": row.cells} for row in rows}
    return Outcome(request.out, page, tuple(lines if remarks else lines[1:]), metrics)
