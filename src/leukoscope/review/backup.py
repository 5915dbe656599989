"""All decisions in one file, and back, while servers run. The file is a ZIP of plain text, the same for both databases:
what was kept in files of SQLite can be restored into a PostgreSQL, and the other way round."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from .. import __version__
from ..errors import LeukoscopeError, first_line
from ..files import JsonObject, atomic_path
from ..text import is_text, plain
from .accounts import StoredAccount, add_missing_accounts, stored_accounts
from .database import exists, name_of, open_engine, reading, writing
from .folders import DATABASE
from .journal import Event, add, broken, read_events
from .records import Record, begin_record, read_records
from .result import digest_of
from .smear import results_with_records

FORMAT = 1
MOST_BYTES, MOST_PACKED = 2**24, 200
"""Bytes of a backup, unpacked, and times the bytes of the file, of which it may exceed one."""
INDEX, ACCOUNTS = "backup.json", "accounts.jsonl"
_ANOTHER = "name a file that leukoscope review backup wrote"
Stored = TypeVar("Stored", Record, Event, StoredAccount)


@dataclass(frozen=True)
class Held:
    """The record of a smear with its events; damaged: where its chain is broken, in words, or ""."""

    record: Record
    events: tuple[Event, ...]
    damaged: str


@dataclass(frozen=True)
class Restored:
    """Of one smear, how many events were added. folder: None where none of the named folders holds its result."""

    name: str
    folder: str | None
    added: int
    held: int


def write_backup(path: Path, folders: Sequence[Path], shared: sa.Engine | None, *,
                 overwrite: bool = False) -> list[Held]:
    """Write all decisions on the results in some folders, or all in a PostgreSQL with its accounts, to a file that only
    its owner can read. A damaged record is kept as it is, and named in what is returned. Raises LeukoscopeError."""
    if path.exists() and not overwrite:
        raise LeukoscopeError(f"{path}: already exists", "use --overwrite, or name another file")
    held, accounts = _read_all(shared) if shared is not None else (_read_files(folders), [])
    index = {"leukoscope": __version__, "format": FORMAT, "made": datetime.now(UTC).isoformat(timespec="seconds"),
             "smears": [asdict(one.record) | {"events": len(one.events)} for one in held]}
    with atomic_path(path) as beside:
        os.close(os.open(beside, os.O_CREAT | os.O_WRONLY, 0o600))
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(INDEX, json.dumps(index, ensure_ascii=False, indent=1))
            file.writestr(ACCOUNTS, _lines(accounts))
            for one in held:
                file.writestr(_events_file(one.record), _lines(one.events))
    return held


def _read_all(engine: sa.Engine) -> tuple[list[Held], list[StoredAccount]]:
    with reading(engine) as connection:  # one state of the whole database
        return [_held(connection, record) for record in read_records(connection)], stored_accounts(connection)


def _read_files(folders: Sequence[Path]) -> list[Held]:
    held = []
    for folder in results_with_records(folders):
        engine = open_engine(folder / DATABASE)
        try:
            if exists(engine):
                with reading(engine) as connection:
                    held += [_held(connection, record) for record in read_records(connection)]
        finally:
            engine.dispose()
    return held


def _held(connection: sa.Connection, record: Record) -> Held:
    events = read_events(connection, record.smear)
    return Held(record, tuple(events), broken(events))


def restore_backup(path: Path, folders: Sequence[Path], shared: sa.Engine | None) -> list[Restored]:
    """Add the decisions in a backup to those that are there: to the results in some folders, or to a PostgreSQL, with
    its accounts. Nothing that is there is changed. Raises LeukoscopeError, before anything is written, for a file that
    is no backup or is damaged, and where a record went on otherwise after the backup."""
    held, accounts = _read_backup(path)
    places = {digest_of(folder): folder for folder in results_with_records(folders, shared)} if folders else {}
    restored = []
    files = {one: open_engine(places[one] / DATABASE) for one in places} if shared is None else {}
    targets = [(one, files.get(one.record.smear, shared)) for one in held]
    try:
        for one, engine in targets:
            if engine is not None:
                _check_same_beginning(engine, one)
        for one, engine in targets:
            folder = name_of(engine) if engine is not None else None
            added = _add(engine, one) if engine is not None else 0
            restored.append(Restored(one.record.name or one.record.smear[:8], folder, added, len(one.events)))
        if shared is not None and accounts:
            with writing(shared, "accounts") as connection:
                add_missing_accounts(connection, accounts)
    finally:
        for engine in files.values():
            engine.dispose()
    return restored


def _check_same_beginning(engine: sa.Engine, backup: Held) -> None:
    """Raise LeukoscopeError where what is stored and the backup are not the same as far as both go."""
    if not exists(engine):
        return
    with reading(engine) as connection:
        stored = read_events(connection, backup.record.smear)
    for event, saved in zip(stored, backup.events, strict=False):
        if event.hash != saved.hash:
            raise LeukoscopeError(
                f"{name_of(engine)}: differs from the backup from event {event.seq} of "
                f"{plain(backup.record.name, 60)} on", "restore into an empty database, or beside a copy of the result")


def _add(engine: sa.Engine, backup: Held) -> int:
    with writing(engine, backup.record.smear) as connection:
        begin_record(connection, backup.record)
        last = len(read_events(connection, backup.record.smear))
        for event in backup.events[last:]:
            add(connection, backup.record.smear, event)
    return max(len(backup.events) - last, 0)


def _read_backup(path: Path) -> tuple[list[Held], list[StoredAccount]]:
    if not path.is_file():
        raise LeukoscopeError(f"{path}: no such file", _ANOTHER)
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(entry.file_size for entry in file.infolist())
            if size > MOST_BYTES and size > MOST_PACKED * path.stat().st_size:
                raise LeukoscopeError(f"{path}: would unpack to {size:,} bytes", _ANOTHER)
            index = json.loads(file.read(INDEX))
            if index["format"] > FORMAT:
                raise LeukoscopeError(f"{path}: was written by a newer version of leukoscope",
                                      "install that version, or a newer one")
            records = [_as(Record, {key: one[key] for key in ("smear", "name", "folder")}) for one in index["smears"]]
            held = [Held(record, tuple(_as(Event, row) for row in _rows(file.read(_events_file(record)))), "")
                    for record in records]
            accounts = [_as(StoredAccount, row) for row in _rows(file.read(ACCOUNTS))]
        faults = [broken(one.events) for one in held]
    except LeukoscopeError:
        raise
    except Exception as error:  # a damaged file raises errors of many classes
        raise LeukoscopeError(f"{path}: is no backup of decisions, or damaged ({first_line(error)})",
                              _ANOTHER) from error
    for one, fault in zip(held, faults, strict=True):
        if fault:
            raise LeukoscopeError(f"{path}: the record of {plain(one.record.name, 60)} is damaged: {fault}",
                                  "take an earlier backup")
    return held, accounts


def _as(kind: type[Stored], row: JsonObject) -> Stored:
    """A row of the file, its values of the right types. Raises TypeError and ValueError."""
    made = kind(**row)
    if not all(is_text(value) for value in made.__dict__.values() if isinstance(value, str)):
        raise ValueError("a text that cannot be written (half a character)")
    try:
        return _adapter(kind).validate_python(made.__dict__)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@cache
def _adapter(kind: type[Stored]) -> TypeAdapter[Stored]:
    return TypeAdapter(kind)


def _events_file(record: Record) -> str:
    return f"events/{record.smear}.jsonl"


def _lines(rows: Iterable[Event | StoredAccount]) -> str:
    return "".join(json.dumps(row.__dict__, ensure_ascii=False) + "\n" for row in rows)


def _rows(content: bytes) -> list[JsonObject]:
    return [json.loads(line) for line in content.decode().split("\n") if line]
