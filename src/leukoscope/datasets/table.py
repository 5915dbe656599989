"""A CSV or Parquet table with one row a cell, its columns named by options.

Knows nothing of what the labels are. A table that is a manifest already needs no indexing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import polars as pl

from ..errors import DatasetError
from .base import Dataset, Index, check_choice, check_root
from .collector import BadBox, Findings, Image, numbers, pixel_box
from .paths import files_below, is_there

TEXT = ("image", "label", "subject", "group", "field", "split", "mask")
BOX = ("x", "y", "width", "height")
COLUMNS = ("id", *TEXT, *BOX)
LAYOUT = "one table (.csv or .parquet) with a column of image paths"
VIEWS = {"rows": "one row a cell, as the table says"}
OPTIONS = {
    "file": "the table, where the folder holds several",
    "separator": "what parts the columns of a CSV (a comma if not given; tab for a tabulator)",
    "images": "the folder that relative image paths start from (the table's own if not given)",
    "suffix": "what to add to image names, such as .png",
    **{f"{name}_column": f"the column with the {name}"
       f"{' of the cell' if name == 'id' else ' in px' if name in BOX else ''}"
       f" ('{'cell_id' if name == 'id' else name}' if not given)" for name in COLUMNS},
}


def index(root: Path, view: str = "rows", **options: str) -> Index:
    """Index a table, or the only one in a folder. Raises DatasetError for a missing column or an unreadable table."""
    check_choice(view, VIEWS, options, OPTIONS)
    file = _table_file(Path(root), options.get("file", ""))
    frame = _read(file, options.get("separator", ","))
    columns = _columns(frame, file, options)
    found = Findings(file.parent, file.stem)
    cells = [{name: (value or "").strip() for name, value in zip(columns, row, strict=True)}
             for row in zip(*(_text(frame, column, file) for column in columns.values()), strict=True)]
    base = file.parent / options.get("images", "")
    opened: dict[Path, Image | None] = {}
    for number, (cell, cell_id) in enumerate(zip(cells, _ids(cells), strict=True), 1):
        where = f"{file}: row {number}"
        if not cell["image"]:
            found.damaged.append((where, "names no image"))
            continue
        path = base / (cell["image"] + options.get("suffix", ""))
        if not is_there(path):
            found.missing.append(f"{path} (row {number})")
            continue
        if path not in opened:
            opened[path] = found.open(path, path.name)
        image = opened[path]
        mask = base / cell["mask"] if cell.get("mask") else None
        if mask is not None and not is_there(mask):
            found.missing.append(f"{mask} (row {number})")
            mask = None
        if image is not None:
            _add(found, image, cell | {"id": cell_id, "mask": str(mask or "")}, where)
    return found.index(LAYOUT)


def _table_file(root: Path, name: str) -> Path:
    if not name and root.is_file():
        return root.absolute()
    check_root(root, "the table", LAYOUT)
    if name:
        file = root / name
        if not is_there(file) or not file.is_file():
            raise DatasetError(f"option file: {file}: no such file", "give the table's name below the folder")
        return file.absolute()
    tables = [path for path in files_below(root, {".csv", ".parquet"}) if path.parent == root]
    if len(tables) != 1:
        got = f"{len(tables)} tables ({', '.join(t.name for t in tables[:3])})" if tables else "no table"
        raise DatasetError(f"{root}: holds {got}, expected {LAYOUT}", "name it with the option file=NAME")
    return tables[0].absolute()


def _read(file: Path, separator: str) -> pl.DataFrame:
    separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
    if file.suffix.lower() not in (".csv", ".parquet", ".tsv", ".txt") or len(separator.encode()) != 1:
        raise DatasetError(f"{file}: cannot be read as a table with the separator '{separator}'", f"give {LAYOUT}, and "
                           "a separator of one character")
    try:
        if file.suffix.lower() == ".parquet":
            return pl.read_parquet(file)
        return pl.read_csv(file, infer_schema=False, separator=separator)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = (str(error).splitlines() or ["unknown"])[0]
        raise DatasetError(f"{file}: not a readable table ({reason})", "export it anew") from error


def _text(frame: pl.DataFrame, column: str, file: Path) -> pl.Series:
    try:
        return frame[column].cast(pl.String)
    except pl.exceptions.PolarsError as error:
        raise DatasetError(f"{file}: the column '{column}' ({frame[column].dtype}) is neither text nor numbers",
                           "name another column") from error


def _columns(frame: pl.DataFrame, file: Path, options: Mapping[str, str]) -> dict[str, str]:
    """What each column of the table is. Options must name columns that are there; only the image is required."""
    columns = {}
    for name in COLUMNS:
        given = options.get(f"{name}_column")
        column = given or ("cell_id" if name == "id" else name)
        if column in frame.columns:
            columns[name] = column
        elif given or name == "image":
            raise DatasetError(f"{file}: no column '{column}' (it has {', '.join(frame.columns)})",
                               f"name the right one with the option {name}_column=NAME")
    partial = [name for name in BOX if name in columns]
    if partial and len(partial) < len(BOX):
        lacking = [name for name in BOX if name not in columns]
        raise DatasetError(f"{file}: a box needs the columns {', '.join(BOX)}; there is no column for "
                           f"{', '.join(lacking)}", f"name it with the option {lacking[0]}_column=NAME")
    return columns


def _ids(cells: list[dict[str, str]]) -> list[str]:
    """The table's ids; else each image's path without suffix, numbered where several rows share it."""
    images: dict[str, set[str]] = {}
    for cell in cells:
        images.setdefault(_stem(cell["image"]), set()).add(cell["image"])
    bases = [stem if len(images[stem := _stem(cell["image"])]) == 1 else cell["image"] for cell in cells]
    count, seen, ids = Counter(bases), Counter[str](), []
    for cell, base in zip(cells, bases, strict=True):
        seen[base] += 1
        ids.append(cell.get("id") or (f"{base}#{seen[base]}" if count[base] > 1 else base))
    return ids


def _stem(image: str) -> str:
    return image.removesuffix(PurePosixPath(image).suffix)


def _add(found: Findings, image: Image, cell: Mapping[str, str], where: str) -> None:
    row: dict[str, object] = {name: cell.get(name) or None for name in TEXT}
    if any(cell.get(name) for name in BOX):
        try:
            x, y, width, height = numbers(cell[name] for name in BOX)
            box = pixel_box(x, y, x + width, y + height, image.size)
        except BadBox as error:
            found.damaged.append((where, str(error)))
            return
        if box.clipped:
            found.clipped.append(where)
        row |= dict(zip(BOX, box[:4], strict=True))
    found.rows.append(row | {"cell_id": cell["id"], "image": str(image.path), "source": found.source})


DATASET = Dataset(
    name="table",
    title="a CSV or Parquet table, its columns named by options",
    licence="that of the images",
    citation="",
    homepage="",
    obtain="give a table of your own, or the folder that holds it",
    subject_rule="the columns subject and group, or those that subject_column and group_column name",
    views=VIEWS,
    index=index,
    options=OPTIONS,
)
