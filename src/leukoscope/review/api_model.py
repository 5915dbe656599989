"""The JSON of the model that is fitted to the laboratory, and its pages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..files import JsonObject
from .api import Forbidden, Message, NotFound, session_of
from .door import Session
from .fitting import Fitting

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
"""Of the page that `adapt` wrote: it stands alone, with its styles in it, and runs nothing."""


class Begin(Message):
    """bundle: of the model to fit, as `confirmed` names it, where several models have typed smears; "" for the only
    one."""

    bundle: Annotated[str, Field(max_length=5000)] = ""


class ApiModel:
    """The answers."""

    def __init__(self, fitting: Fitting) -> None:
        self._fitting = fitting

    def model(self, _: Request) -> Response:
        return JSONResponse(model_json(self._fitting))

    def fit_model(self, request: Request, message: Begin) -> Response:
        session = session_of(request)
        if not may_fit(session):
            raise Forbidden(f"accounts of the role {session.role} may not fit a model", "ask a haematologist")
        self._fitting.start(message.bundle)
        return JSONResponse(model_json(self._fitting))

    def model_page(self, request: Request) -> Response:
        path = self._fitting.page(request.path_params["name"])
        if path is None:
            raise NotFound("no such model", "go back to the worklist")
        return Response(path.read_bytes(), media_type="text/html",
                        headers={"content-security-policy": PAGE_POLICY})


def may_fit(session: Session) -> bool:
    """Who signs, and who looks after the server."""
    return session.may_sign or session.role == "administrator"


def model_json(fitting: Fitting) -> JsonObject:
    """What is confirmed, what is being done, and what has been fitted."""
    return {"confirmed": [asdict(one) for one in fitting.confirmed()], "running": fitting.running,
            "failed": fitting.failed, "fitted": [one.to_dict() for one in fitting.fitted()]}
