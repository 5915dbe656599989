"""One smear under review: what the machine found, the journal of decisions, and the state that both make. What two
servers write to one journal, each sees before it decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ..datasets.leukocytes import CLASSES
from ..errors import LeukoscopeError
from ..figures.smear import colours_of
from ..smear.summary import SUMMARY
from . import actions
from .count import Standing, standing
from .database import open_engine, reading, writing
from .journal import Event, add, broken, next_event, read_events
from .result import DATABASE, SmearResult, read_result
from .state import MACHINE, State, contradiction

_ANEW = "keep the record: move review.sqlite out of the folder, then start leukoscope review again"


class Review:
    """A smear, safe to use from several threads."""

    def __init__(self, result: SmearResult) -> None:
        self.result = result
        self.names = result.names
        self.places = {name: place for place, name in enumerate(self.names)}
        self._path = result.folder / DATABASE
        self._engine = open_engine(self._path)
        self._lock = threading.RLock()
        self._state = State(self._untouched())
        self._standing: tuple[int, Standing] | None = None

    @classmethod
    def open(cls, folder: Path) -> Review:
        """The review of a folder that `smear` wrote. Raises LeukoscopeError."""
        review = cls(read_result(folder))
        review.state()
        return review

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _untouched(self) -> dict[str, tuple[str | None, str]]:
        return {name: (kind, MACHINE) for name, kind in zip(self.names, self.result.cells["predicted"], strict=True)}

    @cached_property
    def colours(self) -> dict[str, str]:
        """Of the machine's types; see `types` for all."""
        return colours_of(self.result.classes or CLASSES)

    def types(self, state: State) -> list[str]:
        """What a cell can be called: the machine's types, or where it has none the usual ones; then the added ones."""
        return [*(self.result.classes or CLASSES), *state.types]

    def state(self) -> State:
        """With everything that is stored by now."""
        with self._lock:
            if self._path.is_file():
                with reading(self._engine) as connection:
                    self._catch_up(connection)
            return self._state

    def _catch_up(self, connection: sa.Connection) -> None:
        for event in read_events(connection, self._state.seq):
            if event.seq == 1 and event.body.get("digest") != self.result.digest:
                raise LeukoscopeError(f"{self._path}: is the record of another result, which has been replaced since",
                                      _ANEW)
            self._state.apply(event)

    def standing(self) -> Standing:
        """The count as it stands."""
        with self._lock:
            state = self.state()
            if self._standing is None or self._standing[0] != state.seq:
                self._standing = state.seq, standing(self.result, state, self.types(state))
            return self._standing[1]

    def act(self, key: str, who: str, draft: Callable[[State], actions.Draft]) -> Event:
        """Store what a person does, as one event; the same key again is the same event. When this returns, the event is
        on the disk. Raises Refused, NotSaved, and LeukoscopeError where the result was replaced meanwhile."""
        with self._lock:
            self._check_unreplaced()
            with writing(self._engine) as connection:
                self._catch_up(connection)
                known = self._state.keys.get(key)
                if known is not None:
                    return known
                last, fresh = self._state.last, []
                if last is None:
                    fresh.append(next_event(None, "import", who, "imported", {
                        "digest": self.result.digest, "leukoscope": self.result.summary.leukoscope,
                        "cells": [], "found": len(self.names)}))
                made = draft(self._state)
                fresh.append(next_event(fresh[-1] if fresh else last, key, who, made.kind, made.body))
                for event in fresh:
                    add(connection, event)
            for event in fresh:
                self._state.apply(event)
            return fresh[-1]

    def _check_unreplaced(self) -> None:
        path = self.result.folder / SUMMARY
        if not path.is_file() or path.stat().st_mtime != self.result.written:
            raise LeukoscopeError(f"{self.result.folder}: the result was replaced or removed since it was opened",
                                  "start leukoscope review again")

    def decide(self, key: str, who: str, places: Sequence[int], did: actions.Did, name: str, base: int) -> Event:
        """`actions.decide` for cells by their rows. Raises Refused for a row that is not there."""
        wrong = next((place for place in places if not 0 <= place < len(self.names)), None)
        if wrong is not None or not places:
            raise actions.Refused(f"no cell {'is named' if wrong is None else wrong}", "load the page again")
        cells = [self.names[place] for place in places]
        return self.act(key, who, lambda state: actions.decide(
            state, cells, did, name, base=base, who=who, types=self.types(state)))

    def sign(self, key: str, who: str, text: str) -> Event:
        """`actions.sign` for the count as it stands within the same transaction."""
        def draft(state: State) -> actions.Draft:
            now = standing(self.result, state, self.types(state))
            counts = {kind.name: kind.cells for kind in now.count.types if kind.cells}
            return actions.sign(state, text, now.unsure, now.flagged, {**counts, "leukocytes": now.count.total})

        return self.act(key, who, draft)


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

    def to_dict(self) -> dict[str, Any]:
        return self.__dict__


def verify(folder: Path) -> Verified:
    """Prove the record of a smear: every event follows from the one before, says of each cell what was so, and begins
    with this result. Raises LeukoscopeError where it cannot be read."""
    result = read_result(folder)
    untouched = dict(zip(result.names, ((kind, MACHINE) for kind in result.cells["predicted"]), strict=True))
    path, events, state = folder / DATABASE, [], State(dict(untouched))
    if path.is_file():
        engine = open_engine(path)
        try:
            with reading(engine) as connection:
                events = read_events(connection)
        finally:
            engine.dispose()
    fault = broken(events)
    if events and not fault and events[0].body.get("digest") != result.digest:
        fault = "it is the record of another result, which has been replaced since"
    fault = fault or contradiction(untouched, events)
    if not fault:
        for event in events:
            state.apply(event)
    clock = sum(1 for before, after in pairwise(events) if after.at < before.at)
    return Verified(str(folder), result.name, len(events), state.word if not fault else "not known", fault,
                    events[-1].hash if events else None, clock)
