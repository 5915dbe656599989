"""Fields of a smear to a folder: cells found, typed by a bundle, counted, and a page. Joins the parts; does none of
their work itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from . import __version__
from .errors import LeukoscopeError
from .figures_smear import annotated, colours_of, reduced
from .files import atomic_path, read_json, write_json, write_text
from .images import image_size, read_image
from .manifest import write_table
from .model import Model, load
from .pages import image_uri, plain, plural
from .predict_sources import Source, list_sources
from .report_smear import smear_lines, smear_page
from .smear import FieldSource, FoundField, find_leukocytes, open_field
from .smear.count import Differential, differential, meaning
from .smear.cut import cut_cells, cut_square, square_about
from .smear.export import NamedField, cells_table, coco, geojson
from .smear.scale import RedCells
from .smear.source import field_source
from .smear.survey import COARSEST, survey

SUMMARY = "summary.json"
OTHER_CAMERA = 2.5
"""A field of which MANY red cells say a scale this many times that of all fields, or as many times less, keeps it."""
MANY = 10
"""Few red cells err: four of BCCD's field 390 say 0.208 um a pixel, the camera's fields 0.083."""
ENLARGED = 1.5
"""Cells that are enlarged more than this for a bundle are remarked upon."""
LARGE = 50_000_000  # px: above it a TIFF stays on disk where it can
PICTURES = 12_000_000  # characters: pictures of fields in the page
PICTURE_SIDE, THUMB_SIDE = 1400, 112  # px
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class SeenField:
    """A field that was worked on: what was found, the answers of the model, and pictures as data URIs: of the field
    ("" where the page has no room for more), and of each cell."""

    named: NamedField
    answers: pl.DataFrame | None
    picture: str
    thumbs: tuple[str, ...]
    remarks: tuple[str, ...]


def smear_fields(inputs: Sequence[str | Path], out: Path, *, bundle: Path | None = None,
                 micrometres: float | None = None, subject: str = "", overwrite: bool = False,
                 on_progress: OnProgress | None = None) -> tuple[list[str], dict[str, Any]]:
    """Find, outline, measure and, by a bundle, type and count the leukocytes of photographs of one smear. Gives the
    lines for a terminal, and what summary.json holds; docs/smear.md says what is in `out`.

    micrometres: side of a pixel of the fields; None takes, for all of them, the median of what their red cells say.
    A file that cannot be read is named and left out. Raises LeukoscopeError where none can be read, or where `out` is
    not empty and is not to be overwritten; BundleError for a bundle that is none.
    """
    sources = _sources(inputs, out)
    model = None if bundle is None else load(bundle)
    if micrometres is not None and not 0.01 <= micrometres <= 5:
        raise LeukoscopeError(f"--micrometres {micrometres}: expected 0.01 to 5 um a pixel", "leave it out if unknown")
    _begin(out, overwrite)
    scales, unreadable = _scales(sources, micrometres)
    colours, names = colours_of(model.classes if model else ()), _names(sources)
    seen: list[SeenField] = []
    room = PICTURES
    for number, source in enumerate(sources):
        if source.name not in unreadable:
            field = _work(source, names[source.name], model, micrometres, scales, room)
            room -= len(field.picture)
            _write_field(source, field, colours, out)
            seen.append(field)
        if on_progress is not None:
            on_progress(number + 1, len(sources))
    if not seen:
        name, reason = next(iter(unreadable.items()))
        raise LeukoscopeError(f"none of {plural(len(sources), 'field')} could be read; {name}: {reason}",
                              "give photographs of a smear")
    return _write(seen, unreadable, model, bundle, subject, colours, out)


def _sources(inputs: Sequence[str | Path], out: Path) -> list[Source]:
    """The fields, without those that an earlier call has written into `out`."""
    own = out.resolve()
    sources = [source for source in list_sources(inputs) if not Path(source.image).resolve().is_relative_to(own)]
    tables = [str(given) for given in inputs if Path(given).suffix.lower() in (".parquet", ".csv")]
    if tables:
        raise LeukoscopeError(f"{tables[0]}: a table of cells is no field", "give photographs of a smear")
    if not sources or any(Path(given).is_file() and Path(given).resolve().is_relative_to(own) for given in inputs):
        raise LeukoscopeError(f"{out}: the fields lie in the folder to be written", "name another folder with -o")
    return sources


def _begin(out: Path, overwrite: bool) -> None:
    """An empty folder, or one from which what an earlier call has left is removed."""
    if out.is_file():
        raise LeukoscopeError(f"{out}: is a file", "name a folder")
    held = next((name for name in ("bundle.json", "recipe.toml", "evaluation.json", "study.json", "compare.json")
                 if (out / name).is_file()), "")
    if held:
        raise LeukoscopeError(f"{out}: holds {held}, which is of something else", "name another folder")
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()) and not overwrite:
        raise LeukoscopeError(f"{out}: is not empty", "name another folder, or take --overwrite")
    if (out / SUMMARY).is_file():
        before = read_json(out / SUMMARY)
        (out / SUMMARY).unlink()
        for name in before.get("files", []) if isinstance(before, dict) else []:
            if isinstance(name, str) and Path(name).name == name:
                (out / name).unlink(missing_ok=True)


def _read(source: Source) -> FieldSource:
    """Whole, or of a very large TIFF a window at a time."""
    path = Path(source.image)
    if source.page is None and path.suffix.lower() in (".tif", ".tiff"):
        width, height = image_size(path)
        if width * height > LARGE:
            return field_source(open_field(path))
    return field_source(read_image(path, page=source.page))


def _scales(sources: Sequence[Source], given: float | None) -> tuple[dict[str, RedCells | None], dict[str, str]]:
    """(field -> its red cells, where no scale is given and it looks like a smear; file -> why it cannot be read)."""
    scales: dict[str, RedCells | None] = {}
    unreadable: dict[str, str] = {}
    for source in sources:
        try:
            seen = survey(_read(source), None)
        except LeukoscopeError as error:
            unreadable[source.name] = getattr(error, "reason", error.what)
            continue
        scales[source.name] = seen.red_cells if given is None and seen.judge(())[0] else None
    return scales, unreadable


def common_scale(scales: Sequence[float | None]) -> float | None:
    """um a pixel for all fields of a camera: the median of those that are known and fine enough; None without any."""
    known = [scale for scale in scales if scale is not None and scale <= COARSEST]
    return float(np.median(known)) if known else None


def _find(field: FieldSource, cells: RedCells | None, given: float | None,
          others: Sequence[RedCells | None]) -> FoundField:
    """By the scale that was given, else by that of all fields unless this one is clearly of another magnification."""
    if given is not None:
        return find_leukocytes(field, pixel=given)
    common = common_scale([one.scale if one else None for one in others])
    own = cells.scale if cells and len(cells.diameters) >= MANY else None
    other = common is not None and own is not None and not 1 / OTHER_CAMERA < own / common < OTHER_CAMERA
    if common is None or len(others) == 1 or other:
        found = find_leukocytes(field)
        if other and found.is_smear:
            assert own is not None
            remark = (f"its red cells say {own:.3g} um a pixel and those of all fields {common:.3g}: taken for another "
                      "magnification")
            found = replace(found, remarks=(*found.remarks, remark))
        return found
    return find_leukocytes(field, pixel=common, origin="other fields")


def _work(source: Source, name: str, model: Model | None, given: float | None, scales: dict[str, RedCells | None],
          room: int) -> SeenField:
    field = _read(source)
    found = _find(field, scales[source.name], given, list(scales.values()))
    scale = found.scale.micrometres_per_pixel
    told = model.description if model else None
    size = (told.crop or told.size) if told else THUMB_SIDE
    wanted = told.micrometres if told and told.crop else None
    answers = model.predict(cut_cells(field, found.cells, size, wanted=wanted, scale=scale)) if model else None
    thumbs = tuple(image_uri(cut_square(field, replace(square_about(cell, size, wanted=wanted, scale=scale),
                                                      size=THUMB_SIDE))) for cell in found.cells)
    remarks = list(found.remarks)
    if found.cells and wanted is not None and scale is not None and scale > ENLARGED * wanted:
        remarks.append(f"a pixel has {scale:.3g} um and the bundle was trained at {wanted:.3g}: cells are enlarged "
                       f"{scale / wanted:.1f} times and lack detail")
    if found.cells and wanted is not None and scale is None:
        remarks.append("without a scale, cells are cut by their size and not at the bundle's scale; types are doubtful")
    picture = image_uri(reduced(field, PICTURE_SIDE))
    named = NamedField(name, source.name, found)
    return SeenField(named, answers, picture if len(picture) <= room else "", thumbs, tuple(remarks))


def _write_field(source: Source, field: SeenField, colours: dict[str, str], out: Path) -> None:
    """The annotated picture, and the outlines for QuPath."""
    rows = list(cells_table([field.named], field.answers).iter_rows(named=True))
    with atomic_path(out / f"{field.named.name}.png") as beside:
        annotated(_read(source), field.named.found, rows, colours).save(beside, format="PNG")
    write_json(out / f"{field.named.name}.geojson", geojson(field.named, rows, colours))


def _write(seen: Sequence[SeenField], unreadable: dict[str, str], model: Model | None, bundle: Path | None,
           subject: str, colours: dict[str, str], out: Path) -> tuple[list[str], dict[str, Any]]:
    """Tables and page, and the summary last."""
    fields = [field.named for field in seen]
    told = [field.answers for field in seen if field.answers is not None]
    table = cells_table(fields, pl.concat(told) if told else None, subject)
    classes = model.classes if model else ()
    count = differential(table, classes)
    summary = _summary(seen, table, count, unreadable, subject)
    if model is not None:
        summary["bundle"] = {"path": str(bundle), "name": model.description.name, "classes": list(classes),
                             "micrometres": model.description.micrometres, "crop": model.description.crop,
                             "size": model.description.size}
    summary["remarks"] = _remarks(model)
    write_table(table, out / "cells.parquet")
    write_table(table, out / "cells.csv")
    write_json(out / "cells.coco.json", coco(fields, table, classes))
    write_text(out / "smear.html", smear_page(
        summary, table, [(field.named, field.picture) for field in seen],
        [thumb for field in seen for thumb in field.thumbs], colours))
    summary["files"] = ["smear.html", "cells.parquet", "cells.csv", "cells.coco.json",
                        *(f"{field.name}{end}" for field in fields for end in (".png", ".geojson"))]
    write_json(out / SUMMARY, summary)
    return [*smear_lines(summary), f"page: {out / 'smear.html'}"], summary


def _summary(seen: Sequence[SeenField], table: pl.DataFrame, count: Differential, unreadable: dict[str, str],
             subject: str) -> dict[str, Any]:
    fields = []
    for field in seen:
        found, own = field.named.found, table.filter(pl.col("field") == field.named.name)
        fields.append({
            "name": field.named.name, "image": field.named.image, "width": found.width, "height": found.height,
            "micrometres_per_pixel": found.scale.micrometres_per_pixel, "scale_from": found.scale.source,
            "red_cells": found.scale.red_cells, "is_smear": found.is_smear, "cells": own.height,
            "whole": own.filter(~pl.col("cut") & ~pl.col("damaged")).height, "remarks": list(field.remarks)})
    smears = [field for field in fields if field["is_smear"]]
    known = smears and all(field["micrometres_per_pixel"] for field in smears)
    mm2 = sum(one["width"] * one["height"] * one["micrometres_per_pixel"]**2 for one in smears) / 1e6 if known else None
    return {"leukoscope": __version__, "subject": subject or None, "bundle": None, "area_mm2": mm2,
            "differential": count.to_dict(), "meaning": meaning(count, mm2, fields=len(smears)), "fields": fields,
            "unreadable": [{"image": name, "reason": reason} for name, reason in unreadable.items()]}


def _remarks(model: Model | None) -> list[str]:
    if model is None:
        return ["No types were asked for: cells are found and measured only. --bundle names a model that types them."]
    told = model.description
    if told.micrometres is None or not told.crop:
        why = ("does not say how many micrometres a pixel of its cells had" if told.micrometres is None else
               "takes whole images, and does not say how wide they were")
        return [f"The bundle {why}: cells were cut as squares of one and a half times their size, which need not be "
                "what it was trained on."]
    return []


def _names(sources: Sequence[Source]) -> dict[str, str]:
    """Source -> a name for its files: that of the image, and a number where two would meet."""
    names: dict[str, str] = {}
    taken = {"summary", "cells", "smear"}
    for source in sources:
        page = "" if source.page is None else f"_{source.page}"
        name = start = plain(Path(source.image).stem).lstrip(".").replace("/", "_") + page
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{start}_{number}"
        taken.add(name.lower())
        names[source.name] = name
    return names
