"""Who may come in: only this computer, with the token of this start; then a session in a cookie. And the headers of
every answer. Knows no smears."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from itsdangerous import BadSignature, Signer, URLSafeTimedSerializer
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
HOURS = 12
"""After which a session ends."""
CSRF = "x-leukoscope"
HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
                               "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Session:
    """A browser that came with the token, and the name of who sits there."""

    id: str
    name: str


class Keys:
    """The secrets of one start of the server. port: cookies of other ports are other ones."""

    def __init__(self, port: int, name: str) -> None:
        secret = secrets.token_hex(32)
        self.token = secrets.token_urlsafe(24)
        self.cookie = f"leukoscope_{port}"
        self._name = name
        self._sessions = URLSafeTimedSerializer(secret, salt="session")
        self._csrf = Signer(secret, salt="csrf")

    def session(self, request: Request) -> Session | None:
        """The session of a request, or None."""
        try:
            stored = self._sessions.loads(request.cookies.get(self.cookie, ""), max_age=3600 * HOURS)
            return Session(stored["id"], stored["name"])
        except (BadSignature, KeyError, TypeError):
            return None

    def csrf(self, session: Session) -> str:
        """What a page must send with every change."""
        return self._csrf.get_signature(session.id).decode()

    def start(self, response: Response, session: Session | None = None, name: str = "") -> None:
        """Set the cookie of a session, a new one or with another name."""
        stored = {"id": session.id if session else secrets.token_hex(16), "name": name or self._name}
        response.set_cookie(self.cookie, self._sessions.dumps(stored), max_age=3600 * HOURS, httponly=True,
                            samesite="strict", path="/")


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
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (self._answer(request) or self._app)(scope, receive, with_headers)

    def _answer(self, request: Request) -> Response | None:
        """The answer to one who may not come in, or comes with the token; None lets the request through."""
        refuse = self._refuse
        if request.url.hostname not in HOSTS:
            return refuse(request, 400, "this server answers to the address of this computer alone")
        if request.url.path.startswith("/static/"):
            return None
        if "token" in request.query_params and request.method == "GET":
            return self._entered(request) or refuse(
                request, 403, "this address is of an earlier start of the server; open the new one, which leukoscope "
                              "review printed")
        session = self._keys.session(request)
        if session is None:
            return refuse(request, 403, "you are not signed in; open the address that leukoscope review printed")
        if request.method not in ("GET", "HEAD") and not self._is_ours(request, session):
            return refuse(request, 403, "this change does not come from a page of this server; load the page again")
        request.scope["session"] = session
        return None

    def _entered(self, request: Request) -> Response | None:
        """A session for one who comes with the token, at the same address without it; None for a wrong token."""
        if not secrets.compare_digest(request.query_params["token"].encode(), self._keys.token.encode()):
            return None
        rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
        path = "/" + request.url.path.lstrip("/")  # "//host" would lead elsewhere
        response = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
        self._keys.start(response)
        return response

    def _is_ours(self, request: Request, session: Session) -> bool:
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.url.netloc:
            return False
        return secrets.compare_digest(request.headers.get(CSRF, "").encode(), self._keys.csrf(session).encode())
