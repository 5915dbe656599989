"""From the stored results of all fields to tables, COCO file, page and summary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl

from .. import __version__
from ..bundle.description import Description
from ..filenames import SUMMARY
from ..files import atomic_path, read_json, write_json, write_text
from ..manifest import write_table
from ..predict.model import Model
from ..report.smear import smear_page
from ..smear.count import differential, meaning
from ..smear.crops import frames_cells
from ..smear.findings import NOT_RELIABLE, blasts_of, doubted, doubts_of, finding_of, unreliable, without_shares
from ..smear.flag import blasts_known, flagged_first
from ..smear.formats import Annotation, all_classes, coco_categories
from ..smear.summary import BundleSummary, FieldSummary, Plan, SmearSummary, Unreadable
from ..text import percent, plural
from .smear_resume import FieldResult, Parts

PICTURES = 700_000  # characters: pictures of fields in the page, which stays below 1.5 MB
FIELD_FILES = (".png", ".geojson")
OWN_FILES = ("smear.html", "cells.parquet", "cells.csv", "cells.coco.json")


@dataclass(frozen=True)
class Aside:
    """What lies in the inputs and is in no count: fields that cannot be read, and what is no field."""

    unreadable: tuple[Unreadable, ...]
    left_out: tuple[Unreadable, ...]


def files_of(names: Sequence[str]) -> tuple[str, ...]:
    """The files that are written for fields of these names, beside the summary."""
    return *OWN_FILES, *(f"{name}{end}" for name in names for end in FIELD_FILES)


def write_smear(parts: Parts, done: Sequence[int], aside: Aside, model: Model | None, plan: Plan,
                colours: Mapping[str, str], out: Path) -> SmearSummary:
    """Write everything about a smear into `out`, the summary last. done: numbers of the fields that were read."""
    fields, tables, lengths = [], [], []
    for number in done:
        result = parts.read(number)
        fields.append(result.summary)
        tables.append(result.table)
        lengths.append(len(result.picture))
    table = doubted(flagged_first(pl.concat(tables)), model.classes if model else ())
    write_table(table, out / "cells.parquet")
    write_table(table, out / "cells.csv")
    write_coco(out / "cells.coco.json", fields, (parts.read(number).annotations for number in done),
               all_classes(model.classes if model else (), table))
    summary = summarise(fields, table, aside, model, plan)

    @lru_cache(4)
    def result_of(name: str) -> FieldResult:
        return parts.read(numbers[name])

    numbers = {field.name: number for field, number in zip(fields, done, strict=True)}
    shown = [fields[i].name for i in fields_with_room(fields, lengths)]
    pictures = {name: (result_of(name).picture, read_json(out / f"{name}.geojson")["features"]) for name in shown}
    write_text(out / "smear.html", smear_page(
        summary, table, pictures, lambda field, number: result_of(field).thumbs[number - 1], colours))
    write_json(out / SUMMARY, summary.to_dict())
    return summary


def summarise(fields: Sequence[FieldSummary], table: pl.DataFrame, aside: Aside, model: Model | None,
              plan: Plan) -> SmearSummary:
    """The count of all fields together. table: of their cells, as `doubted` returns it."""
    smears = [field for field in fields if field.is_smear]
    areas = [field.width * field.height * field.micrometres_per_pixel**2 for field in smears
             if field.micrometres_per_pixel]
    mm2 = sum(areas) / 1e6 if smears and len(areas) == len(smears) else None
    count = differential(table, model.classes if model else ())
    bundle, blasts, why = None, None, unreliable(count)
    if why:
        count = without_shares(count, NOT_RELIABLE)
    if model is not None:
        it = model.description
        blasts = blasts_of(count, it.metrics.get("elsewhere"))
        bundle = BundleSummary(str(model.bundle.path.absolute()), model.is_packaged, it.name, it.title,
                               tuple(it.classes), blasts_known(it.classes), it.micrometres, it.crop, it.size,
                               _meaning_of_unsure(it))
    return SmearSummary(
        __version__, plan.options["subject"] or None, bundle, mm2, finding_of(blasts), blasts, count,
        meaning(count, mm2, len(smears)), dict(table["flag"].drop_nulls().value_counts(sort=True).iter_rows()),
        tuple(fields), aside.unreadable, aside.left_out, (*([] if why else doubts_of(count)), *_remarks(model)),
        files_of([field.name for field in fields]), plan, unreliable=why)


def write_coco(path: Path, fields: Sequence[FieldSummary], annotations: Iterable[Iterable[Annotation]],
               classes: Sequence[str]) -> None:
    """All fields and cells in COCO's form, one annotation on a line; ids from 1. annotations: of each field in turn."""
    images = [{"id": number, "file_name": field.image, "width": field.width, "height": field.height}
              for number, field in enumerate(fields, start=1)]
    head = {"info": {"description": "leukocytes found by leukoscope"}, "images": images,
            "categories": coco_categories(classes)}
    count = 0
    with atomic_path(path) as beside, open(beside, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(json.dumps(head, ensure_ascii=False, allow_nan=False)[:-1] + ', "annotations": [')
        for image, of_field in enumerate(annotations, start=1):
            for annotation in of_field:
                count += 1
                line = json.dumps({"id": count, "image_id": image, **annotation}, ensure_ascii=False, allow_nan=False)
                file.write(f"{',' if count > 1 else ''}\n{line}")
        file.write("\n]}\n")


def fields_with_room(fields: Sequence[FieldSummary], lengths: Sequence[int]) -> list[int]:
    """Which fields the page shows, in their order: first those with flagged cells, then those with others. lengths: of
    their pictures, in characters."""
    chosen, room = [], PICTURES
    for place in sorted(range(len(fields)), key=lambda i: (fields[i].flagged == 0, fields[i].cells == 0, i)):
        if lengths[place] <= room:
            room -= lengths[place]
            chosen.append(place)
    return sorted(chosen)


def _meaning_of_unsure(it: Description) -> str:
    """What is promised of the types that a model leaves possible, and where that was measured, in words."""
    if it.coverage is None:
        return ""
    aim, elsewhere = percent(it.coverage, 0), it.metrics.get("elsewhere")
    if elsewhere and not it.adapted:
        count = plural(len(elsewhere["rows"]), "laboratory", "laboratories")
        return ("Unsure: more than one type is possible. Networks of the same recipe, each tested in a laboratory that "
                "it was not trained on, had the true type among the possible ones in "
                f"{percent(elsewhere['covered'])} of the cells (aim: {aim}; mean over {count}).")
    where = f"confirmed cells of {it.adapted['name']}" if it.adapted else "cells like those that it was trained on"
    return ("Unsure: more than one type is possible. The true type is meant to be among the possible ones in "
            f"{aim} of the cells; this was measured on {where}.")


def _remarks(model: Model | None) -> list[str]:
    """What a reader must know of the count."""
    if model is None:
        return ["No types were asked for: cells are found and measured only."]
    description, remarks = model.description, []
    if not frames_cells(description) and (description.micrometres is None or not description.crop):
        why = ("does not say how many micrometres a pixel of its cells had" if description.micrometres is None else
               "takes whole images, and does not say how wide they were")
        remarks.append(f"The bundle {why}: cells were cut as squares of one and a half times their size, which need "
                       "not be what it was trained on.")
    return remarks
