"""Leukoscope: leukocytes and acute lymphoblastic leukemia in blood-smear images, with answers that can be trusted.

    leukoscope.count_smear("fields/")         photographs of a smear to cells and a differential
    leukoscope.load().predict("cell.png")     the built-in model, or a bundle, on images of single cells
    leukoscope.index("folder", "my_cells/")   labelled images to a manifest
    leukoscope.audit(manifest)                what to know of it before training
    leukoscope.evaluate(table, classes)       predictions to metrics with intervals
    leukoscope.adapt("packaged", cells, out)  a model fitted to confirmed cells of one's own laboratory

docs/python.md shows each at work. Names are imported when they are first used, so that `import leukoscope` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .auditing.audit import audit
    from .commands.adapt import adapt
    from .commands.count import SmearCount, count_smear
    from .datasets import index
    from .errors import LeukoscopeError
    from .evaluation.evaluate import evaluate
    from .images.read import read_image
    from .manifest import read_manifest, write_manifest
    from .predict.model import Model, load
    from .smear import find_leukocytes

__version__ = "0.1.0"
__all__ = [
    "LeukoscopeError", "Model", "SmearCount", "__version__", "adapt", "audit", "count_smear", "evaluate",
    "find_leukocytes", "index", "load", "read_image", "read_manifest", "write_manifest",
]
_HOME = {
    "LeukoscopeError": "errors", "Model": "predict.model", "SmearCount": "commands.count", "adapt": "commands.adapt",
    "audit": "auditing.audit", "count_smear": "commands.count", "evaluate": "evaluation.evaluate",
    "find_leukocytes": "smear", "index": "datasets", "load": "predict.model", "read_image": "images.read",
    "read_manifest": "manifest", "write_manifest": "manifest",
}
"""Public name -> the module that defines it."""


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
