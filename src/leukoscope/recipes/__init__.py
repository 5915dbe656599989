"""One experiment as TOML, validated: the built-in recipes, and how a recipe is read."""

from __future__ import annotations

from .recipe import (
    Protocol,
    Recipe,
    apply_overrides,
    builtin_recipes,
    dump_recipe,
    expand_variants,
    load_recipe,
    make_recipe,
    only_variants,
    parse_setting,
    recipe_text,
)
from .sections import Augment, Components, Data, Edges, Network, Optics, Preprocess, Section, Split, Training

__all__ = [
    "Augment", "Components", "Data", "Edges", "Network", "Optics", "Preprocess", "Protocol", "Recipe", "Section",
    "Split", "Training", "apply_overrides", "builtin_recipes", "dump_recipe", "expand_variants", "load_recipe",
    "make_recipe", "only_variants", "parse_setting", "recipe_text",
]
