"""The paths that a user gives to a command, checked before anything slow is imported: a mistyped path is refused at
once, and a path of another kind with the command that takes it. Reads no image, and of a table only its ends.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from glob import has_magic, iglob
from pathlib import Path

from ..errors import BundleError, LeukoscopeError, ManifestError, RunError
from ..filenames import SCANNERS, SLIDE_LIST, SUMMARY, TABLES, UNREAD_SLIDES, check_predictions_path
from ..review.folders import has_record, results_of
from ..text import join, plural

PACKAGED = "packaged"
KINDS = {"bundle.json": "a bundle", "evaluation.json": "an evaluation", "recipe.toml": "a run", "study.json": "a study",
         "compare.json": "a comparison", "agreement.json": "a comparison of counts",
         SUMMARY: "a counted smear"}
"""A file of a folder -> what the folder holds; the first that exists decides."""


def kind_of(path: Path) -> str:
    """What a path holds, as in KINDS; "" for anything else."""
    if path.is_file():
        return "a bundle" if path.suffix.lower() == ".zip" else ""
    return next((kind for name, kind in KINDS.items() if (path / name).is_file()), "")


def described(path: Path) -> str:
    """What a path holds, for a message: as in KINDS, else a table, a file or a folder."""
    return kind_of(path) or ("a folder" if path.is_dir() else "a table" if path.suffix.lower() in TABLES else "a file")


def check_exists(path: Path | str, hint: str, error: type[LeukoscopeError] = LeukoscopeError, *,
                 what: str = "no such file or folder") -> None:
    """Raise `error` unless a path exists; it names a similar one, else says `hint`."""
    path = Path(path)
    if path.exists():
        return
    try:
        near = get_close_matches(path.name, os.listdir(path.parent), n=1, cutoff=0.75)
    except OSError:
        near = []
    raise error(f"{path}: {what}", f"did you mean {path.with_name(near[0])}?" if near else hint)


_NO_FIELDS = (*TABLES, SLIDE_LIST, *SCANNERS, *UNREAD_SLIDES)
_WORDS = 8  # of a path whose quotes are missing, at most
_TAKES_TABLE = "tables of cells end in .parquet or .csv; make one with: leukoscope data index"


def check_manifest(path: Path) -> None:
    """Raise ManifestError unless a path may be a table of cells. A folder has to be indexed first."""
    check_exists(path, "make a table of cells: leukoscope data index LAYOUT FOLDER -o cells.parquet", ManifestError)
    if path.is_dir():
        if kind := kind_of(path):
            raise ManifestError(f"{path}: {kind}, not a table of cells", _TAKES_TABLE)
        from ..datasets.suggest import index_command

        raise ManifestError(f"{path}: a folder, not a table of cells", f"index it first: {index_command(path)}")
    if path.suffix not in TABLES:
        spreadsheet = path.suffix.lower() in (".xlsx", ".xls", ".ods")
        raise ManifestError(f"{path}: not a table of cells",
                            "save the spreadsheet as CSV UTF-8" if spreadsheet else _TAKES_TABLE)
    _check_ends(path)


def _check_ends(table: Path) -> None:
    """Raise ManifestError for a table that is cut off, or none at all, which its first and last bytes show."""
    mark = b"PAR1"
    with open(table, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        start = file.read(4)
        file.seek(max(size - 4, 0))
        end = file.read(4)
    if not size:
        raise ManifestError(f"{table}: not a readable table (the file is empty)", "write or export it again")
    if table.suffix == ".parquet" and not (start == mark and end in (mark, b"PARE")):
        cut = "it is cut off at its end" if start == mark else "it is no Parquet file"
        raise ManifestError(f"{table}: not a readable table ({cut})", "write or export it again")


def check_run(path: Path, command: str, *, evaluations: bool = False) -> None:
    """Raise RunError unless a path is a run folder, or an evaluation where these are taken; `command` names what takes
    it. For a folder of several runs (a study) the error names them."""
    takes = f"leukoscope {command} takes a run, the folder that leukoscope train wrote"
    if str(path) == PACKAGED and not path.exists():
        raise RunError(f"{path}: the built-in model, not a run", takes)
    if kind_of(path) == "a bundle":
        raise RunError(f"{path}: a bundle, not a run", f"leukoscope {command} takes the run that it was exported from "
                       "(leukoscope predict, evaluate and smear take bundles)")
    check_exists(path, takes, RunError, what="not a run (no such folder)")
    kind = kind_of(path)
    if kind == "a run" or (evaluations and kind == "an evaluation"):
        return
    if kind == "an evaluation":
        raise RunError(f"{path}: an evaluation, not a run", "name the run that was evaluated")
    check_one_run(path)
    raise RunError(f"{path}: {described(path)}, not a run", takes)


def check_result(path: Path, command: str, kinds: Sequence[str]) -> None:
    """Raise RunError unless a path is a folder that holds one of these kinds of result (as in KINDS)."""
    takes = f"leukoscope {command} takes {join(kinds, 'or')}"
    check_exists(path, takes, RunError)
    if kind_of(path) not in kinds:
        lacks = " (metrics.json is missing)" if kinds[0] == "a run" and path.is_dir() else ""
        raise RunError(f"{path}: {described(path)}, not {kinds[0]}{lacks}", takes)


def check_one_run(path: Path) -> None:
    """Raise RunError for a folder of several runs, such as a study; it names them."""
    runs = sorted(file.parent.name for file in path.glob("*/recipe.toml"))
    if runs:
        named = ", ".join(str(path / name) for name in runs[:8])
        raise RunError(f"{path}: holds {len(runs)} runs", f"name one of them: {named}{', ...' * (len(runs) > 8)}")


def check_model(path: Path) -> None:
    """Raise LeukoscopeError unless a path may be a run or a bundle, or it is the word for the built-in model."""
    if str(path) != PACKAGED:
        takes = f"name a run, a bundle, or the word {PACKAGED} for the built-in model"
        check_exists(path, takes)
        if described(path) not in ("a run", "a bundle", "a file"):
            check_one_run(path)
            raise LeukoscopeError(f"{path}: {described(path)}, neither a run nor a bundle", takes)


def check_bundle(path: Path | str) -> None:
    """Raise BundleError unless a path may be a bundle, or it is the word for the built-in model."""
    if str(path) == PACKAGED:
        return
    takes = f"name a bundle of leukoscope export, or the word {PACKAGED} for the built-in model"
    check_exists(path, takes, BundleError)
    what = described(Path(path))
    if what == "a run":
        raise BundleError(f"{path}: a run, not a bundle", f"make one: leukoscope export {path} -o BUNDLE")
    if what not in ("a bundle", "a file"):
        raise BundleError(f"{path}: {what}, not a bundle", takes)


def check_images(inputs: Sequence[str | Path]) -> None:
    """Raise LeukoscopeError for an input that does not exist, for an empty folder, and for a damaged table."""
    words = list(map(str, inputs))
    for place, given in enumerate(words):
        path = Path(given)
        if not has_magic(given) or path.exists():
            joined = (" ".join(words[place:end]) for end in range(place + 2, min(len(words), place + _WORDS) + 1))
            whole = "" if path.exists() else next(filter(os.path.exists, joined), "")
            check_exists(path, f"put a path with spaces in quotes: {shlex.quote(whole)}" if whole else
                         "name images, folders, or patterns such as 'fields/*.jpg'")
            if path.is_dir():
                _check_image_folder(path, given)
            elif path.suffix in TABLES and path.is_file():
                _check_ends(path)
        elif not any(iglob(given, recursive=True)):
            raise LeukoscopeError(f"{given}: no file matches this pattern", "check the folder and the ending")


def _check_image_folder(folder: Path, given: str) -> None:
    """Raise LeukoscopeError for a folder that holds a result, and for an empty one."""
    if (kind := kind_of(folder)) not in ("", "a counted smear"):
        raise LeukoscopeError(f"{given}: {kind}, not a folder of images", "name images, or a folder of images")
    if os.access(folder, os.R_OK) and not os.listdir(folder):
        raise LeukoscopeError(f"{given}: holds no image (the folder is empty)", "name a folder of images")


class UnreadableFields(LeukoscopeError):
    """No field of a smear can be read."""


def none_readable(fields: int, first: str, reason: str) -> UnreadableFields:
    """The error for photographs none of which can be read. first, reason: one of them, and what is wrong with it."""
    return UnreadableFields(f"none of {plural(fields, 'field')} could be read; {first}: {reason}",
                            "give photographs of a smear")


def check_fields(inputs: Sequence[str]) -> None:
    """Raise UnreadableFields where only files are named, and none begins as an image or a slide does."""
    names = list(dict.fromkeys(map(str, map(Path, inputs))))
    if not all(Path(name).is_file() and Path(name).suffix.lower() not in _NO_FIELDS for name in names):
        return
    from ..images.headers import format_of, is_dicom, refusal

    starts = []
    try:
        for name in names:
            with open(name, "rb") as file:
                starts.append(file.read(16))
    except OSError:  # of one of them: it is named when the others are counted
        return
    if all(start and not format_of(start) for start in starts) and not any(is_dicom(Path(name)) for name in names):
        raise none_readable(len(names), names[0], refusal(starts[0])[0])


def check_predictions(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise LeukoscopeError where predictions cannot be written to a path, or would replace something."""
    check_predictions_path(out)
    check_free(out, overwrite=overwrite or resume)


def check_counted(folders: Sequence[Path], *, shared: bool) -> None:
    """Raise LeukoscopeError unless each path is a folder that `leukoscope smear` finished. shared: decisions are kept
    in one database for all, and not beside each result."""
    hint = "name a folder that leukoscope smear wrote"
    for folder in folders:
        check_exists(folder, hint, what="no such folder")
        if not folder.is_dir():
            raise LeukoscopeError(f"{folder}: {described(folder)}, not a counted smear", hint)
    results_of(folders, lambda folder: shared or has_record(folder))


def check_smear_options(bundle: str | Path | None, types: bool, micrometres: float | None) -> None:
    """Raise LeukoscopeError for options of a count that contradict each other, or are out of range."""
    if bundle is not None and not types:
        raise LeukoscopeError("--no-types and --bundle: the bundle is there to give types", "use one of the two")
    if micrometres is not None and not 0.01 <= micrometres <= 5:
        raise LeukoscopeError(f"--micrometres {micrometres}: expected 0.01 to 5 um per pixel",
                              "leave it out if unknown")


def check_folder(out: Path) -> None:
    """Raise LeukoscopeError unless a path may become a folder of results."""
    if out.is_file():
        raise LeukoscopeError(f"{out}: is a file", "name a folder")


def check_new_bundle(out: Path) -> None:
    """Raise BundleError where a path exists; the bundle that is fitted to a laboratory replaces nothing."""
    if out.exists():
        raise BundleError(f"{out}: already exists", "name another bundle with -o, or remove this one")


def check_empty(out: Path) -> None:
    """Raise RunError unless a folder is empty or does not exist."""
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{out}: not empty", "choose another folder with -o, or remove it")


def check_free(out: Path, names: Sequence[str] = (), *, overwrite: bool, kind: str = "") -> None:
    """Raise LeukoscopeError where writing would replace something: `out` itself where no `names` are given, else any of
    these files in the folder `out`. `overwrite` allows it, but never for a folder that holds something else than
    `kind` (as in KINDS), where that is given."""
    if out.is_file() if names else out.is_dir():
        given, needed = ("file", "folder") if names else ("folder", "file")
        raise LeukoscopeError(f"{out}: is a {given}", f"name a {needed} with -o")
    held = kind_of(out)
    if kind and held not in ("", kind):
        raise LeukoscopeError(f"{out}: holds {held}, which {kind} would overwrite", "name another folder with -o")
    existing = next((path for path in [out / name for name in names] or [out] if path.exists()), None)
    if existing and not overwrite:
        what = "folder" if names else "file"
        raise LeukoscopeError(f"{existing}: already exists", f"name another {what} with -o, or use --overwrite")
