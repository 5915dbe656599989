"""The recipe: one experiment as frozen, validated models, from TOML.

Says what is to be done; knows nothing of how. A recipe may name scales (`[scale.small]`), variants
(`[variants.NAME]`) and what its paper did differently (`[paper]`): each is a table of dotted keys that override the
recipe, such as `"training.epochs" = 5`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import RecipeError

Protocol = Literal["clean", "paper"]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Value = str | bool | int | float
Overrides = dict[str, Any]


class Section(BaseModel):
    """A part of a recipe: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(Section):
    """Which cells, under which names.

    classes: the labels, in the order of the network's outputs; cells with other labels are left out and counted in
        the report. Empty: every label of the manifest, in alphabetical order.
    merge: label in the manifest -> label in this experiment, applied before `classes`.
    positive: the class that a binary task looks for ("leukemic"); empty for none.
    per_class: at most so many cells a class, drawn by the seed; 0 for all.
    """

    classes: tuple[str, ...] = ()
    merge: dict[str, str] = {}
    positive: str = ""
    per_class: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> Data:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: each may stand there once")
        if self.positive and self.classes and self.positive not in self.classes:
            raise ValueError(f"positive: '{self.positive}' is not one of the classes {', '.join(self.classes)}")
        return self


class Preprocess(Section):
    """From a decoded cell to the network's input.

    crop: side in px of the centred square that is kept before resizing; 0 keeps the whole cell.
    size: side in px of the square input.
    normalise: "channel" subtracts the mean and divides by the standard deviation of each channel, fitted on the
        training part (on all cells where `split.fit_on = "all"`); "none" leaves values in [0, 1].
    """

    crop: Annotated[int, Field(ge=0, le=8192)] = 0
    size: Annotated[int, Field(ge=8, le=1024)] = 70
    normalise: Literal["channel", "none"] = "channel"


class Augment(Section):
    """Random changes of the training cells, drawn anew for each cell and epoch. Zero switches a step off.

    Geometry (all in one resampling): rotation, shear in degrees (uniform in +-), shift as a share of the side
    (uniform in +-), zoom as a share (scale uniform in 1 +- zoom), flips with probability one half each.
    Colour: brightness, contrast, saturation as shares (factor uniform in 1 +- value), hue as a share of the circle.
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    shear: Annotated[float, Field(ge=0, le=45)] = 0.0
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    zoom: Fraction = 0.0
    flip_horizontal: bool = False
    flip_vertical: bool = False
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class Network(Section):
    """A network of the registry and its options, such as `residual_unit = "1"` for WBCsNet-2.

    start: a run folder whose weights are the start (transfer); empty for none.
    keep: units whose weights are taken from `start`; empty takes all but the last layer.
    frozen: units that are not trained.
    """

    name: str
    pretrained: bool = False
    start: str = ""
    keep: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    options: dict[str, Value] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Network:
        if self.keep and not self.start:
            raise ValueError("keep: needs start, the run whose weights are kept")
        if self.frozen and not (self.start or self.pretrained):
            raise ValueError("frozen: needs start or pretrained, else random weights would be frozen")
        return self


class Training(Section):
    """How the weights are found.

    schedule: "plateau" multiplies the rate by `factor` after `plateau` epochs without a better validation score;
        "cosine" falls to zero over the epochs.
    patience: stop after so many epochs without a better validation score; 0 never stops early.
    monitor: the score on the selecting part that chooses the best weights.
    balance: "weights" weighs the loss by 1 / class share, "sampler" draws every class equally often.
    precision: "auto" takes bfloat16 where the device is fast at it, else "32".
    """

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 40
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 32
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.001
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    schedule: Literal["none", "plateau", "cosine"] = "none"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.3
    plateau: Annotated[int, Field(ge=1)] = 3
    patience: Annotated[int, Field(ge=0)] = 0
    monitor: Literal["accuracy", "loss"] = "accuracy"
    balance: Literal["none", "weights", "sampler"] = "none"
    label_smoothing: Fraction = 0.0
    precision: Literal["auto", "32", "bf16"] = "auto"


class Split(Section):
    """How cells are parted, and what may see what.

    kind: "kfold" (each fold is the test part once), "holdout" (one test part), "official" (the manifest's `split`
        column: train, validation, test).
    folds, test, validation: number of folds; share of all cells for the test part (hold-out); share of the rest for
        the validation part, 0 for none (then the weights of the last epoch are taken).
    by: "group" keeps subjects, groups and duplicates in one part; "image" parts cell by cell, as papers do.
    fit_on: what fitted steps (normalisation, PCA) may see. select_on: what may choose weights and the epoch.
    """

    kind: Literal["kfold", "holdout", "official"] = "kfold"
    folds: Annotated[int, Field(ge=2, le=1000)] = 10
    test: Fraction = 0.2
    validation: Fraction = 0.1
    by: Literal["group", "image"] = "group"
    fit_on: Literal["train", "all"] = "train"
    select_on: Literal["validation", "test"] = "validation"


class Recipe(Section):
    """One experiment. `seed` feeds every generator; the same recipe and seed give the same run on the same machine."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    title: str = ""
    description: str = ""
    source: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    protocol: Protocol = "clean"
    data: Data = Data()
    preprocess: Preprocess = Preprocess()
    augment: Augment = Augment()
    network: Network
    training: Training = Training()
    split: Split = Split()
    paper: Overrides = {}
    scale: dict[str, Overrides] = {}
    variants: dict[str, Overrides] = {}

    @model_validator(mode="after")
    def _clean_is_clean(self) -> Recipe:
        split = self.split
        leaks = [f"split.{key} = '{value}'" for key, value, clean in (
            ("by", split.by, "group"), ("fit_on", split.fit_on, "train"), ("select_on", split.select_on, "validation"))
            if value != clean]
        if self.protocol == "clean" and leaks:
            raise ValueError(f"{', '.join(leaks)}: leaks, which protocol = 'clean' does not allow; put the keys into "
                             "[paper] and run with --protocol paper")
        return self


def load_recipe(
    name_or_path: str | Path,
    *,
    protocol: Protocol = "clean",
    scale: str = "full",
    settings: Sequence[str] = (),
) -> Recipe:
    """Read a recipe: a TOML file, or the name of a built-in one.

    The overrides of the scale come first, then the paper's (under `protocol = "paper"`), then `settings`
    (`"training.epochs=5"`, values as TOML, bare words as text). Raises RecipeError, naming file and key.
    """
    where, text = recipe_text(name_or_path)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where}: not valid TOML ({error})", "see docs/recipes.md for an example") from error
    if scale != "full":
        scales = raw["scale"] if isinstance(raw.get("scale"), Mapping) else {}
        if scale not in scales:
            raise RecipeError(f"{where}: no scale '{scale}'", f"it has: {', '.join(['full', *scales])}")
        raw = apply_overrides(raw, scales[scale], where)
    if protocol == "paper" or raw.get("protocol") == "paper":
        raw = apply_overrides({**raw, "protocol": "paper"}, raw.get("paper", {}), where)
    raw = apply_overrides(raw, dict(parse_setting(s) for s in settings), "--set")
    return make_recipe(raw, where)


def make_recipe(raw: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Validate a nested table; RecipeError names the key, what came and what is allowed."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "recipe"
        got = "" if isinstance(first["input"], dict | BaseModel) else f" (got {first['input']!r})"
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message, got = "no such key", ""
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise RecipeError(f"{where}: {key}: {message}{got}{more}", "docs/recipes.md lists every key") from error


def expand_variants(recipe: Recipe) -> dict[str, Recipe]:
    """One recipe a variant, by name; `{"": recipe}` where it has none."""
    if not recipe.variants:
        return {"": recipe}
    raw = recipe.model_dump() | {"variants": {}}
    return {
        name: make_recipe(apply_overrides({**raw, "name": f"{recipe.name}.{name}"}, overrides, recipe.name))
        for name, overrides in recipe.variants.items()
    }


def apply_overrides(raw: Mapping[str, Any], overrides: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A copy of a nested table with dotted keys set; tables on the way are made where they are missing."""
    if not isinstance(overrides, Mapping):
        raise RecipeError(f"{where}: expected a table of keys and values to override, got {overrides!r}",
                          'for example [paper] with "training.epochs" = 5')
    result: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in raw.items()}
    for dotted, value in overrides.items():
        *path, last = dotted.split(".")
        table = result
        for part in path:
            inner = table.get(part, {})
            if not isinstance(inner, Mapping):
                raise RecipeError(f"{where}: {dotted}: '{part}' is a value, not a table",
                                  "docs/recipes.md lists every key")
            table[part] = dict(inner)
            table = table[part]
        table[last] = value
    return result


def parse_setting(setting: str) -> tuple[str, Any]:
    """`"training.epochs=5"` -> ("training.epochs", 5)."""
    key, equals, value = setting.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {setting}: expected KEY=VALUE", "for example --set training.epochs=5")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def builtin_recipes() -> dict[str, str]:
    """Name -> title of the recipes that come with the package."""
    files = sorted(resources.files("leukoscope.recipes").iterdir(), key=lambda f: f.name.removesuffix(".toml"))
    return {f.name.removesuffix(".toml"): tomllib.loads(f.read_text(encoding="utf-8")).get("title", "")
            for f in files if f.name.endswith(".toml")}


def recipe_text(name_or_path: str | Path) -> tuple[str, str]:
    """Where a recipe comes from, for messages, and its TOML: a built-in name first, else a file."""
    name = str(name_or_path)
    builtin = resources.files("leukoscope.recipes") / f"{name}.toml"
    if "/" not in name and not name.endswith(".toml") and builtin.is_file():
        return name, builtin.read_text(encoding="utf-8")
    path = Path(name)
    if not path.is_file():
        raise RecipeError(f"{name}: neither a file nor a built-in recipe", f"built in: {', '.join(builtin_recipes())}")
    try:
        return name, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{name}: cannot be read ({error})", "a recipe is a TOML file in UTF-8") from error


def dump_recipe(recipe: Recipe) -> str:
    """The effective recipe as TOML that `load_recipe` reads back to the same recipe."""
    return "".join(_toml_table((), recipe.model_dump(exclude={"paper", "scale", "variants"})))


def _toml_table(path: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    lines = [f"\n[{'.'.join(path)}]\n"] if path else []
    lines += [f"{_toml_key(k)} = {_toml_value(v)}\n" for k, v in table.items() if not isinstance(v, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _toml_table((*path, _toml_key(key)), value)
    return lines


def _toml_key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(v) for v in value)}]"
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
