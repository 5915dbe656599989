"""Which smears a database holds, by the digest of their results. Knows no events."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from .database import is_file

SMEARS = sa.table("smears", sa.column("smear"), sa.column("name"), sa.column("folder"))


@dataclass(frozen=True)
class Record:
    """The record of one smear. smear: SHA-256 of its result; name: the subject; folder: where its result lay when the
    record began, "" in files of older versions."""

    smear: str
    name: str
    folder: str


def begin_record(connection: sa.Connection, record: Record) -> None:
    """Note a smear whose first event is about to be stored."""
    if not connection.execute(sa.select(SMEARS).where(SMEARS.c.smear == record.smear)).first():
        connection.execute(sa.insert(SMEARS).values(**record.__dict__))


def read_records(connection: sa.Connection) -> list[Record]:
    """All smears of a database, by name; none where there is no table yet."""
    if not sa.inspect(connection).has_table("smears"):
        return []
    rows = connection.execute(sa.select(SMEARS).order_by(SMEARS.c.name, SMEARS.c.smear))
    return [Record(row.smear, row.name, row.folder) for row in rows]


def was_replaced(connection: sa.Connection, record: Record) -> bool:
    """Whether the database holds the record of another result at the same place: in the same file of SQLite, or begun
    in the same folder."""
    if not sa.inspect(connection).has_table("smears"):
        return False
    place = sa.true() if is_file(connection) else SMEARS.c.folder == record.folder
    same = connection.execute(sa.select(SMEARS).where(SMEARS.c.smear == record.smear)).first()
    return same is None and connection.execute(sa.select(SMEARS).where(place)).first() is not None
