"""Boxes on photographs that EXIF turns: were they drawn on the pixels as stored, or on the photograph as it is shown?

A manifest's boxes lie on the photograph as it is shown. Reads image headers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import DatasetError, ImageError

CHOICES = ("stored", "shown")
TURNED_HELP = ("where EXIF turns a photograph: stored, if its boxes were drawn on the pixels as they are stored; "
               "shown, if on the photograph as it is shown (default: what the size in the annotation says; where it "
               "says nothing, these boxes are left out as damaged)")
Edges = tuple[float, float, float, float]


def check_turned(choice: str) -> str:
    """The option `turned`. Raises DatasetError for another value."""
    if choice and choice not in CHOICES:
        raise DatasetError(f"option turned: expected {' or '.join(CHOICES)}, got '{choice}'")
    return choice


def orientation_of(path: Path) -> int:
    """The orientation of an image file, 1 to 8, as `read_image` undoes it; 1 where there is none."""
    from ..images.read import stored_orientation

    try:
        return stored_orientation(path)
    except ImageError:  # whoever reads the pixels says what is wrong
        return 1


def shown_edges(edges: Sequence[float], orientation: int, shown: tuple[int, int]) -> Edges:
    """A box (left, top, right, bottom in px) drawn on the pixels as stored, on the photograph as it is shown, which has
    `shown` (width, height) px."""
    left, top, right, bottom = edges
    if orientation >= 5:
        left, top, right, bottom = top, left, bottom, right
    width, height = shown
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def drawn_on_stored(orientation: int, written: tuple[object, object], shown: tuple[int, int]) -> bool | None:
    """Whether boxes were drawn on the pixels as stored, by the (width, height) that their annotation gives; None where
    this does not say it."""
    if orientation == 1:
        return False
    if orientation < 5 or shown[0] == shown[1] or written not in (shown, shown[::-1]):
        return None
    return written != shown
