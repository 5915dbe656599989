"""Exceptions for what a user can get wrong.

Each says on one line what was expected, what came and how to mend it; the command line prints that line and exits
with 2. Our own broken invariants are asserted instead, and do show a traceback.
"""

from __future__ import annotations

from pathlib import Path


class LeukoscopeError(Exception):
    """Base of all errors that a user can correct.

    `what` names the file, row or key and the fault; `hint` says what to do about it.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        self.what = " ".join(str(what).split())
        self.hint = " ".join(hint.split())
        super().__init__(f"{self.what}; {self.hint}" if self.hint else self.what)


class ManifestError(LeukoscopeError):
    """A manifest is not the table of cells that it should be."""


class RecipeError(LeukoscopeError):
    """A recipe holds an unknown key, a value out of range or a contradiction."""


class ImageError(LeukoscopeError):
    """An image cannot be decoded whole. `path` is the file, `reason` what is wrong with it."""

    def __init__(self, path: Path | str, reason: str, hint: str = "") -> None:
        self.path = Path(path)
        self.reason = " ".join(reason.split())
        super().__init__(f"{path}: {self.reason}", hint)


class DatasetError(LeukoscopeError):
    """A folder does not hold the data set that it was said to hold."""


class DownloadError(LeukoscopeError):
    """A download failed, or what came is not what was published."""


class LeakError(LeukoscopeError):
    """A split lets the test part be seen in training."""


class RunError(LeukoscopeError):
    """A run folder is missing, damaged, unfinished or made by another recipe."""


class BundleError(LeukoscopeError):
    """A bundle is missing, damaged, of a newer format, or not what it says."""


EXTRAS = {
    "train": ("torch", "torchvision", "timm", "lightning", "captum", "numba", "onnxscript", "tensorboard"),
}
"""Which extra of the package brings which library."""


class MissingExtraError(LeukoscopeError):
    """A command needs a library that only an extra of the package installs."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """What to install where an import failed for want of an extra; None where the reason is another."""
    name = (error.name or "").partition(".")[0]
    for extra, libraries in EXTRAS.items():
        if name in libraries:
            return MissingExtraError(f"this command needs {name}, which is not installed",
                                     f"install it with: pip install 'leukoscope[{extra}]'")
    return None
