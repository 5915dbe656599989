"""What a laboratory may set in a TOML file: reference ranges, types of its own, keys, how many cells it counts. Knows
no smear."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..errors import LeukoscopeError, first_line
from ..files import parse_toml
from ..text import plain
from .actions import LONGEST_TYPE, MOST_TYPES

TARGETS = (100, 200, 400)
"""Leukocytes of a manual differential: 100 as usual, 200 and twice 200 as CLSI's H20 asks for."""
KEYS = "1234567890qwertyuiopasdhjkl"
"""Keys of the types, in their order. Those of commands are others."""
COMMANDS = "xnfcmvgb?"
"""Keys that do something else."""
LARGEST = 1_000_000
"""Bytes of a file of settings."""

_WORDS = {"extra_forbidden": "is no setting", "string_pattern_mismatch": "must be one small letter or one digit",
          "literal_error": "must be {expected}", "too_long": "at most {max_length} are possible"}
"""Pydantic's kinds of faults in plain words."""

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_TYPE)]
Bound = Annotated[float, Field(ge=0, le=1000)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _ordered(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    if bounds is not None and not bounds[0] < bounds[1]:
        raise ValueError("the first number must be below the second")
    return bounds


class Range(_Section):
    """The reference range of a type: percent of the leukocytes, and 10^9 cells per litre of blood; either may be left
    out."""

    percent: tuple[Bound, Bound] | None = None
    per_litre: tuple[Bound, Bound] | None = None

    _both = field_validator("percent", "per_litre")(_ordered)


class Laboratory(_Section):
    """Settings. name: stands on the report; target: leukocytes to be counted; types: beside the machine's; keys: type
    -> its key; ranges: type -> its reference range; white_cells, platelets: those of all leukocytes and of platelets,
    10^9/l; platelets_per_field: 10^9/l of blood for each platelet in a field of view of 0.22 mm, on average."""

    name: Annotated[str, Field(max_length=200)] = ""
    target: Literal[100, 200, 400] = 200
    types: Annotated[tuple[Name, ...], Field(max_length=MOST_TYPES)] = ()
    keys: dict[Name, Annotated[str, Field(pattern=r"^[a-z0-9]$")]] = Field(default={})
    ranges: dict[Name, Range] = Field(default={})
    white_cells: tuple[Bound, Bound] | None = None
    platelets: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(le=5000)]] | None = None
    platelets_per_field: Annotated[float, Field(ge=5, le=40)] = 15.0

    _both = field_validator("white_cells", "platelets")(_ordered)

    @model_validator(mode="after")
    def _consistent(self) -> Laboratory:
        wrong = next((name for name in self.types if name != " ".join(name.split()) or not name.isprintable()), None)
        if wrong is not None:
            raise ValueError(f"types: '{plain(wrong, 40)}' is no name of printable characters")
        if len({name.casefold() for name in self.types}) < len(self.types):
            raise ValueError("types: each type must be named once")
        taken = next((key for key in self.keys.values() if key in COMMANDS), None)
        if taken is not None:
            raise ValueError(f"keys: '{taken}' is the key of a command; those are {', '.join(COMMANDS[:-1])}")
        if len(set(self.keys.values())) < len(self.keys):
            raise ValueError("keys: two types have the same key")
        return self

    def keys_of(self, types: Iterable[str]) -> dict[str, str]:
        """The key of each type, "" where there are no more: the laboratory's, else the next free one."""
        free = [key for key in KEYS if key not in self.keys.values()]
        return {name: self.keys[name] if name in self.keys else free.pop(0) if free else "" for name in types}

    def check_types(self, known: Iterable[str], where: str) -> None:
        """Raise LeukoscopeError where keys or ranges name a type that no smear knows."""
        names = {*known, *self.types}
        for section, given in (("keys", self.keys), ("ranges", self.ranges)):
            odd = next((name for name in given if name not in names), None)
            if odd is not None:
                raise LeukoscopeError(f"{where}: {section}: no smear has a type '{plain(odd, 40)}'",
                                      f"name one of {', '.join(sorted(names))}, or add it to types")


def read_laboratory(path: Path) -> Laboratory:
    """Settings from a TOML file. Raises LeukoscopeError, which names the file and the key."""
    try:
        if path.stat().st_size > LARGEST:
            raise LeukoscopeError(f"{path}: has more than {LARGEST:,} bytes", "name a file of settings")
        return Laboratory.model_validate(parse_toml(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        found = error.errors()[0]
        where = [plain(".".join(str(part) for part in found["loc"]), 120)] if found["loc"] else []
        words = _WORDS.get(found["type"], "").format(**found.get("ctx", {}))
        message = ": ".join((*where, words or plain(found["msg"].removeprefix("Value error, "), 300)))
        raise LeukoscopeError(f"{path}: {message}",
                              "docs/review.md shows such a file") from error
    except FileNotFoundError as error:
        raise LeukoscopeError(f"{path}: no such file", "docs/review.md shows such a file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise LeukoscopeError(f"{path}: cannot be read ({first_line(error)})",
                              "docs/review.md shows such a file") from error
