"""The one way to open a table: a path names one file, whatever characters it has, and text is read as it was meant.

Polars takes brackets, asterisks and question marks in a path for a pattern; here they are ordinary characters. CSV
files are read as spreadsheets and statistics packages write them: other separators, UTF-16, line ends of old Macs.
"""

from __future__ import annotations

import csv
import glob
import io
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import polars as pl
from polars.exceptions import ComputeError, PanicException

from .errors import first_line
from .parquet import DamagedParquet, check_pages
from .text import INVISIBLE, is_text

Table = TypeVar("Table", pl.DataFrame, pl.LazyFrame)
Column = TypeVar("Column", pl.Series, pl.Expr)
Row = Mapping[str, Any]
"""A row of a table by its columns, as polars gives it: it has no type for what is in it."""
BLANKS = " \t\r\n\v\f\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000" + INVISIBLE
"""Characters that show nothing, as in the brackets of a regular expression."""
MISSING = frozenset({"", "NA", "N/A", "n/a", "na", "N.A.", "n.a.", "#N/A", "#NA", "<NA>", "NaN", "nan", "NAN", "NaT",
                     "NULL", "null", "None"})
"""What programs write into a CSV file where there is no value."""
MOST_VALUES, MOST_PACKED = 20_000_000, 20
"""Values of a Parquet file, and values of each of its bytes, of which it may exceed one: every cell has an id of its
own, so that a table of many cells has many bytes."""
SEPARATORS = (",", ";", "\t", "|")
_MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xef\xbb\xbf", "utf-8-sig"),
          (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
"""How a file starts that names its own encoding."""
AS_UTF8 = "save it as CSV UTF-8"
_OTHERS = ((b"PK\x03\x04", "an Excel workbook", AS_UTF8), (b"\xd0\xcf\x11\xe0", "an Excel workbook", AS_UTF8),
           (b"PAR1", "Parquet", "end its name in .parquet"), (b"\x1f\x8b", "a gzip archive", "unpack it"),
           (b"BZh", "a bzip2 archive", "unpack it"), (b"(\xb5/\xfd", "a zstd archive", "unpack it"),
           (b"%PDF", "a PDF document", AS_UTF8), (b"SQLite format 3", "a database", AS_UTF8),
           *((sign, "a web page", AS_UTF8) for sign in (b"<!DOCTYPE", b"<!doctype", b"<html", b"<table")),
           *((sign, "JSON", AS_UTF8) for sign in (b"{", b"[{")))
"""How files start that were given the ending of a CSV file: what they are, and what to do about it."""
FORMULA = "=+\\-@\t\r\uff1d\uff0b\uff0d\uff20"
"""Characters at the beginning of a cell that make a spreadsheet program compute it; the last four are full-width."""


class UnreadableTable(Exception):
    """A file that is no table: what is wrong with it, and what to do about it."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


def read_parquet(source: Path | str | bytes) -> pl.DataFrame:
    """A Parquet file, or the content of one. Raises polars' errors and OSError where it is missing or damaged, and a
    ComputeError where it would unpack to far more than a table of its size does."""
    def read() -> pl.DataFrame:
        _check_parquet(source)
        named = source if isinstance(source, bytes) else _named(source)
        stated = pl.scan_parquet(named, glob=False)
        values = len(stated.collect_schema()) * stated.select(pl.len()).collect().item()
        size = len(named) if isinstance(named, bytes) else os.path.getsize(named)
        if values > MOST_VALUES and values > MOST_PACKED * size:
            raise ComputeError(f"it states {values:,} values in {size:,} bytes")
        return pl.read_parquet(named, glob=False)

    return _opened(read)


def read_csv(path: Path | str, **options: Any) -> pl.DataFrame:
    """A CSV file that this package wrote, or a data set publishes. options: of `polars.read_csv`. Raises as
    `read_parquet`."""
    return _opened(lambda: pl.read_csv(_named(path), glob=False, **options))


def read_any_csv(path: Path, names: Collection[str], *, separator: str = "", encoding: str = "",
                 numbers: bool = False, texts: str = "") -> tuple[pl.DataFrame, str]:
    """A CSV file of any program, and the separator of its columns.

    names: columns that are looked for; they choose the separator where `separator` does not. encoding: "" for UTF-8, or
    UTF-16 and UTF-32 where the file starts with their mark. numbers: infer the types of columns that are not in `names`
    and have no invisible blanks; else everything is text. texts: how names of further columns begin that are text
    whatever they look like. Names lose the blanks around them, and cells the apostrophe of `harmless`; blank rows are
    left out. Raises UnreadableTable, and OSError where it cannot be opened.
    """
    text = _decoded(path.read_bytes(), encoding)
    text = text if "\n" in text else text.replace("\r", "\n")  # old Macs end lines so
    stated = re.match(r'"?sep=(.)"?[;,\t]*\r?\n', text, re.IGNORECASE)  # what Excel understands
    if stated:
        text, separator = text[stated.end():], separator or stated[1]
    text = text.lstrip("\r\n")
    if not text.strip():
        raise UnreadableTable("not a readable table (the file is empty)", "export it again")
    separator = separator or _separator(text, {name.casefold() for name in names})
    header = _checked_header(text, separator, names)
    try:
        frame = _opened(lambda: pl.read_csv(
            io.BytesIO(text.encode()), separator=separator, has_header=False, new_columns=header, infer_schema=False,
            truncate_ragged_lines=True)).slice(1)
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise UnreadableTable(f"not a readable table ({first_line(error)})", "export it again") from error
    holds = frame.select(pl.any_horizontal((pl.all() != "").fill_null(False))).to_series()
    frame = frame.filter(holds) if frame.width > 1 else frame.head(max(holds.arg_true().to_list(), default=-1) + 1)
    known = {name.casefold() for name in names}
    return frame.with_columns(
        _typed(frame[name]) if numbers and name.casefold() not in known and not (texts and name.startswith(texts)) else
        restored(frame[name]) for name in frame.columns), separator


@contextmanager
def writable(path: Path) -> Iterator[str | BinaryIO]:
    """What polars writes a new file to: its path; an open file where the name has bytes that are no text."""
    if is_text(str(path)):
        yield _here(path)
        return
    with open(path, "wb") as file:
        yield file


def scan(path: Path | Sequence[Path], *, texts: Sequence[str] = ()) -> pl.LazyFrame:
    """A .parquet, .csv or .jsonl file, or several Parquet files one below the other, read when they are needed.

    texts: columns of a CSV file that hold text whatever they look like, such as the id 007."""
    if not isinstance(path, Path):
        return _opened(lambda: pl.scan_parquet([_named(each) for each in path],  # type: ignore[arg-type]  # str and bytes
                                               glob=False))
    ways: dict[str, Callable[[], pl.LazyFrame]] = {
        ".parquet": lambda: _scan_parquet(path), ".csv": lambda: pl.scan_csv(
            _named(path), glob=False, schema_overrides=dict.fromkeys(texts, pl.String)),
        ".jsonl": lambda: pl.scan_ndjson(named if isinstance(named := _named(path), bytes) else glob.escape(named))}
    return _opened(ways[path.suffix.lower()])


def _scan_parquet(path: Path) -> pl.LazyFrame:
    _check_parquet(path)
    return pl.scan_parquet(_named(path), glob=False)


def _check_parquet(source: Path | str | bytes) -> None:
    """Raise ComputeError for a file of which Polars would die."""
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
            check_pages(file)
    except DamagedParquet as error:
        raise ComputeError(f"{error}") from error


def as_text(column: pl.Series) -> pl.Series:
    """A column as text, null where it has no value: NaN is none, 2.0 in a column of whole numbers is 2, and true is
    `true`. Raises polars' errors for lists and other columns that are neither text, numbers nor dates."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
        whole = column.drop_nulls()
        column = column.cast(pl.Int64) if (whole == whole.round()).all() and (whole.abs() < 2**53).all() else column
    if column.dtype.is_nested() or column.dtype == pl.Object:
        raise ComputeError(f"{column.dtype} is neither text nor numbers")
    return column.cast(pl.String)


def meant(column: pl.Series, missing: Collection[str] = MISSING) -> pl.Series:
    """A column of names as it was meant: without blanks around them, null where it says that there is no value (`NA`),
    `true` and `false` whatever their case, and 2 for 2.0 in a column of whole numbers."""
    column = column.str.replace(f"^[{BLANKS}]+", "").str.replace(f"[{BLANKS}]+$", "")
    column = column.set(column.is_in(list({"", *missing})).fill_null(True), None)
    known = column.drop_nulls()
    if known.is_empty():
        return column
    if known.str.to_lowercase().is_in(["true", "false"]).all():
        return column.str.to_lowercase()
    return column.str.replace(r"\.0+$", "") if known.str.contains(r"^-?\d+\.0+$").all() else column


def harmless(frame: Table) -> Table:
    """A table for a CSV file that a spreadsheet program may open: a text or a column's name that it would compute, such
    as `=1+1`, gets an apostrophe before it. `restored` takes it away again."""
    schema = frame.collect_schema()
    texts = [name for name, dtype in schema.items() if dtype == pl.String]
    changed = frame.with_columns(pl.col(name).str.replace(f"^('*[{FORMULA}])", "'$1") for name in texts)
    return changed.rename({name: f"'{name}" for name in schema if re.match(f"'*[{FORMULA}]", name)})


def restored(column: Column) -> Column:
    """A text column of a CSV file as it was before `harmless`."""
    return column.str.replace(f"^'('*[{FORMULA}])", "$1")


def _typed(column: pl.Series) -> pl.Series:
    """A column of texts as the whole numbers, numbers or truth values that all of them are, else as it is."""
    for dtype in (pl.Int64(), pl.Float64()):
        typed = column.cast(dtype, strict=False)
        if (typed.is_null() == (column.is_null() | (column == ""))).all() and typed.null_count() < len(typed):
            return typed
    known = column.drop_nulls()
    if len(known) and known.is_in(["true", "false"]).all():
        return column == "true"
    return restored(column)


def _opened(read: Callable[[], Table]) -> Table:
    try:
        return read()
    except PanicException as error:  # polars', for some damaged files; no Exception, so that it would end the program
        raise ComputeError("the file is damaged") from error


def _named(path: Path | str) -> str | bytes:
    """A path as polars takes it; the content of a file whose name has bytes that are no text."""
    return _here(path) if is_text(str(path)) else Path(path).read_bytes()


def _here(path: Path | str) -> str:
    """A path that polars does not take for one of the home folder because its first folder is called ~."""
    return f".{os.sep}{path}" if str(path).startswith("~") else str(path)


def _decoded(content: bytes, encoding: str) -> str:
    """Raises UnreadableTable."""
    for start, what, hint in _OTHERS:
        if content.startswith(start):
            raise UnreadableTable(f"{what}, not a CSV file", hint)
    encoding = encoding or next((name for start, name in _MARKS if content.startswith(start)), "")
    if not encoding and b"\0" in content[:400]:
        even, odd = (content[start:400:2].count(0) for start in (0, 1))
        encoding = "utf-16-le" if odd > even else "utf-16-be"
    try:
        return content.decode(encoding or "utf-8")
    except LookupError:
        raise UnreadableTable(f"there is no encoding '{encoding}'", "for example cp1252 or utf-16") from None
    except UnicodeError as error:
        if encoding or not isinstance(error, UnicodeDecodeError):
            raise UnreadableTable(f"not text in {encoding}", AS_UTF8) from error
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableTable(f"not text in UTF-8 (byte 0x{content[error.start]:02X} in line {line})",
                              f"{AS_UTF8}, in Excel: Save As, CSV UTF-8") from error


def _separator(text: str, names: Collection[str]) -> str:
    """The separator under which the first line has most of the names, then most columns; of equals, the first."""
    def score(separator: str) -> tuple[int, int]:
        header = _clean(next(_rows(text, separator), []))
        return len(set(names) & {name.casefold() for name in header}), len(header)

    return max(SEPARATORS, key=score)


def _checked_header(text: str, separator: str, names: Collection[str]) -> list[str]:
    """The names of the columns, all different. UnreadableTable for a name that is looked for and used twice, and for a
    row with more columns than the first."""
    rows = _rows(text, separator)
    header = _clean(next(rows, []))
    twice = next((name for name in names if header.count(name) > 1), None)
    if twice:
        raise UnreadableTable(f"two columns are called '{twice}'", "rename one of them")
    for number, row in enumerate(rows, 2):
        if len(row) > len(header) and any(row[len(header):]):
            first = "remove what stands above the names of the columns, or " if number == 2 else ""
            raise UnreadableTable(f"row {number - 1} has {len(row)} columns, the first line {len(header)}",
                                  f"{first}put texts that contain the separator in quotation marks, and export again")
    return [name if name and header.index(name) == i else f"{name or 'column'} ({i + 1})"
            for i, name in enumerate(header)]


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    """Raises UnreadableTable."""
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=False)
    except csv.Error as error:
        raise UnreadableTable(f"not a readable table ({error})", "export it again") from error


def _clean(header: Sequence[str]) -> list[str]:
    return [re.sub(f"^[{BLANKS}]+|[{BLANKS}]+$", "", re.sub(f"^'('*[{FORMULA}])", r"\1", name)) for name in header]
