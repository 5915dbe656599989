"""Who may come in: only this computer, with the token of this start; or where there are accounts, who has logged in.
Then a session in a cookie. And the headers of every answer. Knows no smears."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from itsdangerous import BadSignature, Signer, URLSafeTimedSerializer
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .accounts import SIGNS, Account, Accounts

HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
HOURS = 12
"""After which a session ends."""
CSRF = "x-leukoscope"
LOGIN, LOGOUT = "/login", "/logout"
VISIT = 3600
"""Seconds for which a log-in page can be sent."""
HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
                               "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "same-origin", "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Session:
    """A browser that came with the token, and the name of who sits there; or who has logged in, with the account's role
    and stamp."""

    id: str
    name: str
    role: str = ""
    stamp: str = ""

    @property
    def may_sign(self) -> bool:
        """Whoever sits at this computer, where there are no accounts; else haematologists."""
        return self.role in ("", SIGNS)


class Keys:
    """The secrets of one start of the server. port: cookies of other ports are other ones; accounts: None where the
    token lets in."""

    def __init__(self, port: int, name: str, accounts: Accounts | None = None) -> None:
        secret = secrets.token_hex(32)
        self.token = secrets.token_urlsafe(24)
        self.cookie = f"leukoscope_{port}"
        self.accounts = accounts
        self._name = name
        self._sessions = URLSafeTimedSerializer(secret, salt="session")
        self._visits = URLSafeTimedSerializer(secret, salt="visit")
        self._csrf = Signer(secret, salt="csrf")
        self._left: dict[str, float] = {}

    def session(self, request: Request) -> Session | None:
        """The session of a request, or None. That of an account ends with the account, and with a new password."""
        try:
            stored = self._sessions.loads(request.cookies.get(self.cookie, ""), max_age=3600 * HOURS)
            session = Session(stored["id"], stored["name"], stored.get("role", ""), stored.get("stamp", ""))
        except (BadSignature, KeyError, TypeError):
            return None
        if self.accounts is None:
            return session
        account = self.accounts.get(session.name)
        valid = account is not None and account.stamp == session.stamp and session.id not in self._left
        return session if valid else None

    def csrf(self, session: Session) -> str:
        """What a page must send with every change. Of an account it outlives a session, so that a page can go on after
        a new log-in, and only under the same name."""
        return self._csrf.get_signature(f"{session.name}/{session.stamp}" if session.stamp else session.id).decode()

    def start(self, request: Request, response: Response, session: Session | None = None, name: str = "") -> None:
        """Set the cookie of a session, a new one or with another name."""
        self._set(request, response, {"id": session.id if session else secrets.token_hex(16),
                                      "name": name or self._name})

    def enter(self, request: Request, response: Response, account: Account) -> None:
        """Set the cookie of a new session of an account."""
        self._set(request, response, {"id": secrets.token_hex(16), "name": account.name, "role": account.role,
                                      "stamp": account.stamp})
        response.delete_cookie(self._visit, path=LOGIN)

    def leave(self, request: Request, response: Response) -> None:
        """End the session of a request, wherever its cookie was copied to."""
        session, now = self.session(request), time.monotonic()
        if session is not None:
            self._left = {one: at for one, at in self._left.items() if now - at < 3600 * HOURS} | {session.id: now}
        response.delete_cookie(self.cookie)

    @property
    def _visit(self) -> str:
        return f"{self.cookie}_visit"

    def greet(self, request: Request, response: Response, visitor: str) -> None:
        """Know the browser again that was shown a log-in page."""
        response.set_cookie(self._visit, self._visits.dumps(visitor), max_age=VISIT, httponly=True, samesite="strict",
                            path=LOGIN, secure=request.url.scheme == "https")

    def visitor(self, request: Request) -> str | None:
        """The browser that was shown a log-in page, or None."""
        try:
            return self._visits.loads(request.cookies.get(self._visit, ""), max_age=VISIT)
        except BadSignature:
            return None

    def visitor_csrf(self, visitor: str) -> str:
        """What the log-in page must send."""
        return self._csrf.get_signature(f"visitor {visitor}").decode()

    def is_visitor(self, request: Request, csrf: str) -> bool:
        """Whether a log-in comes from the page that this browser was shown."""
        visitor = self.visitor(request)
        return visitor is not None and secrets.compare_digest(csrf.encode(), self.visitor_csrf(visitor).encode())

    def _set(self, request: Request, response: Response, stored: dict[str, str]) -> None:
        response.set_cookie(self.cookie, self._sessions.dumps(stored), max_age=3600 * HOURS, httponly=True,
                            samesite="strict", path="/", secure=request.url.scheme == "https")


class Door:
    """ASGI around the application: lets in whom it may, and adds the headers."""

    def __init__(self, app: ASGIApp, keys: Keys, refuse: Callable[[Request, int, str], Response]) -> None:
        self._app, self._keys, self._refuse = app, keys, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (self._answer(request) or self._app)(scope, receive, with_headers)

    def _answer(self, request: Request) -> Response | None:
        """The answer to one who may not come in, or comes with the token; None lets the request through."""
        by_token = self._keys.accounts is None
        if by_token and request.url.hostname not in HOSTS:
            return self._refuse(request, 400, "this server answers to the address of this computer alone")
        if request.url.path.startswith("/static/") or (not by_token and request.url.path == LOGIN):
            return None
        if by_token and "token" in request.query_params and request.method == "GET":
            return self._entered(request) or self._refuse(
                request, 403, "this address is of an earlier start of the server; open the new one, which leukoscope "
                              "review printed")
        session = self._keys.session(request)
        if session is None:
            return self._unknown(request)
        if request.method not in ("GET", "HEAD") and not self._is_ours(request, session):
            return self._refuse(request, 403, "this change does not come from a page of this server that was opened "
                                              "under this name; load the page again")
        request.scope["session"] = session
        return None

    def _unknown(self, request: Request) -> Response:
        """The answer to one without a session."""
        if self._keys.accounts is None:
            return self._refuse(request, 403, "you are not signed in; open the address that leukoscope review printed")
        return to_login(request) if is_page(request) else self._refuse(
            request, 401, "you are not logged in; log in again in another tab of this browser")

    def _entered(self, request: Request) -> Response | None:
        """A session for one who comes with the token, at the same address without it; None for a wrong token."""
        if not secrets.compare_digest(request.query_params["token"].encode(), self._keys.token.encode()):
            return None
        rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
        path = "/" + request.url.path.lstrip("/")  # "//host" would lead elsewhere
        response = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
        self._keys.start(request, response)
        return response

    def _is_ours(self, request: Request, session: Session) -> bool:
        return is_own_origin(request) and secrets.compare_digest(
            request.headers.get(CSRF, "").encode(), self._keys.csrf(session).encode())


def is_own_origin(request: Request) -> bool:
    """Whether a request comes from a page of this server, as far as the browser says."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.url.netloc


def is_page(request: Request) -> bool:
    """Whether a person opens a page, rather than a script that asks for JSON or a picture."""
    return request.method == "GET" and not request.url.path.startswith("/api/")


def is_safe(request: Request) -> bool:
    """Whether a password may be sent: encrypted, or without leaving this computer."""
    client = request.client.host if request.client else ""
    return request.url.scheme == "https" or (client in HOSTS and request.url.hostname in HOSTS)


def to_login(request: Request) -> Response:
    """Send somebody to the log-in page, and afterwards back to where they wanted to go."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(LOGIN if wanted == "/" else f"{LOGIN}?{urlencode({'next': wanted})}", 303)
