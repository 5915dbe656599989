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

Indexing reads the headers of images only. A file that is cut off in its middle has a right header: `--decode` looks at
every pixel, and leaves out and names what cannot be decoded.
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

ATTRIBUTES = """
## Attributes of cells
Columns that begin with `attribute_` describe a cell beside its class, such as `attribute_nucleus_shape`. `--attributes
TABLE` joins them to the index of any set: a row for each cell, named by `cell_id` or by its image, and a column for
each attribute, as in WBCAtt (Tsutsui et al. 2023, eleven attributes of PBC cells: `leukoscope data index pbc
PBC_dataset_normal_DIB --attributes wbcatt_attributes.csv -o cells.parquet`). They are text, kept by every command; the
audit lists them, and the page of a run or an evaluation says which of them go with the errors
([statistics.md](statistics.md#attributes-and-errors)).
"""

TABLES = """
## Tables of your own

`table` and every command that takes a table of cells read CSV as programs write it: columns separated by commas,
semicolons, tabs or |, a first line `sep=;`, UTF-8 or UTF-16, line ends of any system, blanks and another case in the
names of columns, decimal commas where the comma does not separate columns. What is not UTF-8 is refused: save it as
CSV UTF-8, or use the option `encoding`. In columns of names (label, subject, group, field, split) `NA`, `NaN`, `NULL`
and the like are no name, and the index says how many there were; in a Parquet file only NaN and null are. A subject or
group that is only true and false is none. Columns that are not used are named.

An image is found where the table says; else, for a bare name or a path of another computer, by its name below the
folder of images, as in the layouts with boxes.

CSV files that Leukoscope writes are safe to open in a spreadsheet program: a text that begins with `=`, `+`, `-`, `@`
(also full-width), a tab or a line end, which the program would compute, gets an apostrophe before it. Leukoscope takes
it away when it reads the file; in Parquet and JSON nothing is changed.

Labels that differ only in case, blanks or Unicode form ("Lymphocyte", "lymphocyte ", an accent as a character of its
own) are different classes. The index, the audit and the training name them, with the setting `data.merge` that makes
them one. Training and evaluation say how many cells they left out, and why.

Boxes lie on the photograph as it is shown. Where EXIF turns a photograph and the size in the annotation is that of the
pixels as stored, its boxes are turned with it; where nothing says on which of the two they were drawn, they are left
out as damaged until the option `turned` says it.
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

To train over laboratories, index each with the view `leukocytes` and join the tables. The column `source` names the
laboratory; ids, subjects and groups that two tables use are kept apart:

    leukoscope data index pbc PBC_dataset_normal_DIB --view leukocytes -o pbc.parquet
    leukoscope data index lmu AML-Cytomorphology_LMU --view leukocytes -o lmu.parquet
    leukoscope data join pbc.parquet lmu.parquet -o laboratories.parquet
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
    return "".join([HEAD, "\n", PUBLIC, *rows, CHULA, SHARED, _shared(public), GENERAL, *lines, TABLES, ATTRIBUTES,
                    *options, sources])


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
