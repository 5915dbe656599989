"""The recipe: one experiment as frozen, validated models, read from TOML.

A recipe says what to do, not how. It may define scales (`[scale.small]`), variants (`[variants.NAME]`) and what its
paper did differently (`[paper]`). Each of these is a table of dotted keys that override the recipe, such as
`"training.epochs" = 5`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator

from ..errors import RecipeError, first_line
from ..files import JsonObject, parse_toml
from ..text import is_text, plain
from .sections import Augment, Components, Data, Edges, Network, Optics, Preprocess, Section, Split, Training

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Protocol = Literal["clean", "paper"]
Overrides = JsonObject
DEEPEST = 12
"""Tables and lists inside each other that a recipe may have; those of this package have four."""
_LONGEST = 200  # characters of a name in a message
_TOO_DEEP = f"tables or lists are nested more than {DEEPEST} deep"


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
    edges: Edges = Edges()
    pca: Components = Components()
    augment: Augment = Augment()
    optics: Optics = Optics()
    network: Network
    training: Training = Training()
    split: Split = Split()
    paper: Overrides = Field(default={})
    scale: dict[str, Overrides] = Field(default={})
    variants: dict[str, Overrides] = Field(default={})

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        split, steps = self.split, self.preprocess
        leaks = [f"split.{key} = '{getattr(split, key)}'" for key, clean in (
            ("by", "group"), ("copies", "after"), ("fit_on", "train"), ("select_on", "validation"))
            if getattr(split, key) != clean]
        if self.protocol == "clean" and leaks:
            raise ValueError(f"{', '.join(leaks)}: a leak, which protocol = 'clean' does not allow; move the keys to "
                             "[paper] and use --protocol paper")
        if split.copies == "before" and (self.augment.anew or not self.augment.copies):
            raise ValueError("split.copies = 'before': there are no copies to split; set augment.copies, and "
                             "augment.anew = false")
        if self.optics.simulate and steps.input != "colour":
            raise ValueError(f"optics: the microscope needs three colour channels, but preprocess.input = "
                             f"'{steps.input}'; set it to 'colour'")
        if self.optics.simulate and (steps.normalise != "none" or steps.blur or self.pca.used):
            raise ValueError("optics: the microscope needs unchanged pixel values; set preprocess.normalise = 'none', "
                             "preprocess.blur = 0 and no pca")
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
    where, raw = _read(name_or_path)
    if scale != "full":
        scales = raw["scale"] if isinstance(raw.get("scale"), Mapping) else {}
        if scale not in scales:
            raise RecipeError(f"{where}: no scale '{scale}'", f"it has: {', '.join(['full', *scales])}")
        raw = apply_overrides(raw, scales[scale], where)
    if protocol == "paper" or raw.get("protocol") == "paper":
        raw = apply_overrides({**raw, "protocol": "paper"}, raw.get("paper", {}), where)
    raw = apply_overrides(raw, dict(parse_setting(s) for s in settings), "--set")
    return make_recipe(raw, where)


def _read(name_or_path: str | Path, above: tuple[str, ...] = ()) -> tuple[str, JsonObject]:
    """The name of a recipe for messages, and its table, filled up from the recipe that `base` names."""
    where, text = recipe_text(name_or_path)
    raw = read_toml(text, where)
    base = raw.pop("base", None)
    if base is None:
        return where, raw
    if not isinstance(base, str) or base in above:
        raise RecipeError(f"{where}: base = {_shown(base)}: expected another recipe",
                          "name a built-in recipe or a file")
    merged = dict(_read(base, (*above, base))[1])
    for key, value in raw.items():
        old = merged.get(key)
        if key == "variants" or not isinstance(old, Mapping) or not isinstance(value, Mapping):
            merged[key] = value
        elif key == "scale":  # scale by scale; other sections key by key
            merged[key] = {name: {**old.get(name, {}), **value.get(name, {})} for name in {**old, **value}}
        else:
            merged[key] = {**old, **value}
    return where, merged


def read_toml(text: str, where: str = "recipe") -> JsonObject:
    """The table that TOML text describes. RecipeError for what is not TOML, for tables and lists nested more than
    DEEPEST deep, and for numbers and keys that are too long to be read."""
    try:
        raw = parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where}: not valid TOML ({error})", "see docs/recipes.md for an example") from error
    except RecursionError as error:
        raise RecipeError(f"{where}: {_TOO_DEEP}", "docs/recipes.md lists every key") from error
    except ValueError as error:
        raise RecipeError(f"{where}: {error}", "docs/recipes.md lists every key") from error
    level: list[object] = [raw]
    for _ in range(DEEPEST):
        level = [inner for value in level if isinstance(value, dict | list)
                 for inner in (value.values() if isinstance(value, dict) else value)]
    if any(isinstance(value, dict | list) and value for value in level):
        raise RecipeError(f"{where}: {_TOO_DEEP}", "docs/recipes.md lists every key")
    return raw


def make_recipe(raw: JsonObject, where: str = "recipe") -> Recipe:
    """Validate a nested table; RecipeError names the key, its value and what is allowed."""
    try:
        return Recipe.model_validate(raw)
    except RecursionError as error:
        raise RecipeError(f"{where}: {_TOO_DEEP}", "docs/recipes.md lists every key") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = plain("".join(f"{part}." for part in first["loc"]).removesuffix("."), 120) if first["loc"] else ""
        got = "" if isinstance(first["input"], dict | BaseModel) else f" (got {_shown(first['input'])})"
        message, hint = _plain_fault(first), "docs/recipes.md lists every key"
        if first["type"] == "extra_forbidden":
            message, got = "no such key", ""
            near = _near_keys(key)
            hint = f"did you mean {' or '.join(near)}? {hint}" if near else hint
        elif first["type"] == "tuple_type":
            message, hint = "expected a list", f"""for example {key} = ["a", "b"], or --set '{key}=["a", "b"]'"""
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise RecipeError(f"{where}: {key and f'{key}: '}{message}{got}{more}", hint) from error


_WORDS = {
    "int_parsing": "expected a whole number", "int_type": "expected a whole number",
    "int_from_float": "expected a whole number", "float_parsing": "expected a number",
    "float_type": "expected a number", "finite_number": "expected a finite number",
    "bool_parsing": "expected true or false", "bool_type": "expected true or false", "string_type": "expected text",
    "dict_type": "expected a table of keys and values", "model_type": "expected a table of keys and values",
    "literal_error": "expected {expected}", "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be greater than or equal to {ge}", "less_than": "must be less than {lt}",
    "less_than_equal": "must be less than or equal to {le}",
}
"""Kinds of fault that pydantic finds, in plain words."""


def _plain_fault(error: ErrorDetails) -> str:
    words = _WORDS.get(error["type"], "")
    return words.format(**error.get("ctx", {})) if words else error["msg"].removeprefix("Value error, ")


def _shown(value: object) -> str:
    """A value in a message, cut to a length that can be read."""
    try:
        text = repr(value)
    except ValueError:  # Python writes out no number of more than 4,300 digits
        return "a number of too many digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _near_keys(key: str) -> list[str]:
    """Keys of the same section whose names are spelled like that of `key`; else such keys and sections anywhere."""
    sections = {name: getattr(field.annotation, "model_fields", {}) for name, field in Recipe.model_fields.items()}
    keys = [*sections, *(f"{section}.{name}" for section, names in sections.items() for name in names)]
    section, _, name = key.rpartition(".")
    for some in ([full for full in keys if section and full.startswith(f"{section}.")], keys):
        by_name = {full.rpartition(".")[2]: full for full in reversed(some)}
        near = get_close_matches(name, by_name, n=2, cutoff=0.75)
        if near:
            return [by_name[found] for found in near]
    return []


def expand_variants(recipe: Recipe) -> dict[str, Recipe]:
    """One recipe for each variant, by name; `{"": recipe}` where it has none."""
    if not recipe.variants:
        return {"": recipe}
    raw = recipe.model_dump() | {"variants": {}}
    return {
        name: make_recipe(apply_overrides({**raw, "name": f"{recipe.name}.{name}"}, overrides, recipe.name))
        for name, overrides in recipe.variants.items()
    }


def only_variants(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe with these variants only; with all of them where no name is given. RecipeError for an unknown name."""
    for name in names:
        if name not in recipe.variants:
            raise RecipeError(f"{recipe.name}: no variant '{name}'",
                              f"it has: {', '.join(recipe.variants) or 'none'}")
    chosen = {name: overrides for name, overrides in recipe.variants.items() if not names or name in names}
    return recipe.model_copy(update={"variants": chosen})


def apply_overrides(raw: JsonObject, overrides: JsonObject, where: str) -> JsonObject:
    """A copy of a nested table with dotted keys set; missing tables on the way are created."""
    if not isinstance(overrides, Mapping):
        raise RecipeError(f"{where}: expected a table of keys and values to override, got {_shown(overrides)}",
                          'for example [paper] with "training.epochs" = 5')
    result: JsonObject = {k: dict(v) if isinstance(v, Mapping) else v for k, v in raw.items()}
    for dotted, value in overrides.items():
        *path, last = dotted.split(".")
        if len(path) >= DEEPEST:
            raise RecipeError(f"{where}: {plain(dotted, 80)}: {_TOO_DEEP}", "docs/recipes.md lists every key")
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


def parse_setting(setting: str) -> tuple[str, object]:
    """`"training.epochs=5"` -> ("training.epochs", 5)."""
    key, equals, value = setting.partition("=")
    if not is_text(setting):
        raise RecipeError(f"--set {setting}: not text in UTF-8", "write it again, in a terminal that uses UTF-8")
    if not equals or not key.strip():
        raise RecipeError(f"--set {setting}: expected KEY=VALUE", "for example --set training.epochs=5")
    try:
        return key.strip(), read_toml(f"value = {value}", f"--set {plain(key, 80)}")["value"]
    except RecipeError as error:
        if not isinstance(error.__cause__, tomllib.TOMLDecodeError):
            raise
        key, value = key.strip(), value.strip()
        if value.startswith("[") or (_takes_list(key) and ("," in value or value.startswith("("))):
            items = [item for part in value.strip("[]()").split(",") if (item := part.strip().strip("'\""))]
            if len(items) == 1 and not _takes_list(key):
                raise RecipeError(f"--set {setting}: expected one value, not a list",
                                  f"write: --set '{key}={items[0]}'") from error
            raise RecipeError(f"--set {setting}: quotes are missing around the text in the list",
                              f"write: --set '{key}={json.dumps(items, ensure_ascii=False)}'") from error
        return key, value


def _takes_list(key: str) -> bool:
    """Whether a recipe's key has a list as its value; true for a key that does not exist."""
    section, _, name = key.partition(".")
    field = getattr(getattr(Recipe.model_fields.get(section), "annotation", None), "model_fields", {}).get(name)
    return field is None or get_origin(field.annotation) is tuple


def builtin_recipes() -> dict[str, str]:
    """Name -> title of the recipes that come with the package."""
    files = {f.name.removesuffix(".toml"): f for f in resources.files("leukoscope.recipes").iterdir()
             if f.name.endswith(".toml")}
    return {name: tomllib.loads(files[name].read_text(encoding="utf-8")).get("title", "") for name in sorted(files)}


def recipe_text(name_or_path: str | Path) -> tuple[str, str]:
    """The name of a recipe for messages, and its TOML text: a built-in recipe first, else a file."""
    name = str(name_or_path)
    try:
        return name, _text_of(name)
    except (OSError, UnicodeDecodeError) as error:  # a name may be too long for a file
        why = error.strerror if isinstance(error, OSError) else first_line(error)
        raise RecipeError(f"{name if len(name) <= _LONGEST else f'{name[:_LONGEST]}...'}: cannot be read ({why})",
                          "a recipe is a TOML file in UTF-8") from error


def _text_of(name: str) -> str:
    builtin = resources.files("leukoscope.recipes") / f"{name}.toml"
    if "/" not in name and not name.endswith(".toml") and builtin.is_file():
        return builtin.read_text(encoding="utf-8")
    path = Path(name)
    if path.is_dir():
        raise RecipeError(f"{name}: a folder, not a recipe", f"name a recipe, such as {path / 'recipe.toml'}"
                          if (path / "recipe.toml").is_file() else "leukoscope recipes lists the built-in recipes")
    if not path.is_file():
        near = get_close_matches(name, builtin_recipes(), n=3, cutoff=0.6)
        raise RecipeError(f"{name}: neither a file nor a built-in recipe",
                          f"did you mean {' or '.join(near)}? leukoscope recipes lists them all" if near else
                          f"built in: {', '.join(builtin_recipes())}")
    return path.read_text(encoding="utf-8-sig")


def dump_recipe(recipe: Recipe) -> str:
    """The effective recipe as TOML that `load_recipe` reads back to the same recipe."""
    return "".join(_toml_table((), recipe.model_dump(exclude={"paper", "scale", "variants"})))


def _toml_table(path: tuple[str, ...], table: Mapping[str, object]) -> list[str]:
    lines = [f"\n[{'.'.join(path)}]\n"] if path else []
    lines += [f"{_toml_key(k)} = {_toml_value(v)}\n" for k, v in table.items() if not isinstance(v, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _toml_table((*path, _toml_key(key)), value)
    return lines


def _toml_key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _toml_value(key)


def _toml_value(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(v) for v in value)}]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
