"""A path names one file, whatever characters it has, and there is one way to open a table."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from leukoscope.manifest import write_table
from leukoscope.tables import read_csv, read_parquet, scan

PACKAGE = Path(__file__).parents[1] / "src" / "leukoscope"
WRITE: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    ".parquet": pl.DataFrame.write_parquet, ".csv": pl.DataFrame.write_csv, ".jsonl": pl.DataFrame.write_ndjson}
OPEN: dict[str, list[Callable[[Path], pl.DataFrame]]] = {
    ".parquet": [read_parquet, lambda path: scan(path).collect(), lambda path: scan([path]).collect()],
    ".csv": [read_csv, lambda path: scan(path).collect()], ".jsonl": [lambda path: scan(path).collect()]}


@pytest.mark.parametrize("name", ["cells [12]", "a*", "what?", "{a,b}", "[!a]", "100 %", "ä ö"])
@pytest.mark.parametrize("suffix", sorted(WRITE))
def test_signs_of_patterns_are_ordinary_characters(name: str, suffix: str, tmp_path: Path) -> None:
    folder = tmp_path / "out [1]"
    folder.mkdir()
    right, other = pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [9]})
    WRITE[suffix](right, folder / f"{name}{suffix}")
    for neighbour in ("cells 1", "abc", "whats", "a", "b"):
        WRITE[suffix](other, folder / f"{neighbour}{suffix}")
    for read in OPEN[suffix]:
        assert read(folder / f"{name}{suffix}").equals(right)


def test_nothing_else_opens_a_table() -> None:
    """Polars' own readers take paths for patterns."""
    pattern = re.compile(r"\bpl\.(?:read|scan)_(?!parquet_schema)\w+\(")
    users = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py")
             if pattern.search(file.read_text(encoding="utf-8"))}
    assert users == {"tables.py"}


def test_a_damaged_file_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "a.parquet")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[len(content) // 2:len(content) // 2 + 8] = b"\xff" * 8
    (tmp_path / "a.parquet").write_bytes(bytes(content))
    with pytest.raises((pl.exceptions.PolarsError, OSError)):
        read_parquet(tmp_path / "a.parquet")


def test_a_page_of_fewer_than_no_values_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    """Found by fuzzing: polars asks for as much memory as there is none, and the process dies."""
    rows = pl.DataFrame({"a": [1, None, 3] * 3})
    rows.write_parquet(tmp_path / "a.parquet", compression="uncompressed", statistics=False)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    values = content.index(bytes([0x2C, 0x15, 2 * 9])) + 2  # in the header of the page: field 5, a structure; its 1st
    content[values] += 1  # of a number with its sign in the last bit
    (tmp_path / "a.parquet").write_bytes(bytes(content))
    for read in (lambda: read_parquet(bytes(content)), lambda: read_parquet(tmp_path / "a.parquet"),
                 lambda: scan(tmp_path / "a.parquet").collect()):
        with pytest.raises(pl.exceptions.ComputeError, match="a page of it states -10 values, of 9"):
            read()


@pytest.mark.parametrize("compression", ["uncompressed", "snappy", "gzip", "brotli", "zstd", "lz4"])
@pytest.mark.parametrize("count", [0, 1, 7, 30_000])
def test_pages_of_whole_files_are_taken(compression: Any, count: int) -> None:
    rows = pl.DataFrame({
        "id": [f"c{i}" * (1 + 2_000 * (i == 5)) for i in range(count)],
        "n": [None if i % 7 else i for i in range(count)],
        "type": ["x" if i % 3 else None for i in range(count)], "p": [i / 7 for i in range(count)],
        "yes": [i % 2 == 0 for i in range(count)], "none": [None] * count, "box": [[1, 2]] * count})
    file = io.BytesIO()
    rows.write_parquet(file, compression=compression)
    assert read_parquet(file.getvalue()).equals(rows)


def test_a_small_file_of_very_many_rows_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """60,000,000 equal rows are 500 kB and needed 3.7 GB; a table of as many different rows would not be so small."""
    rows = pl.DataFrame({name: pl.repeat("a", 1_000_000, eager=True) for name in ("cell_id", "image")})
    pl.concat([rows] * 15, rechunk=False).write_parquet(tmp_path / "t.parquet")
    for source in (tmp_path / "t.parquet", (tmp_path / "t.parquet").read_bytes()):
        with pytest.raises(pl.exceptions.ComputeError, match="it states 30,000,000 values in"):
            read_parquet(source)


@pytest.mark.parametrize("suffix", sorted(WRITE))
def test_a_folder_called_tilde_is_not_the_home_folder(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home, here = tmp_path / "home", tmp_path / "here"
    (here / "~").mkdir(parents=True)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    right, other = pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [9]})
    WRITE[suffix](other, home / f"cells{suffix}")
    with open(here / "~" / f"cells{suffix}", "wb") as file:
        WRITE[suffix](right, file)  # type: ignore[arg-type]  # polars writes open files too
    for read in OPEN[suffix]:
        assert read(Path("~") / f"cells{suffix}").equals(right)
    if suffix != ".jsonl":
        write_table(other, Path("~") / f"written{suffix}")
        assert (here / "~" / f"written{suffix}").is_file()
    assert [path.name for path in home.iterdir()] == [f"cells{suffix}"]
