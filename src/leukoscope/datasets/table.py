"""A CSV or Parquet table with one row for each cell; options name its columns.

Knows nothing of the labels. A table that is already a manifest needs no indexing.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import polars as pl

from ..errors import DatasetError, first_line
from ..manifest import ATTRIBUTE, BOX
from ..tables import MISSING, UnreadableTable, as_text, meant, read_any_csv, read_parquet
from ..text import join
from .base import IMAGE_SUFFIXES, Index, check_choice, check_root, children_of, general_layout
from .collector import BadBox, Box, Collector, Image, numbers
from .labels import unknown_note
from .paths import Lookup, exists, files_below
from .turned import TURNED_HELP, check_turned

TEXT = ("image", "label", "subject", "group", "field", "split", "mask")
COLUMNS = ("id", *TEXT, *BOX)
NAMES = ("label", "subject", "group", "field", "split")
LAYOUT = "one table (.csv, .tsv or .parquet) with a column of image paths"
VIEWS = {"rows": "one row for each cell, as in the table"}
OPTIONS = {
    "file": "the table, where the folder contains several",
    "separator": "the character between the columns of a CSV (default: the comma, semicolon, tabulator or | that "
                 "parts its first line; tab for a tabulator)",
    "encoding": "how the CSV stores letters, such as cp1252 (default: UTF-8, or what its first bytes say)",
    "missing": "what stands for no value in columns of names, with commas between (default: NA, N/A, NaN, NULL, None "
               "and the like; nothing after = for none of these)",
    "images": "the folder that relative image paths start from (default: the folder of the table)",
    "suffix": "text to add to image names, such as .png",
    "turned": TURNED_HELP,
    **{f"{name}_column": f"the column with the {name}"
       f"{' of the cell' if name == 'id' else ' in px' if name in BOX else ''}"
       f" (default: '{'cell_id' if name == 'id' else name}')" for name in COLUMNS},
}
_USUAL = {
    "image": r"(image|img|file|photo|picture)([ _-]?(name|path|file|id))?|path|filename|bild|datei",
    "label": r"(cell[ _-]?)?(class|type|category|diagnosis|label)([ _-]?(name|id))?|klasse",
    "subject": r"(patient|pat|subject|subj|donor|person|case|proband?|participant|individual|animal|hospital|fall|"
               r"sujeto?|paciente|paziente|hasta)(s|en)?[ ._#-]*(id|no|nr|num|number|nummer|name|code|hash|key)?\.?|"
               r"(id|no|nr)[ ._-]*(patient|subject|donor|case|paciente|paziente)|pid|mrn|患者.*",
    "group": r"(slide|smear|group|batch|specimen|sample)s?[ _-]?(id|no|nr|number|name)?",
}
"""What columns are usually called that a table does not call by our name: for the suggestion of an option."""
_CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"), ("x1", "y1", "x2", "y2"), ("bbox",),
            ("x0", "y0", "x1", "y1"), ("left", "top", "right", "bottom"), ("bbox_x", "bbox_y"), ("box",))
"""How other programs name boxes."""


@dataclass
class Cells:
    """The rows of a table as text, under the names of `COLUMNS`; the columns that are not used; and notes."""

    rows: list[dict[str, str]]
    unused: list[str]
    notes: list[str] = field(default_factory=list)


def index(root: Path, view: str = "rows", **options: str) -> Index:
    """Index a table, or the only one in a folder. Raises DatasetError for a missing column or an unreadable table."""
    check_choice(view, VIEWS, options, OPTIONS)
    file = _table_file(Path(root), options.get("file", ""))
    cells = _read_cells(file, options)
    collector = Collector(file.parent, file.stem, turned=check_turned(options.get("turned", "")), notes=cells.notes)
    images = _Images(file, file.parent / options.get("images", ""), options.get("suffix", ""))
    opened: dict[Path, Image | None] = {}
    for number, (cell, cell_id) in enumerate(zip(cells.rows, _ids(cells.rows), strict=True), 1):
        where = f"{file}: row {number}"
        try:
            if not cell["image"]:
                raise BadBox("names no image")
            path = images.find(cell["image"])
            mask = images.find(cell["mask"], "") if cell.get("mask") else None
        except ValueError as error:
            collector.damaged.append((where, str(error)))
            continue
        if path is None:
            collector.missing.append(f"{images.named(cell['image'])} (row {number})")
            continue
        if path not in opened:
            opened[path] = collector.open(path)
        image = opened[path]
        if cell.get("mask") and mask is None:
            collector.missing.append(f"{images.named(cell['mask'], '')} (row {number})")
        if image is not None:
            _add(collector, image, cell | {"id": cell_id, "mask": str(mask or "")}, where)
    collector.note_some("images were found by their names in other folders than the table says", images.elsewhere)
    unused = [str(path) for folder in sorted({path.parent for path in opened}) for path in children_of(folder)
              if path.suffix.lower() in IMAGE_SUFFIXES and path not in opened]
    collector.note_some("images in the same folders are not in the table", unused)
    collector.subject_hint = _hint("subject", cells.unused) or "name a column with the option subject_column=NAME"
    _note_unused(collector, cells)
    return collector.index(LAYOUT)


class _Images:
    """Finds the images that a table names: where it says, else by the name below the folder of images."""

    def __init__(self, file: Path, base: Path, suffix: str) -> None:
        self.file, self.base, self.suffix = file, base, suffix
        self.elsewhere: list[str] = []
        self._lookup: Lookup | None = None

    def named(self, name: str, suffix: str | None = None) -> Path:
        return self.base / (name + (self.suffix if suffix is None else suffix))

    def find(self, name: str, suffix: str | None = None) -> Path | None:
        """None if there is no such image. Raises ValueError if two fit equally well."""
        path = self.named(name, suffix)
        if exists(path):
            return path
        slashes = self.named(name.replace("\\", "/"), suffix)
        if exists(slashes):
            return slashes
        if slashes.parent != self.base and exists(slashes.parent) and slashes.parent.is_dir():
            return None  # its folder exists and does not hold it: another image of that name is another image
        if self._lookup is None:
            root = self.base if self.base.is_dir() else self.file.parent
            self._lookup = Lookup(root, files_below(root))
        ending = self.suffix if suffix is None else suffix
        found = self._lookup.find(name + ending, self._lookup.root / self.file.name)
        if found is not None:
            self.elsewhere.append(f"{found} ('{name}' in the table)")
        return found


def _table_file(root: Path, name: str) -> Path:
    if not name and root.is_file():
        check_root(root.absolute().parent, "the table", LAYOUT)
        return root.absolute()
    check_root(root, "the table", LAYOUT)
    if name:
        file = root / name
        if not exists(file) or not file.is_file():
            raise DatasetError(f"option file: {file}: no such file", "give the table's name below the folder")
        return file.absolute()
    tables = [path for path in files_below(root, {".csv", ".tsv", ".parquet"}) if path.parent == root]
    if len(tables) != 1:
        got = f"{len(tables)} tables ({', '.join(t.name for t in tables[:3])})" if tables else "no table"
        raise DatasetError(f"{root}: contains {got}, expected {LAYOUT}", "name it with the option file=NAME")
    return tables[0].absolute()


def _read_frame(file: Path, options: Mapping[str, str]) -> tuple[pl.DataFrame, str]:
    """The table, and its separator ("" for Parquet)."""
    separator = options.get("separator", "")
    separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
    if len(separator) > 1 or separator in ('"', "\n", "\r"):
        raise DatasetError(f"{file}: cannot be read as a table with the separator '{separator}'", "give a separator of "
                           "one character, such as ;")
    if file.suffix.lower() not in (".csv", ".parquet", ".tsv", ".txt"):
        raise DatasetError(f"{file}: not a table that can be read", f"give {LAYOUT}: from a spreadsheet, save it as "
                           "CSV UTF-8")
    try:
        if file.suffix.lower() == ".parquet":
            frame = read_parquet(file)
            return frame.rename({name: name.strip() for name in frame.columns
                                 if name.strip() != name and name.strip() not in frame.columns}), ""
        names = [options.get(f"{name}_column") or ("cell_id" if name == "id" else name) for name in COLUMNS]
        return read_any_csv(file, names, separator=separator, encoding=options.get("encoding", ""))
    except UnreadableTable as error:
        other = ", or name how it stores letters with the option encoding=cp1252" if "UTF-8" in str(error) else ""
        raise DatasetError(f"{file}: {error.reason}", error.hint + other) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"{file}: not a readable table ({first_line(error)})", "export it again") from error


def _read_cells(file: Path, options: Mapping[str, str]) -> Cells:
    frame, separator = _read_frame(file, options)
    columns = _columns(frame, file, options)
    texts: dict[str, list[str]] = {}
    notes: list[str] = []
    missing = MISSING if "missing" not in options else {text.strip() for text in options["missing"].split(",")}
    for name, column in columns.items():
        try:
            values = as_text(frame[column])
        except pl.exceptions.PolarsError as error:
            raise DatasetError(f"{file}: the column '{column}' ({frame[column].dtype}) is neither text nor numbers",
                               "name another column") from error
        if name.startswith(ATTRIBUTE):
            values = meant(values, missing)
        values, note = _as_names(values, column, name, missing) if name in NAMES else (values, "")
        notes += [note] if note else []
        notes += unknown_note(values, name) if name in ("subject", "group", "label") else []
        texts[name] = [text.strip() for text in values.fill_null("")]
    if separator not in ("", ","):
        _decimal_points(texts)
    rows = [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]
    return Cells(rows, [name for name in frame.columns if name not in columns.values()], notes)


def _as_names(column: pl.Series, title: str, name: str, missing: Sequence[str] | frozenset[str] | set[str],
              ) -> tuple[pl.Series, str]:
    """A column of names as it was meant, and what was not taken for a name."""
    values = meant(column, missing)
    known = values.drop_nulls()
    if name in ("subject", "group") and len(known) and known.is_in(["true", "false"]).all():
        return pl.Series(title, [None] * len(values), dtype=pl.String), (
            f"the column '{title}' holds only true and false, which name no {name}: it is not used")
    left = column.filter(values.is_null()).str.strip_chars().drop_nulls()
    counts = Counter(text for text in left if text)
    markers = join(f"'{text}' ({count:,})" for text, count in sorted(counts.items()))
    return values, f"no {name} in the column '{title}' where it says {markers}; if it is a name, use --option " \
                   "missing=" if counts else ""


def _decimal_points(texts: dict[str, list[str]]) -> None:
    """Numbers of boxes as programs write them where the comma is the decimal sign, and so does not part the columns. A
    comma before three digits alone may part thousands: such numbers stay, and are then damaged."""
    boxes = [text for name in BOX for text in texts.get(name, ())]
    if any("." in text for text in boxes) or not any(re.fullmatch(r"-?\d+,(\d{1,2}|\d{4,})", text) for text in boxes):
        return
    for name in BOX:
        if name in texts:
            texts[name] = [re.sub(r"^(-?\d+),(\d+)$", r"\1.\2", text) for text in texts[name]]


def _columns(frame: pl.DataFrame, file: Path, options: Mapping[str, str]) -> dict[str, str]:
    """Name in `COLUMNS`, or of an attribute -> column of the table. A column that an option names must exist; only the
    image is needed."""
    columns = {}
    others = {name.casefold(): name for name in reversed(frame.columns)}
    for name in COLUMNS:
        given = options.get(f"{name}_column", "").strip()
        column = given or ("cell_id" if name == "id" else name)
        if column not in frame.columns and name not in BOX:
            column = others.get(column.casefold(), column)
        if column in frame.columns:
            columns[name] = column
        elif given or name == "image":
            hint = _hint(name, frame.columns) or f"name the right one with the option {name}_column=NAME"
            raise DatasetError(f"{file}: no column '{column}' (it has {', '.join(frame.columns)})", hint)
    columns |= {name: name for name in frame.columns if name.startswith(ATTRIBUTE) and name != ATTRIBUTE}
    absent = [name for name in BOX if name not in columns]
    if 0 < len(absent) < len(BOX):
        raise DatasetError(f"{file}: a box needs the columns {', '.join(BOX)}; there is no column for "
                           f"{', '.join(absent)}", f"name it with the option {absent[0]}_column=NAME")
    return columns


def _hint(name: str, columns: Sequence[str]) -> str:
    """The option for the column that is probably meant; "" if none is."""
    fits = [column for column in columns if re.fullmatch(_USUAL.get(name, "(?!)"), column, re.IGNORECASE)]
    return f"name the right one with the option {shlex.quote(f'{name}_column={fits[0]}')}" if fits else ""


def _note_unused(collector: Collector, cells: Cells) -> None:
    if not cells.unused:
        return
    hints = [hint.partition("option ")[2] for name in ("label", "group")
             if not any(cell.get(name) for cell in cells.rows) and (hint := _hint(name, cells.unused))]
    use = f"; to use one: --option {' --option '.join(hints)}" if hints else ""
    if not any(cell.get(name) for cell in cells.rows for name in BOX) and any(
            set(corners) <= {name.strip().casefold() for name in cells.unused} for corners in _CORNERS):
        use += f"; boxes are read from {', '.join(BOX)} alone (px), so that each cell is a whole image here"
    collector.notes.append(f"columns not used: {', '.join(f'{name!r}' for name in cells.unused)}{use}")


def _ids(cells: list[dict[str, str]]) -> list[str]:
    """The table's ids; else each image's path without suffix, numbered where several rows have the same image."""
    images = [cell["image"].replace("\\", "/") for cell in cells]
    stems = [image.removesuffix(PurePosixPath(image).suffix) for image in images]
    of_stem: dict[str, set[str]] = {}
    for image, stem in zip(images, stems, strict=True):
        of_stem.setdefault(stem, set()).add(image)
    bases = [stem if len(of_stem[stem]) == 1 else image for image, stem in zip(images, stems, strict=True)]
    total, count, ids = Counter(bases), Counter[str](), []
    for cell, base in zip(cells, bases, strict=True):
        count[base] += 1
        ids.append(cell.get("id") or (f"{base}#{count[base]}" if total[base] > 1 else base))
    return ids


def _add(collector: Collector, image: Image, cell: Mapping[str, str], where: str) -> None:
    row: dict[str, object] = {name: cell.get(name) or None
                              for name in (*TEXT, *(name for name in cell if name.startswith(ATTRIBUTE)))}
    if any(cell.get(name) for name in BOX):
        try:
            x, y, width, height = numbers(cell[name] for name in BOX)
            box = collector.pixels(image, Box(0, "", (x, y, x + width, y + height), where))
        except BadBox as error:
            collector.damaged.append((where, str(error)))
            return
        row |= dict(zip(BOX, box[:4], strict=True))
    collector.rows.append(row | {"cell_id": cell["id"], "image": str(image.path), "source": collector.source})


DATASET = general_layout("table", "a CSV or Parquet table, its columns named by options", VIEWS, index, OPTIONS,
                         obtain="use a table of your own, or the folder that contains it",
                         subject_rule="the columns subject and group, or those that subject_column and group_column "
                                      "name")
