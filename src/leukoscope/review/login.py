"""Logging in and out where there are accounts."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from urllib.parse import parse_qs, quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ..errors import LeukoscopeError
from .attempts import Attempts
from .door import LOGIN, LOGOUT, Keys, is_own_origin, is_safe

LARGEST = 10_000
"""Bytes of a form."""
NOT_ENCRYPTED = "This connection is not encrypted: others could read the password. Open this page with https://."
WRONG = "Name or password is wrong."
Shown = Callable[..., Response]
"""Makes the log-in page: (request, status, **context)."""


def routes(keys: Keys, shown: Shown) -> list[Route]:
    """The log-in page, and the end of a session; none without accounts."""
    if keys.accounts is None:
        return []
    desk = _Reception(keys, shown)
    return [Route(LOGIN, desk.page, methods=["GET"]), Route(LOGIN, desk.enter, methods=["POST"]),
            Route(LOGOUT, desk.leave, methods=["POST"])]


class _Reception:
    def __init__(self, keys: Keys, shown: Shown) -> None:
        self._keys, self._shown, self._attempts = keys, shown, Attempts()

    async def page(self, request: Request) -> Response:
        if not is_safe(request):
            return self._page(request, 403, error=NOT_ENCRYPTED, closed=True)
        if self._keys.session(request) is not None:
            return RedirectResponse(_inside(request.query_params.get("next", "")), 303)
        return self._page(request, 200)

    async def enter(self, request: Request) -> Response:
        if not is_safe(request):
            return self._page(request, 403, error=NOT_ENCRYPTED, closed=True)
        form = await _form(request)
        if not is_own_origin(request) or not self._keys.is_visitor(request, form.get("csrf", "")):
            return self._page(request, 403, form, error="The page was open for too long. Please log in again.")
        return await run_in_threadpool(self._try, request, form)

    def _try(self, request: Request, form: dict[str, str]) -> Response:
        accounts = self._keys.accounts
        assert accounts is not None
        name, address = form.get("name", "").strip()[:200], request.client.host if request.client else ""
        wait = self._attempts.begin(address, name)
        if wait:
            minutes = f"{-(-wait // 60)} min" if wait > 90 else f"{wait} s"
            response = self._page(request, 429, form, error=f"Too many attempts. Try again in {minutes}.")
            response.headers["retry-after"] = str(wait)
            return response
        try:
            account = accounts.check(name, form.get("password", ""))
        except LeukoscopeError as error:
            return self._page(request, 503, form, error=str(error))
        if account is None:
            return self._page(request, 403, form, error=WRONG)
        self._attempts.succeeded(address, name)
        response = RedirectResponse(_inside(form.get("next", "")), 303)
        self._keys.enter(request, response, account)
        return response

    async def leave(self, request: Request) -> Response:
        response = Response(status_code=204)
        self._keys.leave(request, response)
        return response

    def _page(self, request: Request, status: int, form: dict[str, str] | None = None, **context: object) -> Response:
        visitor = self._keys.visitor(request) or secrets.token_hex(16)  # one for all its tabs
        wanted = (form or {}).get("next") or request.query_params.get("next", "")
        response = self._shown(request, status, **{"error": "", "closed": False, "name": (form or {}).get("name", ""),
                                                   "csrf": self._keys.visitor_csrf(visitor), "next": wanted} | context)
        self._keys.greet(request, response, visitor)
        return response


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            return {}
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10, keep_blank_values=True)
    except ValueError:  # more fields than that
        return {}
    return {key: values[-1] for key, values in fields.items()}


def _inside(wanted: str) -> str:
    """A path of this server, whatever was asked for."""
    path, mark, query = wanted.partition("?")
    path = "/" + quote(path.replace("\\", "/").lstrip("/"), safe="/%-._~")
    return path + (mark and f"?{quote(query, safe='=&%-._~')}")
