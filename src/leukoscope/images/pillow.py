"""The pixels of an opened Pillow image of any mode, as uint8 RGB."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from ..errors import LeukoscopeError
from .colour import exif_profile, to_srgb
from .orientation import turned
from .tiff_pixels import used_bits

Pixels = UInt8[np.ndarray, "height width 3"]

_BAND = 1 << 22  # px that are copied at once


def picture_pixels(picture: Image.Image) -> Pixels:
    """The pixels of an opened Pillow image, as `read_image` gives those of its file: rotated by its EXIF orientation,
    in the colours of sRGB, on white where it is transparent. Raises LeukoscopeError for 32-bit values."""
    try:
        orientation = int(picture.getexif().get(0x0112, 1) or 1)
        pixels = to_srgb(to_rgb(picture), picture_profile(picture))
        return np.ascontiguousarray(turned(pixels, orientation))
    except (ValueError, OSError) as error:
        raise LeukoscopeError(f"a Pillow image of mode {picture.mode} cannot be read: {error}",
                              "convert it to 8 bits per channel") from error


def picture_profile(picture: Image.Image) -> bytes:
    """The colour profile that a file embeds, or that its EXIF names."""
    exif = picture.info.get("exif")
    return picture.info.get("icc_profile") or (exif_profile(exif) if isinstance(exif, bytes) else b"")


def to_rgb(picture: Image.Image) -> Pixels:
    """The pixels of a picture as stored, with its own colours. Raises ValueError for 32-bit values, and what Pillow
    raises for damage."""
    picture.load()
    if picture.mode.startswith("I;16"):
        values = np.asarray(picture)
        high = (values >> (used_bits(int(values.max())) - 8)).astype(np.uint8)
        return np.repeat(high[..., None], 3, axis=-1)
    if picture.mode in ("I", "F"):
        raise ValueError("32-bit values, expected 8 or 16 bits per channel")
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        if clear.getchannel("A").getextrema() != (0, 0):  # an alpha of zero everywhere means nothing
            clear = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), clear)
        return _as_array(clear.convert("RGB"))
    return _as_array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _as_array(picture: Image.Image) -> Pixels:
    """The pixels of an RGB picture, copied in bands: Pillow would need three times the memory."""
    width, height = picture.size
    if width * height <= _BAND:
        return np.array(picture)
    pixels, band = np.empty((height, width, 3), np.uint8), max(_BAND // width, 1)
    for top in range(0, height, band):
        pixels[top:top + band] = np.asarray(picture.crop((0, top, width, min(top + band, height))))
    return pixels


def on_white(rgb: Pixels, alpha: NDArray[np.integer]) -> Pixels:
    """Pixels on white where alpha (0 to 255) is low; an alpha of zero everywhere means nothing."""
    if not alpha.any():
        return rgb.copy()
    opaque = alpha.astype(np.uint16)[..., None]
    return ((rgb * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)
