"""The OpenAPI document of /api/v1, made of its routes and of the messages that they take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from .. import __version__
from ..files import JsonObject
from .desk import WorklistRow
from .door import CSRF
from .journal import Event

PATH = "/api/v1/openapi.json"
_SCHEMAS = "#/components/schemas/"
_BINARY = {"type": "string", "format": "binary"}
_OBJECT = {"type": "object"}
_MEDIA = {"jpg": "image/jpeg", "csv": "text/csv; charset=utf-8", "zip": "application/zip",
          "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
_NEWS = {"type": "object", "required": ["seq", "state", "locked", "me", "may_sign", "undo", "redo", "types", "changes",
                                        "standing", "comments", "here"],
         "properties": {"seq": {"type": "integer"}, "state": {"type": "string"}, "locked": {"type": "boolean"},
                        "me": {"type": "string"}, "may_sign": {"type": "boolean"}, "undo": {"type": "boolean"},
                        "redo": {"type": "boolean"}, "types": {"type": "array"}, "standing": _OBJECT,
                        "changes": {"type": "array", "items": {"type": "array", "minItems": 3, "maxItems": 3}},
                        "comments": {"type": "array"}, "here": {"type": "array", "items": {"type": "string"}}}}
_ACCOUNT = {"type": "object", "required": ["name", "role", "added", "disabled"],
            "properties": {"name": {"type": "string"}, "role": {"type": "string"}, "added": {"type": "string"},
                           "disabled": {"type": ["string", "null"]}}}
_MODEL = {"type": "object", "required": ["confirmed", "running", "failed", "fitted"]}
_ANSWERS: dict[str, JsonObject] = {
    "smears": {"type": "array", "items": {"$ref": f"{_SCHEMAS}WorklistRow"}},
    "history": {"type": "array", "items": {"$ref": f"{_SCHEMAS}Event"}},
    "me": {"type": "object", "required": ["me"], "properties": {"me": {"type": "string"}}},
    "accounts": {"type": "array", "items": _ACCOUNT},
    **dict.fromkeys(("add_account", "change_role", "reset_password", "switch_account", "own_password"), _ACCOUNT),
    **dict.fromkeys(("model", "fit_model"), _MODEL),
    "outlines": {"type": "object", "additionalProperties": {"type": "string"}},
    "smear": {"type": "object", "required": ["key", "name", "fields", "cells", *_NEWS["required"]]},
    "cell": {"type": "object", "required": ["place", "name", "field", "number", "how", "history"]},
}
"""What a GET answers, by the name of its function; every change of a smear answers with the news."""
REFUSALS = {
    "400": "The message is not as it should be", "401": "Nobody is logged in", "403": "Not allowed",
    "404": "No such smear, cell, field or file", "409": "Cannot be done as things stand",
    "422": "Cannot be done or answered", "503": "The database does not answer; send it again",
    "507": "The disk is full; send it again"}


def with_document(routes: Sequence[Route]) -> list[Route]:
    """Routes of the API, and one more that describes them."""
    made = document(routes)

    async def endpoint(_: Request) -> JSONResponse:
        return JSONResponse(made)

    return [*routes, Route(PATH, endpoint)]


def document(routes: Iterable[BaseRoute]) -> JsonObject:
    """The OpenAPI document of some routes."""
    paths: dict[str, JsonObject] = {}
    schemas: JsonObject = {"Error": {"type": "object", "required": ["error"],
                                         "properties": {"error": {"type": "string"}}}, "News": _NEWS}
    for kind in (WorklistRow, Event):
        schemas[kind.__name__] = _lifted(TypeAdapter(kind).json_schema(ref_template=f"{_SCHEMAS}{{model}}"), schemas)
    for route in routes:
        if isinstance(route, Route):
            path = re.sub(r"{(\w+):\w+}", r"{\1}", route.path)
            method = "post" if "POST" in (route.methods or ()) else "get"
            paths.setdefault(path, {})[method] = _operation(route, method, schemas)
    return {"openapi": "3.1.0", "info": {
        "title": "Leukoscope review", "version": __version__,
        "description": "What the pages of the workbench use themselves. For research; not a medical device."},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {
            "session": {"type": "apiKey", "in": "cookie", "name": "leukoscope_8765",
                        "description": "Set by the log-in, or by the address that the command prints. The name ends "
                                       "with the port."},
            "page": {"type": "apiKey", "in": "header", "name": CSRF,
                     "description": "With changes: what the page says in its meta element csrf."}}}}


def _operation(route: Route, method: str, schemas: JsonObject) -> JsonObject:
    answers = getattr(route.endpoint, "answers", None)
    name = getattr(answers, "__name__", route.name)
    model: type[BaseModel] | None = getattr(route.endpoint, "message", None)
    parameters = [_path_parameter(*found) for found in re.findall(r"{(\w+)(?::(\w+))?}", route.path)]
    if name == "news":
        parameters.append({"name": "since", "in": "query", "schema": {"type": "integer", "minimum": 0,
                                                                      "maximum": 999_999_999_999}})
    refusals = {status: {"description": words, "content": {"application/json": {"schema": {
        "$ref": f"{_SCHEMAS}Error"}}}} for status, words in REFUSALS.items()}
    operation: JsonObject = {
        "operationId": f"{method}_{re.sub(r'[^a-z]+', '_', route.path.removeprefix('/api/v1/').lower()).strip('_')}",
        "summary": (getattr(answers, "__doc__", None) or name.replace("_", " ")).strip().partition("\n")[0],
        "parameters": parameters,
        "security": [{"session": [], "page": []} if method == "post" else {"session": []}],
        "responses": {"200": {"description": "Done", "content": _content(route.path, method, name)}, **refusals}}
    if model is not None:
        schemas[model.__name__] = _lifted(model.model_json_schema(ref_template=f"{_SCHEMAS}{{model}}"), schemas)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": {
            "$ref": f"{_SCHEMAS}{model.__name__}"}}}}
    return operation


def _path_parameter(name: str, kind: str) -> JsonObject:
    schema = {"type": "integer", "minimum": 0} if kind == "int" else {"type": "string", "pattern": "^[A-Za-z0-9_.-]+$"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _content(path: str, method: str, name: str) -> JsonObject:
    if "/export/" in path:
        return {"*/*": {"schema": _BINARY}}
    end = path.rpartition(".")[2]
    if end in _MEDIA:
        return {_MEDIA[end]: {"schema": _BINARY}}
    news = {"$ref": f"{_SCHEMAS}News"}
    schema = _ANSWERS.get(name) or (news if method == "post" or name == "news" else {})
    return {"application/json": {"schema": schema}}


def _lifted(schema: JsonObject, schemas: JsonObject) -> JsonObject:
    """A schema whose definitions are moved to the components."""
    schemas.update(schema.pop("$defs", {}))
    return schema
