"""The pages: worklist, smear, history, report. Templates in templates/; what they need of scripts and styles in
static/."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import cache, partial
from typing import get_args
from urllib.parse import urlencode

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from .. import __version__, templates
from ..errors import LeukoscopeError
from ..smear.summary import SmearSummary
from ..stats.estimate import Estimate
from ..text import grouped, interval, number, plain, points, share, span
from . import words
from .accounts import Role
from .api import error_json, seat_of, session_of, status_of
from .api_accounts import administered
from .api_model import ApiModel, may_fit
from .api_readings import compared
from .count import Standing
from .desk import Desk, Seat
from .door import Keys
from .entries import GRADES
from .fitting import LEAST, Fitting
from .outcome import outcome_of
from .state import ABSENT, STATES
from .watch import version_of

EXPORTS = (
    ("smear.xlsx", "Spreadsheet (XLSX)"), ("smear.csv", "Smear, one row (CSV)"),
    ("cells.csv", "Cells, one row each (CSV)"), ("outlines.zip", "Outlines for QuPath (GeoJSON)"),
    ("cells.coco.json", "Outlines as COCO (JSON)"),
    ("report.fhir.json", "Result as FHIR R4 (JSON)"), ("report.hl7", "Result as HL7 v2.5 (ORU)"),
    ("confirmed.parquet", "Confirmed cells to learn from (Parquet)"))
"""The files of one smear, and what each is."""
FLAGGED_SHOWN = 12
"""Flagged cells whose pictures the report shows."""


def routes(desk: Desk, keys: Keys, fitting: Fitting) -> list[Route]:
    """Everything that a person opens."""
    def page(path: str, make: Callable[[Seat], dict[str, object]], template: str) -> Route:
        def answer(request: Request) -> Response:
            seat = seat_of(desk, request)
            seat.look(session_of(request).id, session_of(request).name)
            return shown(template, request, keys, **make(seat))

        return Route(path, _answered(answer))

    def worklist(request: Request) -> Response:
        return shown("worklist.html", request, keys, rows=desk.worklist(), states=STATES,
                     watch=desk.watch, watch_version=version_of(desk.watch))

    def agreement(request: Request) -> Response:
        from .readings import agreements  # late: it needs the statistics

        smears = compared(desk, request)
        query = f"?{urlencode([('smear', seat.key) for seat, _ in smears])}" if request.query_params else ""
        return shown("agreement.html", request, keys, pairs=agreements(smears), query=query,
                     names=[seat.review.result.name for seat, _ in smears])

    def accounts(request: Request) -> Response:
        rows = administered(keys, session_of(request)).every()
        return shown("accounts.html", request, keys, rows=rows, roles=get_args(Role))

    def model(request: Request) -> Response:
        choices = [(one, shlex.join(["leukoscope", *fitting.command(one, "ours.zip")])) for one in fitting.confirmed()]
        return shown("model.html", request, keys, choices=choices, fitted=fitting.fitted(), running=fitting.running,
                     failed=fitting.failed, least=LEAST, may_fit=may_fit(session_of(request)))

    smear = "/smears/{smear}"
    return [Route("/", _answered(worklist)), Route("/agreement", _answered(agreement)),
            Route("/accounts", _answered(accounts)), Route("/model", _answered(model)),
            Route("/model/{name}", _answered(ApiModel(fitting).model_page)),
            page(smear, smear_page, "smear.html"), page(f"{smear}/history", history_page, "history.html"),
            page(f"{smear}/report", report_page, "report.html")]


def _answered(answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    def safely(request: Request) -> Response:
        try:
            return answer(request)
        except LeukoscopeError as error:
            return refused(request, status_of(error), str(error))

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(safely, request)

    return endpoint


def shown(template: str, request: Request, keys: Keys, **context: object) -> HTMLResponse:
    """A page for a session."""
    session = session_of(request)
    return HTMLResponse(_environment().get_template(template).render(
        me=session.name, role=session.role, csrf=keys.csrf(session), version=__version__, **context))


def login_page(request: Request, status: int, **context: object) -> Response:
    """Where somebody logs in who has no session yet."""
    return HTMLResponse(_environment().get_template("login.html").render(version=__version__, **context), status)


def refused(request: Request, status: int, message: str) -> Response:
    """A refusal: JSON for the API, a page for a person."""
    if request.url.path.startswith("/api/"):
        response = error_json(LeukoscopeError(message))
        response.status_code = status
        return response
    return HTMLResponse(_environment().get_template("message.html").render(
        message=message, version=__version__), status)


def smear_page(seat: Seat) -> dict[str, object]:
    """What the frame of a review needs; the rest comes as JSON."""
    result = seat.review.result
    state = seat.review.state()
    reading = state.readings[state.reading - 1] if state.reading else None
    return {"key": seat.key, "name": result.name, "missing": result.missing(), "reading": reading, "exports": EXPORTS,
            "slide": result.summary.slide is not None, "fault": seat.review.fault(),
            **_remarks(result.summary, seat.review.standing())}


def _remarks(summary: SmearSummary, now: Standing) -> dict[str, object]:
    """What must be known of a count. unreliable: why there are no shares yet, in words, or ""; grave: that and what
    else comes first; unreadable: photographs that are in no count; remarks: everything else."""
    withheld = any(kind.share is not None and kind.share.value is None for kind in now.count.types)
    unreliable = summary.unreliable if withheld else ""
    left_out = grouped((plain(one.image, 60), plain(one.reason)) for one in summary.left_out)
    return {"unreliable": unreliable, "grave": [text for text in (unreliable, summary.finding) if text],
            "unreadable": grouped((plain(one.image, 60), plain(one.reason)) for one in summary.unreadable),
            "remarks": [*summary.remarks, *(f"in no count: {line}" for line in left_out)]}


def history_page(seat: Seat) -> dict[str, object]:
    """Every event, the newest first, and whether the chain holds."""
    review = seat.review
    state = review.state()
    rows = []
    for place, event in enumerate(state.events):
        what, cells = words.event_words(event) if state.owns(event) else ("An event of another, blind reading", [])
        back = place > 0 and event.at < state.events[place - 1].at
        rows.append({"event": event, "what": what, "cells": cells, "back": back})
    return {"key": seat.key, "name": review.result.name, "rows": rows[::-1], "fault": review.fault(),
            "state": state.word, "last": state.last}


def report_page(seat: Seat) -> dict[str, object]:
    """The result on one A4 page."""
    review = seat.review
    state, now = review.state(), review.standing()
    cells, found = review.cells, outcome_of(review, state)
    kinds = cells.table["flag"].to_list()
    flags = [{"place": place, "name": name, "flag": kinds[place], "type": state.cells[name][0],
              "how": state.cells[name][1]} for place, name in enumerate(cells.names)
             if kinds[place] is not None and state.cells[name][1] != ABSENT]
    return {"key": seat.key, "name": review.result.name, "summary": review.result.summary, "now": now,
            "state": state, "found": found,
            "ranges": any(row.percent_range or row.litre_range for row in found.rows),
            "laboratory": review.laboratory.name, "grades": GRADES,
            "signed": state.signatures[-1] if state.locked else None, "second": state.second,
            "fault": review.fault(), **_remarks(review.result.summary, now),
            "flags": flags[:FLAGGED_SHOWN], "more": max(len(flags) - FLAGGED_SHOWN, 0), "last": state.last,
            "counted": datetime.fromtimestamp(review.result.written).strftime("%Y-%m-%d"),
            "comments": [one for one in state.comments if one.cell is None], "digest": review.result.digest[:8]}


@cache
def _environment() -> jinja2.Environment:
    environment = templates.environment(
        "leukoscope.review", share=share, when=_when, tenths="{:.1f}".format, short="{:g}".format, estimate=_estimate,
        points=lambda found: interval(found, points, "", page=True),
        share_of=lambda found: "none" if found.value is None else interval(found, page=True))
    environment.globals.update(span=lambda low, high: span(low, high, page=True))
    return environment


def _estimate(found: Estimate) -> str:
    """A figure with its interval, or why there is none."""
    if found.value is None:
        return found.method.removeprefix("undefined: ")
    return interval(found, partial(number, digits=2), "", confidence=None, page=True)


def _when(at: str) -> str:
    """2026-11-30T00:45:12.123Z -> "2026-11-30 00:45 UTC"."""
    return f"{at[:10]} {at[11:16]} UTC"
