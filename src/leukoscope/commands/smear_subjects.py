"""Smears of several subjects in one call: a folder and a page each, joined tables, and a page that leads to all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from .. import __version__
from ..errors import LeukoscopeError
from ..filenames import SUMMARY
from ..files import write_json, write_text
from ..manifest import write_table
from ..predict.sources import Listed
from ..progress import OnProgress, behind
from ..report.smear import index_page
from ..smear.flag import flagged_first
from ..smear.summary import SmearSummary, SubjectsSummary
from ..tables import read_parquet
from .inputs import UnreadableFields
from .smear import left_out, open_model, plan_of, smear_listed
from .smear_folder import clear
from .smear_inputs import beside_subjects, subjects_of
from .smear_resume import open_resumable

FILES = ("index.html", "cells.parquet", "cells.csv", "subjects.parquet", "subjects.csv")


def smear_subjects(inputs: Sequence[str | Path], out: Path, *, bundle: str | Path | None = None, types: bool = True,
                   micrometres: float | None = None, subject: str = "", overwrite: bool = False, resume: bool = False,
                   on_progress: OnProgress | None = None) -> SubjectsSummary:
    """`smear_fields` for each subject: a folder is one or, where it has sub-folders with images, each of these is.

    A subject none of whose fields can be read is named and left out. Raises LeukoscopeError as `smear_fields` does, and
    for inputs that do not say who the subjects are.
    """
    if subject:
        raise LeukoscopeError("--by-folder and --subject: folders name the subjects", "use one of the two")
    subjects = subjects_of(inputs, out)
    model = open_model(bundle, types, micrometres)
    sources = [source for each in subjects for source in each.fields.sources]
    plan = plan_of(sources, model, **{"micrometres": micrometres, "by-folder": [each.name for each in subjects]})
    with open_resumable(out, plan, FILES, [each.folder for each in subjects], resume=resume,
                        overwrite=overwrite) as parts:
        if parts.finished:
            return SubjectsSummary.read(out)
        smears: dict[str, SmearSummary] = {}
        unreadable: dict[str, str] = {}
        before = 0
        for each in subjects:
            try:
                smears[each.folder] = smear_listed(
                    each.fields, out / each.folder, model, micrometres=micrometres, subject=each.name, overwrite=False,
                    resume=True, on_progress=behind(on_progress, before, len(sources)))
            except UnreadableFields as error:
                unreadable[each.name] = error.what
                clear(out / each.folder)
                (out / each.folder).rmdir()
            before += len(each.fields.sources)
        if not smears:
            parts.drop()
            name, reason = next(iter(unreadable.items()))
            raise UnreadableFields(f"no subject could be read; {name}: {reason}", "give photographs of smears")
        beside = Listed([], beside_subjects(inputs, subjects, out))
        cells = flagged_first(pl.concat([read_parquet(out / folder / "cells.parquet") for folder in smears]))
        summary = SubjectsSummary(__version__, smears, unreadable, left_out(beside), FILES, plan)
        return write_subjects(summary, out, cells)


def write_subjects(summary: SubjectsSummary, out: Path, cells: pl.DataFrame | pl.LazyFrame) -> SubjectsSummary:
    """Joined tables, the page that leads to the subjects, and the summary last. cells: of all of them."""
    for name, table in (("cells", cells.select("subject", pl.exclude("subject"))),
                        ("subjects", pl.DataFrame(summary.rows(), infer_schema_length=None))):
        write_table(table, out / f"{name}.parquet")
        write_table(table, out / f"{name}.csv")
    write_text(out / "index.html", index_page(summary))
    write_json(out / SUMMARY, summary.to_dict())
    return summary
