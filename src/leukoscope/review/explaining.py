"""Where the model looks: what covering each part of a cell does to the probability of its type (occlusion; Zeiler and
Fergus 2014). It shows where, never why."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from ..predict.model import Model
from ..smear.crops import cell_frame, cut_square, frames_cells, squares_of
from ..smear.field import FoundField
from ..smear.source import FieldSource

WINDOWS = 7
"""Parts along a side of the cell's square that are covered one after the other; each is two of them wide."""
SIDE = 320
"""px of the picture."""


def explanation(model: Model, found: FoundField, field: FieldSource, kind: str) -> bytes:
    """A JPEG of the only cell of `found`, red where covering lowers the probability of `kind` most."""
    picture, drops = occlusion(model, found, field, kind)
    side = picture.shape[0]
    height = np.clip(cv2.resize(drops, (side, side), interpolation=cv2.INTER_CUBIC), 0, None)
    share = (0.65 * height / max(float(height.max()), 1e-3))[..., None]
    shown = (1 - share) * picture + share * np.array([225.0, 30.0, 30.0])
    stream = BytesIO()
    Image.fromarray(np.rint(shown).astype(np.uint8)).resize((SIDE, SIDE)).save(stream, "JPEG", quality=88)
    return stream.getvalue()


def occlusion(model: Model, found: FoundField, field: FieldSource,
              kind: str) -> tuple[UInt8[np.ndarray, "side side 3"], Float64[np.ndarray, "windows windows"]]:
    """The picture that the model is given, and by how much the probability of a type falls where each part of it is
    covered with the colour of a place without cells."""
    square = squares_of(model.description, found)[0]
    framed = frames_cells(model.description)
    picture = cut_square(field, square, found.white if framed else None)
    edges = np.linspace(0, picture.shape[0], WINDOWS + 2).round().astype(int)
    pictures = [picture]
    for row in range(WINDOWS):
        for column in range(WINDOWS):
            covered = picture.copy()
            covered[edges[row]:edges[row + 2], edges[column]:edges[column + 2]] = np.rint(found.white)
            pictures.append(covered)
    frames = [cell_frame(field, found.cells[0], square, found.white)] * len(pictures) if framed else None
    answers = model.predict_some(pictures, frames=frames)[0][f"p_{kind}"].fill_null(0.0).to_numpy().astype(np.float64)
    return picture, (answers[0] - answers[1:]).reshape(WINDOWS, WINDOWS)
