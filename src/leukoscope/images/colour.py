"""Colours of an embedded profile to sRGB. Screens and most cameras are sRGB; telephones and some cameras have a wider
range, in which the same numbers are stronger colours."""

from __future__ import annotations

import hashlib
import struct
from functools import cache, lru_cache
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

NEAR = 3
"""Grey levels by which a profile may differ from sRGB and is left as it is: writers round their tables."""
_ROWS = 1 << 20  # px at once
_EXIF, _INTEROPERABILITY, _COLOUR_SPACE = 0x8769, 0xA005, 0xA001


def to_srgb(pixels: UInt8[np.ndarray, "height width 3"], profile: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels of an RGB profile as sRGB; unchanged where it is sRGB, empty, of other colours or cannot be read
    (`profile_remark` says so)."""
    if not profile:
        return pixels
    transform = _transform(_Profile(profile))
    if not isinstance(transform, ImageCms.ImageCmsTransform):
        return pixels
    band = max(_ROWS // pixels.shape[1], 1)
    converted = np.empty_like(pixels, order="C")
    for top in range(0, len(pixels), band):
        part = Image.fromarray(np.ascontiguousarray(pixels[top:top + band]))
        converted[top:top + band] = np.asarray(transform.apply(part))
    return converted


def profile_remark(profile: bytes) -> str:
    """What is to be said of a profile: that colours were converted, or that it cannot be read; "" for sRGB."""
    transform = _transform(_Profile(profile)) if profile else ""
    if isinstance(transform, str):
        return f"its colour profile is ignored: {transform}" if transform else ""
    return f"colours were converted to sRGB from the profile {_name(profile)}"


def exif_profile(exif: bytes) -> bytes:
    """The profile that an EXIF block states without embedding it: that of Adobe RGB, which cameras mark with the
    interoperability index R03 (DCF 2.0) and some programs with colour space 2; b"" for sRGB and where nothing is said.
    """
    if not exif:
        return b""
    block = Image.Exif()
    try:
        block.load(exif)
        space, index = block.get_ifd(_EXIF).get(_COLOUR_SPACE), block.get_ifd(_INTEROPERABILITY).get(1)
    except Exception:  # EXIF is often damaged, and says nothing then
        return b""
    return stated_profile(space, index)


def stated_profile(space: object, index: object) -> bytes:
    """The profile that a colour space of EXIF (1 for sRGB) and an interoperability index name, or b""."""
    text = index.decode("latin-1") if isinstance(index, bytes) else str(index)
    return adobe_rgb() if space == 2 or text.rstrip("\0 ") == "R03" else b""


@cache
def adobe_rgb() -> bytes:
    """A profile of Adobe RGB (1998): its primaries under D50, and its exponent of 563/256."""
    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    name, white, curve = b"Adobe RGB (1998), which EXIF states\0", (0.9642, 1.0, 0.8249), struct.pack(
        ">4sIIHxx", b"curv", 0, 1, 563)
    primaries = {b"rXYZ": (0.60974, 0.31111, 0.01947), b"gXYZ": (0.20528, 0.62567, 0.06087),
                 b"bXYZ": (0.14919, 0.06322, 0.74457), b"wtpt": white}
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(81 + -len(name) % 4),
            **{tag: b"XYZ " + bytes(4) + fixed(*values) for tag, values in primaries.items()},
            **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)}
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s12x4s28x", start + len(body), b"", 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    return (head + fixed(*white)).ljust(128, b"\0") + table + body


class _Profile(bytes):
    """The bytes of a profile, hashed once."""

    def __hash__(self) -> int:
        return int.from_bytes(hashlib.blake2b(self, digest_size=8).digest())


@lru_cache(32)
def _transform(profile: _Profile) -> ImageCms.ImageCmsTransform | str:
    """From a profile to sRGB; "" where it is sRGB, else why there is none."""
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = opened.profile.xcolor_space.strip()  # type: ignore[union-attr]  # the profile, not its file
        if space == "GRAY":
            return ""
        if space != "RGB":
            return f"it is of {space} colours"
        # Threads share the transform, so it must remember no pixel.
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), "RGB", "RGB",
                                            flags=ImageCms.Flags.NOCACHE)
        levels = np.stack(np.meshgrid(*[np.arange(0, 256, 51, dtype=np.uint8)] * 3), axis=-1).reshape(1, -1, 3)
        changed = np.asarray(transform.apply(Image.fromarray(levels)))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError) as error:
        return f"it cannot be read ({error})"
    return "" if np.abs(changed.astype(int) - levels).max() <= NEAR else transform


def _name(profile: bytes) -> str:
    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).strip() or "without a name"
    except (ImageCms.PyCMSError, OSError):
        return "without a name"
