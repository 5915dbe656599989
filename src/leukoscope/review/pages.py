"""The pages: worklist, smear, history, report. Templates in templates/; what they need of scripts and styles in
static/."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from .. import __version__
from ..errors import LeukoscopeError
from ..text import count, percent, plain, plural, share, span, type_name
from . import words
from .api import NotFound, error_json, session_of, status_of
from .desk import Desk, Seat
from .door import Keys
from .journal import broken
from .state import STATES

FLAGGED_SHOWN = 12
"""Flagged cells whose pictures the report shows."""


def routes(desk: Desk, keys: Keys) -> list[Route]:
    """Everything that a person opens."""
    def page(path: str, make: Callable[[Seat], dict[str, Any]], template: str) -> Route:
        def answer(request: Request) -> Response:
            seat = desk.seats.get(request.path_params.get("smear", ""))
            if seat is None:
                raise NotFound("no such smear", "go back to the worklist")
            seat.look(session_of(request).id, session_of(request).name)
            return shown(template, request, keys, **make(seat))

        return Route(path, _answered(answer))

    def worklist(request: Request) -> Response:
        return shown("worklist.html", request, keys, rows=desk.worklist(), states=STATES)

    smear = "/smears/{smear}"
    return [Route("/", _answered(worklist)), page(smear, smear_page, "smear.html"),
            page(f"{smear}/history", history_page, "history.html"), page(f"{smear}/report", report_page, "report.html")]


def _answered(answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
    def safely(request: Request) -> Response:
        try:
            return answer(request)
        except LeukoscopeError as error:
            return refused(request, status_of(error), str(error))

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(safely, request)

    return endpoint


def shown(template: str, request: Request, keys: Keys, **context: Any) -> HTMLResponse:
    """A page for a session."""
    session = session_of(request)
    return HTMLResponse(_environment().get_template(template).render(
        me=session.name, csrf=keys.csrf(session), version=__version__, **context))


def refused(request: Request, status: int, message: str) -> Response:
    """A refusal: JSON for the API, a page for a person."""
    if request.url.path.startswith("/api/"):
        response = error_json(LeukoscopeError(message))
        response.status_code = status
        return response
    return HTMLResponse(_environment().get_template("message.html").render(
        message=message, version=__version__), status)


def smear_page(seat: Seat) -> dict[str, Any]:
    """What the frame of a review needs; the rest comes as JSON."""
    result = seat.review.result
    return {"key": result.key, "name": result.name, "missing": result.missing(), "remarks": result.summary.remarks}


def history_page(seat: Seat) -> dict[str, Any]:
    """Every event, the newest first, and whether the chain holds."""
    review = seat.review
    state = review.state()
    rows = []
    for place, event in enumerate(state.events):
        what, cells = words.event_words(event)
        back = place > 0 and event.at < state.events[place - 1].at
        rows.append({"event": event, "what": what, "cells": cells, "back": back})
    return {"key": review.result.key, "name": review.result.name, "rows": rows[::-1], "fault": broken(state.events),
            "state": state.word, "last": state.last}


def report_page(seat: Seat) -> dict[str, Any]:
    """The result on one A4 page."""
    review = seat.review
    state, now = review.state(), review.standing()
    machine = {kind.name: kind.cells for kind in review.result.summary.differential.types}
    flagged = [(place, name) for place, name in enumerate(review.names)
               if review.result.cells["flag"][place] is not None]
    flags = [{"place": place, "name": name, "flag": review.result.cells["flag"][place], "type": state.cells[name][0],
              "how": state.cells[name][1]} for place, name in flagged]
    return {"key": review.result.key, "name": review.result.name, "summary": review.result.summary, "now": now,
            "state": state, "signed": state.signatures[-1] if state.locked else None, "machine": machine,
            "flags": flags[:FLAGGED_SHOWN], "more": max(len(flags) - FLAGGED_SHOWN, 0), "last": state.last,
            "counted": datetime.fromtimestamp(review.result.written).strftime("%Y-%m-%d"),
            "comments": [one for one in state.comments if one.cell is None], "digest": review.result.digest[:8]}


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("leukoscope.review", "templates"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        count=count, percent=percent, share=share, plural=plural, plain=plain, when=_when,
        type_name=lambda name: plain(type_name(name)), tenths="{:.1f}".format)
    environment.globals.update(span=lambda low, high: span(low, high, page=True))
    return environment


def _when(at: str) -> str:
    """2026-11-30T00:45:12.123Z -> "2026-11-30 00:45 UTC"."""
    return f"{at[:10]} {at[11:16]} UTC"
