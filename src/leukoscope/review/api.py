"""The JSON of /api/v1, and the pictures. Every change comes with a key that its sender chose: sent again, it is the
same change. What is answered with success is on the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import LeukoscopeError
from ..text import plain
from . import actions, export, words
from .database import NotSaved
from .desk import Desk, Seat
from .door import Keys, Session
from .pictures import outlines

LARGEST = 2_000_000
"""Bytes of a message."""
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{8,64}$")]
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Change(_Message):
    """What every change brings. since: the last event that the page has seen."""

    key: Key
    since: Annotated[int, Field(ge=0)]


class Decision(Change):
    """cells: their rows."""

    cells: Annotated[list[int], Field(min_length=1, max_length=100_000)]
    did: Literal["type", "confirm", "reject", "restore"]
    type: str = ""


class Words(Change):
    """text: a comment, a reason or a name; cell: the row that it is about, or None."""

    text: str
    cell: int | None = None


class Name(_Message):
    """Who sits at the browser."""

    name: Annotated[str, Field(min_length=1, max_length=100)]


class NotFound(LeukoscopeError):
    """No such smear, cell or field."""


class BadMessage(LeukoscopeError):
    """A message that is not as it should be."""


def status_of(error: LeukoscopeError) -> int:
    """The HTTP status of an error."""
    kinds = ((NotFound, 404), (BadMessage, 400), (actions.Refused, 409))
    if isinstance(error, NotSaved):
        return 507 if "full" in error.what else 503
    return next((status for kind, status in kinds if isinstance(error, kind)), 422)


def routes(desk: Desk, keys: Keys) -> list[Route]:
    """Everything below /api/v1."""
    api = Api(desk, keys)
    smear = "/api/v1/smears/{smear}"
    return [
        Route("/api/v1/smears", _get(api.smears)), Route("/api/v1/me", _post(api.me, Name), methods=["POST"]),
        Route(smear, _get(api.smear)), Route(f"{smear}/news", _get(api.news)),
        Route(f"{smear}/history", _get(api.history)),
        Route(f"{smear}/cells/{{cell:int}}", _get(api.cell)),
        Route(f"{smear}/cells/{{cell:int}}.jpg", _get(api.tile)),
        Route(f"{smear}/cells/{{cell:int}}/around.jpg", _get(api.around)),
        Route(f"{smear}/fields/{{field:int}}.jpg", _get(api.field)),
        Route(f"{smear}/fields/{{field:int}}/outlines", _get(api.outlines)),
        *(Route(f"{smear}/{name}", _post(act, kind), methods=["POST"]) for name, act, kind in (
            ("decisions", api.decide, Decision), ("undo", api.undo, Change), ("redo", api.redo, Change),
            ("comments", api.comment, Words), ("types", api.add_type, Words), ("signature", api.sign, Words),
            ("amendments", api.amend, Words))),
        Route(f"{smear}/export/{{name}}", _get(api.export)), Route("/api/v1/export/{name}", _get(api.export_all)),
    ]


def _get(answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(_in_json, answer, request)

    return endpoint


def _post(act: Callable[[Request, Any], Response], kind: type[BaseModel]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LARGEST:
                return error_json(BadMessage(f"a message has at most {LARGEST:,} bytes"))
        return await run_in_threadpool(_in_json, lambda one: act(one, _parsed(kind, body)), request)

    return endpoint


def _parsed(kind: type[BaseModel], body: bytes) -> BaseModel:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "message"
        raise BadMessage(f"{where}: {first['msg']}", "load the page again") from error


def _in_json(answer: Callable[[Request], Response], request: Request) -> Response:
    try:
        return answer(request)
    except LeukoscopeError as error:
        return error_json(error)


def error_json(error: LeukoscopeError) -> JSONResponse:
    """An error as JSON, in one line."""
    return JSONResponse({"error": str(error)}, status_of(error))


def session_of(request: Request) -> Session:
    """The session that the door has let in."""
    return request.scope["session"]


class Api:
    """The answers; each takes a request, and a checked message where something is changed."""

    def __init__(self, desk: Desk, keys: Keys) -> None:
        self._desk, self._keys = desk, keys

    def seat(self, request: Request) -> Seat:
        """The smear of an address. Raises NotFound."""
        seat = self._desk.seats.get(request.path_params["smear"])
        if seat is None:
            raise NotFound("no such smear", "go back to the worklist")
        return seat

    def _place(self, request: Request, seat: Seat) -> int:
        place = request.path_params["cell"]
        if place >= len(seat.review.names):
            raise NotFound(f"no cell {place}", "load the page again")
        return place

    def _field(self, request: Request, seat: Seat) -> str:
        place, fields = request.path_params["field"], seat.review.result.summary.fields
        if place >= len(fields):
            raise NotFound(f"no field {place}", "load the page again")
        return fields[place].name

    def smears(self, _: Request) -> Response:
        return JSONResponse([row.__dict__ for row in self._desk.worklist()])

    def me(self, request: Request, message: Name) -> Response:
        name = plain(message.name, 100)
        response = JSONResponse({"me": name})
        self._keys.start(response, session_of(request), name)
        return response

    def smear(self, request: Request) -> Response:
        return JSONResponse(words.smear_json(self.seat(request), session_of(request)))

    def news(self, request: Request) -> Response:
        since = request.query_params.get("since", "0")
        if not since.isdecimal() or len(since) > 12:
            raise BadMessage("since: not the number of an event", "load the page again")
        return JSONResponse(words.news(self.seat(request), session_of(request), int(since)))

    def history(self, request: Request) -> Response:
        state = self.seat(request).review.state()
        return JSONResponse([event.__dict__ for event in state.events])

    def cell(self, request: Request) -> Response:
        seat = self.seat(request)
        return JSONResponse(words.cell_json(seat.review, self._place(request, seat)))

    def tile(self, request: Request) -> Response:
        seat = self.seat(request)
        return Response(seat.pictures.tile(self._place(request, seat)), media_type="image/jpeg", headers=FOREVER)

    def around(self, request: Request) -> Response:
        seat = self.seat(request)
        return Response(seat.pictures.around(self._place(request, seat)), media_type="image/jpeg", headers=FOREVER)

    def field(self, request: Request) -> Response:
        seat = self.seat(request)
        return Response(seat.pictures.field(self._field(request, seat)), media_type="image/jpeg", headers=FOREVER)

    def outlines(self, request: Request) -> Response:
        seat = self.seat(request)
        found = outlines(seat.review.result.folder, self._field(request, seat))
        return JSONResponse(found, headers=FOREVER)

    def _acted(self, request: Request, message: Change, seat: Seat) -> Response:
        return JSONResponse(words.news(seat, session_of(request), message.since))

    def decide(self, request: Request, message: Decision) -> Response:
        seat = self.seat(request)
        seat.review.decide(message.key, session_of(request).name, message.cells, message.did, message.type,
                           message.since)
        return self._acted(request, message, seat)

    def undo(self, request: Request, message: Change) -> Response:
        return self._drafted(request, message, actions.undo)

    def redo(self, request: Request, message: Change) -> Response:
        return self._drafted(request, message, actions.redo)

    def comment(self, request: Request, message: Words) -> Response:
        seat, cell = self.seat(request), message.cell
        if cell is not None and not 0 <= cell < len(seat.review.names):
            raise NotFound(f"no cell {cell}", "load the page again")
        name = None if cell is None else seat.review.names[cell]
        return self._drafted(request, message, lambda state, _: actions.comment(state, message.text, name))

    def add_type(self, request: Request, message: Words) -> Response:
        review = self.seat(request).review
        return self._drafted(request, message, lambda state, _: actions.add_type(
            state, message.text, review.types(state)))

    def sign(self, request: Request, message: Words) -> Response:
        seat = self.seat(request)
        seat.review.sign(message.key, session_of(request).name, message.text)
        return self._acted(request, message, seat)

    def amend(self, request: Request, message: Words) -> Response:
        return self._drafted(request, message, lambda state, _: actions.amend(state, message.text))

    def _drafted(self, request: Request, message: Change, draft: Callable[[Any, str], actions.Draft]) -> Response:
        seat, who = self.seat(request), session_of(request).name
        seat.review.act(message.key, who, lambda state: draft(state, who))
        return self._acted(request, message, seat)

    def export(self, request: Request) -> Response:
        """One smear as a file, by the file's name."""
        review, name = self.seat(request).review, request.path_params["name"]
        state, stem = review.state(), export.file_stem(review.result)
        made: dict[str, tuple[str, Callable[[], bytes]]] = {
            "cells.csv": ("text/csv", lambda: export.to_csv(export.cell_rows(review, state))),
            "smear.csv": ("text/csv", lambda: export.to_csv([export.smear_row(review, state)])),
            "smear.xlsx": (XLSX, lambda: export.to_xlsx({
                "smear": [export.smear_row(review, state)], "cells": export.cell_rows(review, state)})),
            "outlines.zip": ("application/zip", lambda: export.outlines_zip(review, state)),
            "confirmed.parquet": ("application/vnd.apache.parquet", lambda: export.parquet(
                export.confirmed_cells(review, state)))}
        return _file(made, name, f"{stem}-{name}")

    def export_all(self, request: Request) -> Response:
        """All smears in one table, one row each."""
        def rows() -> list[dict[str, Any]]:
            return [export.smear_row(seat.review, seat.review.state()) for seat in self._desk.seats.values()]

        return _file({"smears.csv": ("text/csv", lambda: export.to_csv(rows())),
                      "smears.xlsx": (XLSX, lambda: export.to_xlsx({"smears": rows()}))},
                     request.path_params["name"], request.path_params["name"])


def _file(made: dict[str, tuple[str, Callable[[], bytes]]], name: str, called: str) -> Response:
    if name not in made:
        raise NotFound("no such export", f"choose one of {', '.join(made)}")
    media, make = made[name]
    return Response(make(), media_type=media, headers={"content-disposition": f'attachment; filename="{called}"'})
