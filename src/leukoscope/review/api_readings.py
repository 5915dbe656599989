"""The JSON of blind second readings, and of how well observers agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..text import plain
from . import actions, words
from .accounts import Accounts
from .api import Api, NotFound, Words, file_answer, session_of
from .desk import Blind, Desk, Seat
from .export import to_csv


class ApiReadings:
    """The answers."""

    def __init__(self, api: Api, desk: Desk, accounts: Accounts | None) -> None:
        self._api, self._desk, self._accounts = api, desk, accounts

    def give(self, request: Request, message: Words) -> Response:
        """Give a smear to a second person. text: their name."""
        seat, who = self._api.seat(request), session_of(request).name
        if seat.review.reading:
            raise actions.Refused("this is a blind reading already", "give the smear itself to another person")
        account = self._accounts.get(message.text) if self._accounts is not None else None
        if self._accounts is not None and account is None:
            raise actions.Refused(f"no account is called '{plain(message.text, 60)}'", "name somebody who can log in")
        name = account.name if account is not None else message.text
        seat.review.act(message.key, who, lambda state: actions.give(state, name, who))
        self._desk.readings_of(seat)
        return JSONResponse(words.news(seat, session_of(request), message.since))

    def agreement(self, request: Request) -> Response:
        from .readings import agreements  # late: it needs the statistics

        return JSONResponse([asdict(one) for one in agreements(compared(self._desk, request))])

    def export(self, request: Request) -> Response:
        """Each cell as the machine and every observer call it, one row each."""
        from .readings import cell_rows

        rows = cell_rows(compared(self._desk, request))
        return file_answer({"agreement.csv": ("text/csv", lambda: to_csv(rows))}, "agreement.csv", "agreement.csv")


def compared(desk: Desk, request: Request) -> list[tuple[Seat, Sequence[Seat]]]:
    """The smears that a request names (?smear=KEY, several times; all without one), each with its blind readings; those
    that the person must not see yet are left out. Raises NotFound."""
    keys = request.query_params.getlist("smear") or [key for key, seat in desk.seats.items() if not seat.review.reading]
    found: list[tuple[Seat, Sequence[Seat]]] = []
    for key in keys:
        seat = desk.seat(key)
        if seat is None or seat.review.reading:
            raise NotFound("no such smear", "go back to the worklist")
        try:
            seat.review.state()
            desk.check_blind(seat, session_of(request).name)
        except Blind:
            continue
        found.append((seat, [other for _, other in desk.readings_of(seat)]))
    return found
