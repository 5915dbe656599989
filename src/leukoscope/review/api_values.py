"""The JSON of what is entered beside the cells."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from . import actions, entries, words
from .api import Api, Change, session_of
from .laboratory import TARGETS


class Value(Change):
    """A value: its name as in `entries`, and a number, or None to take it back."""

    name: Annotated[str, Field(min_length=1, max_length=300)]
    value: Annotated[float, Field(allow_inf_nan=False)] | None = None


class ApiValues:
    """The answers."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def enter(self, request: Request, message: Value) -> Response:
        seat, who = self._api.seat(request), session_of(request).name
        value = entries.checked(message.name, message.value, seat.review.result.summary.fields, TARGETS)
        seat.review.act(message.key, who, lambda state: actions.enter(
            state, message.name, value, base=message.since, who=who))
        return JSONResponse(words.news(seat, session_of(request), message.since))
