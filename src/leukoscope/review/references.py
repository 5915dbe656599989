"""Cells of known type to look at beside a doubtful one: those that the same person has confirmed, else cells of the
built-in phantom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

from PIL import Image

from ..datasets.leukocytes import CLASS_OF
from ..phantom import TYPES, render_cell
from .desk import Seat
from .pictures import TILE
from .smear import Review
from .state import CONFIRMED, State

SHOWN, KINDS = 5, 3
"""Cells of a type, and types, that are shown."""
_PHANTOM = {"immature granulocyte": "ig", "blast": "lymphoblast"}
_SEED = 23


@dataclass(frozen=True)
class Reference:
    """Cells of a type. own: (key of the smear, place) of cells that the person has confirmed; phantom: the phantom's
    kind of cell, or "" where there are own cells, or the phantom has no such type."""

    type: str
    own: tuple[tuple[str, int], ...]
    phantom: str


def references(seats: Iterable[Seat], seat: Seat, place: int, who: str) -> list[Reference]:
    """For the types that a cell may have: its own, the machine's, then the most probable ones. Cells of the same smear
    come first."""
    state, name = seat.review.state(), seat.review.names[place]
    others = [one for one in seats if one is not seat]
    found = []
    for kind in kinds_of(seat.review, state, place):
        own = [(seat.key, at) for at in _confirmed(seat.review, who).get(kind, ())
               if seat.review.names[at] != name]
        for other in others:
            if len(own) >= SHOWN:
                break
            own += [(other.key, at) for at in _confirmed(other.review, who).get(kind, ())]
        found.append(Reference(kind, tuple(own[:SHOWN]), "" if own else phantom_of(kind)))
    return found


def kinds_of(review: Review, state: State, place: int) -> list[str]:
    """The types to compare a cell with."""
    row, known = review.cells.row(place), review.types(state)
    chances = sorted((name for name in known if row.get(f"p_{name}") is not None), key=lambda name: -row[f"p_{name}"])
    now = state.cells[review.names[place]][0]
    return list(dict.fromkeys(name for name in (now, row["predicted"], *chances) if name in known))[:KINDS]


def _confirmed(review: Review, who: str) -> dict[str, list[int]]:
    """The cells that a person has confirmed, the last first, by type; whole cells alone."""
    state, found = review.last_state, {}
    seq, kept = review.confirmed_by.get(who, (-1, {}))
    if seq == state.seq:
        return kept
    cells = review.cells
    mine = [(seq, cells.places[name]) for name, (seq, by) in state.changed.items()
            if by == who and state.cells[name][1] == CONFIRMED and name in cells.places]
    for _, place in sorted(mine, reverse=True):
        kind = state.cells[cells.names[place]][0]
        if kind is not None and not cells.columns.cut[place] and not cells.columns.damaged[place]:
            found.setdefault(kind, []).append(place)
    review.confirmed_by[who] = state.seq, found
    return found


def phantom_of(kind: str) -> str:
    """The phantom's kind of cell for a type, or ""."""
    general = CLASS_OF.get(kind.lower().replace("_", " "), kind)
    name = _PHANTOM.get(general, general)
    return name if name in TYPES else ""


@lru_cache(maxsize=256)
def phantom_tile(kind: str, number: int) -> bytes:
    """A cell of the phantom as JPEG, at the gallery's scale."""
    stream = BytesIO()
    Image.fromarray(render_cell(kind, size=TILE, seed=[_SEED, number]).pixels).save(stream, "JPEG", quality=88)
    return stream.getvalue()
