"""A CSV or Parquet table with one row for each cell; options name its columns.

Knows nothing of the labels. A table that is already a manifest needs no indexing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import polars as pl

from ..errors import DatasetError
from ..manifest import BOX
from ..tables import read_csv, read_parquet
from .base import IMAGE_SUFFIXES, Index, check_choice, check_root, children_of, general_layout
from .collector import BadBox, Collector, Image, numbers, pixel_box
from .paths import exists, files_below

TEXT = ("image", "label", "subject", "group", "field", "split", "mask")
COLUMNS = ("id", *TEXT, *BOX)
LAYOUT = "one table (.csv or .parquet) with a column of image paths"
VIEWS = {"rows": "one row for each cell, as in the table"}
OPTIONS = {
    "file": "the table, where the folder contains several",
    "separator": "the character between the columns of a CSV (default: a comma; tab for a tabulator)",
    "images": "the folder that relative image paths start from (default: the folder of the table)",
    "suffix": "text to add to image names, such as .png",
    **{f"{name}_column": f"the column with the {name}"
       f"{' of the cell' if name == 'id' else ' in px' if name in BOX else ''}"
       f" (default: '{'cell_id' if name == 'id' else name}')" for name in COLUMNS},
}


def index(root: Path, view: str = "rows", **options: str) -> Index:
    """Index a table, or the only one in a folder. Raises DatasetError for a missing column or an unreadable table."""
    check_choice(view, VIEWS, options, OPTIONS)
    file = _table_file(Path(root), options.get("file", ""))
    cells = _read_cells(file, options)
    collector = Collector(file.parent, file.stem)
    base = file.parent / options.get("images", "")
    opened: dict[Path, Image | None] = {}
    for number, (cell, cell_id) in enumerate(zip(cells, _ids(cells), strict=True), 1):
        where = f"{file}: row {number}"
        if not cell["image"]:
            collector.damaged.append((where, "names no image"))
            continue
        path = base / (cell["image"] + options.get("suffix", ""))
        if not exists(path):
            collector.missing.append(f"{path} (row {number})")
            continue
        if path not in opened:
            opened[path] = collector.open(path)
        image = opened[path]
        mask = base / cell["mask"] if cell.get("mask") else None
        if mask is not None and not exists(mask):
            collector.missing.append(f"{mask} (row {number})")
            mask = None
        if image is not None:
            _add(collector, image, cell | {"id": cell_id, "mask": str(mask or "")}, where)
    unused = [str(path) for folder in sorted({path.parent for path in opened}) for path in children_of(folder)
              if path.suffix.lower() in IMAGE_SUFFIXES and path not in opened]
    collector.note_some("images in the same folders are not in the table", unused)
    return collector.index(LAYOUT)


def _table_file(root: Path, name: str) -> Path:
    if not name and root.is_file():
        return root.absolute()
    check_root(root, "the table", LAYOUT)
    if name:
        file = root / name
        if not exists(file) or not file.is_file():
            raise DatasetError(f"option file: {file}: no such file", "give the table's name below the folder")
        return file.absolute()
    tables = [path for path in files_below(root, {".csv", ".parquet"}) if path.parent == root]
    if len(tables) != 1:
        got = f"{len(tables)} tables ({', '.join(t.name for t in tables[:3])})" if tables else "no table"
        raise DatasetError(f"{root}: contains {got}, expected {LAYOUT}", "name it with the option file=NAME")
    return tables[0].absolute()


def _read_cells(file: Path, options: Mapping[str, str]) -> list[dict[str, str]]:
    """The rows of the table as text, under the names of `COLUMNS`."""
    separator = options.get("separator", ",")
    separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
    if file.suffix.lower() not in (".csv", ".parquet", ".tsv", ".txt") or len(separator.encode()) != 1:
        raise DatasetError(f"{file}: cannot be read as a table with the separator '{separator}'", f"give {LAYOUT}, and "
                           "a separator of one character")
    try:
        if file.suffix.lower() == ".parquet":
            frame = read_parquet(file)
        else:
            frame = read_csv(file, infer_schema=False, separator=separator)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = (str(error).splitlines() or ["unknown"])[0]
        raise DatasetError(f"{file}: not a readable table ({reason})", "export it again") from error
    texts: dict[str, list[str]] = {}
    for name, column in _columns(frame, file, options).items():
        try:
            texts[name] = [text.strip() for text in frame[column].cast(pl.String).fill_null("")]
        except pl.exceptions.PolarsError as error:
            raise DatasetError(f"{file}: the column '{column}' ({frame[column].dtype}) is neither text nor numbers",
                               "name another column") from error
    return [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]


def _columns(frame: pl.DataFrame, file: Path, options: Mapping[str, str]) -> dict[str, str]:
    """Name in `COLUMNS` -> column of the table. A column that an option names must exist; only the image is needed."""
    columns = {}
    for name in COLUMNS:
        given = options.get(f"{name}_column")
        column = given or ("cell_id" if name == "id" else name)
        if column in frame.columns:
            columns[name] = column
        elif given or name == "image":
            raise DatasetError(f"{file}: no column '{column}' (it has {', '.join(frame.columns)})",
                               f"name the right one with the option {name}_column=NAME")
    absent = [name for name in BOX if name not in columns]
    if 0 < len(absent) < len(BOX):
        raise DatasetError(f"{file}: a box needs the columns {', '.join(BOX)}; there is no column for "
                           f"{', '.join(absent)}", f"name it with the option {absent[0]}_column=NAME")
    return columns


def _ids(cells: list[dict[str, str]]) -> list[str]:
    """The table's ids; else each image's path without suffix, numbered where several rows have the same image."""
    stems = [cell["image"].removesuffix(PurePosixPath(cell["image"]).suffix) for cell in cells]
    images: dict[str, set[str]] = {}
    for cell, stem in zip(cells, stems, strict=True):
        images.setdefault(stem, set()).add(cell["image"])
    bases = [stem if len(images[stem]) == 1 else cell["image"] for cell, stem in zip(cells, stems, strict=True)]
    total, count, ids = Counter(bases), Counter[str](), []
    for cell, base in zip(cells, bases, strict=True):
        count[base] += 1
        ids.append(cell.get("id") or (f"{base}#{count[base]}" if total[base] > 1 else base))
    return ids


def _add(collector: Collector, image: Image, cell: Mapping[str, str], where: str) -> None:
    row: dict[str, object] = {name: cell.get(name) or None for name in TEXT}
    if any(cell.get(name) for name in BOX):
        try:
            x, y, width, height = numbers(cell[name] for name in BOX)
            box = pixel_box(x, y, x + width, y + height, image.size)
        except BadBox as error:
            collector.damaged.append((where, str(error)))
            return
        if box.clipped:
            collector.clipped.append(where)
        row |= dict(zip(BOX, box[:4], strict=True))
    collector.rows.append(row | {"cell_id": cell["id"], "image": str(image.path), "source": collector.source})


DATASET = general_layout("table", "a CSV or Parquet table, its columns named by options", VIEWS, index, OPTIONS,
                         obtain="use a table of your own, or the folder that contains it",
                         subject_rule="the columns subject and group, or those that subject_column and group_column "
                                      "name")
