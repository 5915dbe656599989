"""Whether a field is a blood smear, and what a reader must know of it, in words. Knows no pixels."""

from __future__ import annotations

from collections.abc import Sequence

from ..text import percent
from .count import is_damaged
from .even import EvenField
from .field import FoundCell
from .focus import SOFT
from .scale import FEWEST, RED_CELL
from .survey import Survey

_DIFFERS = 1.25  # factor from which on a stated scale that differs from the red cells' is remarked upon
_CERTAIN = 0.85  # score of a whole leukocyte that settles that the field is a smear
_CROWDED = 0.85  # share of the field under cells, above which the smear is too thick


def judge(survey: Survey, cells: Sequence[FoundCell], even: EvenField | None = None) -> tuple[bool, tuple[str, ...]]:
    """Whether the field is a blood smear, and remarks. cells: the leukocytes that were found; even: the field under
    even light, where it was not lit evenly or not recorded as a whole."""
    scale, red_cells = survey.scale, survey.red_cells
    unlike = "" if _certain(cells) and survey.could_be_stained else survey.unlike
    if survey.grey and not unlike:
        unlike = "it has no colour"
    if not unlike and len(red_cells.diameters) < FEWEST and not cells and not survey.refused:
        unlike = f"{len(red_cells.diameters)} red cells and no leukocyte were found"
    if unlike:
        return False, (f"this does not look like a blood smear: {unlike}",)
    remarks = [survey.refused] if survey.refused else []
    if survey.of_mixed_sizes:
        remarks.append("what is round here is of mixed sizes, unlike red cells: check that this is a blood smear")
    estimate = red_cells.scale
    if scale.micrometres_per_pixel is None:
        remarks.append(f"no scale: {scale.reason}; sizes are in pixels only")
    elif scale.source != "red cells" and estimate is not None and not (
            1 / _DIFFERS < scale.micrometres_per_pixel / estimate < _DIFFERS):
        origin = {"given": "given as", "file": "stated by the file as"}.get(scale.source,
                                                                            f"taken from {scale.source} as")
        remarks.append(f"the scale was {origin} {scale.micrometres_per_pixel:.3g} um a pixel, but the red cells, at "
                       f"{RED_CELL:g} um, say {estimate:.3g}")
    if even is not None and even.hidden.any():
        remarks.append(f"{percent(even.hidden_share, 0)} of the field shows nothing (black, white or of one colour) "
                       "and was left out")
    if even is not None and even.light is not None:
        remarks.append("the light is uneven; it was evened out before cells were measured" if even.light.evened else
                       "the light is uneven and could not be evened out: counts and outlines are doubtful")
    if survey.edge_um is not None and survey.edge_um > SOFT:
        remarks.append("out of focus, or taken through a weak objective (such as 40 x): edges of cells are "
                       f"{survey.edge_um:.1f} um wide; sizes and types are doubtful")
    if red_cells.cover > _CROWDED:
        remarks.append("cells cover nearly all of the field: the smear is thick here, and outlines are doubtful")
    if not cells and not survey.refused:
        remarks.append("no leukocyte was found")
    return True, tuple(remarks)


def _certain(cells: Sequence[FoundCell]) -> bool:
    """Whether one is whole, and of a cell's shape: letters and other drawings are ragged."""
    return any(cell.score >= _CERTAIN and not cell.cut and not is_damaged(cell) for cell in cells)
