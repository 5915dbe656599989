"""Events that are only ever added: who did what, when, and what it was before. Each holds the hash of the one before,
so that a change anywhere breaks the chain. Knows nothing of cells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from ..files import JsonObject

START = "0" * 64
"""What stands for the hash before the first event."""
EVENTS = sa.table("events", *(sa.column(name) for name in ("smear", "seq", "key", "at", "who", "kind", "body",
                                                            "previous", "hash")))


@dataclass(frozen=True)
class Event:
    """One event. seq: from 1, without gaps; key: that its sender chose, so that a repeated message is one event; at:
    UTC by the clock of the server; body: JSON, by kind (see actions.py)."""

    seq: int
    key: str
    at: str
    who: str
    kind: str
    body: JsonObject
    previous: str
    hash: str


def next_event(before: Event | None, key: str, who: str, kind: str, body: JsonObject) -> Event:
    """The event that follows another, or the first."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    seq, previous = (before.seq + 1, before.hash) if before else (1, START)
    return Event(seq, key, at, who, kind, body, previous, _hash(seq, key, at, who, kind, _text(body), previous))


def add(connection: sa.Connection, smear: str, event: Event) -> None:
    """Store an event of a smear, which is named by the digest of its result."""
    connection.execute(sa.insert(EVENTS).values(
        smear=smear, seq=event.seq, key=event.key, at=event.at, who=event.who, kind=event.kind, body=_text(event.body),
        previous=event.previous, hash=event.hash))


def read_events(connection: sa.Connection, smear: str, after: int = 0) -> list[Event]:
    """All events of a smear with a higher number, in their order; none where there is no table yet."""
    if not after and not sa.inspect(connection).has_table("events"):
        return []
    rows = connection.execute(sa.select(EVENTS).where(EVENTS.c.smear == smear, EVENTS.c.seq > after)
                              .order_by(EVENTS.c.seq))
    return [Event(row.seq, row.key, row.at, row.who, row.kind, json.loads(row.body), row.previous, row.hash)
            for row in rows]


def broken(events: Sequence[Event]) -> str:
    """Where the chain is broken, in words, or ""."""
    previous = START
    for place, event in enumerate(events, start=1):
        if event.seq != place:
            return f"event {place} is missing"
        if event.previous != previous:
            return f"event {event.seq} does not follow the event before it"
        if event.hash != _hash(event.seq, event.key, event.at, event.who, event.kind, _text(event.body), previous):
            return f"event {event.seq} was changed"
        previous = event.hash
    return ""


def _text(body: JsonObject) -> str:
    """A body as it is stored and hashed."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
