"""The types of cells that were found in a field, by a model."""

from __future__ import annotations

import polars as pl

from ..smear.count import without_large_platelets
from ..smear.crops import cell_frame, cut_square, frames_cells, squares_of
from ..smear.field import FoundField
from ..smear.source import FieldSource
from .model import Model


def type_found(model: Model, found: FoundField, field: FieldSource) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """What a model says of the cells, and why some have no answer. field: under even light. One that frames each cell
    is given the outlines that were found."""
    squares, framed = squares_of(model.description, found), frames_cells(model.description)
    # A nucleus mirrored at the border would look like a lobe to a model that searches for the cell.
    pictures = (cut_square(field, square, found.white if framed else None) for square in squares)
    frames = [cell_frame(field, cell, square, found.white)
              for cell, square in zip(found.cells, squares, strict=True)] if framed else None
    answers, untyped = model.predict_some(pictures, frames=frames)
    return without_large_platelets(answers, found, model.classes), untyped
