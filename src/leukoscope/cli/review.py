"""`leukoscope review` and its kin: the workbench. Parses, calls, prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..commands.inputs import check_counted
from ..errors import LeukoscopeError
from ..review.folders import check_watched
from . import console
from .options import Json, Overwrite

if TYPE_CHECKING:
    import sqlalchemy as sa

Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that leukoscope smear wrote.")]
Db = Annotated[str | None, typer.Option(
    "--db", metavar="ADDRESS", envvar="LEUKOSCOPE_DB", show_envvar=True, show_default=False,
    help="A PostgreSQL database that holds all decisions: postgresql+psycopg://NAME@HOST/DATABASE. Default: a file "
         "in each result.")]


def engine_of(db: str | None) -> sa.Engine | None:
    """The PostgreSQL of --db; None without."""
    if db is None:
        return None
    from ..review.database import open_engine  # late: help needs none of it

    return open_engine(db)


def review(
    folders: Folders,
    port: Annotated[int | None, typer.Option(
        min=1, max=65535, help="Port of the page. Default: 8765, or the next that is free.")] = None,
    host: Annotated[str, typer.Option(
        help="Address of the page. Any address other than 127.0.0.1 needs accounts.")] = "127.0.0.1",
    name: Annotated[str, typer.Option(
        help="Name of the reviewer, if there are no accounts. Default: your login name.")] = "",
    laboratory: Annotated[Path | None, typer.Option(
        help="TOML file of the laboratory: reference ranges, types, keys, target (docs/review.md).")] = None,
    db: Db = None,
    log_in: Annotated[bool, typer.Option("--log-in", help="Ask for an account on this computer too.")] = False,
    cert: Annotated[Path | None, typer.Option(help="Certificate for https, a PEM file.")] = None,
    key: Annotated[Path | None, typer.Option(help="Key of the certificate, if it is in another file.")] = None,
    proxy: Annotated[str, typer.Option(
        metavar="ADDRESS", help="Address of the https proxy whose X-Forwarded headers are trusted.")] = "127.0.0.1",
    watch: Annotated[Path | None, typer.Option(
        metavar="FIELDS", help="Count new photographs in this folder as they come; each of its sub-folders is a "
                               "subject. Counts are kept in the first DIR.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    as_json: Json = False,
) -> None:
    """Review a counted smear: look, correct, sign, export.

    Opens a page in the browser, which only this computer can reach. See also: leukoscope review verify, backup,
    restore, user.
    """
    if watch is None:
        check_counted(folders, shared=db is not None)
    else:
        check_watched(folders, watch)
    from ..review.serve import Options, Started, serve  # late: help and a mistyped path need none of it

    def on_start(started: Started) -> None:
        if started.warning:
            console.note(f"warning: {started.warning}")
        if as_json:
            console.emit({"address": started.address})
        else:
            console.say(f"review: {started.address}")
            console.say("stop with Ctrl+C; every decision is stored as it is made")
        sys.stdout.flush()  # a program that waits for the address reads it now

    options = Options(host, port, name, engine_of(db), log_in, cert, key, proxy, not no_browser, laboratory, watch)
    serve(folders, options, on_start)


def verify(folders: Folders, db: Db = None, as_json: Json = False) -> None:
    """Check that the records of decisions are complete and unchanged."""
    check_counted(folders, shared=db is not None)
    from ..review.smear import results_with_records, verify
    from ..text import plural

    engine = engine_of(db)
    found = [verify(folder, engine) for folder in results_with_records(folders, engine)]
    if as_json:
        console.emit([one.to_dict() for one in found])
    for one in found if not as_json else ():
        if one.broken:
            continue
        late = f"; {plural(one.clock, 'event')} dated before the one it follows" if one.clock else ""
        chain = f"{plural(one.events, 'event')}, the chain holds, last {one.last}" if one.last else "no decision yet"
        console.say(f"{one.folder}: {one.state}; {chain}{late}")
    damaged = next((one for one in found if one.broken), None)
    if damaged is not None:
        raise LeukoscopeError(f"{damaged.folder}: the record of decisions is damaged: {damaged.broken}",
                              "restore review.sqlite from a copy" if db is None else "restore the database from a copy")


Backup = Annotated[Path, typer.Argument(metavar="FILE", help="The backup, a ZIP file.")]
SomeFolders = Annotated[list[Path] | None, typer.Argument(
    metavar="[DIR...]", help="Folders that leukoscope smear wrote. Needed without --db.")]


def backup(file: Backup, folders: SomeFolders = None, db: Db = None, overwrite: Overwrite = False,
           as_json: Json = False) -> None:
    """Write all decisions to one file, while servers run."""
    with _database(db, folders) as (named, engine):
        from ..review.backup import write_backup  # late: a mistyped path needs none of it
        from ..text import plural

        held = write_backup(file, named, engine, overwrite=overwrite)
    for one in held:
        if one.damaged:
            console.note(f"warning: {one.record.name}: the record is damaged: {one.damaged}")
    events = sum(len(one.events) for one in held)
    if as_json:
        console.emit({"smears": len(held), "events": events})
    else:
        console.say(f"{file}: {plural(events, 'event')} of {plural(len(held), 'smear')}")


def restore(file: Backup, folders: SomeFolders = None, db: Db = None, as_json: Json = False) -> None:
    """Add the decisions of a backup to the present ones."""
    with _database(db, folders) as (named, engine):
        from ..review.backup import restore_backup  # late, as above
        from ..text import plural

        restored = restore_backup(file, named, engine)
    if as_json:
        console.emit([one.__dict__ for one in restored])
        return
    for one in restored:
        console.say(f"{one.name}: left out, no named folder holds its result" if one.folder is None else
                    f"{one.name}: {plural(one.added, 'event')} added, of {one.held} in the backup")


@contextmanager
def _database(db: str | None, folders: list[Path] | None) -> Iterator[tuple[list[Path], sa.Engine | None]]:
    """The folders that are named, and the PostgreSQL if there is one."""
    if db is None and not folders:
        raise LeukoscopeError("no folder is named", "name folders that leukoscope smear wrote, or a database with --db")
    if db is None:
        check_counted(folders or [], shared=False)
    engine = engine_of(db)
    try:
        yield folders or [], engine
    finally:
        if engine is not None:
            engine.dispose()
