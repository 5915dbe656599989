"""The page of several runs: variants of an ablation, or networks compared with each other.

`study.json` in the folder names them: {"title": ..., "runs": ["none", "1", ...], "paper": {"1": {"accuracy": 0.968}}},
each run by its path below the folder. Optional: "description"; "source" (of the paper's figures); "conclusions", some
sentences; "tables" of text, made elsewhere ([{"title": ..., "columns": [...], "rows": [[...]], "note": ...}]);
"published" ({name: {pixels: accuracy}}, beside the curves of microscopes). Without the file, every finished run
directly below is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from markupsafe import Markup

from ..errors import RunError
from ..figures.metrics import dots_figure
from ..figures.svg import svg
from ..files import read_json
from ..runs.comparison import Test, TextTable
from ..runs.results import Results, json_view, read_results
from ..stats.paired import holm, paired_difference
from ..text import NO_ESTIMATE, figure_name
from .html import write_page
from .learned import learned_table
from .numbers import PLAIN_NUMBERS
from .optics import confusion_figures, cost_figures
from .sentences import verdict

COLUMNS = ("accuracy", "macro_sensitivity", "macro_ppv", "macro_f1", "macro_auc", "log_loss")
FIGURES = (("accuracy", "Accuracy"), ("macro_sensitivity", "Sensitivity, mean over classes"),
           ("macro_f1", "F1, mean over classes"), ("macro_auc", "AUC, mean over classes"))
MANY = 16
"""Of more runs, one figure of dots is enough."""


@dataclass(frozen=True)
class StudyFile:
    """study.json. paper: run -> metric -> what the paper gives; published: name -> pixels -> accuracy."""

    title: str = ""
    description: str = ""
    source: str = ""
    conclusions: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    paper: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tables: tuple[TextTable, ...] = ()
    published: Mapping[str, Mapping[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """The runs of a study by name, and what study.json says beside them."""

    title: str
    runs: Mapping[str, Results]
    file: StudyFile

    @property
    def short(self) -> dict[str, str]:
        """The name of each run without the folders that all of them lie in."""
        parts = [Path(name).parts for name in self.runs]
        shared = 0
        while all(len(own) > shared + 1 and own[:shared + 1] == parts[0][:shared + 1] for own in parts):
            shared += 1
        return {name: "/".join(own[shared:]) for name, own in zip(self.runs, parts, strict=True)}

    def shared(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that every run has."""
        return [key for key in keys if all(key in results.metrics.overall for results in self.runs.values())]


def write_study(folder: Path) -> Path:
    """Write `study.html` over the runs of `folder`; RunError where there is none, or one is not finished."""
    study = read_study(Path(folder))
    runs, paper = list(study.runs.values()), study.file.paper
    return write_page(
        Path(folder) / "study.html", "study.html", {}, study=study, short=study.short, keys=study.shared(COLUMNS),
        as_printed=as_printed,
        paper_keys=[key for key in COLUMNS if any(key in paper.get(name, {}) for name in study.runs)],
        against=differences(study), verdicts={name: verdict(results) for name, results in study.runs.items()},
        drawn=_figures(study), curves=[svg(figure) for figure in cost_figures(runs, study.file.published)],
        matrices=[svg(figure) for figure in confusion_figures(runs)], same_cells=_same_cells(runs),
        tables=study.file.tables or (learned_table(runs) if _same_cells(runs) else []),
        clustered=subjects_known(runs[0]))


def read_study(folder: Path) -> Study:
    """Open every run of a study; each named run has to be finished."""
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder", "give a folder that holds several runs")
    file = folder / "study.json"
    content = read_json(file) if file.is_file() else {}
    if not isinstance(content, dict):
        raise RunError(f"{file}: expected a table, got {type(content).__name__}", 'write {"title": ..., "runs": [...]}')
    study = json_view(StudyFile, content, file, "correct it, or make the study again")
    names = study.runs or tuple(sorted(f.parent.name for f in folder.glob("*/metrics.json")))
    if not names:
        raise RunError(f"{folder}: no finished run below it", "train some, or name them in study.json")
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise RunError(f"{file}: '{name}' is not a run below this folder", "name runs by their path from it")
    if any(len(row) != len(table.columns) for table in study.tables for row in table.rows):
        raise RunError(f"{file}: a row of a table has not one text for each column", "make the study again")
    return Study(study.title or folder.resolve().name, {name: read_results(folder / name) for name in names}, study)


def _figures(study: Study) -> list[Markup]:
    drawn = []
    for key, title in FIGURES[:1] if len(study.runs) > MANY else FIGURES:
        if key in study.shared([key]):
            others = [study.file.paper.get(name, {}).get(key) for name in study.runs]
            printed = any(value is not None for value in others)
            drawn.append(svg(dots_figure(
                list(study.short.values()), [results.metrics.overall[key] for results in study.runs.values()],
                title=title, xlabel=figure_name(key), shares=key not in PLAIN_NUMBERS, others=others if printed else (),
                others_label="the paper's figure" if printed else "")))
    return drawn


def differences(study: Study) -> dict[str, Test]:
    """Accuracy of each further run minus that of the first, on the same cells, paired; p values corrected by Holm.

    Clustered by subject where all are known. Empty where the runs were not tested on the same cells, once each.
    """
    first, *others = study.runs.values()
    if not _same_cells([first, *others]) or any(
            run.predictions["cell_id"].is_duplicated().any() for run in (first, *others)):
        return {}
    tables = [run.predictions.sort("cell_id") for run in (first, *others)]
    right = [(table["label"] == table["predicted"]).to_numpy() for table in tables]
    clusters = tables[0]["subject"].to_numpy() if subjects_known(first) else None
    compared = [paired_difference(own, right[0], clusters, first.metrics.confidence) for own in right[1:]]
    tested = [i for i, comparison in enumerate(compared) if comparison.p_value is not None]
    adjusted = holm(np.array([compared[i].p_value for i in tested], dtype=float))
    p_values = dict(zip(tested, adjusted.tolist(), strict=True))
    return {name: Test(comparison.difference, comparison.p_value, comparison.test, p_values.get(i))
            for i, (name, comparison) in enumerate(zip(list(study.runs)[1:], compared, strict=True))}


def subjects_known(results: Results) -> bool:
    """Whether every tested cell has a subject."""
    return "subject" in results.predictions.columns and not results.predictions["subject"].has_nulls()


def as_printed(key: str, value: float | None) -> str:
    """A paper's figure with the digits that it was printed with."""
    if value is None:
        return NO_ESTIMATE
    return f"{value:g}" if key in PLAIN_NUMBERS else f"{round(100 * value, 6):g}"


def _same_cells(runs: Sequence[Results]) -> bool:
    """Whether all runs were tested on the same cells, so that they may be compared."""
    tested = [frozenset(results.predictions["cell_id"]) for results in runs]
    return all(cells == tested[0] for cells in tested)
