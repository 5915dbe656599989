"""One region of a slide: its leukocytes found, typed and measured, and stored. Knows no other region.

A region is complete when its .json exists. What cannot be read is stored too, with the reason: it is not tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl

from ..errors import input_error
from ..figures.palette import colours_of
from ..files import read_json, write_json
from ..manifest import write_table
from ..predict.batches import reason_of
from ..predict.model import Model
from ..slides.door import open_slide
from ..slides.regions import Region, keeps
from ..slides.slide import Slide, SlideField
from ..smear.count import is_leukocyte
from ..smear.formats import Annotation, all_classes, coco_annotations, geojson
from ..smear.geojson import Feature
from ..smear.source import field_source
from ..tables import read_parquet
from .slide_plan import SlideJob, SlidePlan, check_version, stored_plan
from .smear import open_model
from .smear_field import CountedField, count_field, whole_cells


@dataclass(frozen=True)
class RegionDone:
    """What the driver must know of a region that is done. leukocytes: that count, of its own squares. failed: why it
    has none, or ""."""

    number: int
    leukocytes: int
    failed: str = ""


@dataclass(frozen=True, eq=False)
class StoredRegion:
    """A region that is done: its cells, and of each its outline (GeoJSON), COCO annotation and picture. hidden: the
    share that was not recorded."""

    done: RegionDone
    table: pl.DataFrame
    features: list[Feature]
    annotations: list[Annotation]
    thumbs: list[str]
    hidden: float
    remarks: list[str]


def count_region(job: SlideJob, number: int) -> RegionDone:
    """Count a region and store it; one that is stored already is taken."""
    check_version(job)
    stored = _path(job, number, "json")
    if stored.is_file():
        return RegionDone(**read_json(stored)["done"])
    plan = stored_plan(job.parts)
    try:
        counted, kept = _counted(job, plan, plan.regions[number])
    except OSError:  # of what is written, such as a full disk: the run can be continued
        raise
    except Exception as error:  # a damaged tile may raise anything, and is one line of the result
        if not Path(job.path).exists():  # it may come back: nothing is stored of it
            raise
        return store_failed(job, number, reason_of(input_error(error)))
    return _store(job, plan.regions[number], counted, kept)


def read_region(job: SlideJob, number: int) -> StoredRegion:
    """What `count_region` has stored."""
    stored = read_json(_path(job, number, "json"))
    done = RegionDone(**stored["done"])
    if done.failed:
        return StoredRegion(done, pl.DataFrame(), [], [], [], 0.0, [])
    return StoredRegion(done, read_parquet(_path(job, number, "parquet")),
                        read_json(_path(job, number, "geojson"))["features"], stored["annotations"], stored["thumbs"],
                        stored["hidden"], stored["remarks"])


@lru_cache(2)
def model_of(bundle: str | None, types: bool) -> Model | None:
    """The model of a worker, opened once."""
    return open_model(bundle, types, None)


@lru_cache(2)
def _slide(path: str, parts: str) -> Slide:
    """The slide of a worker, opened once. parts: of the run, so that another run opens it anew."""
    return open_slide(path)


def _counted(job: SlideJob, plan: SlidePlan, region: Region) -> tuple[CountedField, list[int]]:
    """The cells of a region's window, and which of them belong to it."""
    left, top, width, height = region.window
    field = field_source(SlideField(_slide(job.path, job.parts), left, top, width, height))
    counted = count_field(field, job.name, job.image, model_of(job.bundle, job.types), plan.choice,
                          subject=job.subject, at=(left, top))
    kept = [place for place, cell in enumerate(counted.named.found.cells)
            if keeps(region, plan.squares, *cell.centre)]
    return counted, kept


def _store(job: SlideJob, region: Region, counted: CountedField, kept: list[int]) -> RegionDone:
    model = model_of(job.bundle, job.types)
    classes = model.classes if model else ()
    plan, found = stored_plan(job.parts), counted.named.found
    rows = counted.table.rows(named=True)
    features = geojson(counted.named, rows, colours_of(classes))["features"]
    annotations = coco_annotations(counted.named, rows, all_classes(classes, counted.table))
    own = [place for place in kept if keeps(region, plan.squares, *found.cells[place].centre, slack=0)]
    whole = whole_cells(counted.table[own])
    leukocytes = whole.filter(pl.col("predicted").is_in([name for name in classes if is_leukocyte(name)])) if (
        classes) else whole
    done = RegionDone(region.number, leukocytes.height)
    write_table(counted.table[kept], _path(job, region.number, "parquet"))
    write_json(_path(job, region.number, "geojson"), {"features": [features[place] for place in kept]})
    write_json(_path(job, region.number, "json"), {
        "done": done.__dict__, "annotations": [annotations[place] for place in kept],
        "thumbs": [counted.thumbs[place] for place in kept], "remarks": counted.remarks,
        "hidden": found.even.hidden_share if found.even else 0.0})
    return done


def store_failed(job: SlideJob, number: int, reason: str) -> RegionDone:
    """Store why a region has no result."""
    done = RegionDone(number, 0, reason)
    write_json(_path(job, number, "json"), {"done": done.__dict__})
    return done


def _path(job: SlideJob, number: int, end: str) -> Path:
    return Path(job.parts) / f"{number:06d}.{end}"
