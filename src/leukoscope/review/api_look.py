"""The JSON of what is shown beside a cell: reference cells, and where the model looks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..phantom import TYPES
from .api import FOREVER, Api, NotFound, session_of
from .desk import Desk
from .references import SHOWN, phantom_tile, references


class ApiLook:
    """The answers."""

    def __init__(self, api: Api, desk: Desk) -> None:
        self._api, self._desk = api, desk

    def references(self, request: Request) -> Response:
        seat = self._api.seat(request)
        place = self._api.place(request, seat)
        rows = []
        for one in references(self._desk.seats.values(), seat, place, session_of(request).name):
            sources = [f"/api/v1/smears/{key}/cells/{at}.jpg?v={self._desk.seats[key].review.result.digest[:8]}"
                       for key, at in one.own]
            phantom = [f"/api/v1/phantom/{one.phantom}/{number}.jpg" for number in range(SHOWN)] if one.phantom else []
            rows.append({"type": one.type, "own": bool(one.own), "cells": sources or phantom})
        return JSONResponse(rows)

    def explanation(self, request: Request) -> Response:
        seat = self._api.seat(request)
        return Response(seat.drawing.explain(self._api.place(request, seat)), media_type="image/jpeg",
                        headers={"cache-control": "private, max-age=3600"})

    def phantom(self, request: Request) -> Response:
        kind, number = request.path_params["kind"], request.path_params["number"]
        if kind not in TYPES or number >= SHOWN:
            raise NotFound("no such cell of the phantom", "load the page again")
        return Response(phantom_tile(kind, number), media_type="image/jpeg", headers=FOREVER)
