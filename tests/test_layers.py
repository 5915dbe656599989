"""The layer rule of the design: a module imports from its own layer or from below, and never in a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "leukoscope"

LAYERS = {
    0: {"errors", "files", "recipe", "manifest", "images", "stats", "words"},
    1: {"datasets", "phantom", "duplicates", "splits", "leaks", "audit", "cells", "augment", "models", "runs",
        "spikes", "pca", "stages", "copies", "optics", "stain", "frame", "seen"},
    2: {"train", "predict", "evaluate", "explain", "compare", "bundle", "model", "smear", "judges", "shift"},
    3: {"figures", "pages", "report", "audit_page", "audit_figures", "experiments", "demo", "papers", "console", "cli"},
}
"""Modules by layer; a module named `x_part` or a file in a folder `x/` belongs to the layer of `x`."""


def layer_of(module: str) -> int | None:
    head = module.split(".")[0]
    best = max(
        ((len(name), layer) for layer, names in LAYERS.items() for name in names
         if head == name or head.startswith(f"{name}_")),
        default=None,
    )
    return best[1] if best else None


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path) -> set[str]:
    """Names, below the package, of the modules that a file imports anywhere, functions included."""
    here = file.relative_to(PACKAGE).parent.parts
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*here[: len(here) - node.level + 1], *(node.module.split(".") if node.module else [])]
            if node.module and is_module(base):
                found.add(".".join(base))
                found |= {".".join([*base, a.name]) for a in node.names if is_module([*base, a.name])}
            else:
                found |= {".".join([*base, a.name]) for a in node.names if is_module([*base, a.name])}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("leukoscope."):
            found.add((node.module or "").removeprefix("leukoscope."))
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("leukoscope.") for a in node.names if a.name.startswith("leukoscope.")}
    return found - {module_name(file), ""}


def is_module(parts: list[str]) -> bool:
    path = PACKAGE.joinpath(*parts)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


FILES = {module_name(f): f for f in sorted(PACKAGE.rglob("*.py")) if module_name(f) not in ("", "__main__", "recipes")}


def test_every_module_has_a_layer():
    assert [name for name in FILES if layer_of(name) is None] == []


def test_imports_go_to_the_same_layer_or_down():
    upward = [
        f"{name} (layer {layer_of(name)}) imports {other} (layer {layer_of(other)})"
        for name, file in FILES.items() for other in imports_of(file)
        if (layer_of(other) or 0) > (layer_of(name) or 0)
    ]
    assert upward == []


def test_imports_make_no_circle():
    order = list(TopologicalSorter({name: imports_of(file) for name, file in FILES.items()}).static_order())
    assert set(FILES) <= set(order)


def test_the_rule_sees_what_it_should(tmp_path, monkeypatch):
    assert {"errors", "files"} <= imports_of(PACKAGE / "manifest.py")
    assert layer_of("datasets.pbc") == 1
    assert layer_of("report_tables") == 3
    assert layer_of("nowhere") is None
