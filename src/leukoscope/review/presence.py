"""Who has a smear open. In a PostgreSQL, all servers that use it know of each other's pages; where decisions are in
files, a server knows its own."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ..errors import LeukoscopeError
from .database import reading, writing

PRESENT = 45.0
"""Seconds after which a silent page no longer counts as open."""
NOTED = 10.0
"""Seconds after which a page that goes on looking is noted in the database again."""
FRESH = 2.0
"""Seconds for which the database is not asked again."""
_TABLE = sa.table("presence", *(sa.column(name) for name in ("smear", "session", "name", "at")))
_NOW = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)
"""By the clock of the database: those of servers differ."""


@dataclass(frozen=True)
class Look:
    """Somebody at a page. at: when last; noted: when it was last written to the database, both in s of this process."""

    name: str
    at: float
    noted: float


class Presence:
    """Who has which smear open, for several threads. engine: the PostgreSQL, if there is one. A database that does not
    answer is not waited for: what is shown is then what this server knows."""

    def __init__(self, engine: sa.Engine | None) -> None:
        self._engine, self._lock = engine, threading.Lock()
        self._looks: dict[tuple[str, str], Look] = {}
        self._others: dict[tuple[str, str], str] = {}
        self._asked = -FRESH

    def look(self, smear: str, session: str, name: str) -> list[str]:
        """Note that somebody looks at a smear; give the names of the others."""
        now = time.monotonic()
        with self._lock:
            before = self._looks.get((smear, session))
            late = before is None or before.name != name or now - before.noted > NOTED
            self._looks = {key: one for key, one in self._looks.items() if now - one.at < PRESENT}
            self._looks[smear, session] = Look(name, now, now if late or before is None else before.noted)
        if late and self._engine is not None:
            _note(self._engine, smear, session, name)
        return self.here(smear, but=session)

    def here(self, smear: str, but: str = "") -> list[str]:
        """Who has a smear open, by name. but: a session that is left out."""
        now = time.monotonic()
        if self._engine is not None and now - self._asked > FRESH:
            self._others, self._asked = _noted(self._engine), now
        with self._lock:
            known = self._others | {key: one.name for key, one in self._looks.items() if now - one.at < PRESENT}
        return sorted({name for (at, session), name in known.items() if at == smear and session != but})


def _note(engine: sa.Engine, smear: str, session: str, name: str) -> None:
    values = {"smear": smear, "session": session, "name": name, "at": _NOW}
    order = insert(_TABLE).values(values).on_conflict_do_update(
        index_elements=["smear", "session"], set_={"name": name, "at": _NOW})
    try:
        with writing(engine, session) as connection:
            connection.execute(sa.delete(_TABLE).where(_TABLE.c.at < _NOW - PRESENT))
            connection.execute(order)
    except LeukoscopeError:  # a disk that is full, or a reader who may not write, must not keep anybody from looking
        return


def _noted(engine: sa.Engine) -> dict[tuple[str, str], str]:
    try:
        with reading(engine) as connection:
            if not sa.inspect(connection).has_table("presence"):
                return {}
            rows = connection.execute(sa.select(_TABLE).where(_TABLE.c.at > _NOW - PRESENT))
            return {(row.smear, row.session): row.name for row in rows}
    except LeukoscopeError:
        return {}
