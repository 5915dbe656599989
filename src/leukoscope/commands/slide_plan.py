"""What is looked at on a slide: its scale, its squares by what they show, and the regions in their order.

Worked out once and stored, so that every worker, and a run that goes on after a stop, does the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import LeukoscopeError
from ..files import read_json, write_json
from ..progress import OnProgress
from ..slides.door import open_slide
from ..slides.grid import Squares, squares_of
from ..slides.monolayer import DAMAGED, KINDS, MISSING, MONOLAYER, Square, measure_squares, too_soft
from ..slides.path import battlement
from ..slides.regions import Region, regions_of_all, regions_of_path
from ..slides.slide import Slide
from ..slides.tissue import find_tissue, look_closely
from ..smear.survey import COARSEST, Survey
from ..text import percent, plural
from .smear_field import MANY, ScaleChoice, choose_scale
from .smear_resume import FieldScale

PLAN = "slide.json"
DIFFERS = 1.25
"""Factor from which on a scale that the red cells do not confirm is remarked upon."""
SPREAD, ONE_SIZE = (0.2, 0.12), (0.38, 0.6)
"""Standard deviation of the diameters of red cells over their mean, at most, and share of round things that fit the
others in size, at least; the second of each where the stain is unusual. Red cells of BCCD and of phantoms spread by
0.06 to 0.17, ellipses of random size by 0.23."""


@dataclass(frozen=True)
class SlideJob:
    """What a worker must know of a slide. path: of the file; parts: folder for what is stored meanwhile; out: for the
    results; partition: table of its cells among those of an archive, or "": all absolute. image: the path as the tables
    have it. name: of the files. target: leukocytes after which the count ends, None for all."""

    path: str
    parts: str
    out: str
    partition: str
    image: str
    name: str
    subject: str
    bundle: str | None
    types: bool
    micrometres: float | None
    target: int | None
    leukoscope: str


@dataclass(frozen=True)
class SlidePlan:
    """What is looked at. choice: the scale. squares: the grid. measured: its squares. regions: in their order. facts:
    reader, vendor and objective. remarks: what a reader must know."""

    choice: ScaleChoice
    squares: Squares
    measured: tuple[Square, ...]
    regions: tuple[Region, ...]
    reader: str
    vendor: str
    objective: float | None
    red_cells: int
    remarks: tuple[str, ...]


def check_version(job: SlideJob) -> None:
    """Raise LeukoscopeError in a worker that has another version than the run."""
    if job.leukoscope != __version__:
        raise LeukoscopeError(f"a worker has leukoscope {__version__}, and the run was started with {job.leukoscope}",
                              "install the same version on every machine")


def plan_slide(job: SlideJob, on_progress: OnProgress | None = None) -> SlidePlan:
    """The plan of a slide, stored in its parts; one that is stored already is taken. Raises LeukoscopeError for a slide
    that cannot be read, that is no smear or has no scale or no monolayer."""
    check_version(job)
    path = Path(job.parts) / PLAN
    if path.is_file():
        return stored_plan(job.parts)
    with open_slide(job.path) as slide:
        plan = _plan(slide, job, on_progress)
    write_json(path, asdict(plan))
    return plan


@lru_cache(8)
def stored_plan(parts: str) -> SlidePlan:
    """The plan that `plan_slide` has stored."""
    from pydantic import TypeAdapter  # late: a first run reads no plan

    return TypeAdapter(SlidePlan).validate_python(read_json(Path(parts) / PLAN))


def _plan(slide: Slide, job: SlideJob, on_progress: OnProgress | None) -> SlidePlan:
    tissue = find_tissue(slide)
    if not tissue.mask.any():
        raise LeukoscopeError(f"{slide.path}: the slide is empty", "give the scan of a smear")
    looks = look_closely(slide, tissue)
    smears = [look for look in looks if _is_smear(look)]
    own = _scale_of(slide, smears)
    if not smears:
        raise LeukoscopeError(
            f"{slide.path}: does not look like a blood smear: round red cells of one size were found in none of "
            f"{plural(len(looks), 'place')}", "give the scan of a smear, not of a section or of a thick drop")
    choice = choose_scale(own, [own], job.micrometres)
    choice = replace(choice, micrometres=own.scale, origin="red cells") if choice.micrometres is None else choice
    scale = choice.micrometres
    if scale is None or scale > COARSEST:
        said = "is not known" if scale is None else f"of {scale:.3g} um is too large to outline leukocytes"
        raise LeukoscopeError(f"{slide.path}: the size of a pixel {said}", "give --micrometres, or scan with an "
                              "objective of 20 x or more")
    squares = squares_of(slide.width, slide.height, scale)
    measured = measure_squares(slide, squares, tissue, on_progress=on_progress)
    places = [(square.row, square.column) for square in measured if square.kind == MONOLAYER]
    if not places:
        raise LeukoscopeError(f"{slide.path}: no monolayer was found, where red cells lie beside each other and are "
                              f"sharp ({_kinds(measured)})", "scan the monolayer in focus")
    rows, columns = np.nonzero(tissue.mask)
    path = battlement(places, along_rows=bool(np.ptp(columns) >= np.ptp(rows)))
    regions = regions_of_all(places, squares) if job.target is None else regions_of_path(path, squares)
    facts = slide.facts
    return SlidePlan(choice, squares, tuple(measured), tuple(regions), facts.reader, facts.vendor, facts.objective,
                     own.red_cells, tuple(_remarks(slide, own, choice, measured)))


def _is_smear(look: Survey) -> bool:
    """Whether a place shows many red cells: round things of one size. Nuclei of tissue differ more; where what stands
    out is as purple as these, little difference is allowed."""
    sizes = look.red_cells.diameters
    if not look.many_red_cells or look.unlike:
        return False
    spread = float(np.std(sizes) / np.mean(sizes))
    return spread < SPREAD[look.unusual] and look.red_cells.of_one_size > ONE_SIZE[look.unusual]


def _scale_of(slide: Slide, smears: list[Survey]) -> FieldScale:
    """What the file and the red cells of some places say."""
    stated = slide.facts.pixel
    scales = [look.red_cells.scale for look in smears if look.red_cells.scale is not None]
    count = sum(len(look.red_cells.diameters) for look in smears)
    return FieldScale("", float(np.median(scales)) if scales else None, count, stated.micrometres, stated.origin,
                      tuple(filter(None, (stated.remark,))))


def _kinds(measured: list[Square]) -> str:
    """How many squares are of each kind, in words."""
    counts = {kind: sum(square.kind == kind for square in measured) for kind in KINDS}
    return ", ".join(f"{number:,} {kind}" for kind, number in counts.items() if number) or "no squares"


def _remarks(slide: Slide, own: FieldScale, choice: ScaleChoice, measured: list[Square]) -> list[str]:
    facts, remarks = slide.facts, [*own.remarks, *slide.facts.remarks]
    if choice.remark:
        remarks.append(choice.remark)
    scale = choice.micrometres
    if scale and own.scale and choice.origin != "red cells" and own.red_cells >= MANY and not (
            1 / DIFFERS < scale / own.scale < DIFFERS):
        remarks.append(f"a pixel has {scale:.3g} um ({choice.origin}), but {own.red_cells} red cells say "
                       f"{own.scale:.3g}")
    if own.stated is None and choice.origin == "red cells":
        remarks.append(f"the file does not say how large a pixel is: {own.red_cells} red cells give {scale:.3g} um")
    if len(facts.levels) == 1:
        remarks.append("the slide has no coarser levels, so that all of it was read to find the smear")
    damaged = sum(square.kind == DAMAGED for square in measured)
    if damaged:
        remarks.append(f"{plural(damaged, 'square')} of the smear cannot be read and "
                       f"{'were' if damaged != 1 else 'was'} not counted: the file is damaged there")
    missing = sum(square.kind == MISSING for square in measured)
    if missing or facts.missing:
        tiles = f" ({facts.missing:,} tiles are missing in the file)" if facts.missing else ""
        remarks.append(f"{plural(missing, 'square')} of the smear, {percent(missing / max(len(measured), 1))}, "
                       f"{'are' if missing != 1 else 'is'} black or white and {'were' if missing != 1 else 'was'} not "
                       f"counted: nothing was recorded there{tiles}")
    soft = too_soft(measured)
    if soft is not None:
        remarks.append(f"all of the slide is out of focus: edges of cells are {soft:.1f} um wide")
    return remarks
