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

from pydantic import BaseModel, Field, ValidationError, model_validator

from ..errors import RecipeError
from .sections import Augment, Components, Data, Edges, Network, Optics, Preprocess, Section, Split, Training

Protocol = Literal["clean", "paper"]
Overrides = dict[str, Any]


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
    def _clean_is_clean(self) -> Recipe:
        split = self.split
        leaks = [f"split.{key} = '{value}'" for key, value, clean in (
            ("by", split.by, "group"), ("copies", split.copies, "after"), ("fit_on", split.fit_on, "train"),
            ("select_on", split.select_on, "validation"))
            if value != clean]
        if self.protocol == "clean" and leaks:
            raise ValueError(f"{', '.join(leaks)}: leaks, which protocol = 'clean' does not allow; put the keys into "
                             "[paper] and run with --protocol paper")
        return self

    @model_validator(mode="after")
    def _copies_are_kept(self) -> Recipe:
        if self.split.copies == "before" and (self.augment.anew or not self.augment.copies):
            raise ValueError("split.copies = 'before': there are no copies to part; set augment.copies, and "
                             "augment.anew = false")
        return self

    @model_validator(mode="after")
    def _optics_see_light(self) -> Recipe:
        if not self.optics.simulate:
            return self
        steps = self.preprocess
        if steps.input != "colour":
            raise ValueError(f"optics: three channels of light are needed, and preprocess.input = '{steps.input}' has "
                             "fewer; set it to 'colour'")
        if steps.normalise != "none" or steps.blur or self.pca.used:
            raise ValueError("optics: light is neither normalised, blurred nor projected beforehand; set "
                             "preprocess.normalise = 'none', preprocess.blur = 0 and no pca")
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


def _read(name_or_path: str | Path, above: tuple[str, ...] = ()) -> tuple[str, dict[str, Any]]:
    """Where a recipe comes from and its table; what it does not say itself is as in the recipe that `base` names."""
    where, text = recipe_text(name_or_path)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where}: not valid TOML ({error})", "see docs/recipes.md for an example") from error
    base = raw.pop("base", None)
    if base is None:
        return where, raw
    if not isinstance(base, str) or base in above:
        raise RecipeError(f"{where}: base = {base!r}: expected another recipe", "name a built-in recipe or a file")
    return where, _merged(_read(base, (*above, base))[1], raw)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Section by section, and scale by scale, key by key; whatever else is a table is replaced whole."""
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        if key == "variants" or not isinstance(old, Mapping) or not isinstance(value, Mapping):
            both[key] = value
        elif key == "scale":
            both[key] = {name: {**old.get(name, {}), **value.get(name, {})} for name in {**old, **value}}
        else:
            both[key] = {**old, **value}
    return both


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


def only_variants(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe with these of its variants alone; all of them where none is named. RecipeError for an unknown one."""
    for name in names:
        if name not in recipe.variants:
            raise RecipeError(f"{recipe.name}: no variant '{name}'",
                              f"it has: {', '.join(recipe.variants) or 'none'}")
    kept = {name: recipe.variants[name] for name in recipe.variants if name in names}
    return recipe.model_copy(update={"variants": kept}) if names else recipe


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
