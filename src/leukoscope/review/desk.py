"""The smears that lie open: each with its pictures, and who is looking at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ..errors import LeukoscopeError
from .pictures import Pictures
from .result import results_of
from .smear import Review

PRESENT = 45.0
"""Seconds after which a silent page no longer counts as open."""


@dataclass(frozen=True)
class WorklistRow:
    """A smear in the worklist. date: when it was counted; open: cells that nobody has answered; by: who decided last,
    or ""; here: others who have it open; missing: photographs that have gone."""

    key: str
    name: str
    folder: str
    date: str
    fields: int
    cells: int
    flagged: int
    open: int
    state: str
    by: str
    here: tuple[str, ...]
    missing: int


@dataclass(frozen=True, eq=False)
class Seat:
    """A smear, its pictures, and who looks at it: session -> (name, when last)."""

    review: Review
    pictures: Pictures
    present: dict[str, tuple[str, float]] = field(default_factory=dict)

    def look(self, session: str, name: str) -> list[str]:
        """Note that somebody looks; give the names of the others."""
        now = time.monotonic()
        self.present[session] = (name, now)
        return self.here(but=session)

    def here(self, but: str = "") -> list[str]:
        """Who has the smear open."""
        now = time.monotonic()
        return sorted({name for one, (name, when) in list(self.present.items()) if one != but and now - when < PRESENT})


class Desk:
    """All smears of a server."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.seats: dict[str, Seat] = {}
        for folder in results_of(folders):
            review = Review.open(folder)
            self.seats[review.result.key] = Seat(review, Pictures(review.result))
        self._stopped = threading.Event()

    def worklist(self) -> list[WorklistRow]:
        """A row for each smear, in the order in which they were given."""
        rows = []
        for key, seat in self.seats.items():
            result, state, now = seat.review.result, seat.review.state(), seat.review.standing()
            rows.append(WorklistRow(
                key, result.name, str(result.folder), datetime.fromtimestamp(result.written).strftime("%Y-%m-%d %H:%M"),
                len(result.summary.fields), len(seat.review.names), sum(result.summary.flags.values()),
                len(now.unsure) + len(now.flagged), state.word, state.last.who if state.last else "",
                tuple(seat.here()), len(result.missing())))
        return rows

    def cut_ahead(self) -> threading.Thread:
        """Cut the pictures of all cells in the background, so that a gallery need not wait for them."""
        def work() -> None:
            for seat in self.seats.values():
                for name in seat.review.result.fields_by_need():
                    if self._stopped.is_set():
                        return
                    try:
                        seat.pictures.cut_ahead(name, self._stopped)
                    except (LeukoscopeError, OSError):  # the request that needs the picture says what is wrong
                        continue

        thread = threading.Thread(target=work, name="pictures", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Stop the background work and close the databases."""
        self._stopped.set()
        for seat in self.seats.values():
            seat.review.close()
