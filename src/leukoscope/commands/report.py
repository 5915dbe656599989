"""`leukoscope report`: the page of any result, made again from its folder."""

from __future__ import annotations

from pathlib import Path

from ..errors import RunError
from ..files import read_json
from ..report.agreement import RESULT as AGREEMENT
from ..report.agreement import write_agreement
from ..report.robustness import RESULT, write_robustness
from ..report.run import write_report
from ..report.study import read_study, write_study
from .compare import draw_comparison


def write_any_report(folder: Path) -> Path:
    """Make the page of a run, an evaluation, a study, a comparison or an agreement again from its folder."""
    if (folder / "compare.json").is_file():
        return draw_comparison(folder)
    if (folder / AGREEMENT).is_file():
        return write_agreement(read_json(folder / AGREEMENT), folder)
    if (folder / "study.json").is_file():
        for name in read_study(folder).runs:
            write_report(folder / name)
        return write_study(folder)
    if (folder / RESULT).is_file():
        write_robustness(read_json(folder / RESULT), folder)
    if not (folder / "metrics.json").is_file():
        raise RunError(f"{folder}: no finished run (metrics.json is missing)",
                       "finish it with: leukoscope train ... --resume")
    return write_report(folder)
