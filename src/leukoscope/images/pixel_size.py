"""The size of a pixel that an image file states: in OME-XML, by ImageJ, by Aperio, or as a resolution, also in EXIF.

A resolution for printing (72 to 4,800 dpi) is no scale of a microscope. What cannot be right is not used, and said.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from . import tiff_tags as tags
from .formats import Page, embedded_exif
from .headers import format_of, jpeg_header
from .read import opened_image
from .tiff_pages import contents_of
from .tiff_tags import Tiff, open_tiff

LEAST, MOST = 0.02, 2.0
"""um: no microscope for smears has smaller or larger pixels."""
SQUARE = 1.02
"""Width over height of a pixel, beyond which it is not square."""

_INCH, _CENTIMETRE = 25_400.0, 10_000.0
_UNITS = {
    "nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0,
    "micrometer": 1.0, "micrometre": 1.0, "mm": 1e3, "millimeter": 1e3, "millimetre": 1e3, "cm": _CENTIMETRE,
    "centimeter": _CENTIMETRE, "m": 1e6, "inch": _INCH, "in": _INCH}
"""Unit -> um."""
_MICROSCOPES = re.compile(
    r"zeiss|\bzen\b|axio|leica|\blas\b|nikon instr|nis-?elements|olympus|cellsens|evident|cellavision|hamamatsu|aperio|"
    r"leukoscope|imagej|fiji|qupath|micro-?manager|motic|toup|amscope|bresser|euromex|lumenera|infinity|jenoptik|progres|"
    r"basler|flir|point ?grey|metasystems|3dhistech|ventana|philips|bio-?formats|omero|microscop|keyence|labomed|"
    r"pixelink|image ?pro|metamorph", re.IGNORECASE)
"""Software and cameras that write the scale of a microscope into EXIF."""


@dataclass(frozen=True)
class PixelSize:
    """Micrometres of a pixel that a file states, or None where it states none that can be used. origin: what states it,
    such as "OME". remark: why a stated one is not used, or ""."""

    micrometres: float | None = None
    origin: str = ""
    remark: str = ""


def stated_pixel_size(path: Path | str, *, page: Page | None = None) -> PixelSize:
    """What a file states of the size of its pixels. Raises ImageError where it cannot be opened."""
    first = page if isinstance(page, int) or page is None else page[0]
    path = Path(path)
    with opened_image(path) as file:
        kind = format_of(file.read(16))
        if kind == "TIFF":
            return _of_tiff(open_tiff(file), first)
        if kind == "JPEG":
            header = jpeg_header(file)
            by_exif = _of_exif(header.exif)
            if by_exif.micrometres is not None or by_exif.remark:
                return by_exif
            return _usable(_INCH / header.density, "JPEG resolution") if header.density else PixelSize()
        file.seek(0)
        if kind == "BMP":
            return _of_bmp(file.read(54))
        by_chunk = _of_png(file.read(65_536)) if kind == "PNG" else PixelSize()
        stated = by_chunk.micrometres is not None or by_chunk.remark or kind == "GIF"
        return by_chunk if stated else _of_exif(embedded_exif(path, file))


def _usable(micrometres: float, origin: str, height: float | None = None, *, deliberate: bool = False) -> PixelSize:
    """A stated size, if it can be that of a microscope. deliberate: whether it cannot be meant for printing."""
    if micrometres <= 0:
        return PixelSize()
    said = f"the file states {micrometres:.4g} um a pixel ({origin})"
    if not LEAST <= micrometres <= MOST:
        return PixelSize(None, origin, f"{said}, which no microscope has: not used" if deliberate else "")
    if height and not 1 / SQUARE < micrometres / height < SQUARE:
        return PixelSize(None, origin, f"{said} in width and {height:.4g} in height: not used")
    if abs(micrometres - 1) < 1e-6:
        return PixelSize(None, origin, f"{said}, which programs write where nothing was calibrated: not used")
    return PixelSize(micrometres, origin)


def _of_tiff(tiff: Tiff, number: int | None) -> PixelSize:
    contents = contents_of(tiff)
    alone = contents.pictures[0].first if len(contents.pictures) == 1 else 0
    number = alone if number is None or number >= len(contents.pages) else number
    page, text = contents.pages[number], tiff.text(contents.pages[0], tags.DESCRIPTION)
    across, down = (tiff.numbers(page, tag, (0.0,), most=4)[0] for tag in (tags.X_RESOLUTION, tags.Y_RESOLUTION))
    if "<OME" in text[:4000]:
        stated = _of_ome(text, contents.images.get(number, 0))
        if stated.micrometres is not None or stated.remark:
            return stated
    if text.startswith("ImageJ="):
        unit = re.search(r"^unit=(.*)$", text, re.MULTILINE)
        size = _UNITS.get(_unescaped(unit[1]).strip().lower()) if unit else None
        printing = unit is not None and unit[1].strip().lower() in ("inch", "in", "cm")
        if size and across > 0 and down > 0:
            return _usable(size / across, "ImageJ", size / down, deliberate=not printing)
        return PixelSize()
    if text.startswith("Aperio") and (found := re.search(r"\|\s*MPP\s*=\s*(\d*[.,]?\d+)", text)):
        return _usable(_number(found[1]), "Aperio", deliberate=True)
    unit_size = {2: _INCH, 3: _CENTIMETRE}.get(tiff.number(page, tags.RESOLUTION_UNIT, 2))
    if not unit_size or across <= 0 or down <= 0:
        return PixelSize()
    return _usable(unit_size / across, "TIFF resolution", unit_size / down)


def _of_ome(text: str, image: int) -> PixelSize:
    """The size in the description of one image; its unit is um unless it says another."""
    pixels = next(itertools.islice(re.finditer(r"<(?:\w+:)?Pixels\b[^>]*>", text), image, None), None)
    if not pixels:
        return PixelSize()
    stated = dict(re.findall(r'\b(PhysicalSize[XY](?:Unit)?)\s*=\s*["\']([^"\']*)["\']', pixels[0]))
    sizes = []
    for axis in "XY":
        unit = _UNITS.get(_unescaped(stated.get(f"PhysicalSize{axis}Unit", "µm")).lower())
        sizes.append(_number(stated.get(f"PhysicalSize{axis}", "")) * (unit or 0.0))
    return _usable(sizes[0], "OME", sizes[1] or None, deliberate=True)


def _of_exif(exif: bytes) -> PixelSize:
    """The resolution that microscope software has written into EXIF."""
    if not exif:
        return PixelSize()
    block = Image.Exif()
    try:
        block.load(exif)
        writer = " ".join(str(block.get(tag, "")) for tag in (0x0131, 0x010F, 0x0110)).replace("\0", " ").strip()
        across, down = (float(block.get(tag, 0)) for tag in (tags.X_RESOLUTION, tags.Y_RESOLUTION))
        unit = {2: _INCH, 3: _CENTIMETRE}.get(int(block.get(tags.RESOLUTION_UNIT, 2)), 0.0)
    except Exception:  # EXIF is often damaged, and says nothing then
        return PixelSize()
    if across <= 0 or down <= 0 or not unit:
        return PixelSize()
    stated = _usable(unit / across, "EXIF", unit / down)
    if stated.micrometres is not None and not _MICROSCOPES.search(writer):
        by = f"by {writer[:60]!r}" if writer else "by an unknown program"
        return PixelSize(None, "EXIF", f"the file states {stated.micrometres:.4g} um a pixel (EXIF, {by}, which is not "
                                       "known as microscope software): not used")
    return stated


def _of_png(head: bytes) -> PixelSize:
    """The chunk pHYs: pixels in a metre."""
    at = head.find(b"pHYs")
    if at < 0 or len(head) < at + 13 or head[at + 12] != 1:
        return PixelSize()
    across, down = (int.from_bytes(head[at + 4 + i:at + 8 + i]) for i in (0, 4))
    return _usable(1e6 / across, "PNG resolution", 1e6 / down) if across and down else PixelSize()


def _of_bmp(head: bytes) -> PixelSize:
    """Pixels in a metre, in the header of Windows."""
    if len(head) < 46 or int.from_bytes(head[14:18], "little") < 40:
        return PixelSize()
    across, down = (int.from_bytes(head[i:i + 4], "little", signed=True) for i in (38, 42))
    return _usable(1e6 / across, "BMP resolution", 1e6 / down) if across > 0 and down > 0 else PixelSize()


def _unescaped(text: str) -> str:
    """ImageJ and XML write the micro sign as an escape."""
    for sign in ("\\u00B5", "\\u00b5", "&#181;", "&#xB5;", "&#xb5;", "&micro;"):
        text = text.replace(sign, "µ")
    return text


def _number(text: str) -> float:
    try:
        value = float(text.replace(",", "."))  # some languages have a decimal comma
    except ValueError:
        return 0.0
    return value if 0 < value < float("inf") else 0.0
