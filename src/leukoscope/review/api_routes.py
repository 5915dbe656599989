"""Which address of /api/v1 is answered by what, and how a message becomes an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import LeukoscopeError
from .api import Api, BadMessage, Change, Decision, Name, Words, error_json
from .api_accounts import ApiAccounts, NewAccount, NewPassword, NewRole, OwnPassword, Switch
from .api_draw import ApiDraw, Join, Missed, Split
from .api_look import ApiLook
from .api_model import ApiModel, Begin
from .api_readings import ApiReadings
from .api_values import ApiValues, Value
from .desk import Desk
from .door import Keys
from .fitting import Fitting
from .pictures import Asked

LARGEST = 2_000_000
"""Bytes of a message."""
Endpoint = Callable[[Request], Awaitable[Response]]


def routes(desk: Desk, keys: Keys, fitting: Fitting) -> list[Route]:
    """Everything below /api/v1."""
    api, get, post = Api(desk, keys), partial(_get, desk.asked), partial(_post, desk.asked)
    draw, look, values = ApiDraw(api), ApiLook(api, desk), ApiValues(api)
    agree, people, model = ApiReadings(api, desk, keys.accounts), ApiAccounts(keys), ApiModel(fitting)
    smear = "/api/v1/smears/{smear}"
    return [
        Route("/api/v1/smears", get(api.smears)), Route("/api/v1/accounts", get(people.accounts)),
        *(Route(f"/api/v1/{path}", post(act, kind), methods=["POST"]) for path, act, kind in (
            ("me", api.me, Name), ("me/password", people.own_password, OwnPassword),
            ("accounts", people.add_account, NewAccount), ("accounts/role", people.change_role, NewRole),
            ("accounts/password", people.reset_password, NewPassword),
            ("accounts/disabled", people.switch_account, Switch), ("model", model.fit_model, Begin))),
        Route("/api/v1/model", get(model.model)),
        Route(smear, get(api.smear)), Route(f"{smear}/news", get(api.news)),
        Route(f"{smear}/history", get(api.history)),
        Route(f"{smear}/cells/{{cell:int}}", get(api.cell)),
        Route(f"{smear}/cells/{{cell:int}}.jpg", get(api.tile)),
        Route(f"{smear}/cells/{{cell:int}}/around.jpg", get(api.around)),
        Route(f"{smear}/cells/{{cell:int}}/references", get(look.references)),
        Route(f"{smear}/cells/{{cell:int}}/explanation.jpg", get(look.explanation)),
        Route("/api/v1/phantom/{kind}/{number:int}.jpg", get(look.phantom)),
        Route(f"{smear}/fields/{{field:int}}.jpg", get(api.field)),
        Route(f"{smear}/fields/{{field:int}}/outlines", get(api.outlines)),
        *(Route(f"{smear}/{name}", post(act, kind), methods=["POST"]) for name, act, kind in (
            ("decisions", api.decide, Decision), ("undo", api.undo, Change), ("redo", api.redo, Change),
            ("comments", api.comment, Words), ("types", api.add_type, Words), ("signature", api.sign, Words),
            ("countersignature", api.countersign, Words), ("amendments", api.amend, Words), ("cells", draw.add, Missed),
            ("split", draw.split, Split), ("join", draw.join, Join),
            ("readings", agree.give, Words), ("values", values.enter, Value))),
        Route("/api/v1/agreement", get(agree.agreement)), Route("/api/v1/export/agreement.csv", get(agree.export)),
        Route(f"{smear}/export/{{name}}", get(api.export)), Route("/api/v1/export/{name}", get(api.export_all)),
    ]


def _get(asked: Asked, answer: Callable[[Request], Response]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(_in_json, asked, answer, request)

    return _described(endpoint, answer)


def _post(asked: Asked, act: Callable[[Request, Any], Response], kind: type[BaseModel]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LARGEST:
                return error_json(BadMessage(f"a message has at most {LARGEST:,} bytes"))
        return await run_in_threadpool(_in_json, asked, lambda one: act(one, _parsed(kind, body)), request)

    return _described(endpoint, act, kind)


def _described(endpoint: Endpoint, answers: Callable[..., Response],
               message: type[BaseModel] | None = None) -> Endpoint:
    """An endpoint that the OpenAPI document knows: what answers, and which message it takes."""
    vars(endpoint).update(answers=answers, message=message)
    return endpoint


def _parsed(kind: type[BaseModel], body: bytes) -> BaseModel:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "message"
        raise BadMessage(f"{where}: {first['msg']}", "load the page again") from error


def _in_json(asked: Asked, answer: Callable[[Request], Response], request: Request) -> Response:
    with asked:
        try:
            return answer(request)
        except LeukoscopeError as error:
            return error_json(error)
