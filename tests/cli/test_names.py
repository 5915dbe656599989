"""Names with bytes that are no text, as older systems wrote them: written out in tables and pages, or refused in one
line; never a traceback, and nothing else is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from cases import write_noise
from command import leukoscope, refusal
from leukoscope.manifest import read_manifest
from leukoscope.text import escaped, is_text, visible

LATIN = os.fsdecode(b"Pr\xe9l")
WRITTEN = "Pr\\udce9l"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    try:
        (tmp_path / LATIN).mkdir()
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    write_noise(tmp_path / "cells", [f"{label}/{number}.png" for label in "ab" for number in range(3)])
    return tmp_path


def test_what_is_text():
    assert is_text("Prél ü 漢 😀")
    assert not any(map(is_text, (LATIN, "a\ud800", "\udfff")))
    assert escaped(LATIN) == WRITTEN
    assert escaped("Prél") == "Prél"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_are_written_and_read_under_any_name(folder, suffix):
    out = folder / f"{LATIN}{suffix}"
    answer = leukoscope("data", "index", "folder", folder / "cells", "-o", out)
    assert answer.code == 0, answer
    assert WRITTEN in answer.out
    assert read_manifest(out).height == 6
    facts = leukoscope("data", "index", "folder", folder / "cells", "-o", out, "--overwrite", "--json").out
    assert json.loads(facts)["manifest"] == str(out)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_predictions_too(folder, suffix):
    (folder / "cells" / "a" / "0.png").rename(folder / "cells" / "a" / f"{LATIN}.png")
    out = folder / f"{LATIN}{suffix}"
    for options in ((), ("--resume",)):
        assert leukoscope("predict", "packaged", folder / "cells", "-o", out, *options).code == 0
    if suffix == ".parquet":
        cells = pl.read_parquet(out.read_bytes())
        assert cells.filter(pl.col("cell").str.contains(WRITTEN, literal=True)).height == 1
        assert cells["error"].null_count() == 6


def test_a_folder_of_images_is_refused_since_no_table_holds_its_name(folder):
    write_noise(folder / LATIN, ["a/0.png", "b/0.png"])
    for command in (("folder", folder / LATIN), ("voc", folder / LATIN), ("table", folder / LATIN)):
        line = refusal("data", "index", *command, "-o", folder / "x.parquet")
        assert f"{WRITTEN}: this name is not UTF-8" in line
        assert line.endswith("rename the folder")
    leukoscope("data", "index", "folder", folder / "cells", "-o", folder / LATIN / "c.parquet")
    assert "the name of its folder is not UTF-8" in refusal(
        "data", "audit", folder / LATIN / "c.parquet", "-o", folder / "audit")


def test_options_and_settings_are_refused(folder):
    line = refusal("data", "index", "folder", folder / "cells", "-o", folder / "c.csv", "--option", f"pattern={LATIN}")
    assert "not text in UTF-8" in line
    leukoscope("data", "index", "folder", folder / "cells", "-o", folder / "c.csv")
    line = refusal("train", "almotairi2020", "--data", folder / "c.csv", "-o", folder / "run", "--set",
                   f"data.positive={LATIN}")
    assert "not text in UTF-8" in line


def test_the_folder_of_a_run_is_refused_before_anything_is_written(folder):
    leukoscope("data", "index", "folder", folder / "cells", "-o", folder / "c.csv")
    line = refusal("train", "almotairi2020", "--data", folder / "c.csv", "-o", folder / f"{LATIN}-run")
    assert "this name is not UTF-8; name another folder with -o" in line
    assert not (folder / f"{LATIN}-run").exists()


def test_an_audit_is_written_anywhere(folder):
    leukoscope("data", "index", "folder", folder / "cells", "-o", folder / "c.csv")
    answer = leukoscope("data", "audit", folder / "c.csv", "-o", folder / LATIN)
    assert answer.code == 0, answer
    assert (folder / LATIN / "audit.html").is_file()


def test_a_smear_keeps_its_other_fields(folder):
    from leukoscope.phantom import write_smears

    write_smears(folder / "smears", subjects=2, fields_per_subject=1)
    fields = folder / "smears" / "images"
    first, *_ = sorted(fields.glob("*.png"))
    first.rename(fields / f"{LATIN}.png")
    answer = leukoscope("smear", fields, "-o", folder / LATIN / "out", "--subject", LATIN, "--no-types")
    assert answer.code == 0, answer
    summary = json.loads((folder / LATIN / "out" / "summary.json").read_text(encoding="utf-8"))
    assert len(summary["fields"]) == 2
    assert summary["subject"] == WRITTEN
    cells = pl.read_parquet((folder / LATIN / "out" / "cells.parquet").read_bytes())
    assert any(WRITTEN in image for image in cells["image"])
    assert leukoscope("smear", fields, "-o", folder / LATIN / "out", "--subject", LATIN, "--no-types",
                      "--resume").code == 0


def test_a_terminal_is_given_no_name_that_it_obeys(tmp_path):
    """Control characters would clear the screen, and marks of direction show `gpj.exe` as `exe.jpg`."""
    assert visible("a\x1b[2J\r\u202eb\x9b") == r"a\x1b[2J\r\u202eb\x9b"
    assert visible("Zölle 漢 😀\t\n") == "Zölle 漢 😀\t\n"
    write_noise(tmp_path / "cells", ["a\x1b[2J/1.png", "b/2.png"])
    (tmp_path / "cells" / "b" / "\x1b]0;x\x07\u202e.png").write_bytes(b"nothing")
    answer = leukoscope("data", "index", "folder", tmp_path / "cells", "-o", tmp_path / "c.parquet")
    assert answer.code == 0, answer
    assert r"a\x1b[2J" in answer.out
    assert not any(sign in answer.out + answer.err for sign in "\x1b\x07\u202e")
    assert "a\x1b[2J" in read_manifest(tmp_path / "c.parquet")["label"].to_list()
