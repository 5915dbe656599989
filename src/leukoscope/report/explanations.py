"""The page of explained cells: the sheets, and for each cell its answer and what to know of its maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from .. import __version__
from ..figures.sheets import sheet_uri
from ..files import JsonObject
from .html import write_page

ROOM = 1_300_000
"""Characters of sheets in the page; further ones lie beside it."""


def write_explanations(content: JsonObject, sheets: Sequence[Path], folder: Path) -> Path:
    """Write `explanations.html`. content: what explanations.json holds; sheets: the pictures."""
    shown, left, room = [], [], ROOM
    for sheet in sheets:
        uri = sheet_uri(sheet)
        room -= len(uri)
        if room < 0:
            left.append(sheet.name)
        else:
            shown.append(Markup(uri))
    return write_page(folder / "explanations.html", "explanations.html", {}, content=content, sheets=shown, left=left,
                      version=__version__)
