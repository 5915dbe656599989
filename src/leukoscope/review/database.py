"""The file of decisions beside a result: one SQLite database for each smear. Knows no events.

One writer at a time (BEGIN IMMEDIATE), readers beside it (WAL); what is committed is on the disk (synchronous=FULL).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.event import listen
from sqlalchemy.exc import DBAPIError

from ..errors import LeukoscopeError

HEAD = "0001"
"""The newest migration in versions/."""
BUSY = 10_000
"""ms that a writer waits for another one."""
_VERSIONS = Path(__file__).parent / "versions"


class NotSaved(LeukoscopeError):
    """A decision could not be stored. It is not half stored: nothing of it is there."""


def open_engine(path: Path) -> sa.Engine:
    """Connections to the database of a smear; the file is made by the first writer."""
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
    listen(engine, "connect", _on_connect)
    listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: _on_begin does
    for pragma in (f"busy_timeout={BUSY}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that sees one state of the database. Raises LeukoscopeError where it cannot be read."""
    with _in_one_line(engine, LeukoscopeError, "be read"), engine.begin() as connection:
        check_version(connection)
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that is the only writer; what the block does is stored when it ends, or nothing of it is. The tables
    are made where there are none. Raises NotSaved."""
    with _in_one_line(engine, NotSaved, "be written"), engine.connect() as plain:
        connection = plain.execution_options(writes=True)
        with connection.begin():
            if check_version(connection) != HEAD:
                migrate(connection)
            yield connection


def check_version(connection: sa.Connection) -> str | None:
    """The migration at which a database is, None for an empty one. Raises LeukoscopeError for one of a newer version.
    """
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if version is not None and not list(_VERSIONS.glob(f"v{version}_*.py")):
        raise LeukoscopeError(f"{connection.engine.url.database}: was written by a newer version of leukoscope",
                              "install that version, or a newer one")
    return version


def migrate(connection: sa.Connection) -> None:
    """Bring the tables to HEAD, within the connection's transaction."""
    from alembic.config import Config  # late: only a first or an older database needs it
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(_VERSIONS.parent), version_locations=[str(_VERSIONS)])
    with EnvironmentContext(Config(), script, fn=lambda at, _: script._upgrade_revs("head", at)) as environment:
        environment.configure(connection=connection)
        environment.run_migrations()


@contextmanager
def _in_one_line(engine: sa.Engine, kind: type[LeukoscopeError], what: str) -> Iterator[None]:
    """Turn the database's errors into one line."""
    try:
        yield
    except DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        hint = ("free disk space" if "full" in reason else "wait until the other program has ended"
                if "locked" in reason else "check who may read and write the file, and that it is whole")
        raise kind(f"{engine.url.database}: cannot {what} ({reason})", hint) from error
