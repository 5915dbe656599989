"""One smear under review: what the machine found, the journal of decisions, and the state that both make. What two
servers write to one journal, each sees before it decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import sqlalchemy as sa

from ..datasets.leukocytes import CLASSES
from ..errors import LeukoscopeError
from ..figures.palette import colours_of
from ..filenames import SUMMARY
from ..files import JsonObject
from . import actions
from .cells import Cells
from .count import Standing, standing
from .database import exists, is_file, name_of, open_engine, reading, writing
from .folders import DATABASE, has_record, results_of
from .journal import Event, add, broken, next_event, read_events
from .laboratory import Laboratory
from .records import Record, begin_record, read_records, was_replaced
from .result import SmearResult, digest_of, read_result
from .state import MACHINE, State, contradiction

_SIGNING = ("signed", "countersigned")
_ANEW = "keep the record: move review.sqlite out of the folder, then start leukoscope review again"
_ANEW_SHARED = "keep the record: give the new result a folder of its own, then start leukoscope review again"


class Review:
    """A smear, safe to use from several threads. engine: where its decisions are kept; None is a file of SQLite beside
    the result."""

    def __init__(self, result: SmearResult, engine: sa.Engine | None = None,
                 laboratory: Laboratory | None = None, *, reading: int = 0) -> None:
        self.result, self.reading = result, reading
        self.laboratory = laboratory or Laboratory()
        self._record = record_of(result)
        self._engine = engine_of(result, engine)
        self._lock = threading.RLock()
        self._state = State(untouched(result), reading=reading)
        self._cells = result.found
        self._standing: tuple[int, Standing] | None = None
        # What others have computed of a state, with its last event: confirmed cells of each type; those of each person.
        self.confirmed: tuple[int, Mapping[str, int]] = (-1, {})
        self.confirmed_by: dict[str, tuple[int, dict[str, list[int]]]] = {}

    @classmethod
    def open(cls, folder: Path, engine: sa.Engine | None = None, laboratory: Laboratory | None = None) -> Review:
        """The review of a folder that `smear` wrote. Raises LeukoscopeError."""
        review = cls(read_result(folder), engine, laboratory)
        try:
            review.state()
        except LeukoscopeError:
            review.close()
            raise
        return review

    def of_reading(self, number: int) -> Review:
        """The same smear as a second person reads it, from the machine's result on, in the same record."""
        return Review(self.result, self._engine, self.laboratory, reading=number)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @property
    def cells(self) -> Cells:
        """All cells by now; those that persons drew come last."""
        with self._lock:
            drawn = self._state.drawn
            if len(self._cells) != self.result.cells.height + len(drawn):
                self._cells = self.result.found.with_drawn(one.row for one in drawn)
            return self._cells

    @property
    def names(self) -> list[str]:
        """Of each cell, its lasting name."""
        return self.cells.names

    @cached_property
    def colours(self) -> dict[str, str]:
        """Of the machine's types; see `types` for all."""
        return colours_of(self.result.classes or CLASSES)

    def types(self, state: State) -> list[str]:
        """What a cell can be called: the machine's types, or where it has none the usual ones; those of the laboratory;
        then, in their order, those that persons added or gave. The place of a type never changes."""
        return list(dict.fromkeys((*(self.result.classes or CLASSES), *self.laboratory.types, *state.used)))

    def state(self) -> State:
        """With everything that is stored by now."""
        with self._lock:
            if exists(self._engine):
                with reading(self._engine) as connection:
                    self._catch_up(connection)
            return self._state

    def fault(self) -> str:
        """What is wrong with the record as it is on the disk now, in words, or ""."""
        with self._lock:
            if not exists(self._engine):
                return ""
            with reading(self._engine) as connection:
                return broken(read_events(connection, self.result.digest))

    @property
    def last_state(self) -> State:
        """The state as it was last read, without a look at the file."""
        return self._state

    def _catch_up(self, connection: sa.Connection) -> None:
        if not self._state.seq and was_replaced(connection, self._record):
            raise LeukoscopeError(f"{name_of(self._engine)}: is the record of another result of {self.result.folder}, "
                                  "which has been replaced since", _ANEW if is_file(self._engine) else _ANEW_SHARED)
        for event in read_events(connection, self.result.digest, self._state.seq):
            self._state.apply(event)

    def standing(self) -> Standing:
        """The count as it stands."""
        with self._lock:
            state = self.state()
            if self._standing is None or self._standing[0] != state.seq:
                self._standing = state.seq, self._count(self.cells, state)
            return self._standing[1]

    def _count(self, cells: Cells, state: State) -> Standing:
        return standing(cells, state, self.types(state), not self.result.summary.unreliable)

    def act(self, key: str, who: str, draft: Callable[[State], actions.Draft]) -> Event:
        """Store what a person does, as one event; the same key again is the same event. When this returns, the event is
        on the disk. Raises Refused, NotSaved, and LeukoscopeError where the result was replaced meanwhile."""
        with self._lock:
            self._check_unreplaced()
            with writing(self._engine, self.result.digest) as connection:
                self._catch_up(connection)
                known = self._state.keys.get(key)
                if known is not None:
                    return known
                last, fresh = self._state.last, []
                if last is None:
                    begin_record(connection, self._record)
                    fresh.append(next_event(None, "import", who, "imported", {
                        "digest": self.result.digest, "leukoscope": self.result.summary.leukoscope,
                        "cells": [], "found": self.result.cells.height}))
                made = draft(self._state)
                fault = broken(read_events(connection, self.result.digest)) if made.kind in _SIGNING else ""
                if fault:
                    raise actions.Refused(f"the record of decisions is damaged: {fault}",
                                          "restore it from a copy before anybody signs")
                body = {**made.body, "reading": self.reading} if self.reading else made.body
                fresh.append(next_event(fresh[-1] if fresh else last, key, who, made.kind, body))
                for event in fresh:
                    add(connection, self.result.digest, event)
            for event in fresh:
                self._state.apply(event)
            return fresh[-1]

    def _check_unreplaced(self) -> None:
        path = self.result.folder / SUMMARY
        if not path.is_file() or path.stat().st_mtime != self.result.written:
            raise LeukoscopeError(f"{self.result.folder}: the result was replaced or removed since it was opened",
                                  "start leukoscope review again")

    def named(self, places: Sequence[int]) -> list[str]:
        """The names of cells by their places. Raises Refused for a place that is none, or for no place at all."""
        names = self.names
        wrong = next((place for place in places if not 0 <= place < len(names)), None)
        if wrong is not None or not places:
            raise actions.Refused(f"no cell {'is named' if wrong is None else wrong}", "load the page again")
        return [names[place] for place in places]

    def decide(self, key: str, who: str, places: Sequence[int], did: actions.Did, name: str, base: int) -> Event:
        """`actions.decide` for cells by their rows. Raises Refused for a row that is not there."""
        cells = self.named(places)
        return self.act(key, who, lambda state: actions.decide(
            state, cells, did, name, base=base, who=who, types=self.types(state)))

    def sign(self, key: str, who: str, text: str) -> Event:
        """`actions.sign` for the count as it stands within the same transaction."""
        def draft(state: State) -> actions.Draft:
            cells = self.result.found.with_drawn(one.row for one in state.drawn) if state.drawn else self.result.found
            now = self._count(cells, state)
            counts = {kind.name: kind.cells for kind in now.count.types if kind.cells}
            return actions.sign(state, text, now.unsure, now.flagged, {**counts, "leukocytes": now.count.total})

        return self.act(key, who, draft)


def untouched(result: SmearResult) -> dict[str, tuple[str | None, str]]:
    """The cells of a smear as the machine left them."""
    return {name: (kind, MACHINE) for name, kind in zip(result.found.names, result.cells["predicted"], strict=True)}


@dataclass(frozen=True)
class Verified:
    """What `verify` found in a folder. events: 0 where nobody has decided anything; broken: where the record is
    damaged, in words, or ""; last: the hash of the last event; clock: how many events are dated before the one that
    they follow."""

    folder: str
    subject: str
    events: int
    state: str
    broken: str
    last: str | None
    clock: int

    def to_dict(self) -> JsonObject:
        return self.__dict__


def results_with_records(folders: Sequence[Path], shared: sa.Engine | None = None) -> list[Path]:
    """`results_of`; a result of another version is taken where decisions on it are stored."""
    def reviewed(folder: Path) -> bool:
        if shared is None:
            return has_record(folder)
        with reading(shared) as connection:
            return any(record.smear == digest_of(folder) for record in read_records(connection))

    return results_of(folders, reviewed)


def engine_of(result: SmearResult, shared: sa.Engine | None) -> sa.Engine:
    """Where the decisions on a result are kept."""
    return open_engine(result.folder / DATABASE) if shared is None else shared


def record_of(result: SmearResult) -> Record:
    """How a database names the smear of a result."""
    folder = str(result.folder.resolve()).encode("utf-8", "backslashreplace").decode()
    return Record(result.digest, result.name, folder)


def verify(folder: Path, shared: sa.Engine | None = None) -> Verified:
    """Prove the record of a smear: every event follows from the one before, says of each cell what was so, and begins
    with this result. Raises LeukoscopeError where it cannot be read."""
    result = read_result(folder)
    start = untouched(result)
    engine, events, state, fault = engine_of(result, shared), [], State(dict(start)), ""
    try:
        if exists(engine):
            with reading(engine) as connection:
                events = read_events(connection, result.digest)
                if was_replaced(connection, record_of(result)):
                    fault = "it is the record of another result, which has been replaced since"
    finally:
        engine.dispose()
    fault = fault or broken(events) or contradiction(start, events)
    if events and not fault and events[0].body.get("digest") != result.digest:
        fault = "event 1 does not begin with this result"
    if not fault:
        for event in events:
            state.apply(event)
    clock = sum(1 for before, after in pairwise(events) if after.at < before.at)
    return Verified(str(folder), result.name, len(events), state.word if not fault else "not known", fault,
                    events[-1].hash if events else None, clock)
