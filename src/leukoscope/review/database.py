"""Where decisions are kept: a file of SQLite beside each result, or one PostgreSQL for all. Knows no events.

One writer of a smear at a time (SQLite: BEGIN IMMEDIATE; PostgreSQL: an advisory lock), readers beside it; what is
committed is on the disk (SQLite: WAL, synchronous=FULL; PostgreSQL: synchronous_commit).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.event import listen
from sqlalchemy.exc import ArgumentError, DBAPIError

from ..errors import LeukoscopeError, first_line

HEAD = "0004"
"""The newest migration in versions/."""
BUSY = 30_000
"""ms that a writer waits for another one."""
POSTGRES = "postgresql+psycopg"
_VERSIONS = Path(__file__).parent / "versions"
_MIGRATING = 7_103_001
"""The advisory lock of PostgreSQL under which its tables are made."""
_FULL = ("53100", "disk is full", "disk full")


class NotSaved(LeukoscopeError):
    """A decision could not be stored. It is not half stored: nothing of it is there. full: for want of disk space."""

    full = False


def open_engine(place: Path | str) -> sa.Engine:
    """Connections to a database; its tables are made by the first writer. place: the file of SQLite, or the address of
    a PostgreSQL, postgresql+psycopg://NAME:PASSWORD@HOST/DATABASE. Raises LeukoscopeError for another address, and
    ModuleNotFoundError where psycopg is not installed."""
    if isinstance(place, Path):
        engine = sa.create_engine(sa.URL.create("sqlite", database=str(place)))
        listen(engine, "connect", _on_connect_sqlite)
        listen(engine, "begin", _on_begin_sqlite)
        return engine
    engine = sa.create_engine(_postgres_url(place), pool_size=10, max_overflow=30, pool_pre_ping=True,
                              connect_args={"connect_timeout": 10})
    listen(engine, "connect", _on_connect_postgres)
    return engine


def _postgres_url(address: str) -> sa.URL:
    try:
        url = sa.make_url(address)
    except ArgumentError as error:
        raise LeukoscopeError("--db: not the address of a database", f"write {POSTGRES}://NAME:PASSWORD@HOST/DATABASE"
                              ) from error
    if url.drivername not in (POSTGRES, "postgresql", "postgres"):
        raise LeukoscopeError(f"--db: {url.drivername} is not supported",
                              f"write {POSTGRES}://NAME:PASSWORD@HOST/DATABASE, or leave --db out for SQLite")
    return url.set(drivername=POSTGRES)


def name_of(engine: sa.Engine) -> str:
    """The database in a message: its file, or its address without the password."""
    url = engine.url
    if is_file(engine):
        return str(url.database)
    return sa.URL.create(url.drivername, url.username, None, url.host, url.port, url.database).render_as_string()


def is_file(engine: sa.Engine | sa.Connection) -> bool:
    """Whether a database is a file of SQLite, which holds one smear."""
    return engine.dialect.name == "sqlite"


def exists(engine: sa.Engine) -> bool:
    """Whether there is anything to read; a file is made by its first writer, never by a reader."""
    return not is_file(engine) or Path(str(engine.url.database)).is_file()


def _on_connect_sqlite(connection: DBAPIConnection, _: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: _on_begin_sqlite does
    for pragma in (f"busy_timeout={BUSY}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _on_connect_postgres(connection: DBAPIConnection, _: object) -> None:
    connection.execute(f"SET lock_timeout = {BUSY}")
    connection.execute("SELECT set_config('synchronous_commit', 'on', false) "
                       "WHERE current_setting('synchronous_commit') = 'off'")
    connection.commit()


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that sees one state of the database; one of an older version is brought up to date before. Raises
    LeukoscopeError where it cannot be read."""
    with _in_one_line(engine, LeukoscopeError, "be read"), engine.connect() as plain:
        connection = plain if is_file(engine) else plain.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            older = check_version(connection) not in (None, HEAD)
            if not older:
                yield connection
                return
    with writing(engine, "events"):
        pass
    with reading(engine) as connection:
        yield connection


@contextmanager
def writing(engine: sa.Engine, what: str) -> Iterator[sa.Connection]:
    """A connection that is the only writer of `what`, the digest of a smear or the name of a table; what the block does
    is stored when it ends, or nothing of it is. The tables are made where there are none. Raises NotSaved."""
    with _in_one_line(engine, NotSaved, "be written"), engine.connect() as plain:
        connection = plain.execution_options(writes=True)
        with connection.begin():
            if check_version(connection) != HEAD:
                _lock(connection, _MIGRATING)
                if check_version(connection) != HEAD:
                    migrate(connection)
            _lock(connection, int.from_bytes(what.encode()[:7]))
            yield connection


def _lock(connection: sa.Connection, number: int) -> None:
    """Wait until nobody else holds a lock of PostgreSQL; it is held until the transaction ends. A transaction of SQLite
    is alone from its beginning."""
    if not is_file(connection):
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def check_version(connection: sa.Connection) -> str | None:
    """The migration at which a database is, None for an empty one. Raises LeukoscopeError for one of a newer version.
    """
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if version is not None and not list(_VERSIONS.glob(f"v{version}_*.py")):
        raise LeukoscopeError(f"{name_of(connection.engine)}: was written by a newer version of leukoscope",
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
        reason = first_line(error.orig or error)
        full = any(sign in f"{getattr(error.orig, 'sqlstate', '')} {reason}" for sign in _FULL)
        raised = kind(f"{name_of(engine)}: cannot {what} ({reason})", _hint(engine, reason, full))
        if isinstance(raised, NotSaved):
            raised.full = full
        raise raised from error


def _hint(engine: sa.Engine, reason: str, full: bool) -> str:
    if full:
        return "free disk space"
    if "locked" in reason or "lock timeout" in reason:
        return "wait until the other program has ended"
    if is_file(engine):
        return "check who may read and write the file, and that it is whole"
    return "check the address, that the server runs, and what this user may do"
