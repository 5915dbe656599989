"""Draws docs/optics.png from a run of dimuro2020: python docs/make_optics.py RUN"""

from __future__ import annotations

import sys
from pathlib import Path

from leukoscope.commands.optics import microscope_in
from leukoscope.figures.common import save_png
from leukoscope.figures.optics import optics_sheet
from leukoscope.optics import state_of
from leukoscope.runs.run import Run


def main() -> None:
    """Write the picture beside this file."""
    run = Run(Path(sys.argv[1]))
    save_png(optics_sheet(state_of(microscope_in(run, run.folds[0]))), Path(__file__).with_name("optics.png"), dpi=100)


if __name__ == "__main__":
    main()
