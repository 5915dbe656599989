"""The folder of a run or of an evaluation, read once for its page: JSON becomes frozen dataclasses, tables data frames.

A missing optional file is None; a damaged file is a RunError that names it. Knows nothing of pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, TypeVar

import polars as pl
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from ..datasets.left_out import LeftOut
from ..errors import LeukoscopeError, RunError, first_line
from ..files import read_json
from ..manifest import read_manifest
from ..recipes.recipe import Recipe, load_recipe
from ..stats.estimate import Estimate
from ..tables import read_csv, read_parquet
from .laboratories import Laboratories, LaboratoryShortcut
from .run import LABORATORIES, SHORTCUT
from .stored import Result

BUNDLE_RECIPE = "bundle_recipe.toml"
"""In the evaluation of a bundle: how it was trained."""
T = TypeVar("T")
S = TypeVar("S", bound=Result)


def _estimates_apart(content: object) -> object:
    """Move the estimates of a table, `{"value": ..., "low": ..., "high": ..., "method": ...}`, below one key."""
    if not isinstance(content, Mapping):
        return content
    estimates = {key: value for key, value in content.items()
                 if isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys()}
    return {key: value for key, value in content.items() if key not in estimates} | {"estimates": estimates}


APART = BeforeValidator(_estimates_apart)


@dataclass(frozen=True)
class Estimates:
    """Figures by name, such as "accuracy", with their intervals; shares lie in [0, 1]."""

    estimates: Mapping[str, Estimate]

    def __getitem__(self, name: str) -> Estimate:
        return self.estimates[name]

    def __contains__(self, name: object) -> bool:
        return name in self.estimates


@dataclass(frozen=True)
class ClassResult(Estimates):
    """One class against the rest; support: cells of the class."""

    support: int


@dataclass(frozen=True)
class FoldResult(Estimates):
    """The tested cells of one fold."""

    fold: int
    cells: int | None = None


@dataclass(frozen=True)
class Bin:
    """Cells whose predicted class has about the same probability: how many, their mean probability, their accuracy."""

    count: int
    confidence: float | None
    accuracy: Estimate


@dataclass(frozen=True)
class Calibration(Estimates):
    """How well probabilities agree with the share of correct answers."""

    bins: tuple[Bin, ...] = ()


@dataclass(frozen=True)
class Roc:
    """False and true positive rates in [0, 1], along the threshold."""

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]


@dataclass(frozen=True)
class PrecisionRecall:
    """Recall and precision in [0, 1], along the threshold."""

    recall: tuple[float, ...]
    precision: tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """The curves of one class against the rest."""

    roc: Roc
    pr: PrecisionRecall


@dataclass(frozen=True)
class OperatingPoint(Estimates):
    """A cell is called positive from the probability `threshold` on; with several folds, this is their median."""

    threshold: float
    target_sensitivity: float
    chosen_on: str
    fold_thresholds: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class SubjectLevel(Estimates):
    """One answer for each subject, made by `rule`."""

    subjects: int
    rule: str = ""
    confusion: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Doubt(Estimates):
    """How often a bundle is unsure. coverage, rejected: shares that it aims at on cells like its validation part."""

    coverage: float | None = None
    rejected: float | None = None


@dataclass(frozen=True)
class Metrics:
    """metrics.json. confusion: cells, rows true and columns predicted, in the order of `classes`; curves: by class."""

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    overall: Annotated[Estimates, APART]
    per_class: Mapping[str, Annotated[ClassResult, APART]]
    cells: int
    positive: str = ""
    confidence: float = 0.95
    folds: tuple[int, ...] = ()
    curves: Mapping[str, Curves] = field(default_factory=dict)
    calibration: Annotated[Calibration, APART] | None = None
    operating_point: Annotated[OperatingPoint, APART] | None = None
    per_fold: tuple[Annotated[FoldResult, APART], ...] = ()
    subject_level: Annotated[SubjectLevel, APART] | None = None
    doubt: Annotated[Doubt, APART] | None = None
    notes: tuple[str, ...] = ()

    @property
    def right(self) -> int:
        """Cells classified correctly."""
        return sum(row[i] for i, row in enumerate(self.confusion))

    @property
    def tested(self) -> int:
        """All cells of the confusion matrix."""
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> Estimate:
        return self.overall["accuracy"]

    @property
    def weakest(self) -> tuple[str, Estimate] | None:
        """The class with the lowest sensitivity, and that; None where no class has a sensitivity."""
        rated = {name: own["sensitivity"] for name, own in self.per_class.items()}
        known = {name: own.value for name, own in rated.items() if own.value is not None}
        name = min(known, key=lambda c: known[c], default=None)
        return None if name is None else (name, rated[name])


@dataclass(frozen=True)
class Leak:
    """One leak in guard.json: its kind, a sentence, its fold, and the number of subjects or images concerned."""

    kind: str
    text: str
    fold: int | None = None
    count: int = 0


@dataclass(frozen=True)
class Guard:
    """guard.json: what the leak guard has checked, could not check, and has found."""

    protocol: str = "clean"
    leaks: tuple[Leak, ...] = ()
    checked: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Environment:
    """environment.json: command, versions and machine; seconds: of the whole run."""

    leukoscope: str = ""
    python: str = ""
    platform: str = ""
    cpu: str = ""
    device: str = ""
    threads: int | None = None
    seed: int | None = None
    started: str = ""
    command: str = ""
    seconds: float | None = None
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """Laboratories of the training cells, and of the evaluated ones; empty where they are not known."""

    trained: tuple[str, ...] = ()
    here: tuple[str, ...] = ()

    @property
    def other(self) -> bool:
        """Whether the evaluated cells come from none of the training laboratories."""
        return bool(self.trained and self.here) and set(self.trained).isdisjoint(self.here)


@dataclass(frozen=True)
class Evaluated:
    """evaluation.json: which run, bundle or table of predictions was evaluated on these cells. title: of a table.
    classes: all that it knows; within_labels: whether only classes among the labels could be answers."""

    run: str = ""
    bundle: str = ""
    table: str = ""
    title: str = ""
    classes: tuple[str, ...] = ()
    within_labels: bool = False
    sources: Sources = field(default_factory=Sources)


@dataclass(frozen=True)
class Fold:
    """One trained fold: fold.json, and its training history (one row for each epoch) where there is one."""

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)
    fold: int
    best_epoch: int | None = None
    epochs: int | None = None
    stopped_early: bool = False
    seconds: float | None = None
    parameters: int | None = None
    history: pl.DataFrame | None = None


@dataclass(frozen=True)
class Results:
    """What the page of a run shows. For an evaluation on other cells, `recipe` is that of the evaluated run or bundle
    and `evaluated` says which it is."""

    folder: Path
    metrics: Metrics
    recipe: Recipe | None
    predictions: pl.DataFrame
    manifest: pl.DataFrame | None
    splits: pl.DataFrame | None
    guard: Guard | None
    left_out: LeftOut | None
    environment: Environment
    folds: tuple[Fold, ...] = ()
    evaluated: Evaluated | None = None
    laboratories: Laboratories | None = None
    shortcut: LaboratoryShortcut | None = None

    @property
    def name(self) -> str:
        if self.recipe is None:
            return self.evaluated.title if self.evaluated and self.evaluated.table else self.folder.resolve().name
        return self.recipe.title or self.recipe.name

    @property
    def parameters(self) -> int | None:
        """Weights of the network; None where no fold says."""
        return max((fold.parameters for fold in self.folds if fold.parameters), default=None)

    @property
    def seconds(self) -> float | None:
        """Time that all folds took to train; None where no fold says."""
        return sum(fold.seconds or 0 for fold in self.folds) or None

    @property
    def subjects_unknown(self) -> bool:
        """Whether the manifest names no subject for any cell."""
        return self.manifest is not None and self.manifest["subject"].null_count() == self.manifest.height


def read_results(folder: Path) -> Results:
    """Read a finished run, or the evaluation of one; RunError names the file that is missing or damaged."""
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder", "give the folder of a run")
    if not (folder / "metrics.json").is_file():
        raise RunError(f"{folder}: not a finished run (metrics.json is missing)",
                       "finish it with: leukoscope train ... --resume")
    try:
        metrics, evaluated = _view(folder / "metrics.json", Metrics), _view(folder / "evaluation.json", Evaluated)
        recipe = (folder / BUNDLE_RECIPE if evaluated and (evaluated.bundle or evaluated.table) else
                  Path(evaluated.run if evaluated else folder) / "recipe.toml")
        splits, manifest = folder / "splits.parquet", folder / "manifest.parquet"
        return Results(
            folder=folder, metrics=metrics or json_view(Metrics, {}, folder / "metrics.json"),
            recipe=load_recipe(recipe) if recipe.is_file() else None,
            predictions=_parquet(folder / "predictions.parquet"),
            manifest=read_manifest(manifest) if manifest.is_file() else None,
            splits=_parquet(splits) if splits.is_file() else None, guard=_view(folder / "guard.json", Guard),
            left_out=_view(folder / "left_out.json", LeftOut),
            environment=_view(folder / "environment.json", Environment) or Environment(), folds=_folds(folder),
            evaluated=evaluated, laboratories=_stored(folder / LABORATORIES, Laboratories),
            shortcut=_stored(folder / SHORTCUT, LaboratoryShortcut))
    except RunError:
        raise
    except LeukoscopeError as error:
        raise RunError(error.what, error.hint) from error


def read_laboratories(folder: Path) -> Laboratories:
    """Those of a finished run; RunError where its split is not by laboratory, or the file is damaged."""
    laboratories = _stored(folder / LABORATORIES, Laboratories)
    if laboratories is None:
        raise RunError(f"{folder}: its split is not by laboratory", "train a recipe with split.kind = 'laboratory'")
    return laboratories


def json_view(kind: type[T], content: object, file: Path, hint: str = "evaluate the run again") -> T:
    """What JSON holds as a frozen dataclass; null is as missing. RunError names the key that is missing or wrong."""
    table = {key: value for key, value in content.items() if value is not None} if isinstance(content, Mapping) else {}
    try:
        return _adapter(kind).validate_python(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        wrong = f"no '{key}' in it" if first["type"] == "missing" else f"'{key}': {first['msg']}"
        raise RunError(f"{file}: {wrong}", hint) from error


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def _stored(file: Path, kind: type[S]) -> S | None:
    if not file.is_file():
        return None
    content = read_json(file)
    try:
        return kind.from_dict(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{file}: damaged ({type(error).__name__}: {error})", "train the run again") from error


def _view(file: Path, kind: type[T]) -> T | None:
    content = read_json(file) if file.is_file() else None
    return json_view(kind, content, file, "train or evaluate again") if content else None


def _folds(folder: Path) -> tuple[Fold, ...]:
    """The finished folds below a run folder, in order."""
    folds = []
    for file in (folder / "folds").glob("*/fold.json"):
        name, history = file.parent.name, file.parent / "history.csv"
        fold = _view(file, Fold) or Fold(int(name) if name.isdigit() else -1)
        folds.append(replace(fold, history=_history(history) if history.is_file() else None))
    return tuple(sorted(folds, key=lambda fold: fold.fold))


def _history(file: Path) -> pl.DataFrame | None:
    try:
        history = read_csv(file, infer_schema_length=None, null_values=["", "nan", "NaN"])
    except pl.exceptions.NoDataError:
        return None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunError(f"{file}: not a readable table ({first_line(error)})", "train this fold again") from error
    if "epoch" not in history.columns:
        raise RunError(f"{file}: no column 'epoch' (it has {', '.join(history.columns)})", "train this fold again")
    return history if history.height else None


def _parquet(file: Path) -> pl.DataFrame:
    try:
        return read_parquet(file)
    except FileNotFoundError as error:
        raise RunError(f"{file}: no such file", "finish the run with: leukoscope train ... --resume") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunError(f"{file}: not a readable table ({first_line(error)})", "train the run again") from error
