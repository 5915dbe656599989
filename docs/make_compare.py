"""Draws docs/compare.png from a comparison: python docs/make_compare.py FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path

from leukoscope.commands.compare import RESULT
from leukoscope.figures.common import save_png
from leukoscope.files import read_json
from leukoscope.report.compare import comparison_figures, read_comparison


def main() -> None:
    """Write the picture beside this file."""
    figures = comparison_figures(read_comparison(read_json(Path(sys.argv[1]) / RESULT)))
    save_png(figures["costs"], Path(__file__).with_name("compare.png"), dpi=110)


if __name__ == "__main__":
    main()
