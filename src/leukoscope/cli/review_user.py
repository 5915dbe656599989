"""`leukoscope review user`: the accounts of the workbench. Parses, calls, prints."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import LeukoscopeError
from . import console
from .options import Json
from .review import Db, engine_of

if TYPE_CHECKING:
    from ..review.accounts import Accounts

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name under which decisions are stored.")]
RoleName = Literal["technician", "haematologist", "administrator"]
ROLES = ("technician: corrects. haematologist: corrects, signs and amends. administrator: corrects, and looks after "
         "the accounts.")
FromInput = Annotated[bool, typer.Option(
    "--password-stdin", help="Read the password from standard input, for a program, instead of asking for it.")]


def add(
    name: Name, role: Annotated[RoleName, typer.Option(help=ROLES)],
    db: Db = None, from_input: FromInput = False, as_json: Json = False,
) -> None:
    """Add an account to the workbench."""
    with _accounts(db) as accounts:
        account = accounts.add(name, role, _password(from_input))
    _say(f"{account.name}: {account.role}, added", account.name, as_json)


def list_users(db: Db = None, as_json: Json = False) -> None:
    """List the accounts of the workbench, disabled ones too."""
    with _accounts(db) as opened:
        accounts = opened.every()
    if as_json:
        console.emit([{"name": one.name, "role": one.role, "added": one.added, "disabled": one.disabled}
                      for one in accounts])
        return
    for one in accounts:
        disabled = f", disabled {one.disabled}" if one.disabled else ""
        console.say(f"{one.name}: {one.role}, added {one.added}{disabled}")
    if not accounts:
        console.say("no accounts yet; add one: leukoscope review user add NAME --role haematologist")


def disable(name: Name, db: Db = None, as_json: Json = False) -> None:
    """Disable an account: its sessions end, its decisions stay."""
    with _accounts(db) as accounts:
        account = accounts.disable(name)
    _say(f"{account.name}: disabled; what was decided under this name stays, and the name stays taken", account.name,
         as_json)


def enable(name: Name, db: Db = None, as_json: Json = False) -> None:
    """Let a disabled account in again, with the password that it had."""
    with _accounts(db) as accounts:
        account = accounts.enable(name)
    _say(f"{account.name}: enabled", account.name, as_json)


def role(name: Name, new: Annotated[RoleName, typer.Argument(metavar="ROLE", help=ROLES)], db: Db = None,
         as_json: Json = False) -> None:
    """Give an account another role: its sessions end."""
    with _accounts(db) as accounts:
        account = accounts.set_role(name, new)
    _say(f"{account.name}: {account.role} now", account.name, as_json)


def password(name: Name, db: Db = None, from_input: FromInput = False, as_json: Json = False) -> None:
    """Give an account a new password: its sessions end."""
    with _accounts(db) as accounts:
        account = accounts.set_password(name, _password(from_input))
    _say(f"{account.name}: has a new password", account.name, as_json)


@contextmanager
def _accounts(db: str | None) -> Iterator[Accounts]:
    from ..review.accounts import open_accounts  # late: help needs none of it

    accounts = open_accounts(engine_of(db))
    try:
        yield accounts
    finally:
        accounts.close()


def _password(from_input: bool) -> str:
    if from_input:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise LeukoscopeError("there is no terminal to ask for the password", "use --password-stdin")
    first, again = getpass.getpass("Password: "), getpass.getpass("Once more: ")
    if first != again:
        raise LeukoscopeError("the two passwords differ", "repeat the command")
    return first


def _say(line: str, name: str, as_json: bool) -> None:
    if as_json:
        console.emit({"name": name})
    else:
        console.say(line)
