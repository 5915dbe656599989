"""What is found in a field: leukocytes, the scale, and remarks. Data only; nothing here looks at pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from .even import EvenField

Box = tuple[int, int, int, int]
"""x, y, width, height in px."""


@dataclass(frozen=True)
class Morphometry:
    """Sizes and colours of one leukocyte. Lengths and areas in px, and in um where the scale is known, else None.

    nucleus_share: area of the nucleus over that of the cell (0 to 1). nucleus_to_cytoplasm: area of the nucleus over
        that of the cytoplasm, the N:C ratio of haematology; infinite where no cytoplasm is visible.
    roundness: 4 pi area / perimeter^2, 1 for a circle. solidity: area over that of the convex hull.
    lobes: of the nucleus, separated by necks; 1 for a round, kidney-shaped or band nucleus.
    nucleus_colour, cytoplasm_colour: mean RGB over the white point of the field (1 is no stain); None without pixels.
    A cell that the border of the field cuts is measured as far as it is visible.
    """

    cell_area: float
    nucleus_area: float
    cell_diameter: float
    nucleus_diameter: float
    nucleus_share: float
    nucleus_to_cytoplasm: float
    cell_roundness: float
    nucleus_roundness: float
    cell_solidity: float
    nucleus_solidity: float
    lobes: int
    nucleus_colour: tuple[float, float, float] | None
    cytoplasm_colour: tuple[float, float, float] | None
    cell_area_um2: float | None
    nucleus_area_um2: float | None
    cell_diameter_um: float | None
    nucleus_diameter_um: float | None


@dataclass(frozen=True, eq=False)
class FoundCell:
    """A leukocyte, or another cell with a nucleus. Its box, in px of the field: columns x .. x + width - 1, and rows.

    cell, nucleus: bool (height, width), cropped to the box; the nucleus lies within the cell.
    centre: (x, y) in px, the centre of mass of the cell; 0 is the middle of the first pixel.
    cut: the cell touches the border of the field. score: how clear the outline is, 0 to 1; not a probability.
    """

    x: int
    y: int
    width: int
    height: int
    centre: tuple[float, float]
    cell: Bool[np.ndarray, "height width"]
    nucleus: Bool[np.ndarray, "height width"]
    cut: bool
    score: float
    morphometry: Morphometry

    @property
    def box(self) -> Box:
        return self.x, self.y, self.width, self.height


def same_cell(first: Box, second: Box) -> bool:
    """Whether two boxes are of one cell that was found from both sides of a seam: their intersection is more than half
    of their union."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(width, 0) * max(height, 0)
    return 2 * common > first[2] * first[3] + second[2] * second[3] - common


@dataclass(frozen=True)
class Scale:
    """Micrometres per pixel, or None with the reason. source: "given", "red cells", "other fields" or "none".

    red_cells: how many were measured; red_cell_diameter: their median in px, None where there were too few.
    """

    micrometres_per_pixel: float | None
    source: str
    reason: str
    red_cells: int
    red_cell_diameter: float | None


@dataclass(frozen=True, eq=False)
class FoundField:
    """All that was found in a field of `width` x `height` px.

    cells: by the row of their boxes, then the column. white: RGB of a place without cells. remarks: for a person, one
    line each. is_smear: False where the field looks like something else. even: the field under even light, where it was
    not lit evenly or not recorded as a whole, else None.
    """

    width: int
    height: int
    cells: tuple[FoundCell, ...]
    scale: Scale
    white: tuple[float, float, float]
    is_smear: bool
    remarks: tuple[str, ...]
    even: EvenField | None = None

    def labels(self, part: str = "cell") -> NDArray[np.int32]:
        """int32 (height, width): i + 1 where cells[i] lies, or its nucleus (part "nucleus"); 0 elsewhere."""
        image = np.zeros((self.height, self.width), np.int32)
        for number, cell in enumerate(self.cells, start=1):
            mask = cell.nucleus if part == "nucleus" else cell.cell
            image[cell.y:cell.y + cell.height, cell.x:cell.x + cell.width][mask] = number
        return image


def moved(found: FoundField, x: int, y: int) -> FoundField:
    """The same cells, in px of a slide on which the corner of the field lies at (x, y)."""
    if x == y == 0:
        return found
    cells = tuple(replace(cell, x=cell.x + x, y=cell.y + y, centre=(cell.centre[0] + x, cell.centre[1] + y))
                  for cell in found.cells)
    return replace(found, cells=cells)
