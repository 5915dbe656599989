"""What all events together say of a smear: of each cell its type and whether a person decided it; who signed. Made of
events alone, in their order, so that it can be made anew at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..files import JsonObject
from ..smear.geojson import Feature
from ..tables import Row
from .journal import Event

MACHINE, CONFIRMED, REJECTED, ABSENT = HOW = ("machine", "confirmed", "rejected", "absent")
"""How a cell stands: as the machine left it, decided by a person, said to be no cell that counts; or not there, because
it was split or joined, or its drawing was undone."""
NEW, IN_REVIEW, SIGNED, AMENDING, AMENDED = "new", "in review", "signed", "being amended", "amended"
"""How a smear stands."""
STATES = (NEW, IN_REVIEW, SIGNED, AMENDING, AMENDED)

FINDING, PLATELETS = "finding:", "platelets:"
"""What the name of a value begins with that is the grade of a finding, or the platelets of a field."""
WHITE_CELLS, TARGET = "white_cells", "target"
"""The names of the other values: leukocytes, 10^9/l, and how many leukocytes are to be counted."""

Cell = tuple[str | None, str]
"""(type, how it stands)"""


def title_of(value: str) -> str:
    """The name of a value that a person enters, in words."""
    return {WHITE_CELLS: "leukocytes, 10⁹/l", TARGET: "cells to count"}.get(
        value, value.removeprefix(FINDING).replace(PLATELETS, "platelets in field "))


@dataclass(frozen=True)
class Comment:
    """What somebody wrote on the smear or, with its name, on a cell."""

    seq: int
    at: str
    who: str
    cell: str | None
    text: str


@dataclass(frozen=True)
class Signature:
    """Who signed, when, and with which words. hash: of the event, which stands on the report."""

    seq: int
    at: str
    who: str
    text: str
    hash: str


@dataclass(frozen=True)
class Drawn:
    """A cell that a person added, or that came of splitting or joining. row: as in the table of `smear`; feature: as in
    its GeoJSON; how: what drew it, in words. seq: of its event."""

    seq: int
    name: str
    row: Row
    feature: Feature
    how: str


@dataclass(frozen=True)
class Reading:
    """A smear that was given to a second person, who reads it blind. number: from 1; to: that person; by, at: who gave
    it, and when."""

    number: int
    to: str
    by: str
    at: str


@dataclass
class State:
    """The sum of events. cells: by name; drawn: in the order of their places; changed: number of the event that last
    changed a cell, and who made it; types: that persons added; used: all that they added or gave to cells, in their
    order; values: what is entered beside the cells; entered: number of the event that last changed a value, and who
    made it; second: the second signature beside the last one; done, undone: per person, the events that can be undone
    and redone, the next one last. readings: to whom the smear was given; reading: which of them this is, 0 for the
    review itself; events: of all of them, in one chain; mine: of this one."""

    cells: dict[str, Cell]
    drawn: list[Drawn] = field(default_factory=list)
    changed: dict[str, tuple[int, str]] = field(default_factory=dict)
    types: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    entered: dict[str, tuple[int, str]] = field(default_factory=dict)
    comments: list[Comment] = field(default_factory=list)
    signatures: list[Signature] = field(default_factory=list)
    second: Signature | None = None
    amendments: list[Event] = field(default_factory=list)
    locked: bool = False
    events: list[Event] = field(default_factory=list)
    keys: dict[str, Event] = field(default_factory=dict)
    done: dict[str, list[int]] = field(default_factory=dict)
    undone: dict[str, list[int]] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    reading: int = 0
    mine: list[Event] = field(default_factory=list)

    @property
    def last(self) -> Event | None:
        return self.events[-1] if self.events else None

    @property
    def seq(self) -> int:
        """The number of the last event, 0 before the first."""
        return self.events[-1].seq if self.events else 0

    @property
    def word(self) -> str:
        """How the smear stands, one of STATES."""
        if self.locked:
            return AMENDED if self.amendments else SIGNED
        if self.amendments:
            return AMENDING
        return IN_REVIEW if any(event.kind not in ("imported", "given") for event in self.mine[:3]) else NEW

    def owns(self, event: Event) -> bool:
        """Whether an event is of this reading, or of the review."""
        return event.body.get("reading", 0) == self.reading

    def apply(self, event: Event) -> None:
        """Add an event that is stored."""
        self.events.append(event)
        self.keys[event.key] = event
        if event.kind == "given":
            self.readings.append(Reading(event.body["gives"], event.body["to"], event.who, event.at))
        if not self.owns(event):
            return
        self.mine.append(event)
        for one in drawn_by(event):
            self.drawn.append(one)
            self.cells[one.name] = (one.row["predicted"], ABSENT)
        for name, _, now in event.body.get("cells", ()):
            self.cells[name] = (now[0], now[1])
            self.changed[name] = (event.seq, event.who)
            if now[0] is not None and now[0] not in self.used:
                self.used.append(now[0])
        for name, _, now in event.body.get("values", ()):
            self.entered[name] = (event.seq, event.who)
            if now is None:
                self.values.pop(name, None)
            else:
                self.values[name] = now
        getattr(self, f"_{event.kind}", self._nothing)(event, event.body)

    def _nothing(self, event: Event, body: JsonObject) -> None:
        pass

    def _decided(self, event: Event, _: JsonObject) -> None:
        self.done.setdefault(event.who, []).append(event.seq)
        self.undone[event.who] = []

    _drawn = _entered = _decided

    def _undone(self, event: Event, body: JsonObject) -> None:
        self.done[event.who].pop()
        self.undone.setdefault(event.who, []).append(body["of"])

    def _redone(self, event: Event, body: JsonObject) -> None:
        self.undone[event.who].pop()
        self.done.setdefault(event.who, []).append(body["of"])

    def _commented(self, event: Event, body: JsonObject) -> None:
        self.comments.append(Comment(event.seq, event.at, event.who, body["cell"], body["text"]))

    def _type_added(self, _: Event, body: JsonObject) -> None:
        self.types.append(body["name"])
        self.used.append(body["name"])

    def _signed(self, event: Event, body: JsonObject) -> None:
        self.signatures.append(Signature(event.seq, event.at, event.who, body["comment"], event.hash))
        self.locked, self.second = True, None

    def _countersigned(self, event: Event, body: JsonObject) -> None:
        self.second = Signature(event.seq, event.at, event.who, body["comment"], event.hash)

    def _amended(self, event: Event, _: JsonObject) -> None:
        self.amendments.append(event)
        self.locked, self.second = False, None

    def changes(self, events: Sequence[Event]) -> list[str]:
        """Names of the cells that some events of this reading changed, each once."""
        return list(dict.fromkeys(name for event in events if self.owns(event)
                                  for name, *_ in event.body.get("cells", ())))


def drawn_by(event: Event) -> list[Drawn]:
    """The cells that an event draws; before it they are absent."""
    return [Drawn(event.seq, one["name"], one["row"], one["feature"], one["how"]) for one in event.body.get("new", ())]


def contradiction(cells: dict[str, Cell], events: Sequence[Event]) -> str:
    """Where an event says that a cell was something else than the events before it say, in words, or "". cells: as the
    machine left them."""
    readings = sorted({event.body.get("reading", 0) for event in events})
    return next((fault for reading in readings if (fault := _contradiction(cells, events, reading))), "")


def _contradiction(cells: dict[str, Cell], events: Sequence[Event], reading: int) -> str:
    state = State(dict(cells), reading=reading)
    for event in events:
        if not state.owns(event):
            state.apply(event)
            continue
        new = {one.name: (one.row["predicted"], ABSENT) for one in drawn_by(event)}
        if new.keys() & state.cells.keys():
            return f"event {event.seq} draws a cell that exists already"
        for name, was, _ in event.body.get("cells", ()):
            if (new.get(name) or state.cells.get(name)) != (was[0], was[1]):
                return f"event {event.seq} says of cell {name} what no earlier event says"
        for name, was, _ in event.body.get("values", ()):
            if state.values.get(name) != was:
                return f"event {event.seq} says of '{name}' what no earlier event says"
        state.apply(event)
    return ""
