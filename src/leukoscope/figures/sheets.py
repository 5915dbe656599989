"""Finished PNG files, such as sheets of cells, as data URIs in a page, as far as there is room."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from PIL import Image


@dataclass(frozen=True)
class Pictures:
    """PNG files of a folder of figures as (name, data URI), and the names of those that are too large."""

    shown: tuple[tuple[str, Markup], ...]
    omitted: tuple[str, ...]


def sheet_uri(file: Path, small: int = 100_000) -> str:
    """A PNG file as a data URI: as it is up to `small` bytes, else as WebP if that takes less; "" where it is
    damaged."""
    data, kind, buffer = file.read_bytes(), "png", io.BytesIO()
    try:
        with Image.open(file) as image:
            if len(data) > small:
                image.convert("RGB").save(buffer, format="WEBP", quality=85)
                data, kind = min((data, kind), (buffer.getvalue(), "webp"), key=lambda one: len(one[0]))
    except OSError:
        return ""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def pictures(folder: Path, left: int) -> tuple[Pictures, int]:
    """The PNG files of a folder, as far as `left` characters go, and those left after them."""
    shown, omitted = [], []
    for file in sorted(folder.glob("*.png")):
        uri = sheet_uri(file)
        if not uri or len(uri) > left:
            omitted.append(file.name)
            continue
        left -= len(uri)
        shown.append((file.stem.lstrip("0123456789_").replace("_", " "), Markup(uri)))
    return Pictures(tuple(shown), tuple(omitted)), left
