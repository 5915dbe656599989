"""What the pages of a TIFF are: fields, planes of focus of one field, its channels, reduced copies, labels or macros.

By the directories and by the descriptions that OME, ImageJ, tifffile and slide scanners write. Decodes no pixels:
`stacks.py` looks at them where this leaves a choice.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from xml.etree import ElementTree

from . import tiff_tags as tags
from .tiff_tags import Directory, Tiff

MOST_STATED = 1_000_000
"""Pages that a description may state; beyond it is not believed."""
_MOST_PLANES = 250_000  # of all images of an OME description, each of which is looked at

_ASIDE = re.compile(r"(label|macro|thumbnail|overview|preview|slide map)( image)?(?![a-z-])", re.IGNORECASE)
_SCANNERS = {"Aperio": "an Aperio", "<?xml": "", "<scn": "a Leica", "Philips": "a Philips", "iScan": "a Ventana"}
_HEAD = 200  # bytes of the texts of a page that say what it is
_NDPI, _STK = 65420, 33629
"""Tags that only Hamamatsu's scanners and MetaMorph write."""
_RED_GREEN_BLUE = ({"red", "r"}, {"green", "g"}, {"blue", "b"})


@dataclass(frozen=True)
class Picture:
    """One field. planes: its planes of focus, each as its channel pages: one page, or three in the order red, green,
    blue. refused: why it cannot be read, or "". stated: whether the file itself says what its pages are."""

    planes: tuple[tuple[int, ...], ...]
    refused: str = ""
    stated: bool = False

    @property
    def first(self) -> int:
        """Number of its first page."""
        return self.planes[0][0]


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


@dataclass(frozen=True)
class _Planes:
    """What a description says of planes. axes: letters and sizes, the slowest first. colours: of the channels."""

    axes: tuple[tuple[str, int], ...]
    colours: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return math.prod(size for _, size in self.axes)

    def place(self, number: int) -> dict[str, int]:
        """The coordinates of a plane along the axes."""
        place = {}
        for name, size in reversed(self.axes):
            number, place[name] = divmod(number, size)
        return place


_remembered: dict[str, tuple[tuple[Directory, ...], object, Contents]] = {}


def contents_of(tiff: Tiff) -> Contents:
    """What the pages of a TIFF are, as far as it says; that of the last file whose directories are remembered is too.
    ValueError where the description contradicts the file."""
    last = _remembered.get("last")
    if last is not None and last[0] is tiff.directories and last[1] == tiff.file.name:
        return last[2]
    contents = _contents(tiff)
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
    if _is_ome(text) and (named := _ome_pictures(text, tiff, left_out)) is not None:
        return Contents(tuple(pages), named[0], left_out, 0, broken, named[1])
    planes = _imagej(text) or _shaped(text, tiff, pages[0]) or _Planes(())
    if planes.count < len(fields) or not {"Z", "C"} & {name for name, size in planes.axes if size > 1}:
        return Contents(tuple(pages), _each(pages, fields), left_out, planes.count, broken)
    if planes.count > tags.MOST_PAGES:
        refused = Picture(((fields[0],),), f"it states {planes.count:,} planes, and holds {len(fields):,}", True)
        return Contents(tuple(pages), (refused,), left_out, 0, broken)
    return Contents(tuple(pages), _grouped(planes, fields), left_out, 0, broken)


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
    if kind & 4:
        return "a transparency mask"
    text = tiff.text(page, tags.DESCRIPTION, _HEAD)
    name = _ASIDE.search(text) if len(text) < 60 or text.startswith("Aperio") else None
    name = name or _ASIDE.match(tiff.text(page, tags.PAGE_NAME, _HEAD))
    if name:
        return f"the {name[1].lower()}"
    return "a reduced copy" if _is_reduced(tiff, page) else ""


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


def _grouped(planes: _Planes, fields: Sequence[int]) -> tuple[Picture, ...]:
    """Planes of focus and channels of each time point or position as one field. fields: pages in the order of the
    planes."""
    groups: dict[tuple[tuple[str, int], ...], dict[int, dict[int, int]]] = {}
    for number in range(planes.count):
        place = planes.place(number)
        focus, channel = place.pop("Z", 0), place.pop("C", 0)
        page = fields[number] if number < len(fields) else -1
        groups.setdefault(tuple(place.items()), {}).setdefault(focus, {})[channel] = page
    return tuple(_picture([[channels[c] for c in sorted(channels)] for _, channels in sorted(group.items())],
                          planes.colours) for group in groups.values())


def _picture(planes: Sequence[Sequence[int]], colours: Sequence[str]) -> Picture:
    """A field of planes, each with its channel pages; -1 for a page that is not in the file."""
    order = _colour_order(len(planes[0]), colours)
    pages = [page for plane in planes for page in plane]
    missing, first = pages.count(-1), max(min(pages), 0)
    if missing:
        present = next((page for page in pages if page >= 0), 0)
        return Picture(((present,),), f"{missing} of its {len(pages)} planes are missing", True)
    if order is None:
        named = f" ({', '.join(colours)})" if any(colours) else ""
        return Picture(((first,),), f"its {len(planes[0])} channels{named} are pages of their own, and only red, green "
                       "and blue make a colour image", True)
    return Picture(tuple(tuple(plane[place] for place in order) for plane in planes), "", True)


def _colour_order(channels: int, colours: Sequence[str]) -> tuple[int, ...] | None:
    """Places of red, green and blue among the channels; (0,) for a single one; None where they are other colours."""
    if channels == 1:
        return (0,)
    if channels != 3:
        return None
    names = [colour.strip().lower() for colour in colours]
    if not any(names):
        return 0, 1, 2
    places = [next((i for i, name in enumerate(names) if name in wanted), -1) for wanted in _RED_GREEN_BLUE]
    return tuple(places) if sorted(places) == [0, 1, 2] else None


def _imagej(text: str) -> _Planes | None:
    """What the description that ImageJ writes says of planes."""
    if not text.startswith("ImageJ="):
        return None
    stated = {key: int(value) for key, value in re.findall(r"^(images|channels|slices|frames)=(\d{1,7})\s*$", text,
                                                           re.MULTILINE)}
    images = min(stated.get("images", 1), MOST_STATED)
    sizes = [stated.get(key, 1) for key in ("frames", "slices", "channels")]
    if math.prod(sizes) != images:  # plain stacks are of unknown meaning
        return _Planes((("I", images),))
    return _Planes(tuple(zip("TZC", sizes, strict=True)))


def _shaped(text: str, tiff: Tiff, page: Directory) -> _Planes | None:
    """What the description that tifffile writes says of planes."""
    if not text.startswith('{"shape"'):
        return None
    try:
        stated = json.loads(text)
        shape = [int(size) for size in stated["shape"][:16]]
        axes = str(stated.get("axes", ""))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    stored = [tiff.number(page, tag, 1) for tag in (tags.HEIGHT, tags.WIDTH, tags.SAMPLES)]
    sides = [[size for size in some if size != 1] for some in (stored, [stored[2], *stored[:2]], shape)]
    if min(shape, default=0) <= 0 or min(stored) <= 0 or not any(
            sides[2][len(sides[2]) - len(own):] == own for own in sides[:2]):
        return None  # of another image, from which a program has copied it
    pages, leading = math.prod(shape) // math.prod(stored), 0
    if pages > MOST_STATED:
        return None
    while leading < len(shape) and math.prod(shape[:leading]) < pages:
        leading += 1
    if len(axes) != len(shape) or math.prod(shape[:leading]) != pages:
        return _Planes((("I", pages),))
    return _Planes(tuple(zip(axes[:leading], shape[:leading], strict=True)))


def _is_ome(text: str) -> bool:
    return "<OME" in text[:4000] and "<!DOCTYPE" not in text and "<!ENTITY" not in text


def _ome_pictures(text: str, tiff: Tiff, left_out: dict[int, str],
                  ) -> tuple[tuple[Picture, ...], dict[int, int]] | None:
    """The fields of an OME-TIFF: a field for each time point of each image, with planes and channels joined; and for
    each page the number of its image. None where the description cannot be read. Pages of labels and
    macros, and those that it does not name, join `left_out`."""
    pages, file_name = len(tiff.directories), os.path.basename(str(tiff.file.name))
    try:
        images = [child for child in ElementTree.fromstring(text) if _tag(child) == "Image"]
    except (ElementTree.ParseError, ValueError, RecursionError):
        return None
    pictures, used, stated, of_page = [], set(left_out), 0, dict[int, int]()
    for number, image in enumerate(images):
        pixels = next((child for child in image if _tag(child) == "Pixels"), None)
        planes = _ome_planes(pixels) if pixels is not None else None
        stated += planes.count if planes is not None else 0
        if pixels is None or planes is None or stated > _MOST_PLANES or planes.count > tags.MOST_PAGES:
            return None
        at = _ome_places(pixels, planes, file_name, alone=len(images) == 1)
        here = {place: page if page < pages else -1 for place, page in at.items()}
        used |= set(here.values())
        of_page |= dict.fromkeys(here.values(), number)
        name = _ASIDE.match(image.get("Name", "").strip())
        if name:
            left_out |= {page: f"the {name[1].lower()}" for page in here.values() if page >= 0}
            continue
        pages_in_order = [here.get(place, -1) for place in range(planes.count)]
        if not any(page >= 0 for page in pages_in_order):
            continue  # in another file of the set
        pictures += _grouped(planes, pages_in_order)
    if not pictures:
        return None
    left_out |= dict.fromkeys(set(range(pages)) - used, "not named as a plane by its OME description")
    return tuple(pictures), of_page


def _ome_planes(pixels: ElementTree.Element) -> _Planes | None:
    channels = [child for child in pixels if _tag(child) == "Channel"]
    try:
        sizes = {name: int(pixels.get(f"Size{name}", "1")) for name in "ZCT"}
        samples = [int(channel.get("SamplesPerPixel", "1")) for channel in channels]
    except ValueError:
        return None
    if min(sizes.values()) < 1:
        return None
    if channels:
        sizes["C"] = len(channels) if sum(samples) == sizes["C"] else sizes["C"]
    order = pixels.get("DimensionOrder", "XYCZT")[2:]
    if sorted(order) != ["C", "T", "Z"]:
        return None
    colours = [_ome_colour(channel) for channel in channels] if len(channels) == sizes["C"] > 1 else []
    return _Planes(tuple((name, sizes[name]) for name in reversed(order)), tuple(colours))


def _ome_colour(channel: ElementTree.Element) -> str:
    """The name of a channel or, where its colour is a pure one, that of the colour."""
    try:
        number = int(channel.get("Color", "")) & 0xFFFFFFFF
    except ValueError:
        number = 0
    pure = {0xFF0000: "red", 0x00FF00: "green", 0x0000FF: "blue"}.get(number >> 8, "")
    return pure or channel.get("Name", "")


def _ome_places(pixels: ElementTree.Element, planes: _Planes, file_name: str, *, alone: bool) -> dict[int, int]:
    """Number of a plane -> the page of this file that holds it. alone: there is no other image in the file."""
    places: dict[int, int] = {}
    left = 10 * planes.count  # steps: files name each plane once
    names = {uuid.get("FileName", "") for data in pixels for uuid in data if _tag(uuid) == "UUID"}
    for data in (child for child in pixels if _tag(child) == "TiffData"):
        uuid = next((child.get("FileName", "") for child in data if _tag(child) == "UUID"), "")
        if len(names) > 1 and uuid and os.path.basename(uuid) != file_name:
            continue  # a file of a set: the planes of the others are not here
        try:
            page = int(data.get("IFD", "0"))
            first = {name: int(data.get(f"First{name}", "0")) for name in "ZCT"}
            count = int(data.get("PlaneCount", str(planes.count) if data.get("IFD") is None else "1"))
        except ValueError:
            return {}
        number = 0
        for name, size in planes.axes:
            number = number * size + min(first[name], size)
        count = min(count, planes.count, left)
        left -= max(count, 1)
        for step in range(count):
            places.setdefault(number + step, page + step)
    return places or ({number: number for number in range(planes.count)} if alone else {})


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def only_picture(contents: Contents) -> Picture | None:
    """The one field of a file that holds no other, where pixels need not be looked at; else None."""
    if len(contents.pictures) != 1 or len(contents.pictures[0].planes) != 1 or contents.total > len(contents.pages):
        return None
    return contents.pictures[0]


def without_pages(contents: Contents, reduced: Mapping[int, str]) -> Contents:
    """The same without some fields, by their first page, which are something else."""
    kept = tuple(picture for picture in contents.pictures if picture.first not in reduced)
    return replace(contents, pictures=kept, left_out={**contents.left_out, **reduced})
