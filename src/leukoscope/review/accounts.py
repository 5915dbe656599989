"""Accounts of those who work at one server: names, roles and hashed passwords. In a PostgreSQL they lie beside the
decisions, else in a file of this computer. Knows no requests."""

from __future__ import annotations

import os
import secrets
import threading
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import platformdirs
import sqlalchemy as sa

from ..errors import LeukoscopeError
from ..text import plain
from .database import exists, open_engine, reading, writing

if TYPE_CHECKING:
    from argon2 import PasswordHasher

Role = Literal["technician", "haematologist", "administrator"]
SIGNS: Role = "haematologist"
"""The role that signs and amends; all correct."""
LONGEST_NAME, LONGEST_PASSWORD, SHORTEST_PASSWORD = 100, 500, 10
"""Characters."""
FRESH = 1.0
"""Seconds for which an account is believed without asking the database again."""
_TABLE = sa.table("accounts", *(sa.column(name) for name in ("folded", "name", "role", "password", "stamp", "added",
                                                             "removed")))
_HASHING = threading.BoundedSemaphore(2)  # each takes 64 MiB


@dataclass(frozen=True)
class Account:
    """Somebody who may come in. stamp: changes with password and role, so that older sessions end; disabled: when the
    account was disabled, or None."""

    name: str
    role: Role
    stamp: str
    added: str
    disabled: str | None


@dataclass(frozen=True)
class StoredAccount:
    """An account as it is stored, for a backup. password: its hash."""

    folded: str
    name: str
    role: str
    password: str
    stamp: str
    added: str
    removed: str | None


class NotAdministrator(LeukoscopeError):
    """Who wants to change accounts is no administrator, or no longer."""


class Accounts:
    """The accounts of a database. Changes name by whom they are made: an administrator, who must still be one when the
    change is written, or None for the command line."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._known: dict[str, tuple[float, Account | None]] = {}

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def every(self) -> list[Account]:
        """All accounts by name, disabled ones too."""
        return sorted((_account(row) for row in self._rows()), key=lambda one: one.name.casefold())

    def get(self, name: str) -> Account | None:
        """An account that is not disabled, as it was at most FRESH seconds ago."""
        at, known = self._known.get(name, (0.0, None))
        if time.monotonic() - at > FRESH:
            row = self._row(name)
            known = _account(row) if row is not None and row.removed is None and row.name == name else None
            if len(self._known) > 1000:
                self._known.clear()
            self._known[name] = time.monotonic(), known
        return known

    def check(self, name: str, password: str) -> Account | None:
        """The account of a name, whichever its capitals, if that is its password. Takes as long for an unknown name."""
        row = self._row(name) if name.strip() else None
        right = _matches(row.password if row is not None else _nobody(), password[:LONGEST_PASSWORD + 1])
        return _account(row) if right and row is not None and row.removed is None else None

    def add(self, name: str, role: Role, password: str, *, by: str | None = None) -> Account:
        """A new account. Raises LeukoscopeError for a name or password that will not do, and for a name that was given
        before, even to an account that is disabled: decisions are stored under names. Raises NotAdministrator."""
        name = _checked_name(name)
        hashed = _hash(name, password)
        with writing(self._engine, "accounts") as connection:
            _check_administrator(connection, by)
            row = connection.execute(sa.select(_TABLE).where(_TABLE.c.folded == folded(name))).first()
            if row is not None:
                was = "" if row.removed is None else f", disabled since {row.removed}"
                raise LeukoscopeError(f"{name}: the name belongs to an account{was}",
                                      "choose another: decisions are stored under names")
            connection.execute(sa.insert(_TABLE).values(
                folded=folded(name), name=name, role=role, password=hashed, stamp=secrets.token_hex(16), added=_now()))
        self._known.clear()
        return self._needed(name)

    def disable(self, name: str, *, by: str | None = None) -> Account:
        """Disable an account; its sessions end. Its name stays taken. Raises LeukoscopeError, also for the last
        administrator, and NotAdministrator."""
        return self._change(name, {"removed": _now()}, by)

    def enable(self, name: str, *, by: str | None = None) -> Account:
        """Let a disabled account in again, with the password that it had. Raises as `disable`."""
        return self._change(name, {"removed": None}, by, disabled=True)

    def set_role(self, name: str, role: Role, *, by: str | None = None) -> Account:
        """Another role; older sessions end. Raises as `disable`."""
        return self._change(name, {"role": role}, by)

    def set_password(self, name: str, password: str, *, by: str | None = None) -> Account:
        """A new password; older sessions end. Raises as `disable`."""
        return self._change(name, {"password": _hash(name, password)}, by)

    def _change(self, name: str, values: dict[str, str | None], by: str | None, *, disabled: bool = False) -> Account:
        with writing(self._engine, "accounts") as connection:
            _check_administrator(connection, by)
            row = connection.execute(sa.select(_TABLE).where(_TABLE.c.folded == folded(name))).first()
            if row is None:
                raise LeukoscopeError(f"{plain(name, 60)}: no such account", "see leukoscope review user list")
            if (row.removed is not None) != disabled:
                raise LeukoscopeError(f"{row.name}: the account is {'not disabled' if disabled else 'disabled'}",
                                      "nothing to do" if disabled else "enable it first")
            was = _is_administrator(row)
            connection.execute(sa.update(_TABLE).where(_TABLE.c.folded == row.folded).values(
                **values, stamp=secrets.token_hex(16)))
            if was and not any(map(_is_administrator, connection.execute(sa.select(_TABLE)))):
                raise LeukoscopeError(f"{row.name}: is the last administrator",
                                      "give another account the role administrator first")
        self._known.clear()
        return self._needed(name)

    def _needed(self, name: str) -> Account:
        row = self._row(name)
        assert row is not None
        return _account(row)

    def _row(self, name: str) -> sa.Row | None:
        return next(iter(self._rows(_TABLE.c.folded == folded(name))), None)

    def _rows(self, *where: sa.ColumnElement[bool]) -> Sequence[sa.Row]:
        if not exists(self._engine):
            return []
        with reading(self._engine) as connection:
            if not sa.inspect(connection).has_table("accounts"):
                return []
            return connection.execute(sa.select(_TABLE).where(*where)).all()


def open_accounts(shared: sa.Engine | None) -> Accounts:
    """The accounts in a PostgreSQL, or without one in the file that LEUKOSCOPE_ACCOUNTS names, else in the user's own
    folder for data."""
    if shared is not None:
        return Accounts(shared)
    given = os.environ.get("LEUKOSCOPE_ACCOUNTS")
    path = Path(given) if given else platformdirs.user_data_path("leukoscope") / "review-accounts.sqlite"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
    except OSError as error:
        raise LeukoscopeError(f"{path}: {error.strerror}", "name another file in LEUKOSCOPE_ACCOUNTS") from error
    return Accounts(open_engine(path))


def stored_accounts(connection: sa.Connection) -> list[StoredAccount]:
    """All accounts of a database; none where there is no table yet."""
    if not sa.inspect(connection).has_table("accounts"):
        return []
    return [StoredAccount(**row._mapping) for row in connection.execute(sa.select(_TABLE).order_by(_TABLE.c.folded))]


def add_missing_accounts(connection: sa.Connection, accounts: Sequence[StoredAccount]) -> None:
    """Store accounts whose names are not there."""
    there = set(connection.execute(sa.select(_TABLE.c.folded)).scalars())
    for one in accounts:
        if one.folded not in there:
            connection.execute(sa.insert(_TABLE).values(**one.__dict__))


def _check_administrator(connection: sa.Connection, by: str | None) -> None:
    """Raise NotAdministrator unless `by` is an administrator at this moment, or None."""
    if by is None:
        return
    row = connection.execute(sa.select(_TABLE).where(_TABLE.c.folded == folded(by))).first()
    if row is None or not _is_administrator(row):
        raise NotAdministrator(f"{plain(by, 60)}: your account may no longer look after accounts",
                               "ask an administrator")


def _is_administrator(row: sa.Row) -> bool:
    return row.removed is None and row.role == "administrator"


def _checked_name(name: str) -> str:
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise LeukoscopeError(f"a name has 1 to {LONGEST_NAME} printable characters", "choose another name")
    return name


def folded(name: str) -> str:
    """A name by which an account is found, whichever its capitals and spaces."""
    return " ".join(unicodedata.normalize("NFKC", name).split()).casefold()


def _hash(name: str, password: str) -> str:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise LeukoscopeError(f"the password has {len(password)} characters",
                              f"choose one of {SHORTEST_PASSWORD} to {LONGEST_PASSWORD}")
    if folded(password) == folded(name):
        raise LeukoscopeError("the password is the name", "choose another one")
    with _HASHING:
        return _hasher().hash(password)


def _matches(hashed: str, password: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        with _HASHING:
            return _hasher().verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _hasher() -> PasswordHasher:
    """argon2id with the parameters of RFC 9106 for little memory."""
    from argon2 import PasswordHasher  # late: a server without accounts needs none of it

    return PasswordHasher()


@cache
def _nobody() -> str:
    """What the password of an unknown name is compared with."""
    return _hasher().hash(secrets.token_hex(16))


def _account(row: sa.Row) -> Account:
    return Account(row.name, row.role, row.stamp, row.added, row.removed)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
