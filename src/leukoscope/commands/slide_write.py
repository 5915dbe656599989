"""From the stored regions of a slide to tables, outlines, map, page and summary; each cell once."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import polars as pl

from ..errors import LeukoscopeError
from ..figures.palette import colours_of
from ..figures.slide import MapCell, MapSquare, marked_slide, slide_map
from ..filenames import SUMMARY
from ..files import atomic_path, remove_partials, write_json, write_text
from ..manifest import write_table
from ..predict.model import Model
from ..report.smear import smear_page
from ..slides.door import open_slide
from ..slides.monolayer import MONOLAYER
from ..slides.path import Place
from ..slides.regions import doubles
from ..slides.zones import unevenness, zone_names, zones
from ..smear.count import LEUKOCYTE, kind_of, meaning
from ..smear.findings import doubted
from ..smear.flag import flagged_first
from ..smear.formats import UNTYPED, Annotation, all_classes
from ..smear.summary import FieldSummary, Plan, SlideSummary, SmearSummary
from ..text import plural
from .slide_plan import SlideJob, SlidePlan, stored_plan
from .slide_region import StoredRegion, model_of, read_region
from .smear_field import whole_cells
from .smear_write import OWN_FILES, Aside, summarise, write_coco

SLIDE_FILES = (".png", ".geojson")
TABLES = ("squares.parquet", "squares.csv")
PICTURE = 2048
"""px: longer side of the map."""
_PAGE_PICTURE = 1400


def files_of_slide(name: str) -> tuple[str, ...]:
    """The files that are written for a slide of this name, beside the summary."""
    return *OWN_FILES, *TABLES, *(f"{name}{end}" for end in SLIDE_FILES)


@dataclass(frozen=True, eq=False)
class _Cells:
    """The cells of a slide, each once. table: of `cells_table`, numbered over the slide. origin: of each row, its
    region and its place in it. squares: of each row. looked: the squares that were counted, with their mm2. failed:
    regions without a result, and why. remarks: of regions."""

    table: pl.DataFrame
    origin: list[tuple[int, int]]
    squares: list[Place]
    looked: dict[Place, float]
    failed: dict[int, str]
    remarks: list[str]


def write_slide(job: SlideJob, plan_of_run: Plan, numbers: Sequence[int]) -> SmearSummary:
    """Write everything about a slide into its folder, the summary last. numbers: of its regions that are done and
    count."""
    plan, model = stored_plan(job.parts), model_of(job.bundle, job.types)
    cells = _joined(job, plan, numbers)
    classes = model.classes if model else ()
    _remove_partials(job)
    cells = replace(cells, table=doubted(cells.table, classes))
    table, out = flagged_first(cells.table), Path(job.out)
    write_table(table, out / "cells.parquet")
    write_table(table, out / "cells.csv")
    if job.partition:
        write_table(table, job.partition)
    squares = _squares_table(plan, cells, classes)
    for name in TABLES:
        write_table(squares, out / name)
    _write_outlines(job, cells)
    summary = _summary(job, plan, plan_of_run, cells, model)
    write_coco(out / "cells.coco.json", summary.fields, [_annotations(job, cells)], all_classes(classes, table))
    _write_page(job, plan, cells, summary, squares, classes)
    write_json(out / SUMMARY, summary.to_dict())
    return summary


def _remove_partials(job: SlideJob) -> None:
    """Remove what a worker that died while it wrote has left: the table over all reads every Parquet file."""
    remove_partials(Path(job.out))
    if job.partition:
        remove_partials(Path(job.partition).parent, Path(job.partition).stem)


def _joined(job: SlideJob, plan: SlidePlan, numbers: Sequence[int]) -> _Cells:
    """The cells of all regions in their order, those at seams once."""
    tables, origin, looked, failed = [], [], {}, {}
    remarks: Counter[str] = Counter()
    for number in sorted(numbers):
        region, stored = plan.regions[number], read_region(job, number)
        if stored.done.failed:
            failed[number] = stored.done.failed
            continue
        looked |= {place: plan.squares.mm2(*place) * (1 - stored.hidden) for place in region.squares}
        remarks.update(stored.remarks)
        tables.append(stored.table)
        origin += [(number, place) for place in range(stored.table.height)]
    if not tables:
        raise LeukoscopeError(f"{job.path}: no part of the monolayer could be read ({next(iter(failed.values()))})",
                              "export or copy the slide again")
    table = pl.concat(tables)
    squares = [plan.squares.at(x, y) for x, y in table.select("centre_x", "centre_y").iter_rows()]
    second = doubles(list(table.select("x", "y", "width", "height").iter_rows()), [number for number, _ in origin])
    kept = [row for row in range(len(origin)) if row not in second and squares[row] in looked]
    table = table[kept].with_columns(pl.Series("number", range(1, len(kept) + 1), dtype=pl.Int32))
    usual = [text for text, count in remarks.items() if count > max(len(tables) / 2, 1)
             and text not in (plan.choice.remark, "no leukocyte was found")]
    return _Cells(table, [origin[row] for row in kept], [squares[row] for row in kept], looked, failed, usual)


def _counted(cells: _Cells, classes: Sequence[str]) -> list[tuple[Place, str]]:
    """Square and type of the leukocytes that count."""
    whole = set(whole_cells(cells.table)["number"])
    return [(place, kind or UNTYPED) for place, kind, number in zip(
        cells.squares, cells.table["predicted"], cells.table["number"], strict=True)
        if number in whole and (not classes or (kind is not None and kind_of(kind) == LEUKOCYTE))]


def _squares_table(plan: SlidePlan, cells: _Cells, classes: Sequence[str]) -> pl.DataFrame:
    """A row for each square in which something of the smear lies."""
    found, counted = Counter(cells.squares), Counter(place for place, _ in _counted(cells, classes))
    names, rows = zone_names(list(cells.looked)), []
    for square in plan.measured:
        place = square.row, square.column
        x, y, width, height = plan.squares.window(*place)
        area = cells.looked.get(place)
        rows.append({
            "row": square.row, "column": square.column, "x": x, "y": y, "width": width, "height": height,
            "kind": square.kind, "cover": square.cover, "overlap": square.overlap, "edge_um": square.edge,
            "looked": area is not None, "mm2": area, "found": found[place] if area is not None else None,
            "leukocytes": counted[place] if area is not None else None,
            "per_mm2": counted[place] / area if area else None,
            "zone": names.get(place)})
    return pl.DataFrame(rows, infer_schema_length=None)


def _regions(job: SlideJob, cells: _Cells) -> Iterator[tuple[StoredRegion, list[tuple[int, int]]]]:
    """Each region with its cells: (number on the slide, place in the region). One at a time is in memory."""
    own: dict[int, list[tuple[int, int]]] = {}
    for number, (region, place) in enumerate(cells.origin, start=1):
        own.setdefault(region, []).append((number, place))
    for region, places in own.items():
        yield read_region(job, region), places


def _write_outlines(job: SlideJob, cells: _Cells) -> None:
    """One FeatureCollection, region by region."""
    with atomic_path(Path(job.out) / f"{job.name}.geojson") as beside, open(beside, "w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for region, places in _regions(job, cells):
            for number, place in places:
                feature = region.features[place]
                feature["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{job.name}/{number}"))
                feature["properties"]["name"] = str(number)
                file.write(f"{',' if number > 1 else ''}\n{json.dumps(feature, ensure_ascii=False, allow_nan=False)}")
        file.write("\n]}\n")


def _annotations(job: SlideJob, cells: _Cells) -> Iterator[Annotation]:
    """Of the cells in their order, one region in memory."""
    return (region.annotations[place] for region, places in _regions(job, cells) for _, place in places)


def _summary(job: SlideJob, plan: SlidePlan, plan_of_run: Plan, cells: _Cells, model: Model | None) -> SmearSummary:
    table, squares = cells.table, plan.squares
    classes = model.classes if model else ()
    parts = zones(cells.looked, _counted(cells, classes))
    monolayer = [(square.row, square.column) for square in plan.measured if square.kind == MONOLAYER]
    uneven = unevenness(parts)
    slide = SlideSummary(
        plan.reader, plan.vendor, plan.objective, job.target, dict(Counter(square.kind for square in plan.measured)),
        len(cells.looked), squares.side * squares.scale, sum(squares.mm2(*place) for place in monolayer), tuple(parts),
        uneven)
    field = FieldSummary(
        job.name, job.image, squares.width, squares.height, plan.choice.micrometres, plan.choice.origin,
        plan.red_cells, True, table.height, whole_cells(table).height,
        table["flag"].drop_nulls().len(), (*plan.remarks, *cells.remarks, *_failures(cells)))
    mm2 = sum(cells.looked.values())
    summary = summarise([field], table, Aside((), ()), model, plan_of_run)
    few = summary.differential.total < (job.target or 0)
    remarks = [*summary.remarks, *([uneven] if uneven else []), *(
        [f"The monolayer holds {plural(summary.differential.total, 'leukocyte')}, fewer than the "
         f"{job.target} that were asked for."] if few else [])]
    return replace(summary, area_mm2=mm2, meaning=meaning(summary.differential, mm2, 1), remarks=tuple(remarks),
                   slide=slide, files=files_of_slide(job.name))


def _failures(cells: _Cells) -> list[str]:
    if not cells.failed:
        return []
    number, reason = next(iter(cells.failed.items()))
    return [f"{plural(len(cells.failed), 'part')} of the monolayer could not be read and "
            f"{'are' if len(cells.failed) > 1 else 'is'} in no count; part {number}: {reason}"]


def _write_page(job: SlideJob, plan: SlidePlan, cells: _Cells, summary: SmearSummary, squares: pl.DataFrame,
                classes: Sequence[str]) -> None:
    colours, out, size = colours_of(classes), Path(job.out), (plan.squares.width, plan.squares.height)
    shown = [MapSquare(row["x"], row["y"], row["width"], row["height"], row["kind"], row["looked"], row["per_mm2"])
             for row in squares.iter_rows(named=True)]
    dots = [MapCell(x, y, colours[kind or UNTYPED])
            for x, y, kind in cells.table.select("centre_x", "centre_y", "predicted").iter_rows()]
    with open_slide(job.path) as slide:
        picture = slide.overview(PICTURE)
    by = min(_PAGE_PICTURE / max(picture.shape[:2]), 1.0)
    small = cv2.resize(picture, None, fx=by, fy=by, interpolation=cv2.INTER_AREA).astype(np.uint8)
    with atomic_path(out / f"{job.name}.png") as beside:
        marked_slide(picture, size, shown, dots).save(beside, format="PNG", compress_level=4)

    @lru_cache(8)
    def thumbs_of(region: int) -> list[str]:
        return read_region(job, region).thumbs

    def thumb(field: str, number: int) -> str:
        region, place = cells.origin[number - 1]
        return thumbs_of(region)[place]

    write_text(out / "smear.html", smear_page(summary, flagged_first(cells.table), {}, thumb, colours,
                                              slide_map(small, size, shown, dots)))
