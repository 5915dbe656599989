"""Fields of a smear to a folder: cells found, typed by a bundle, counted, and a page. Joins the parts; does none of
their work itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from .. import __version__
from ..errors import LeukoscopeError
from ..figures.smear import colours_of
from ..files import atomic_path, read_json, write_json, write_text
from ..manifest import write_table
from ..predict.model import Model, bundle_path, load, packaged_model
from ..predict.sources import Source, digest_of, list_sources
from ..progress import OnProgress
from ..report.smear import smear_lines, smear_page
from ..smear.count import LARGE_PLATELET, differential, is_leukocyte, large_platelets, meaning
from ..smear.flag import blasts_known, flagged_first
from ..smear.formats import coco_categories
from ..text import plain, plural
from .smear_field import first_look, frames_cells, process_field
from .smear_resume import SUMMARY, FieldScale, Parts, names_for, open_resumable, written_in

PICTURES = 12_000_000  # characters: pictures of fields in the page
OWN_FILES = ("smear.html", "cells.parquet", "cells.csv", "cells.coco.json")
Result = tuple[list[str], dict[str, Any]]


class UnreadableFields(LeukoscopeError):
    """No field of a smear can be read."""


def smear_fields(inputs: Sequence[str | Path], out: Path, *, bundle: str | Path | None = None, types: bool = True,
                 micrometres: float | None = None, subject: str = "", overwrite: bool = False, resume: bool = False,
                 on_progress: OnProgress | None = None) -> Result:
    """Find, outline, measure, type and count the leukocytes of photographs of one smear. Gives the lines for a
    terminal, and what summary.json holds; docs/smear.md says what is in `out`.

    bundle: what types the cells; None for the model of the package. types: False finds and measures only. micrometres:
    side of a pixel of the fields; None takes, for all of them, the median of what their red cells say. resume: go on
    with a run that was stopped. A file that cannot be read is named and left out. Raises LeukoscopeError where none can
    be read, where `out` is not empty and is not to be overwritten, or where a stopped run was another; BundleError for
    a bundle that is none.
    """
    sources = fields_of(inputs, out)
    model = opened(bundle, types, micrometres)
    return smear_sources(sources, out, model, micrometres=micrometres, subject=subject, overwrite=overwrite,
                         resume=resume, on_progress=on_progress)


def smear_sources(sources: Sequence[Source], out: Path, model: Model | None, *, micrometres: float | None,
                  subject: str, overwrite: bool, resume: bool, on_progress: OnProgress | None = None) -> Result:
    """`smear_fields`, of fields that are listed and with a model that is open."""
    names = names_for([_stem(source) for source in sources], {"summary", "cells", "smear"})
    files = [*OWN_FILES, *(f"{name}{end}" for name in names for end in (".png", ".geojson"))]
    plan = plan_of(sources, model, {"micrometres": micrometres, "subject": subject}, files)
    with open_resumable(out, plan, resume=resume, overwrite=overwrite) as parts:
        if parts.finished is not None:
            return _lines(check_complete(out, parts.finished), out), parts.finished
        scales = _scales(sources, parts, micrometres)
        readable = [scale for scale in scales if not scale.reason]
        if not readable:
            parts.drop()
            raise UnreadableFields(f"none of {plural(len(sources), 'field')} could be read; {sources[0].name}: "
                                   f"{scales[0].reason}", "give photographs of a smear")
        colours, done = colours_of(model.classes if model else ()), []
        for number, source in enumerate(sources):
            if not scales[number].reason:
                if not parts.has(number):
                    parts.keep(number, process_field(
                        source, names[number], model, micrometres, scales[number], readable, subject=subject,
                        colours=colours, out=out))
                done.append(number)
            if on_progress is not None:
                on_progress(number + 1, len(sources))
        unreadable = [{"image": source.name, "reason": scale.reason}
                      for source, scale in zip(sources, scales, strict=True) if scale.reason]
        return _write(parts, done, unreadable, model, subject, plan, out)


def opened(bundle: str | Path | None, types: bool, micrometres: float | None) -> Model | None:
    """The model that types the cells, or None; checks what else is given."""
    if bundle is not None and not types:
        raise LeukoscopeError("--no-types and --bundle: a bundle is what gives types", "take one of the two")
    if micrometres is not None and not 0.01 <= micrometres <= 5:
        raise LeukoscopeError(f"--micrometres {micrometres}: expected 0.01 to 5 um a pixel", "leave it out if unknown")
    if not types:
        return None
    model = load(bundle)
    if not any(map(is_leukocyte, model.classes)):
        raise LeukoscopeError(f"{bundle_path(bundle or packaged_model())}: tells {', '.join(model.classes)} apart, and "
                              "no leukocyte is among them", "name a bundle of leukocytes, or take --no-types")
    return model


def fields_of(inputs: Sequence[str | Path], out: Path) -> list[Source]:
    """The fields, without the pictures that earlier calls have written, into `out` or elsewhere."""
    own = out.resolve()
    sources = [source for source in list_sources(inputs) if not Path(source.image).resolve().is_relative_to(own)]
    tables = [str(given) for given in inputs if Path(given).suffix.lower() in (".parquet", ".csv")]
    if tables:
        raise LeukoscopeError(f"{tables[0]}: a table of cells is no field", "give photographs of a smear")
    if not sources or any(Path(given).is_file() and Path(given).resolve().is_relative_to(own) for given in inputs):
        raise LeukoscopeError(f"{out}: the fields lie in the folder to be written", "name another folder with -o")
    written = {folder: written_in(folder) for folder in {Path(source.image).parent for source in sources}}
    photographs = [one for one in sources if Path(one.image).name not in written[Path(one.image).parent]]
    if not photographs:
        raise LeukoscopeError(f"{sources[0].image}: was written by an earlier call", "give the photographs themselves")
    return photographs


def plan_of(sources: Sequence[Source], model: Model | None, options: dict[str, Any],
            files: list[str]) -> dict[str, Any]:
    """What has to be the same for a stopped run to go on."""
    return {"leukoscope": __version__, "fields": digest_of(sources),
            "bundle": model.description.digest if model else None, "options": options, "files": files}


def _scales(sources: Sequence[Source], parts: Parts, given: float | None) -> list[FieldScale]:
    """The first look at each field."""
    scales = []
    for number, source in enumerate(sources):
        seen = parts.scale(number)
        if seen is None:
            seen = first_look(source, given)
            parts.keep_scale(number, seen)
        scales.append(seen)
    return scales


def check_complete(out: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """The summary of what an earlier call has finished, all of whose files are there."""
    missing = next((name for name in summary["files"] if not (out / name).is_file()), "")
    if missing:
        raise LeukoscopeError(f"{out}: {missing} is missing", "take --overwrite instead of --resume")
    return summary


def _write(parts: Parts, done: Sequence[int], unreadable: list[dict[str, str]], model: Model | None, subject: str,
           plan: dict[str, Any], out: Path) -> Result:
    """Tables and page, and the summary last."""
    facts, tables, lengths = [], [], []
    for number in done:
        part = parts.read(number)
        facts.append(part.facts)
        tables.append(part.table)
        lengths.append(len(part.picture))
    table = flagged_first(pl.concat(tables))
    summary = _summary(facts, table, unreadable, model, subject)
    write_table(table, out / "cells.parquet")
    write_table(table, out / "cells.csv")
    classes = model.classes if model else ()
    _write_coco(out / "cells.coco.json", facts, (parts.read(number).annotations for number in done), classes)
    kept, places = lru_cache(4)(parts.read), {one["name"]: i for i, one in enumerate(facts)}
    pictures = {facts[i]["name"]: kept(done[i]).picture for i in _with_room(facts, lengths)}
    write_text(out / "smear.html", smear_page(
        summary, table, {name: (picture, read_json(out / f"{name}.geojson")["features"])
                         for name, picture in pictures.items()},
        lambda field, number: kept(done[places[field]]).thumbs[number - 1], colours_of(classes)))
    summary |= {"files": [*OWN_FILES, *(f"{one['name']}{end}" for one in facts for end in (".png", ".geojson"))],
                "plan": {key: value for key, value in plan.items() if key != "files"}}
    write_json(out / SUMMARY, summary)
    return _lines(summary, out), summary


def _lines(summary: dict[str, Any], out: Path) -> list[str]:
    return [*smear_lines(summary), f"page: {out / 'smear.html'}"]


def _with_room(facts: Sequence[dict[str, Any]], lengths: Sequence[int]) -> list[int]:
    """Which fields the page shows, in their order: first those with flagged cells, then those with others."""
    chosen, room = [], PICTURES
    for place in sorted(range(len(facts)), key=lambda i: (facts[i]["flagged"] == 0, facts[i]["cells"] == 0, i)):
        if lengths[place] <= room:
            room -= lengths[place]
            chosen.append(place)
    return sorted(chosen)


def _write_coco(path: Path, facts: Sequence[dict[str, Any]], annotations: Iterator[list[dict[str, Any]]],
                classes: Sequence[str]) -> None:
    """All fields and cells in COCO's form, an annotation a line; ids from 1."""
    images = [{"id": number, "file_name": one["image"], "width": one["width"], "height": one["height"]}
              for number, one in enumerate(facts, start=1)]
    head = {"info": {"description": "leukocytes found by leukoscope"}, "images": images,
            "categories": coco_categories(classes)}
    count = 0
    with atomic_path(path) as beside, open(beside, "w", encoding="utf-8") as file:
        file.write(json.dumps(head, ensure_ascii=False, allow_nan=False)[:-1] + ', "annotations": [')
        for image, found in enumerate(annotations, start=1):
            for one in found:
                count += 1
                line = json.dumps({"id": count, "image_id": image, **one}, ensure_ascii=False, allow_nan=False)
                file.write(f"{',' if count > 1 else ''}\n{line}")
        file.write("\n]}\n")


def _summary(facts: list[dict[str, Any]], table: pl.DataFrame, unreadable: list[dict[str, str]], model: Model | None,
             subject: str) -> dict[str, Any]:
    smears = [field for field in facts if field["is_smear"]]
    known = smears and all(field["micrometres_per_pixel"] for field in smears)
    mm2 = sum(one["width"] * one["height"] * one["micrometres_per_pixel"]**2 for one in smears) / 1e6 if known else None
    count = differential(table, model.classes if model else ())
    flags = dict(table["flag"].drop_nulls().value_counts(sort=True).iter_rows())
    return {"leukoscope": __version__, "subject": subject or None, "bundle": _bundle(model), "area_mm2": mm2,
            "differential": count.to_dict(), "meaning": meaning(count, mm2, fields=len(smears)), "flags": flags,
            "fields": facts, "unreadable": unreadable,
            "remarks": _remarks(model, large_platelets(table) if model else 0)}


def _bundle(model: Model | None) -> dict[str, Any] | None:
    if model is None:
        return None
    told = model.description
    return {"path": str(model.bundle.path), "packaged": model.is_packaged, "name": told.name,
            "title": told.title, "classes": list(told.classes), "knows_blasts": blasts_known(told.classes),
            "micrometres": told.micrometres, "crop": told.crop, "size": told.size}


def _remarks(model: Model | None, large: int) -> list[str]:
    if model is None:
        return ["No types were asked for: cells are found and measured only."]
    told, remarks = model.description, []
    if large:
        remarks.append(f"{plural(large, 'cell')} taken for {'platelets are' if large > 1 else 'a platelet is'} wider "
                       f"than {LARGE_PLATELET:g} um, as leukocytes are, and may be missing in the count.")
    if not frames_cells(told) and (told.micrometres is None or not told.crop):
        why = ("does not say how many micrometres a pixel of its cells had" if told.micrometres is None else
               "takes whole images, and does not say how wide they were")
        remarks.append(f"The bundle {why}: cells were cut as squares of one and a half times their size, which need "
                       "not be what it was trained on.")
    return remarks


def _stem(source: Source) -> str:
    """A name for a field's files: that of the image, and its page."""
    page = "" if source.page is None else f"_{source.page}"
    return plain(Path(source.image).stem).lstrip(".").replace("/", "_") + page
