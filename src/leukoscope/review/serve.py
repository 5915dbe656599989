"""The server: the application, and how it is started: for this computer alone, or for others who have accounts."""

from __future__ import annotations

import errno
import getpass
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, ExceptionHandler

from ..errors import LeukoscopeError, first_line
from ..text import plain
from . import api_routes, login, pages, tiles
from .accounts import Accounts, open_accounts
from .desk import Desk
from .door import HOSTS, Door, Keys
from .fitting import Fitting
from .folders import watched_folders
from .laboratory import Laboratory, read_laboratory
from .openapi import with_document
from .watch import Watch

PORT = 8765
NO_TLS = ("this server does not encrypt: a proxy with TLS must be in front of it (--proxy ADDRESS), or give --cert and "
          "--key; until then nobody can log in from another computer")
_TRIED = 20
"""Ports after PORT that are tried where none is asked for."""


def application(desk: Desk, keys: Keys, fitting: Fitting | None = None) -> ASGIApp:
    """The application, behind its door. fitting: None fits models beside the first smear."""
    fitting = fitting or Fitting(desk, next((seat.review.result.folder for seat in desk.seats.values()), Path()))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = pages.refused(request, error.status_code, f"{plain(request.url.path, 80)}: {error.detail.lower()}")
        response.headers.update(error.headers or {})
        return response

    async def on_fault(request: Request, error: Exception) -> Response:
        return pages.refused(request, 500, f"a fault of this program ({type(error).__name__}); nothing was changed")

    handlers: dict[type[Exception], ExceptionHandler] = {HTTPException: on_http, Exception: on_fault}
    app = Starlette(routes=[
        *with_document(api_routes.routes(desk, keys, fitting)), *tiles.routes(desk), *pages.routes(desk, keys, fitting),
        *login.routes(keys, pages.login_page),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))], exception_handlers=handlers)
    app.add_middleware(GZipMiddleware, minimum_size=2000)
    return Door(app, keys, pages.refused)


@dataclass(frozen=True)
class Options:
    """How a server is reached. port: None takes PORT or one of the next that are free; name: who reviews where there
    are no accounts, until a person says otherwise; engine: where decisions are kept (see Desk); log_in: demand accounts
    on this computer too; cert, key: of TLS, PEM files; proxy: addresses of proxies whose word on the browser's address
    and encryption is taken; laboratory: a file of its settings; watch: a folder whose new photographs are counted (see
    Watch)."""

    host: str = "127.0.0.1"
    port: int | None = None
    name: str = ""
    engine: sa.Engine | None = None
    log_in: bool = False
    cert: Path | None = None
    key: Path | None = None
    proxy: str = "127.0.0.1"
    browser: bool = True
    laboratory: Path | None = None
    watch: Path | None = None


@dataclass(frozen=True)
class Started:
    """A server that listens. warning: what whoever started it must know, or ""."""

    address: str
    warning: str


def serve(folders: Sequence[Path], options: Options, on_start: Callable[[Started], None]) -> None:
    """Serve the smears in folders until it is interrupted. on_start: is told the address. Raises LeukoscopeError for
    folders without a result, for a port that is taken, where others could come in and there is no account, and for a
    certificate that cannot be used."""
    accounts = _accounts(options)
    check_certificate(options.cert, options.key)
    out, counted = watched_folders(folders, options.watch) if options.watch else (None, folders)
    desk = open_desk(counted, options.engine, options.laboratory)
    opened = _listen(options.host, options.port)
    port = opened.getsockname()[1]
    keys = Keys(port, plain(options.name or _login(), 100), accounts)
    started = _started(options, port, keys)
    fitting = Fitting(desk, folders[0])
    import uvicorn  # late: a refusal needs none of it

    server = uvicorn.Server(uvicorn.Config(
        application(desk, keys, fitting), log_level="error", access_log=False, server_header=False, lifespan="off",
        timeout_graceful_shutdown=3, forwarded_allow_ips=options.proxy,
        ssl_certfile=options.cert, ssl_keyfile=options.key))
    on_start(started)
    desk.cut_ahead(list(desk.seats.values()))
    if options.watch and out:
        desk.watch = Watch(options.watch, out, desk.add)
        desk.watch.start()
    if options.browser:
        webbrowser.open(started.address)
    try:
        with _ended_by_signals():
            server.run(sockets=[opened])
    finally:
        fitting.close()
        desk.close()
        opened.close()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM, and the SIGHUP of a terminal that is closed, end the program like Ctrl+C does: by an exception, so
    that what it has begun ends too. uvicorn alone would stop, and then die of the signal at once."""
    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    named = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {one: signal.signal(one, end) for one in named if signal.getsignal(one) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def open_desk(folders: Sequence[Path], engine: sa.Engine | None = None, laboratory: Path | None = None) -> Desk:
    """The smears in folders, with the settings of a laboratory. Raises LeukoscopeError."""
    settings = read_laboratory(laboratory) if laboratory is not None else Laboratory()
    desk = Desk(folders, engine, settings)
    known = {name for seat in desk.seats.values() for name in seat.review.types(seat.review.state())}
    try:
        settings.check_types(known, str(laboratory))
    except LeukoscopeError:
        desk.close()
        raise
    return desk


def _started(options: Options, port: int, keys: Keys) -> Started:
    everywhere = options.host in ("0.0.0.0", "::", "")
    host = socket.gethostname() if everywhere else f"[{options.host}]" if ":" in options.host else options.host
    address = f"http{'s' if options.cert else ''}://{host}:{port}/"
    if keys.accounts is None:
        return Started(f"{address}?token={keys.token}", "")
    return Started(address, "" if options.cert or options.host in HOSTS else NO_TLS)


def _accounts(options: Options) -> Accounts | None:
    """Who may come in; None where only this computer reaches the server, and the token lets in. Raises LeukoscopeError
    where accounts are needed and there is none."""
    if options.host in HOSTS and not options.log_in:
        return None
    accounts = open_accounts(options.engine)
    if not any(one.disabled is None for one in accounts.every()):
        what = "--log-in" if options.host in HOSTS else f"--host {plain(options.host, 60)}: others can reach the server"
        raise LeukoscopeError(f"{what}, and there is no account yet",
                              "add one: leukoscope review user add NAME --role haematologist")
    return accounts


def check_certificate(cert: Path | None, key: Path | None) -> None:
    """Raise LeukoscopeError for a certificate or key that cannot be used."""
    if cert is None:
        if key is not None:
            raise LeukoscopeError("--key: has no --cert", "give both")
        return
    for path in (cert, *([key] if key else [])):
        if not path.is_file():
            raise LeukoscopeError(f"{path}: no such file", "name a PEM file")
    import ssl

    def no_password() -> str:
        raise LeukoscopeError(f"{key or cert}: the key has a password",
                              "write it without one: openssl pkey -in KEY -out NEW")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, no_password)
    except (ssl.SSLError, OSError) as error:
        raise LeukoscopeError(f"{cert}: not a certificate with its key ({first_line(error)})",
                              "give --cert and --key as PEM files that belong together") from error


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens, on the port or on the first free one."""
    wanted = [port] if port is not None else list(range(PORT, PORT + _TRIED))
    for one in wanted:
        # asyncio sends at once (TCP_NODELAY) only where the protocol is stated; else each answer waits 40 ms.
        opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM,
                               socket.IPPROTO_TCP)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((host, one))
            opened.listen(128)
        except OSError as error:
            opened.close()
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise LeukoscopeError(f"--host {plain(host, 60)}: not an address of this computer",
                                      "name one of its addresses, or 0.0.0.0 for all") from error
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
