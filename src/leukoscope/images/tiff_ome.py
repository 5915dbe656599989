"""The fields of an OME-TIFF, by the description in its first page. Decodes no pixels."""

from __future__ import annotations

import os
import re
from xml.etree import ElementTree

from . import tiff_tags as tags
from .tiff_planes import Picture, Planes, grouped
from .tiff_tags import Tiff

ASIDE = re.compile(r"(label|macro|thumbnail|overview|preview|slide map)( image)?(?![a-z-])", re.IGNORECASE)
"""Names of pictures of a slide that are not its field, here and in other TIFF."""
_MOST_PLANES = 250_000  # of all images of a description, each of which is looked at


def is_ome(text: str) -> bool:
    """Whether a description is that of OME, without document type or entities, which would have to be expanded."""
    return "<OME" in text[:4000] and "<!DOCTYPE" not in text and "<!ENTITY" not in text


def ome_pictures(text: str, tiff: Tiff, left_out: dict[int, str],
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
        planes = _planes_of(pixels) if pixels is not None else None
        stated += planes.count if planes is not None else 0
        if pixels is None or planes is None or stated > _MOST_PLANES or planes.count > tags.MOST_PAGES:
            return None
        at = _places_of(pixels, planes, file_name, alone=len(images) == 1)
        here = {place: page if page < pages else -1 for place, page in at.items()}
        used |= set(here.values())
        of_page |= dict.fromkeys(here.values(), number)
        name = ASIDE.match(image.get("Name", "").strip())
        if name:
            left_out |= {page: f"the {name[1].lower()}" for page in here.values() if page >= 0}
            continue
        pages_in_order = [here.get(place, -1) for place in range(planes.count)]
        if not any(page >= 0 for page in pages_in_order):
            continue  # in another file of the set
        pictures += grouped(planes, pages_in_order)
    if not pictures:
        return None
    left_out |= dict.fromkeys(set(range(pages)) - used, "not named as a plane by its OME description")
    return tuple(pictures), of_page


def _planes_of(pixels: ElementTree.Element) -> Planes | None:
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
    colours = [_colour_of(channel) for channel in channels] if len(channels) == sizes["C"] > 1 else []
    return Planes(tuple((name, sizes[name]) for name in reversed(order)), tuple(colours))


def _colour_of(channel: ElementTree.Element) -> str:
    """The name of a channel or, where its colour is a pure one, that of the colour."""
    try:
        number = int(channel.get("Color", "")) & 0xFFFFFFFF
    except ValueError:
        number = 0
    pure = {0xFF0000: "red", 0x00FF00: "green", 0x0000FF: "blue"}.get(number >> 8, "")
    return pure or channel.get("Name", "")


def _places_of(pixels: ElementTree.Element, planes: Planes, file_name: str, *, alone: bool) -> dict[int, int]:
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
