"""A warning where an image that is given as one cell looks like a whole field. Cheap, and never a refusal.

Of samples of seven sets of cells (PBC, BCCD, Chula, LMU, MLL, C-NMC) none is taken for a field; of fields, 93 % of
BCCD's and all of Chula's and Chula RBC-12's are. Smaller photographs pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..bundle.bundle import Description
from ..errors import LeukoscopeError
from ..images.read import image_size
from .sources import Source

FIRST = 3
"""Images that are looked at: those of a folder are alike."""
SIDE, CERTAIN = 480, 800
"""px: images of single cells have a shorter side below the first, and fields have red cells or one above the second."""
RED_CELLS = 5


def field_warning(sources: Sequence[Source], described: Description) -> str:
    """One line that names the first of a few images that looks like a field, or ""."""
    smallest = max(SIDE, 1.5 * described.crop)
    for source in [source for source in sources[:FIRST] if not source.row and not source.missing]:
        try:
            shorter = min(image_size(Path(source.image)))
            if shorter >= max(smallest, CERTAIN) or (shorter >= smallest and _red_cells(source) >= RED_CELLS):
                return f"{source.name} looks like a field, not a single cell: use leukoscope smear"
        except LeukoscopeError:  # prediction says what is wrong with it
            continue
    return ""


def _red_cells(source: Source) -> int:
    from ..smear.source import field_source  # late: usual cells need none of it
    from ..smear.survey import survey

    return len(survey(field_source(source.read())).red_cells.diameters)
