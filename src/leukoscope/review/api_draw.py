"""The JSON of cells that a person draws: a missed one, two of one, one of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from . import actions, words
from .api import Api, Change, NotFound, Place, Row, session_of
from .desk import Seat

Point = Annotated[list[Annotated[float, Field(ge=0, le=100_000)]], Field(min_length=2, max_length=2)]
"""x, y in px of the field; 0 is the middle of the first pixel."""


class Missed(Change):
    """A cell that was missed. field: its place among the fields."""

    field: Place
    point: Point


class Split(Change):
    """A cell that is two. middles: of both, or none."""

    cell: Place
    middles: Annotated[list[Point], Field(max_length=2, default_factory=list)]


class Join(Change):
    """Cells that are one."""

    cells: Annotated[list[Row], Field(min_length=2, max_length=4)]


class ApiDraw:
    """The answers; each says, beside the news, which cells were drawn and how."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def add(self, request: Request, message: Missed) -> Response:
        seat = self._api.seat(request)
        fields = seat.review.result.summary.fields
        if message.field >= len(fields):
            raise NotFound(f"no field {message.field}", "load the page again")
        x, y = message.point
        return self._drawn(request, message, seat, "add", [],
                           lambda: seat.drawing.add(fields[message.field].name, x, y))

    def split(self, request: Request, message: Split) -> Response:
        seat = self._api.seat(request)
        if len(message.middles) == 1:
            raise actions.Refused("two cells have two middles", "click the middle of each of the two, or of none")
        middles = [(x, y) for x, y in message.middles]
        return self._drawn(request, message, seat, "split", [message.cell],
                           lambda: seat.drawing.split(message.cell, middles))

    def join(self, request: Request, message: Join) -> Response:
        seat = self._api.seat(request)
        return self._drawn(request, message, seat, "join", message.cells, lambda: seat.drawing.join(message.cells))

    def _drawn(self, request: Request, message: Change, seat: Seat, did: Literal["add", "split", "join"],
               places: Sequence[int], sketch: actions.Sketching) -> Response:
        """Draw, which takes a second, and only then store: others need not wait. A message that comes again is not
        drawn again."""
        review, who = seat.review, session_of(request).name
        parents = review.named(places) if places else []
        event = review.state().keys.get(message.key)
        if event is None:
            actions.check_drawable(review.state(), parents)
            sketches = sketch()
            event = review.act(message.key, who, lambda state: actions.draw(
                state, did, parents, sketches, base=message.since, who=who))
        new = event.body.get("new", ())
        cells = review.cells.places
        return JSONResponse({**words.news(seat, session_of(request), message.since),
                             "drawn": [cells[one["name"]] for one in new], "drawn_how": [one["how"] for one in new]})
