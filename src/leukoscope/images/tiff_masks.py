"""Pages of a TIFF that lie beside a photograph and are none, as their pixels show: masks and label images."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .tiff_layout import BLACK, PALETTE, WHITE, layout_of
from .tiff_pages import Contents, can_be_of, page_size, without_planes
from .tiff_pixels import PageReader
from .tiff_tags import Tiff

_WINDOW, _LARGE = 1024, 4096  # px: side of the middle of a page that is looked at, and where that is of one colour
_FLAT = 0.96
"""Share of pixels that equal their right neighbour from which on a page holds labels: 0.97 and more in 150 masks of
nuclei, at most 0.64 in 760 photographs of cells and fields, and 0.95 in 205 cells that are cut out on black."""
_NEAR, _NEARLY_ALL = 16, 0.98  # grey levels within which compression moves two values; share of pixels within them
_TOGETHER = 0.2
"""Correlation of a mask with the grey levels of its photograph: at least 0.24 in 180 masks of nuclei and cells of BCCD;
with another field 0.1 in the median."""


@dataclass(frozen=True)
class _Shown:
    """What the middle of a page shows. grey: stored as one sample; flat: of a mask or label image; two: black, and one
    other grey level."""

    grey: bool
    flat: bool
    two: bool


def without_masks(tiff: Tiff, contents: Contents, most: int) -> Contents:
    """Leave out masks and label images. most: pages of a file all of which are looked at; of more, only the grey ones
    beside colour."""
    pages = [plane[0] for picture in contents.pictures for plane in picture.planes if len(plane) == 1]
    grey = {page: _is_grey(tiff, contents, page) for page in pages}
    mixed = {True, False} <= set(grey.values())
    looked = [page for page in pages if (grey[page] and mixed) or (grey[page] is not None and len(pages) <= most)]
    shown = {page: seen for page in looked if (seen := _look(tiff, contents, page, bool(grey[page]))) is not None}
    photographs = [page for page in pages if grey[page] is not None and not (page in shown and shown[page].flat)]
    colour = any(not grey[page] for page in photographs)
    beside = _Beside({page: page_size(tiff, contents.pages[page]) for page in photographs})
    masks = {}
    for page, seen in shown.items():
        if seen.flat and (seen.two or (seen.grey and colour)):
            of = beside.nearest(page, page_size(tiff, contents.pages[page]))
            if of is not None and ((seen.grey and colour) or _agrees(tiff, contents, page, of)):
                masks[page] = f"a mask or label image of page {of}"
    return without_planes(contents, masks)


class _Beside:
    """The photographs of a file, by their sizes."""

    def __init__(self, sizes: Mapping[int, tuple[int, int]]) -> None:
        self._of_size: dict[tuple[int, int], list[int]] = {}
        for page in sorted(sizes):
            self._of_size.setdefault(sizes[page], []).append(page)
        self._fitting: dict[tuple[int, int], list[list[int]]] = {}

    def nearest(self, page: int, size: tuple[int, int]) -> int | None:
        """The photograph nearest to a page which a mask of this size can belong to; None where there is none."""
        if size not in self._fitting:
            self._fitting[size] = [pages for other, pages in self._of_size.items() if can_be_of(size, other)]
        near = [pages[at] for pages in self._fitting[size] for middle in [bisect(pages, page)]
                for at in (middle - 1, middle) if 0 <= at < len(pages)]
        return min(near, key=lambda one: abs(one - page), default=None)


def _agrees(tiff: Tiff, contents: Contents, page: int, of: int) -> bool:
    """Whether the two levels of a page are where the photograph is dark or bright, and so no other place of the smear.
    Where the sizes differ, they are taken to be."""
    if page_size(tiff, contents.pages[page]) != page_size(tiff, contents.pages[of]):
        return True
    middles = [_middle(tiff, contents, number, _LARGE) for number in (page, of)]
    if any(middle is None for middle in middles):  # reading says what is wrong
        return True
    mask, photograph = (middle[::step, ::step, 1].ravel().astype(np.float64) for middle in middles if middle is not None
                        for step in [max(1, max(middle.shape) // _WINDOW)])
    if not mask.std() or not photograph.std():
        return True
    return abs(float(np.corrcoef(mask, photograph)[0, 1])) > _TOGETHER


def _is_grey(tiff: Tiff, contents: Contents, page: int) -> bool | None:
    """Whether a page is stored as single samples; None where it cannot be read."""
    try:
        return layout_of(tiff, contents.pages[page]).photometric in (BLACK, WHITE, PALETTE)
    except ValueError:
        return None


def _look(tiff: Tiff, contents: Contents, page: int, grey: bool) -> _Shown | None:
    """None where it cannot be decoded."""
    middle = _middle(tiff, contents, page, _WINDOW)
    if middle is not None and (middle == middle[:1, :1]).all():
        middle = _middle(tiff, contents, page, _LARGE)
    if middle is None:
        return None
    equal = (middle[:, 1:] == middle[:, :-1]).all(-1)
    flat = not equal.size or float(equal.mean()) > _FLAT
    level, least, most = middle[..., 1], int(middle.min()), int(middle.max())
    two = (flat or not grey) and least < _NEAR and most > least and (
        int(np.ptp(middle.astype(np.int16), axis=-1).max()) < _NEAR
        and float(((level < _NEAR) | (level > most - _NEAR)).mean()) > _NEARLY_ALL)
    return _Shown(grey, flat or two, two)


def _middle(tiff: Tiff, contents: Contents, page: int, side: int) -> NDArray[np.uint8] | None:
    """The middle of a page, at most so many px wide and high; None where it cannot be decoded."""
    try:
        reader = PageReader(tiff, contents.pages[page])
        width, height = min(reader.layout.width, side), min(reader.layout.height, side)
        left, top = (reader.layout.width - width) // 2, (reader.layout.height - height) // 2
        return reader.read(left, top, width, height)
    except Exception:  # of many classes; reading says what is wrong
        return None
