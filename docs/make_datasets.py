"""Writes docs/datasets.md from what the data sets state about themselves: python docs/make_datasets.py"""

from __future__ import annotations

from pathlib import Path

from leukoscope.datasets import Dataset, dataset_names, get_dataset
from leukoscope.datasets.leukocytes import CLASS_OF, CLASSES
from leukoscope.files import write_text

HEAD = """# Data sets

Written by `python docs/make_datasets.py` from the readers in `src/leukoscope/datasets/`; a test compares the two.

`leukoscope data index NAME FOLDER -o cells.parquet [--view VIEW] [--option KEY=VALUE]` makes a manifest of any of
them. It counts the cells of the published set and of the folder, and names what is missing or damaged. No data set is
part of Leukoscope; each has its own licence. `data get` downloads those marked with a star.

How to read the last column: cells of one subject are alike, so a fair split keeps them together. Where the subjects of
a set are not known, the group takes their place; where there is no group either, no split is known to be fair, and the
index says so.
"""

PUBLIC = "## Public data sets\n\n| name | what | licence | how to get it | views | subjects and groups |\n" \
         "|---|---|---|---|---|---|\n"
GENERAL = "\n## General layouts\n\n| name | what | views | subjects and groups |\n|---|---|---|---|\n"

CHULA = """
## Three sets called Chula

Chulalongkorn University published three sets of blood cells. `chula` reads the one with YOLO boxes around
leukocytes, `WBC_Dataset` (500 fields, five types), and cells cut from its fields. It does not read Chula RBC-12 (red
cells marked by points) nor Chula-WBC-8 (leukocytes cut out, with a CSV of labels: index that with `table`).
"""

SHARED = """
## Shared classes

The view `leukocytes` gives the cells of several sets the same labels, so that a model can be trained on some
laboratories and tested on another; the column `source` names the laboratory. The table shows which types of a set
belong to each class: the set's own name, and after a colon the column `subtype` where it differs. Cells of the last
row have a subtype and no label.

A class is not the same everywhere. The blasts of `cnmc` are lymphoblasts, those of `lmu` are myeloblasts and
monoblasts, those of `mll` are not divided further. `mll` is bone marrow; the others are blood. Each class comes from
some laboratories only, so a network that recognises the laboratory can guess the class: test it on a laboratory that
it was not trained on.
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
    return "".join([HEAD, "\n", PUBLIC, *rows, CHULA, SHARED, _shared(public), GENERAL, *lines, *options, sources])


def _shared(public: list[Dataset]) -> str:
    sets = [data for data in public if data.leukocytes]
    table = "\n" + _row("class", *(f"`{data.name}`" for data in sets)) + _row(*["---"] * (len(sets) + 1))
    for name in (*CLASSES, None):
        types = [[own if own == subtype else f"{own}: {subtype}" for own, subtype in data.leukocytes.items()
                  if CLASS_OF.get(subtype) == name] for data in sets]
        table += _row(name or "(no label)", *("<br>".join(cells) for cells in types))
    return table


def _views(data: Dataset) -> str:
    return "<br>".join(f"`{name}`{' (default)' if name == data.default_view and len(data.views) > 1 else ''}: {text}"
                       for name, text in data.views.items())


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    write_text(Path(__file__).with_name("datasets.md"), datasets_page())
