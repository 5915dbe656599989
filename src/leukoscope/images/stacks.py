"""The fields of a TIFF by what its pages show, where the file does not say: planes of focus, copies, reduced copies.

One scene photographed several times is one field. Of planes of focus the sharpest is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .headers import format_of
from .tiff_layout import layout_of
from .tiff_masks import without_masks
from .tiff_pages import Contents, contents_of, without_pages
from .tiff_pieces import BAND
from .tiff_pixels import PageReader
from .tiff_planes import Picture
from .tiff_tags import Tiff, open_tiff

ALIKE = 0.9
"""Correlation of the detail of two pages from which on they show one scene: out of focus by a micrometre, a field keeps
0.93 to 0.97; different cells in the middle of their images reach 0.895 in 1,500 pairs of C-NMC, and 0.81 in PBC."""
APART = 0.95
"""The same, of pages with others between them, of which there are many more pairs."""
MOST = 64
"""Pages before and after a page that it is compared with, and pairs of a sample that tells whether those of a file with
more pages show any scene twice."""
_STACKED = 1 / 3  # share of such pairs that are alike in a file that holds planes of focus and little else
_WINDOW, _SIDE = 1024, 64  # px: of the middle of a page, and to which it is reduced
_SHARP = 4096  # px: side of the middle of a page in which sharpness is measured
_RATIO = 0.02  # of the sides, by which a reduced copy may differ in shape
_SMALLER = 1.4  # times, from which on a page may be a reduced copy
_LARGEST = 400_000_000  # px of a page that is compared as a whole
Detail = NDArray[np.float32]


@dataclass(frozen=True)
class FieldPages:
    """A field of a TIFF: its page (None where the file has no other), or the pages of red, green and blue; what a
    reader must know of that, and why it cannot be read; each may be ""."""

    page: int | None
    channels: tuple[int, ...] = ()
    note: str = ""
    refused: str = ""


@dataclass(frozen=True)
class TiffFields:
    """The fields of a TIFF, the pages that are none and why; total: pages that there should be, of which `pages` are
    there, and stated: those that the file says it has (0: it does not say); broken: what is wrong after the last, or
    ""."""

    fields: tuple[FieldPages, ...]
    left_out: Mapping[int, str]
    pages: int
    total: int
    stated: int
    broken: str


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF does; False where it cannot be opened, and for a pipe, which might never end."""
    try:
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return format_of(file.read(16)) == "TIFF"
    except (OSError, ValueError):
        return False


def fields_of_tiff(path: Path) -> TiffFields:
    """The fields of a TIFF. Raises what reading a damaged file raises."""
    with open(path, "rb") as file:
        tiff = open_tiff(file)
        contents = contents_of(tiff)
        if sum(len(picture.planes) for picture in contents.pictures) > 1:
            contents = _joined(tiff, _without_copies(tiff, without_masks(tiff, contents, MOST)))
        several = len(contents.pages) > 1
        fields = [field for picture in contents.pictures for field in _fields(tiff, contents, picture, several)]
        return TiffFields(tuple(fields), contents.left_out, len(tiff.directories), contents.total,
                          contents.stated, contents.broken)


def _without_copies(tiff: Tiff, contents: Contents) -> Contents:
    """Leave out pages that show the same as a larger one, and refuse those of which nobody can tell."""
    sizes = [(picture.first, _size(tiff, contents, picture)) for picture in contents.pictures]
    if len({size for _, size in sizes}) == 1:
        return contents
    copies: dict[int, str] = {}
    unknown: dict[int, Picture] = {}
    detail = cache(lambda page: _detail(tiff, contents, page, whole=True))
    for at, (page, (width, height)) in enumerate(sizes):
        near = slice(max(at - MOST, 0), at + MOST)
        for other, (larger, (its_width, its_height)) in enumerate(sizes[near], near.start):
            by = its_width / width
            if by < _SMALLER or abs(its_height / height / by - 1) > max(_RATIO, 2 / height):
                continue
            large = its_width * its_height > _LARGEST  # a slide, whose smaller pages of its shape are its levels
            if large or _alike(detail(larger), detail(page),
                               ALIKE if len(sizes) <= MOST or abs(other - at) == 1 else APART):
                copies[page] = f"a reduced copy of page {larger}"
                break
            if detail(page) is not None and detail(larger) is None:
                unknown[page] = Picture(((page,),), f"it may be a reduced copy of page {larger}, which cannot be "
                                        "decoded")
    pictures = tuple(unknown.get(picture.first, picture) for picture in contents.pictures)
    return without_pages(replace(contents, pictures=pictures), copies)


def _joined(tiff: Tiff, contents: Contents) -> Contents:
    """Join pages that show one scene: those that follow each other, and those with others between them."""
    next_to_it = ALIKE if len(contents.pictures) <= MOST else _least_alike(tiff, contents)
    if next_to_it is None:
        return contents
    groups: list[list[Picture]] = []
    shown: list[tuple[tuple[int, int], Detail | None]] = []  # of the last page of each group
    before: Picture | None = None
    for picture in contents.pictures:
        detail, size = _scene(tiff, contents, picture), _size(tiff, contents, picture)
        at = next((at for at in reversed(range(max(len(groups) - MOST, 0), len(groups))) if shown[at][0] == size and
                   _alike(detail, shown[at][1], next_to_it if groups[at][-1] is before else APART)), len(groups))
        before = picture
        groups[at:at + 1] = [[*(groups[at] if at < len(groups) else []), picture]]
        shown[at:at + 1] = [(size, detail)]
    pictures = tuple(group[0] if len(group) == 1 else Picture(tuple(one.planes[0] for one in group))
                     for group in groups)
    return replace(contents, pictures=pictures)


def _least_alike(tiff: Tiff, contents: Contents) -> float | None:
    """The correlation from which on two pages of many that follow each other show one scene; None where a sample of
    them shows no scene twice, neither next to each other nor again after others."""
    pictures = contents.pictures
    starts = np.linspace(0, len(pictures) - 3, MOST // 2).astype(int).tolist()
    pairs = [(start + by, start + by + 1) for start in starts for by in (0, 1)]  # planes may come in twos
    pairs += [(0, later) for later in range(2, MOST)]
    scene = cache(lambda at: _scene(tiff, contents, pictures[at]))
    found = np.array([_correlation(first, second) if (first := scene(one)) is not None and (
        second := scene(other)) is not None and first.shape == second.shape else 0.0 for one, other in pairs])
    if (found[:MOST] > ALIKE).mean() >= _STACKED:
        return ALIKE
    return APART if (found > APART).any() else None


def _scene(tiff: Tiff, contents: Contents, picture: Picture) -> Detail | None:
    """What a field shows; None where the file says what it is."""
    return None if picture.stated or picture.refused else _detail(tiff, contents, picture.first)


def _alike(first: Detail | None, second: Detail | None, least: float = ALIKE) -> bool:
    """Whether two pages show one scene."""
    return first is not None and second is not None and _correlation(first, second) > least


def _fields(tiff: Tiff, contents: Contents, picture: Picture, several: bool) -> list[FieldPages]:
    """The field of a picture; each plane as a field where they show different scenes."""
    planes = picture.planes
    if picture.refused or len(planes) == 1:
        return [_field(planes[0], several, "", picture.refused)]
    details = [_detail(tiff, contents, plane[0]) for plane in planes]
    whole = [detail for detail in details if detail is not None]
    if len(whole) == len(planes) and any(_correlation(*neighbours) <= ALIKE / 2 for neighbours in pairwise(whole)):
        note = "stored as planes of focus, but each shows another scene: taken for a field" if picture.stated else ""
        return [_field(plane, several, note) for plane in planes]
    if len(planes) == 3 and len(planes[0]) == 1 and _is_grey(tiff, contents, planes[0][0]):
        refused = "3 grey pages show one scene: planes of focus, or red, green and blue"
        return [_field(planes[0], several, refused=refused)]
    best, broken = _sharpest(tiff, contents, planes)
    if broken:
        return [_field(planes[0], several, refused=broken)]
    return [_field(planes[best], several, f"{len(planes)} pages show one field in planes of focus: the sharpest, page "
                   f"{planes[best][0]} (counted from 0), is used")]


def _field(plane: Sequence[int], several: bool, note: str = "", refused: str = "") -> FieldPages:
    channels = tuple(plane) if len(plane) == 3 else ()
    joined = f"pages {', '.join(map(str, channels))} are joined as red, green and blue" if channels else ""
    notes = "; ".join(filter(None, (note, joined)))
    return FieldPages(plane[0] if several else None, channels, notes, refused)


def _size(tiff: Tiff, contents: Contents, picture: Picture) -> tuple[int, int]:
    page = contents.pages[picture.first]
    return max(tiff.number(page, 256, 1), 1), max(tiff.number(page, 257, 1), 1)


def _is_grey(tiff: Tiff, contents: Contents, page: int) -> bool:
    return layout_of(tiff, contents.pages[page]).colours == 1


def _middle(reader: PageReader, side: int) -> NDArray[np.uint8]:
    """The middle of a page, grey, at most `side` px wide and high."""
    width, height = min(reader.layout.width, side), min(reader.layout.height, side)
    left, top = (reader.layout.width - width) // 2, (reader.layout.height - height) // 2
    return np.asarray(cv2.cvtColor(reader.read(left, top, width, height), cv2.COLOR_RGB2GRAY), np.uint8)


def _detail(tiff: Tiff, contents: Contents, page: int, *, whole: bool = False) -> Detail | None:
    """What tells a scene from others of the same camera: the middle of a page (or all of it), reduced, without uneven
    light; None where it cannot be decoded or is too large."""
    try:
        reader = PageReader(tiff, contents.pages[page])
        grey = _whole(reader) if whole else _middle(reader, _WINDOW)
    except Exception:  # of many classes; reading says what is wrong
        return None
    by = max(grey.shape) / _SIDE
    small = cv2.resize(grey, (max(round(grey.shape[1] / by), 1), max(round(grey.shape[0] / by), 1)),
                       interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = np.asarray(small - cv2.GaussianBlur(small, (0, 0), _SIDE / 10), np.float32)
    inside = tuple(slice(length // 6, length - length // 6) for length in detail.shape)
    return np.ascontiguousarray(detail[inside])


def _whole(reader: PageReader) -> NDArray[np.uint8]:
    """A page, grey and reduced to a few times _SIDE; read in bands."""
    width, height = reader.layout.width, reader.layout.height
    by = max(max(width, height) // (4 * _SIDE), 1)
    rows = max(BAND // width // by, 1) * by
    bands = []
    for top in range(0, height, rows):
        grey = cv2.cvtColor(reader.read(0, top, width, min(rows, height - top)), cv2.COLOR_RGB2GRAY)
        bands.append(cv2.resize(grey, (max(width // by, 1), max(grey.shape[0] // by, 1)), interpolation=cv2.INTER_AREA))
    return np.concatenate(bands).astype(np.uint8)


def _correlation(first: Detail, second: Detail) -> float:
    """Pearson's; 1 where both are flat, 0 where one is or their shapes differ."""
    if first.shape != second.shape:
        second = np.asarray(cv2.resize(second, first.shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    flat = [float(np.abs(detail).max()) < 0.5 for detail in (first, second)]
    return float(all(flat)) if any(flat) or norm == 0 else float((first * second).sum()) / norm


def _sharpest(tiff: Tiff, contents: Contents, planes: Sequence[Sequence[int]]) -> tuple[int, str]:
    """The plane with the most detail at the finest scale, and why one cannot be read, or ""."""
    sharpness = []
    for plane in planes:
        try:
            grey = _middle(PageReader(tiff, contents.pages[plane[min(1, len(plane) - 1)]]), _SHARP)
        except Exception as error:  # of many classes
            return 0, f"its plane of focus on page {plane[0]} cannot be decoded ({error})"
        sharpness.append(float(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 1.0), cv2.CV_32F).var()))
    return int(np.argmax(sharpness)), ""
