"""The JSON of /api/v1, and the pictures. Every change comes with a key that its sender chose: sent again, it is the
same change. What is answered with success is on the disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .. import tables
from ..errors import LeukoscopeError
from ..text import plain
from . import actions, export, fhir, hl7, words
from .accounts import NotAdministrator
from .database import NotSaved
from .desk import Blind, Desk, Seat
from .door import Keys, Session
from .items import report_of
from .pictures import outlines
from .state import State

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{8,64}$")]
_WHOLE = BeforeValidator(lambda given: int(given) if isinstance(given, float) and given.is_integer() else given)
"""In JSON 2.0 is a whole number too."""
Row = Annotated[int, _WHOLE]
Place = Annotated[int, Field(ge=0), _WHOLE]
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
JSON = "application/json"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class Message(BaseModel):
    """What a page sends; nothing else may stand in it."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Change(Message):
    """What every change brings. since: the last event that the page has seen."""

    key: Key
    since: Place


class Decision(Change):
    """cells: their rows."""

    cells: Annotated[list[Row], Field(min_length=1, max_length=100_000)]
    did: Literal["type", "confirm", "reject", "restore"]
    type: str = ""


class Words(Change):
    """text: a comment, a reason or a name; cell: the row that it is about, or None."""

    text: str
    cell: Row | None = None


class Name(Message):
    """Who sits at the browser."""

    name: Annotated[str, Field(min_length=1, max_length=100)]


class NotFound(LeukoscopeError):
    """No such smear, cell or field."""


class BadMessage(LeukoscopeError):
    """A message that is not as it should be."""


class Forbidden(LeukoscopeError):
    """This account may not do that."""


def status_of(error: LeukoscopeError) -> int:
    """The HTTP status of an error."""
    kinds = ((NotFound, 404), (BadMessage, 400), (Forbidden, 403), (NotAdministrator, 403), (Blind, 403),
             (actions.Refused, 409))
    if isinstance(error, NotSaved):
        return 507 if error.full else 503
    return next((status for kind, status in kinds if isinstance(error, kind)), 422)


def error_json(error: LeukoscopeError) -> JSONResponse:
    """An error as JSON, in one line."""
    return JSONResponse({"error": str(error)}, status_of(error))


def session_of(request: Request) -> Session:
    """The session that the door has let in."""
    return request.scope["session"]


def seat_of(desk: Desk, request: Request) -> Seat:
    """The smear of an address, for who may see it. Raises NotFound, Blind."""
    seat = desk.seat(request.path_params["smear"])
    if seat is None:
        raise NotFound("no such smear", "go back to the worklist")
    desk.check_blind(seat, session_of(request).name)
    return seat


class Api:
    """The answers; each takes a request, and a checked message where something is changed."""

    def __init__(self, desk: Desk, keys: Keys) -> None:
        self._desk, self._keys = desk, keys

    def seat(self, request: Request) -> Seat:
        """The smear of an address. Raises NotFound, Blind."""
        return seat_of(self._desk, request)

    def place(self, request: Request, seat: Seat) -> int:
        """The cell of an address. Raises NotFound."""
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
        if self._keys.accounts is not None:
            raise Forbidden("your name is that of your account", "log out, and log in with another account")
        name = plain(message.name, 100)
        response = JSONResponse({"me": name})
        self._keys.start(request, response, session_of(request), name)
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
        return JSONResponse([event.__dict__ if state.owns(event) else {**event.__dict__, "body": {"hidden": True}}
                             for event in state.events])

    def cell(self, request: Request) -> Response:
        seat = self.seat(request)
        return JSONResponse(words.cell_json(seat.review, self.place(request, seat)))

    def _picture(self, request: Request, seat: Seat, draw: Callable[[tables.Row], bytes]) -> Response:
        place, cells = self.place(request, seat), seat.review.cells
        # A drawn cell is another one where the record was begun anew.
        return Response(draw(cells.row(place)), media_type="image/jpeg", headers=FOREVER if place < cells.machine
                        else {"cache-control": "private, no-cache"})

    def tile(self, request: Request) -> Response:
        seat = self.seat(request)
        return self._picture(request, seat, seat.pictures.tile)

    def around(self, request: Request) -> Response:
        seat = self.seat(request)
        return self._picture(request, seat, seat.pictures.around)

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
            state, message.text, review.types(state), actions.MOST_TYPES - len(review.laboratory.types)))

    def _signer(self, request: Request) -> None:
        if not session_of(request).may_sign:
            raise Forbidden(f"accounts of the role {session_of(request).role} may not sign or amend",
                            "ask a haematologist")

    def sign(self, request: Request, message: Words) -> Response:
        seat = self.seat(request)
        if not seat.review.reading:  # a second person signs what they have read, whatever their role
            self._signer(request)
        seat.review.sign(message.key, session_of(request).name, message.text)
        return self._acted(request, message, seat)

    def countersign(self, request: Request, message: Words) -> Response:
        """Sign a signed smear as a second person."""
        self._signer(request)
        return self._drafted(request, message, lambda state, who: actions.countersign(
            state, message.text, who, message.since))

    def amend(self, request: Request, message: Words) -> Response:
        self._signer(request)
        return self._drafted(request, message, lambda state, _: actions.amend(state, message.text))

    def _drafted(self, request: Request, message: Change, draft: Callable[[State, str], actions.Draft]) -> Response:
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
            "cells.coco.json": (JSON, lambda: _json(export.coco(review, state))),
            "report.fhir.json": ("application/fhir+json", lambda: _json(fhir.bundle(report_of(review, state)))),
            "report.hl7": ("x-application/hl7-v2+er7", lambda: hl7.message(report_of(review, state)).encode()),
            "confirmed.parquet": ("application/vnd.apache.parquet", lambda: export.parquet(
                export.confirmed_cells(review, state)))}
        return file_answer(made, name, f"{stem}-{name}")

    def export_all(self, request: Request) -> Response:
        """All smears in one table, one row each."""
        def rows() -> list[dict[str, object]]:
            return [export.smear_row(seat.review, seat.review.state()) for seat in list(self._desk.seats.values())
                    if not seat.review.reading]

        return file_answer({"smears.csv": ("text/csv", lambda: export.to_csv(rows())),
                      "smears.xlsx": (XLSX, lambda: export.to_xlsx({"smears": rows()}))},
                     request.path_params["name"], request.path_params["name"])


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1).encode()


def file_answer(made: dict[str, tuple[str, Callable[[], bytes]]], name: str, called: str) -> Response:
    if name not in made:
        raise NotFound("no such export", f"choose one of {', '.join(made)}")
    media, make = made[name]
    return Response(make(), media_type=media, headers={"content-disposition": f'attachment; filename="{called}"'})
