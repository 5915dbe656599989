"""What the pages of a TIFF are: fields, planes of focus of one field, its channels, reduced copies, labels or macros.

By the directories and by the descriptions that OME, ImageJ, tifffile and slide scanners write. Decodes no pixels:
`stacks.py` looks at them where this leaves a choice.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from . import tiff_tags as tags
from .tiff_ome import ASIDE, is_ome, ome_pictures
from .tiff_planes import Picture, Planes, grouped, imagej_planes, shaped_planes
from .tiff_tags import Directory, Tiff

_SCANNERS = {"Aperio": "an Aperio", "<?xml": "", "<scn": "a Leica", "Philips": "a Philips", "iScan": "a Ventana"}
_HEAD = 200  # bytes of the texts of a page that say what it is
_MASK = 4  # photometric interpretation
_RATIO = 0.02  # of the sides, by which a mask may differ in shape or be larger
_KINDS = {2: "int", 3: "float"}  # of values, by the tag of the format of samples
_NDPI, _STK = 65420, 33629
"""Tags that only Hamamatsu's scanners and MetaMorph write."""


@dataclass(frozen=True)
class Contents:
    """What a TIFF holds. pages: its directories; the full images behind thumbnails come last. left_out: page -> what it
    is instead of a field. stated: pages that it says it has, 0 where it does not say; broken: what is wrong after the
    last, or ""."""

    pages: tuple[Directory, ...]
    pictures: tuple[Picture, ...]
    left_out: Mapping[int, str]
    stated: int
    broken: str
    images: Mapping[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Pages that there should be, as far as that is known."""
        return max(len(self.pages) + bool(self.broken), self.stated)


_remembered: dict[str, tuple[tuple[Directory, ...], object, Contents]] = {}


def contents_of(tiff: Tiff) -> Contents:
    """What the pages of a TIFF are, as far as it says; that of the last file whose directories are remembered is too.
    ValueError where the description contradicts the file."""
    last = _remembered.get("last")
    if last is not None and last[0] is tiff.directories and last[1] == tiff.file.name:
        return last[2]
    contents = _contents(tiff)
    contents = without_planes(contents, _maps(tiff, contents))
    if len(tiff.directories) >= tags.MANY:
        _remembered["last"] = tiff.directories, tiff.file.name, contents
    return contents


def _contents(tiff: Tiff) -> Contents:
    behind = _behind_thumbnails(tiff)
    pages = [*tiff.directories, *(full for _, full in behind)]
    broken = tiff.broken
    left_out = dict.fromkeys((number for number, _ in behind), "a reduced copy")
    left_out |= {number: why for number, page in enumerate(pages) if (why := _aside(tiff, page))}
    if pages and len(left_out) == len(pages):  # a file of nothing but thumbnails is a file of pictures
        left_out = {}
    fields = [number for number in range(len(pages)) if number not in left_out]
    if not fields:
        return Contents(tuple(pages), (), left_out, 0, broken)
    text = tiff.text(pages[0], tags.DESCRIPTION)
    maker = _scanner(tiff, pages, text)
    if maker:
        largest = max(fields, key=lambda number: _area(tiff, pages[number]))
        left_out |= {number: f"another level or picture of {maker} slide" for number in fields if number != largest}
        return Contents(tuple(pages), (Picture(((largest,),), stated=True),), left_out, 0, broken)
    if is_ome(text) and (named := ome_pictures(text, tiff, left_out)) is not None:
        return Contents(tuple(pages), named[0], left_out, 0, broken, named[1])
    planes = imagej_planes(text) or shaped_planes(text, tiff, pages[0]) or Planes(())
    if planes.count < len(fields) or not {"Z", "C"} & {name for name, size in planes.axes if size > 1}:
        return Contents(tuple(pages), _each(pages, fields), left_out, planes.count, broken)
    if planes.count > tags.MOST_PAGES:
        refused = Picture(((fields[0],),), f"it states {planes.count:,} planes, and holds {len(fields):,}", True)
        return Contents(tuple(pages), (refused,), left_out, 0, broken)
    return Contents(tuple(pages), grouped(planes, fields), left_out, 0, broken)


def _behind_thumbnails(tiff: Tiff) -> list[tuple[int, Directory]]:
    """The full images that cameras store behind a smaller page, each with the number of that page."""
    subs = itertools.islice(((number, sub) for number, page in enumerate(tiff.directories)
                             if tags.SUB_DIRECTORIES in page.entries for sub in _below(tiff, page)), tags.MOST_PAGES)
    return [(number, sub) for number, sub in subs if {tags.WIDTH, tags.HEIGHT} <= sub.entries.keys()
            and _area(tiff, sub) > _area(tiff, tiff.directories[number]) and not _is_reduced(tiff, sub)]


def _below(tiff: Tiff, page: Directory) -> list[Directory]:
    """The directories below a page; none where they are damaged and it is whole by itself."""
    try:
        return tiff.sub_directories(page)
    except (ValueError, struct.error):
        if _is_reduced(tiff, page):
            raise
        return []


def _is_reduced(tiff: Tiff, page: Directory) -> bool:
    return bool(tiff.number(page, tags.NEW_SUBFILE_TYPE, 0) & 1) or tiff.number(page, tags.SUBFILE_TYPE, 1) == 2


def _aside(tiff: Tiff, page: Directory) -> str:
    """What a page says that it is, where it is no image of its own; or ""."""
    kind = tiff.number(page, tags.NEW_SUBFILE_TYPE, 0)
    if kind & 8:
        return "the macro picture of the slide"
    if kind & 4 or tiff.number(page, tags.PHOTOMETRIC, 1) == _MASK:
        return "a transparency mask"
    text = tiff.text(page, tags.DESCRIPTION, _HEAD)
    name = ASIDE.search(text) if len(text) < 60 or text.startswith("Aperio") else None
    name = name or ASIDE.match(tiff.text(page, tags.PAGE_NAME, _HEAD))
    if name:
        return f"the {name[1].lower()}"
    return "a reduced copy" if _is_reduced(tiff, page) else ""


def _maps(tiff: Tiff, contents: Contents) -> dict[int, str]:
    """Grey pages that no camera gives beside a photograph: of one bit, or of values that are no grey levels; and why
    they are no fields."""
    maps, sizes = dict[int, str](), set[tuple[int, int]]()
    for number in (plane[0] for picture in contents.pictures for plane in picture.planes):
        page = contents.pages[number]
        try:
            bits, samples, kind = (tiff.number(page, tag, 1) for tag in (tags.BITS, tags.SAMPLES, tags.SAMPLE_FORMAT))
        except ValueError:  # reading the page says what is wrong
            continue
        if samples > 1 or (8 <= bits <= 16 and kind == 1):
            sizes.add(page_size(tiff, page))
        elif bits == 1:
            maps[number] = "a mask of one bit"
        elif bits > 16 or kind in _KINDS:
            maps[number] = f"{_KINDS.get(kind, 'uint')}{bits} values, which are no grey levels"
    fits = cache(lambda size: any(can_be_of(size, other) for other in sizes))
    return {number: why for number, why in maps.items() if fits(page_size(tiff, contents.pages[number]))}


def page_size(tiff: Tiff, page: Directory) -> tuple[int, int]:
    """Width and height, px."""
    return tiff.number(page, tags.WIDTH, 1), tiff.number(page, tags.HEIGHT, 1)


def can_be_of(mask: tuple[int, int], photograph: tuple[int, int]) -> bool:
    """Whether a mask of this size can belong to a photograph: it has its shape, and is not larger."""
    across, down = mask[0] * photograph[1], mask[1] * photograph[0]
    return abs(across - down) <= _RATIO * down and mask[0] <= (1 + _RATIO) * photograph[0]


def _area(tiff: Tiff, page: Directory) -> int:
    return tiff.number(page, tags.WIDTH, 0) * tiff.number(page, tags.HEIGHT, 0)


def _scanner(tiff: Tiff, pages: Sequence[Directory], text: str) -> str:
    """The maker of a scan of a slide, whose other pages are levels, label and macro; or ""."""
    if _NDPI in pages[0].entries:
        return "a Hamamatsu"
    head, software = text[:4000], tiff.text(pages[0], tags.SOFTWARE, _HEAD)
    for sign, maker in _SCANNERS.items():
        if maker and (head.startswith(sign) or software.startswith(sign) or (sign == "<scn" and sign in head)):
            return maker
    return "a Ventana" if "iScan" in head else ""


def _each(pages: Sequence[Directory], fields: Sequence[int]) -> tuple[Picture, ...]:
    """Each page as a field."""
    return tuple(Picture(((number,),), "a MetaMorph stack of several planes in one page"
                         if pages[number].entries.get(_STK, (0, 0, 0))[1] > 1 else "") for number in fields)


def only_picture(contents: Contents) -> Picture | None:
    """The one field of a file that holds no other, where pixels need not be looked at; else None."""
    if len(contents.pictures) != 1 or len(contents.pictures[0].planes) != 1 or contents.total > len(contents.pages):
        return None
    return contents.pictures[0]


def without_planes(contents: Contents, reasons: Mapping[int, str]) -> Contents:
    """The same without some pages, each of which is a plane by itself."""
    if not reasons:
        return contents
    kept = [replace(picture, planes=planes) for picture in contents.pictures
            if (planes := tuple(plane for plane in picture.planes if not (len(plane) == 1 and plane[0] in reasons)))]
    return replace(contents, pictures=tuple(kept), left_out={**contents.left_out, **reasons})


def without_pages(contents: Contents, reduced: Mapping[int, str]) -> Contents:
    """The same without some fields, by their first page, which are something else."""
    kept = tuple(picture for picture in contents.pictures if picture.first not in reduced)
    return replace(contents, pictures=kept, left_out={**contents.left_out, **reduced})
