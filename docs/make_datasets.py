"""Writes docs/datasets.md from what the data sets state about themselves: python docs/make_datasets.py"""

from __future__ import annotations

from pathlib import Path

from leukoscope.datasets import Dataset
from leukoscope.datasets import dataset_names, get_dataset
from leukoscope.files import write_text

HEAD = """# Data sets

Written by `python docs/make_datasets.py` from the readers in `src/leukoscope/datasets/`; a test compares the two.

`leukoscope data index NAME FOLDER -o cells.parquet [--view VIEW] [--option KEY=VALUE]` makes a manifest of any of
them. It counts what the published set holds and what the folder holds, and names what is missing or damaged. No data
set comes with Leukoscope; each keeps its own licence. `data get` fetches those marked with a star.

How to read the last column: cells of one subject look alike, so a fair split keeps them together. Where the set does
not say who the subjects are, the group stands in; where there is neither, no split can be trusted to be fair, and the
index says so.
"""

PUBLIC = "## Public data sets\n\n| name | what | licence | how to get it | views | subjects and groups |\n" \
         "|---|---|---|---|---|---|\n"
GENERAL = "\n## General layouts\n\n| name | what | views | subjects and groups |\n|---|---|---|---|\n"

CHULA = """
## Which Chula

Chulalongkorn University published three sets of blood cells. `chula` reads the one with YOLO boxes around
leukocytes, `WBC_Dataset` (500 fields, five types). It does not read Chula RBC-12 (red cells marked by points) nor
Chula-WBC-8 (leukocytes cut out, with a CSV of labels: index that with `table`).
"""


def datasets_page() -> str:
    """The whole page."""
    sets = [get_dataset(name) for name in dataset_names()]
    public = [data for data in sets if data.citation]
    general = [data for data in sets if not data.citation]
    rows = [_row(f"`{d.name}`{' *' if d.downloads else ''}", d.title, d.licence, d.obtain, _views(d), d.subject_rule)
            for d in public]
    lines = [_row(f"`{d.name}`", d.title, _views(d), d.subject_rule) for d in general]
    options = [f"\n### Options of `{d.name}`\n\n| option | what |\n|---|---|\n"
               + "".join(_row(f"`{key}`", text) for key, text in d.options.items()) for d in sets if d.options]
    sources = "\n## How to cite\n\n" + "".join(f"- `{d.name}`: {d.citation}. Page: <{d.homepage}>\n" for d in public)
    return HEAD + "\n" + PUBLIC + "".join(rows) + CHULA + GENERAL + "".join(lines) + "".join(options) + sources


def _views(data: Dataset) -> str:
    return "<br>".join(f"`{name}`{' (default)' if name == data.default_view and len(data.views) > 1 else ''}: {text}"
                       for name, text in data.views.items())


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    write_text(Path(__file__).with_name("datasets.md"), datasets_page())
