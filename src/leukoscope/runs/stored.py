"""The one place where results, which are frozen dataclasses, become JSON and are read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from ..files import JsonObject
from ..stats.estimate import Estimate


def to_json(value: object) -> Any:
    """Dataclasses as objects, tuples as lists. The metrics of a field `estimates` become keys beside the others, a
    field whose default is None is left out where it is None, and `class_` becomes `class`."""
    if is_dataclass(value) and not isinstance(value, Estimate):
        content: JsonObject = {}
        for own in fields(value):
            item = getattr(value, own.name)
            if own.name == "estimates":
                content |= to_json(item)
            elif item is not None or own.default is not None:
                content[own.name.rstrip("_")] = to_json(item)
        return content
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return value.to_dict() if isinstance(value, Estimate) else value


def from_json(kind: object, value: Any) -> Any:
    """What `to_json` made of an instance of `kind`. KeyError, TypeError or AttributeError for anything else."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if value is None else from_json(inner[0], value)
    if origin is tuple:
        return tuple(from_json(inner[0], item) for item in value)
    if origin is Mapping:
        return {key: from_json(inner[1], item) for key, item in value.items()}
    if kind is Estimate or not is_dataclass(kind):
        return Estimate.from_dict(value) if kind is Estimate else value
    types, names = get_type_hints(kind), {own.name.rstrip("_"): own.name for own in fields(kind)}
    content = {name: from_json(types[name], value[key]) for key, name in names.items() if key in value}
    if "estimates" in types:
        content["estimates"] = {key: Estimate.from_dict(item) for key, item in value.items() if key not in names}
    return kind(**content)  # type: ignore[operator]  # a class


class Result:
    """A dataclass that is written to a file of its own."""

    def to_dict(self) -> JsonObject:
        """As JSON, without NaN or infinity."""
        return to_json(self)

    @classmethod
    def from_dict(cls, content: JsonObject) -> Self:
        """Read it back; see `from_json`."""
        return from_json(cls, content)
