"""The smears that lie open: each with its pictures, and who is looking at it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..errors import LeukoscopeError
from .laboratory import Laboratory
from .pictures import Asked, Pictures
from .presence import Presence
from .smear import Review, results_with_records
from .state import Reading
from .watch import Watch

if TYPE_CHECKING:
    from .drawing import Drawing


class Blind(LeukoscopeError):
    """A person must not see this yet."""


@dataclass(frozen=True)
class WorklistRow:
    """A smear in the worklist. date: when it was counted; open: cells that nobody has answered; by: who decided last,
    or ""; here: others who have it open; missing: photographs that have gone; reader: who
    reads a blind reading, else ""."""

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
    reader: str


@dataclass(frozen=True, eq=False)
class Seat:
    """A smear, its key in an address, its pictures, and who looks at it. A blind reading has a seat of its own."""

    key: str
    review: Review
    pictures: Pictures
    presence: Presence

    @cached_property
    def drawing(self) -> Drawing:
        """What draws cells in its fields."""
        from .drawing import Drawing  # late: a review that draws no cell needs no model

        return Drawing(self.review, self.pictures)

    def look(self, session: str, name: str) -> list[str]:
        """Note that somebody looks; give the names of the others."""
        return self.presence.look(self._place, session, name)

    def here(self) -> list[str]:
        """Who has the smear open."""
        return self.presence.here(self._place)

    @property
    def _place(self) -> str:
        return f"{self.review.result.digest}/{self.review.reading}"


class Desk:
    """All smears of a server. engine: where decisions are kept; None is a file of SQLite beside each result. watch: a
    folder whose photographs become further smears, if there is one."""

    def __init__(self, folders: Sequence[Path], engine: sa.Engine | None = None,
                 laboratory: Laboratory | None = None) -> None:
        self.seats: dict[str, Seat] = {}
        self.asked = Asked()
        self.watch: Watch | None = None
        self.engine, self._laboratory, self._stopped = engine, laboratory, threading.Event()
        self._presence = Presence(engine)
        for folder in results_with_records(folders, engine):
            self._open(folder)

    def _open(self, folder: Path) -> Seat:
        review = Review.open(folder, self.engine, self._laboratory)
        key = review.result.key
        seat = self.seats[key] = Seat(key, review, Pictures(review.result, self.asked), self._presence)
        return seat

    def add(self, folder: Path) -> None:
        """Open one more smear. Raises LeukoscopeError."""
        self.cut_ahead([self._open(folder)])

    def seat(self, key: str) -> Seat | None:
        """A smear, or a blind reading of one, also one that was given a moment ago."""
        if key not in self.seats:
            self._open_readings()
        return self.seats.get(key)

    def readings_of(self, seat: Seat) -> list[tuple[Reading, Seat]]:
        """The blind readings of a smear."""
        self._open_readings()
        return [(one, self.seats[f"{seat.key}-{one.number}"]) for one in seat.review.last_state.readings]

    def _open_readings(self) -> None:
        for seat in [seat for seat in self.seats.values() if not seat.review.reading]:
            for one in seat.review.last_state.readings:
                key = f"{seat.key}-{one.number}"
                if key not in self.seats:
                    review = seat.review.of_reading(one.number)
                    review.state()
                    self.seats[key] = Seat(key, review, seat.pictures, self._presence)

    def check_blind(self, seat: Seat, who: str) -> None:
        """Raise Blind where a person must not see a smear: the review while reading it blind, and a reading of somebody
        else that is not signed."""
        state = seat.review.last_state
        if seat.review.reading:
            if state.readings[state.reading - 1].to != who and not seat.review.state().locked:
                raise Blind("this is a blind reading of somebody else", "wait until it is signed")
            return
        if any(one.to == who and not other.review.state().locked for one, other in self.readings_of(seat)):
            raise Blind("you read this smear blind: its review is closed to you", "sign your reading first")

    def worklist(self) -> list[WorklistRow]:
        """A row for each smear, in the order in which they were given."""
        rows = []
        self._open_readings()
        seats = list(self.seats.items())
        order = {key: place for place, (key, _) in enumerate(seats)}
        for key, seat in sorted(seats, key=lambda item: order[item[0].partition("-")[0]]):
            result, state, now = seat.review.result, seat.review.state(), seat.review.standing()
            rows.append(WorklistRow(
                key, result.name, str(result.folder), datetime.fromtimestamp(result.written).strftime("%Y-%m-%d %H:%M"),
                len(result.summary.fields), now.count.found + now.rejected, sum(result.summary.flags.values()),
                len(now.unsure) + len(now.flagged), state.word, state.mine[-1].who if state.mine else "",
                tuple(seat.here()), len(result.missing()),
                state.readings[state.reading - 1].to if state.reading else ""))
        return rows

    def cut_ahead(self, seats: Sequence[Seat]) -> threading.Thread:
        """Cut the pictures of all cells in the background, so that a gallery need not wait for them."""
        def work() -> None:
            for seat in seats:
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
        if self.watch is not None:
            self.watch.close()
        for seat in list(self.seats.values()):
            seat.review.close()
