"""The server: the application, and how it is started on this computer alone."""

from __future__ import annotations

import errno
import getpass
import socket
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ..errors import LeukoscopeError
from ..text import plain
from . import api, pages
from .desk import Desk
from .door import HOSTS, Door, Keys

PORT = 8765
_TRIED = 20
"""Ports after PORT that are tried where none is asked for."""


def application(desk: Desk, keys: Keys) -> ASGIApp:
    """The application, behind its door."""
    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return pages.refused(request, error.status_code, f"{plain(request.url.path, 80)}: {error.detail.lower()}")

    async def on_fault(request: Request, error: Exception) -> Response:
        return pages.refused(request, 500, f"a fault of this program ({type(error).__name__}); nothing was changed")

    handlers: dict[Any, Any] = {HTTPException: on_http, Exception: on_fault}
    app = Starlette(routes=[
        *api.routes(desk, keys), *pages.routes(desk, keys),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))], exception_handlers=handlers)
    app.add_middleware(GZipMiddleware, minimum_size=2000)
    return Door(app, keys, pages.refused)


def serve(folders: Sequence[Path], *, host: str = "127.0.0.1", port: int | None = None, name: str = "",
          browser: bool = True, on_start: Callable[[str], None]) -> None:
    """Serve the smears in folders until it is interrupted. name: who reviews, until a person says otherwise; None as
    port takes PORT or one of the next that are free. on_start: is told the address. Raises LeukoscopeError for folders
    without a result, for a port that is taken, and for a host that is not this computer."""
    check_host(host)
    desk = Desk(folders)
    opened = _listen(host, port)
    chosen = opened.getsockname()[1]
    keys = Keys(chosen, plain(name or _login(), 100))
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{chosen}/?token={keys.token}"
    import uvicorn  # late: a refusal needs none of it

    server = uvicorn.Server(uvicorn.Config(application(desk, keys), log_level="error", access_log=False,
                                           server_header=False, lifespan="off", timeout_graceful_shutdown=3))
    on_start(address)
    desk.cut_ahead()
    if browser:
        webbrowser.open(address)
    try:
        server.run(sockets=[opened])
    finally:
        desk.close()
        opened.close()


def check_host(host: str) -> None:
    """Raise LeukoscopeError for a host that is not this computer."""
    if host not in HOSTS:
        raise LeukoscopeError(f"--host {plain(host, 60)}: others could change and sign results without an account",
                              "leave --host out; reach this computer through SSH: ssh -L 8765:127.0.0.1:8765 HOST")


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens, on the port or on the first free one."""
    wanted = [port] if port is not None else list(range(PORT, PORT + _TRIED))
    for one in wanted:
        opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((host, one))
            opened.listen(128)
        except OSError as error:
            opened.close()
            if error.errno != errno.EADDRINUSE:
                raise LeukoscopeError(f"--port {one}: {error.strerror}", "choose another port") from error
        else:
            return opened
    raise LeukoscopeError(f"--port {wanted[0]}: is in use", "stop the other program, or choose another port")


def _login() -> str:
    """The name of who is logged in, or "reviewer"."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "reviewer"
