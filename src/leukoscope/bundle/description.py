"""bundle.json: what a bundle says of itself, and the checks that nothing later has to repeat.

Knows no file but the text of this one, and no graph.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from ..files import JsonObject
from ..text import escaped, is_text

FORMAT = 1
_LARGEST = 2**63
"""Numbers in bundle.json are below it."""
_DEEPEST = 16


class _Part(BaseModel):
    """A table inside bundle.json that is used as JSON. Types are strict, since the JSON itself is what is used later;
    other keys may be in it."""

    model_config = ConfigDict(frozen=True, strict=True)


class _Figure(_Part):
    """As `stats.estimate.Estimate`."""

    value: FiniteFloat | None
    low: FiniteFloat | None
    high: FiniteFloat | None
    method: str
    count: int | None = None
    total: int | None = None


class _Cost(_Part):
    """What 8 bits cost."""

    accuracy_float32: _Figure
    difference: _Figure
    changed: NonNegativeInt
    mean_change: FiniteFloat
    largest_change: FiniteFloat


class _Trained(_Part):
    """Facts of the training."""

    network: str
    fold: NonNegativeInt
    cells: NonNegativeInt
    validation_cells: NonNegativeInt
    sources: Sequence[str]
    subjects: Sequence[str]
    manifest_sha256: str
    protocol: Literal["clean", "paper"]
    counts: dict[str, NonNegativeInt]
    not_in_seen: Sequence[str] = ()


class _Overall(_Part):
    """Figures over all classes; others may be in it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")
    __pydantic_extra__: dict[str, _Figure]  # pyright: ignore[reportIncompatibleVariableOverride]  # as pydantic says

    accuracy: _Figure


class _LeftOut(_Part):
    """A laboratory that a network of the others was tested on."""

    name: str
    cells: NonNegativeInt
    accuracy: _Figure
    area: _Figure | None
    sensitivity: _Figure | None
    specificity: _Figure | None


class _Elsewhere(_Part):
    """What the same recipe got in laboratories that it was not trained on."""

    accuracy: FiniteFloat
    calibration_error: FiniteFloat
    covered: FiniteFloat
    coverage: FiniteFloat
    worst: str
    positive: str
    rows: Sequence[_LeftOut]


class _Metrics(_Part):
    """Figures of the test part."""

    cells: NonNegativeInt
    protocol: Literal["clean", "paper"]
    confusion: Sequence[Sequence[NonNegativeInt]]
    overall: _Overall
    sensitivity: dict[str, _Figure]
    calibration_error: _Figure | None
    int8: _Cost | None = None
    elsewhere: _Elsewhere | None = None


class _Adapted(_Part):
    """To what a bundle was fitted, and what that brought in cells that the fit did not see. groups: people, slides or
    images; before, after: accuracies."""

    name: str
    digest: str
    counts: dict[str, NonNegativeInt]
    groups: NonNegativeInt
    before: _Figure
    after: _Figure
    difference: _Figure


def _as(model: type[_Part]) -> Callable[[JsonObject], JsonObject]:
    """A validator that holds a table against a model, and returns the table unchanged."""
    def check(table: JsonObject) -> JsonObject:
        try:
            model.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        return table
    return check


class Description(BaseModel):
    """The content of bundle.json.

    frame, crop, size, smaller: how a cell is framed, cut and resized before the graph (px; see recipes.md). framing:
    the version of the framing (finder/frame.py), None where cells are not framed.
    micrometres: width of a pixel of the images it was trained on, or None. temperature: as in the graph. coverage,
    radius: of the conformal set, which holds the classes of a probability of at least 1 - radius. least_energy: a cell
    below it is unlike those of training; `rejected` is the share of the validation cells that are. None where there
    were no validation cells. threshold: probability from which the positive class is called, at the sensitivity that
    the recipe asks for. notes: sentences of its maker. trained: facts of the training; metrics: of its test part.
    adapted: of the laboratory that it was fitted to, whose confirmed cells then give radius, least_energy and metrics.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    leukoscope: str
    name: str
    title: str
    classes: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=2)
    positive: str
    frame: Literal["image", "light", "cell"]
    framing: int | None
    crop: int = Field(ge=0, le=8192)
    size: int = Field(ge=8, le=1024)
    smaller: Literal["keep", "refuse"]
    micrometres: FiniteFloat | None = Field(gt=0)
    temperature: FiniteFloat = Field(gt=0)
    coverage: FiniteFloat | None = Field(gt=0, lt=1)
    radius: FiniteFloat | None = Field(ge=0, le=1)
    least_energy: FiniteFloat | None
    rejected: FiniteFloat | None = Field(ge=0, le=1)
    threshold: FiniteFloat | None
    licence: str
    notes: tuple[str, ...]
    trained: Annotated[JsonObject, AfterValidator(_as(_Trained))]
    metrics: Annotated[JsonObject, AfterValidator(_as(_Metrics))]
    adapted: Annotated[JsonObject, AfterValidator(_as(_Adapted))] | None = None
    files: dict[str, str]
    digest: str

    @model_validator(mode="after")
    def _consistent(self) -> Description:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes must be unique")
        if self.positive and self.positive not in self.classes:
            raise ValueError(f"positive: '{self.positive}' is not a class")
        for one, other in (("radius", "coverage"), ("least_energy", "rejected")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one} and {other} must both be numbers, or both null")
        return self

    def content(self) -> JsonObject:
        """What bundle.json holds. Keys that older bundles lack are in it only where they say something."""
        return self.model_dump(exclude=None if self.adapted else {"adapted"})

    def digested(self) -> str:
        """The SHA-256 of everything but the digest itself."""
        content = json.dumps({key: value for key, value in self.content().items() if key != "digest"}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def check_values(content: JsonObject | Sequence[object], keys: tuple[str, ...] = ()) -> None:
    """Raise ValueError, with the key, where JSON holds a number that is not finite or too large, a text that cannot be
    written as UTF-8, or is nested too deeply. keys: of the table or list inside the JSON."""
    if len(keys) > _DEEPEST:
        raise ValueError(f"{'.'.join(keys[:3])}: it is nested too deeply")
    for name, value in content.items() if isinstance(content, Mapping) else enumerate(content):
        key = escaped(str(name))
        if isinstance(value, dict | list):
            check_values(value, (*keys, key))
        elif isinstance(value, int | float) and not abs(value) < _LARGEST:
            raise ValueError(f"{'.'.join((*keys, key))}: a number that is not finite, or too large")
        if key != str(name) or (isinstance(value, str) and not is_text(value)):
            raise ValueError(f"{'.'.join((*keys, key))}: a text that cannot be written (half a character)")
