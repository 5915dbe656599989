"""Colours of an embedded profile to sRGB. Screens and most cameras are sRGB; telephones and some cameras have a wider
range, in which the same numbers are stronger colours."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from io import BytesIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

NEAR = 3
"""Grey levels by which a profile may differ from sRGB and is left as it is: writers round their tables."""
_ROWS = 1 << 20  # px at once


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
