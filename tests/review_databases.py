"""The two databases that the workbench is tested on: a file of SQLite beside each result, and a PostgreSQL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.event import listen, remove

from leukoscope.review.database import open_engine
from leukoscope.review.folders import DATABASE

POSTGRES = os.environ.get("LEUKOSCOPE_POSTGRES", "")


@dataclass(frozen=True)
class Database:
    """An empty database. url: of PostgreSQL, a schema that nobody else uses; None is SQLite."""

    url: str | None
    opened: list[sa.Engine] = field(default_factory=list)

    @property
    def options(self) -> list[str]:
        """For the command line."""
        return [] if self.url is None else ["--db", self.url]

    def shared(self) -> sa.Engine | None:
        """What `Review.open`, `Desk` and `verify` take."""
        if self.url is None:
            return None
        self.opened.append(open_engine(self.url))
        return self.opened[-1]

    def engine(self, folder: Path) -> sa.Engine:
        """Connections to the decisions on a result."""
        return open_engine(folder / DATABASE if self.url is None else self.url)

    def sql(self, folder: Path, *orders: str) -> list[Any]:
        """Work on the tables as somebody with the right to do so; the rows of the last order."""
        engine = self.engine(folder)
        rows: list[Any] = []
        try:
            with engine.connect().execution_options(writes=True) as connection, connection.begin():
                for order in orders:
                    done = connection.exec_driver_sql(order)
                    rows = list(done) if done.returns_rows else []
        finally:
            engine.dispose()
        return rows

    def unprotect(self, folder: Path) -> None:
        """Take away what keeps events from being changed."""
        self.sql(folder, *(["DROP TRIGGER events_no_change ON events"] if self.url else
                           ["DROP TRIGGER events_no_update", "DROP TRIGGER events_no_delete"]))

    def fill_disk(self, folder: Path, engine: sa.Engine) -> Callable[[], None]:
        """Leave no room for further events on the connections of an engine; what is returned makes room again."""
        if self.url:  # the error with which PostgreSQL itself ends an order where the disk is full
            self.sql(folder, "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION "
                             "USING ERRCODE = 'disk_full', MESSAGE = 'could not extend file: No space left on device'; "
                             "END $$", "CREATE TRIGGER full_disk BEFORE INSERT ON events EXECUTE FUNCTION full_disk()")

        def full(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA max_page_count=1")  # SQLite's own full disk

        def room_again() -> None:
            if self.url:
                self.sql(folder, "DROP TRIGGER full_disk ON events")
            else:
                remove(engine, "connect", full)
                engine.dispose()

        if not self.url:
            listen(engine, "connect", full)
            engine.dispose()
        return room_again


@contextmanager
def database(kind: str) -> Iterator[Database]:
    """An empty database of a kind. Skips the test where there is no PostgreSQL."""
    if kind == "sqlite":
        yield Database(None)
        return
    if not POSTGRES:
        pytest.skip("no PostgreSQL: set LEUKOSCOPE_POSTGRES, or run the tests with .ci/with-postgres")
    schema = f"test_{uuid.uuid4().hex}"
    engine = open_engine(POSTGRES)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    made = Database(f"{POSTGRES}?options=-csearch_path%3D{schema}")
    yield made
    for opened in made.opened:
        opened.dispose()
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    engine.dispose()
