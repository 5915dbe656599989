"""What all events together say of a smear: of each cell its type and whether a person decided it; who signed. Made of
events alone, in their order, so that it can be made anew at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .journal import Event

MACHINE, CONFIRMED, REJECTED = "machine", "confirmed", "rejected"
"""How a cell stands: as the machine left it, decided by a person, or said to be no cell that counts."""
NEW, IN_REVIEW, SIGNED, AMENDING, AMENDED = "new", "in review", "signed", "being amended", "amended"
"""How a smear stands."""
STATES = (NEW, IN_REVIEW, SIGNED, AMENDING, AMENDED)

Cell = tuple[str | None, str]
"""(type, how it stands)"""


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


@dataclass
class State:
    """The sum of events. cells: by name; changed: number of the event that last changed a cell, and who made it; done,
    undone: per person, the events that can be undone and redone, the next one last."""

    cells: dict[str, Cell]
    changed: dict[str, tuple[int, str]] = field(default_factory=dict)
    types: list[str] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    signatures: list[Signature] = field(default_factory=list)
    amendments: list[Event] = field(default_factory=list)
    locked: bool = False
    events: list[Event] = field(default_factory=list)
    keys: dict[str, Event] = field(default_factory=dict)
    done: dict[str, list[int]] = field(default_factory=dict)
    undone: dict[str, list[int]] = field(default_factory=dict)

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
        return IN_REVIEW if len(self.events) > 1 else NEW

    def apply(self, event: Event) -> None:
        """Add an event that is stored."""
        self.events.append(event)
        self.keys[event.key] = event
        for name, _, now in event.body.get("cells", ()):
            self.cells[name] = (now[0], now[1])
            self.changed[name] = (event.seq, event.who)
        getattr(self, f"_{event.kind}", self._nothing)(event, event.body)

    def _nothing(self, event: Event, body: Any) -> None:
        pass

    def _decided(self, event: Event, _: Any) -> None:
        self.done.setdefault(event.who, []).append(event.seq)
        self.undone[event.who] = []

    def _undone(self, event: Event, body: Any) -> None:
        self.done[event.who].pop()
        self.undone.setdefault(event.who, []).append(body["of"])

    def _redone(self, event: Event, body: Any) -> None:
        self.undone[event.who].pop()
        self.done.setdefault(event.who, []).append(body["of"])

    def _commented(self, event: Event, body: Any) -> None:
        self.comments.append(Comment(event.seq, event.at, event.who, body["cell"], body["text"]))

    def _type_added(self, _: Event, body: Any) -> None:
        self.types.append(body["name"])

    def _signed(self, event: Event, body: Any) -> None:
        self.signatures.append(Signature(event.seq, event.at, event.who, body["comment"], event.hash))
        self.locked = True

    def _amended(self, event: Event, _: Any) -> None:
        self.amendments.append(event)
        self.locked = False

    def changes(self, events: Sequence[Event]) -> list[str]:
        """Names of the cells that some events changed, each once."""
        return list(dict.fromkeys(name for event in events for name, *_ in event.body.get("cells", ())))


def contradiction(cells: dict[str, Cell], events: Sequence[Event]) -> str:
    """Where an event says that a cell was something else than the events before it say, in words, or "". cells: as the
    machine left them."""
    state = State(dict(cells))
    for event in events:
        for name, was, _ in event.body.get("cells", ()):
            if state.cells.get(name) != (was[0], was[1]):
                return f"event {event.seq} says of cell {name} what no earlier event says"
        state.apply(event)
    return ""
