"""`leukoscope report`: the page of any result, made again from its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import RunError
from ..files import read_json
from ..report import agreement, robustness
from ..report.run import write_report
from ..report.study import read_study, write_study
from .compare import RESULT, draw_comparison


def write_any_report(folder: Path) -> Path:
    """Make the page of a run, an evaluation, a study, a comparison or an agreement again from its folder."""
    draw = next((draw for name, draw in PAGES.items() if (folder / name).is_file()), None)
    if draw is None:
        raise RunError(f"{folder}: no finished run (metrics.json is missing)",
                       "finish it with: leukoscope train ... --resume")
    return draw(folder)


def _draw_agreement(folder: Path) -> Path:
    return agreement.write_agreement(read_json(folder / agreement.RESULT), folder)


def _draw_study(folder: Path) -> Path:
    """The pages of its runs too."""
    for name in read_study(folder).runs:
        write_report(folder / name)
    return write_study(folder)


def _draw_run(folder: Path) -> Path:
    """Of an evaluation under corruptions, their page too."""
    if (folder / robustness.RESULT).is_file():
        robustness.write_robustness(read_json(folder / robustness.RESULT), folder)
    return write_report(folder)


PAGES: Mapping[str, Callable[[Path], Path]] = {
    RESULT: draw_comparison, agreement.RESULT: _draw_agreement, "study.json": _draw_study, "metrics.json": _draw_run}
"""A file of a folder -> what draws the page; the first that exists decides."""
