"""The JSON of accounts: what an administrator sees and changes, and the own password of everybody."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .accounts import Account, Accounts, Role, folded
from .actions import Refused
from .api import Forbidden, Message, NotFound, session_of
from .attempts import Attempts
from .door import Keys, Session, is_safe
from .login import NOT_ENCRYPTED

Text = Annotated[str, Field(max_length=1000)]


class Named(Message):
    """Whose account."""

    name: Text


class NewAccount(Named):
    """password: the first one, which its owner changes."""

    role: Role
    password: Text


class NewRole(Named):
    """Another role."""

    role: Role


class NewPassword(Named):
    """password: a new one, for somebody who has forgotten theirs."""

    password: Text


class Switch(Named):
    """disabled: whether nobody comes in with this account any more."""

    disabled: bool


class OwnPassword(Message):
    """password: the present one; new: the next."""

    password: Text
    new: Text


class ApiAccounts:
    """The answers."""

    def __init__(self, keys: Keys) -> None:
        self._keys, self._attempts = keys, Attempts()

    def accounts(self, request: Request) -> Response:
        return JSONResponse([account_json(one) for one in administered(self._keys, session_of(request)).every()])

    def add_account(self, request: Request, message: NewAccount) -> Response:
        _check_safe(request)
        session = session_of(request)
        accounts = administered(self._keys, session)
        return JSONResponse(account_json(accounts.add(message.name, message.role, message.password, by=session.name)))

    def reset_password(self, request: Request, message: NewPassword) -> Response:
        _check_safe(request)
        accounts, by = self._of_others(request, message)
        return JSONResponse(account_json(accounts.set_password(message.name, message.password, by=by)))

    def change_role(self, request: Request, message: NewRole) -> Response:
        accounts, by = self._of_others(request, message)
        return JSONResponse(account_json(accounts.set_role(message.name, message.role, by=by)))

    def switch_account(self, request: Request, message: Switch) -> Response:
        accounts, by = self._of_others(request, message)
        switch = accounts.disable if message.disabled else accounts.enable
        return JSONResponse(account_json(switch(message.name, by=by)))

    def own_password(self, request: Request, message: OwnPassword) -> Response:
        accounts, session = accounts_of(self._keys), session_of(request)
        _check_safe(request)
        address = request.client.host if request.client else ""
        wait = self._attempts.begin(address, session.name)
        if wait:
            raise Forbidden("too many wrong passwords", f"try again in {wait} s")
        if accounts.check(session.name, message.password) is None:
            raise Forbidden("the present password is wrong", "write it again")
        self._attempts.succeeded(address, session.name)
        account = accounts.set_password(session.name, message.new)
        response = JSONResponse(account_json(account))
        self._keys.enter(request, response, account)
        return response

    def _of_others(self, request: Request, message: Named) -> tuple[Accounts, str]:
        """Accounts, for a change of one that is not one's own, and by whom: an administrator always remains."""
        session = session_of(request)
        accounts = administered(self._keys, session)
        if folded(message.name) == folded(session.name):
            raise Refused("you cannot give your own account a role or password here, or disable it",
                          "click your name to change your password; for the rest ask another administrator")
        return accounts, session.name


def accounts_of(keys: Keys) -> Accounts:
    """The accounts of a server. Raises NotFound where it has none."""
    if keys.accounts is None:
        raise NotFound("this server has no accounts", "start it with --log-in, or for others with --host")
    return keys.accounts


def administered(keys: Keys, session: Session) -> Accounts:
    """The accounts of a server, for who looks after them. Raises NotFound, Forbidden."""
    accounts = accounts_of(keys)
    if session.role != "administrator":
        raise Forbidden(f"accounts of the role {session.role} may not look after accounts", "ask an administrator")
    return accounts


def account_json(account: Account) -> dict[str, str | None]:
    """An account without its secrets."""
    return {"name": account.name, "role": account.role, "added": account.added, "disabled": account.disabled}


def _check_safe(request: Request) -> None:
    if not is_safe(request):
        what, _, hint = NOT_ENCRYPTED.partition(". ")
        raise Forbidden(what, hint)
