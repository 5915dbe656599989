"""Smears of several subjects in one call: a folder and a page each, joined tables, and a page that leads to all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from .. import __version__
from ..datasets.base import IMAGE_SUFFIXES
from ..errors import LeukoscopeError
from ..files import write_json, write_text
from ..manifest import write_table
from ..predict.model import Model
from ..predict.sources import Source
from ..progress import OnProgress, behind
from ..report.smear import index_lines, index_page
from ..smear.flag import flagged_first
from ..text import plain, plural
from .smear import Result, UnreadableFields, check_complete, fields_of, opened, plan_of, smear_sources
from .smear_resume import SUMMARY, clear, names_for, open_resumable, written_in

FILES = ("index.html", "cells.parquet", "cells.csv", "subjects.parquet", "subjects.csv")


@dataclass(frozen=True)
class Subject:
    """Whose smear it is, the folder that its results go to, and its fields."""

    name: str
    folder: str
    sources: tuple[Source, ...]


def smear_subjects(inputs: Sequence[str | Path], out: Path, *, bundle: str | Path | None = None, types: bool = True,
                   micrometres: float | None = None, subject: str = "", overwrite: bool = False, resume: bool = False,
                   on_progress: OnProgress | None = None) -> Result:
    """`smear_fields` for each subject: a folder is one, or, where it has sub-folders with images, each of these is.

    Gives the lines for a terminal, and what summary.json holds. A subject none of whose fields can be read is named and
    left out. Raises LeukoscopeError as `smear_fields` does, and for inputs that do not say who the subjects are.
    """
    if subject:
        raise LeukoscopeError("--by-folder and --subject: folders name the subjects", "take one of the two")
    subjects = subjects_of(inputs, out)
    model = opened(bundle, types, micrometres)
    sources = [source for one in subjects for source in one.sources]
    names = [one.name for one in subjects]
    plan = plan_of(sources, model, {"micrometres": micrometres, "by-folder": names}, list(FILES))
    plan["folders"] = [one.folder for one in subjects]
    with open_resumable(out, plan, resume=resume, overwrite=overwrite) as parts:
        if parts.finished is not None:
            return _lines(check_complete(out, parts.finished), out), parts.finished
        summaries, failed, before = {}, {}, 0
        for one in subjects:
            try:
                _, summaries[one.folder] = smear_sources(
                    one.sources, out / one.folder, model, micrometres=micrometres, subject=one.name, overwrite=False,
                    resume=True, on_progress=behind(on_progress, before, len(sources)))
            except UnreadableFields as error:
                failed[one.name] = error.what
                clear(out / one.folder)
                (out / one.folder).rmdir()
            before += len(one.sources)
        if not summaries:
            parts.drop()
            name, reason = next(iter(failed.items()))
            raise UnreadableFields(f"no subject could be read; {name}: {reason}", "give photographs of smears")
        return _write(summaries, failed, model, plan, out)


def subjects_of(inputs: Sequence[str | Path], out: Path) -> list[Subject]:
    """Who the subjects are, by their folders; in the order of the inputs, then by name."""
    folders: list[Path] = []
    for given in map(Path, inputs):
        if not given.is_dir():
            raise LeukoscopeError(f"{given}: --by-folder takes folders, a subject each", "name folders")
        below = [path for path in sorted(given.iterdir()) if path.is_dir() and not path.name.startswith(".")
                 and path.resolve() != out.resolve() and _holds_image(path)]
        beside = [path for path in sorted(given.iterdir()) if _is_image(path)]
        if below and beside:
            raise LeukoscopeError(f"{given}: {beside[0].name} lies beside folders of subjects; whose is it?",
                                  "move it into one of them, or name the folders one by one")
        folders += [path for path in below or [given] if path.resolve() not in {one.resolve() for one in folders}]
    names = [plain(folder.resolve().name) for folder in folders]
    names = [name if names.count(name) == 1 else f"{plain(folder.resolve().parent.name)}/{name}"
             for name, folder in zip(names, folders, strict=True)]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise LeukoscopeError(f"{twice}: two folders of that name, and each is to be a subject", "rename one of them")
    safe = names_for([name.lstrip(".").replace("/", "_") or "subject" for name in names], {"index", "subjects"})
    return [Subject(name, plain_folder, tuple(fields_of([folder], out)))
            for name, plain_folder, folder in zip(names, safe, folders, strict=True)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def _holds_image(folder: Path) -> bool:
    """Any photograph; pictures that an earlier call has written are none."""
    for where, _, files in os.walk(folder):
        images = {name for name in files if _is_image(Path(where, name))}
        if images and images - written_in(Path(where)):
            return True
    return False


def _write(summaries: dict[str, dict[str, Any]], failed: dict[str, str], model: Model | None, plan: dict[str, Any],
           out: Path) -> Result:
    """Joined tables, the page that leads to the subjects, and the summary last."""
    cells = pl.concat([pl.read_parquet(out / folder / "cells.parquet") for folder in summaries])
    cells = flagged_first(cells.select("subject", pl.exclude("subject")))
    rows = [subject_row(folder, summary) for folder, summary in summaries.items()]
    table = pl.DataFrame(rows, infer_schema_length=None)
    for name, written in (("cells", cells), ("subjects", table)):
        write_table(written, out / f"{name}.parquet")
        write_table(written, out / f"{name}.csv")
    some = next(iter(summaries.values()))
    shared = [text for text in some["remarks"] if all(text in one["remarks"] for one in summaries.values())]
    summary = {"leukoscope": __version__, "bundle": some["bundle"], "remarks": shared, "subjects": rows,
               "classes": list(model.classes) if model else [],
               "unreadable": [{"subject": name, "reason": reason} for name, reason in failed.items()],
               "meaning": {folder: one["meaning"] for folder, one in summaries.items()}}
    write_text(out / "index.html", index_page(summary, list(summaries.values())))
    summary |= {"files": list(FILES), "folders": list(summaries),
                "plan": {key: value for key, value in plan.items() if key not in ("files", "folders")}}
    write_json(out / SUMMARY, summary)
    return _lines(summary, out), summary


def subject_row(folder: str, summary: dict[str, Any]) -> dict[str, Any]:
    """A subject in one row: counts; of each type its cells, share and interval (0 to 1; None without leukocytes)."""
    count, flags = summary["differential"], summary["flags"]
    ratio = count["per_hundred"] or {"value": None}
    row = {"subject": summary["subject"], "folder": folder, "fields": len(summary["fields"]),
           "unreadable": len(summary["unreadable"]), "found": count["found"], "cut": count["cut"],
           "damaged": count["damaged"], "leukocytes": count["total"], "platelets": count["platelets"],
           "nucleated_red_cells": count["nucleated"], "nucleated_per_100_leukocytes": ratio["value"],
           "unsure": count["unsure"], "unlike_training": count["unknown"], "flagged": sum(flags.values()),
           **{f"flagged_{kind.replace(' ', '_').replace('-', '_')}": flags.get(kind, 0)
              for kind in ("blast", "blast-like", "immature", "nucleated red cell")}}
    for one in count["types"]:
        row[f"cells_{one['name']}"] = one["cells"]
        if one["share"] is not None:
            row |= {f"share_{one['name']}{end}": one["share"][key]
                    for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))}
    return row


def _lines(summary: dict[str, Any], out: Path) -> list[str]:
    return [*index_lines(summary), f"{plural(len(summary['subjects']), 'subject')}: {out / 'index.html'}"]
