"""What leaves the workbench, read by libraries that are not ours, and the command that opens it."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import urllib.request
import zipfile
from io import BytesIO, StringIO
from pathlib import Path

import openpyxl
import polars as pl
import pytest

from command import leukoscope, refusal
from leukoscope import __version__
from leukoscope.images.read import image_size
from leukoscope.manifest import read_manifest
from leukoscope.review.result import read_result
from review_databases import Database

FORMULA = "=HYPERLINK(\"http://evil.example\")"


@pytest.fixture
def decided(bench):
    """A smear with a changed, a confirmed and a rejected cell, and comments that look like formulas."""
    cut = bench.smear["cells"]["cut"]
    whole = [place for place, so in enumerate(cut) if not so]
    bench.send("decisions", cells=[whole[0]], did="type", type="basophil")
    bench.send("decisions", cells=[whole[1]], did="confirm")
    bench.send("decisions", cells=[whole[2]], did="reject")
    bench.send("comments", text=FORMULA)
    bench.send("comments", text="@odd", cell=whole[0])
    return bench, whole


def fetch(bench, name: str) -> bytes:
    answer = bench.client.get(f"{bench.path}/export/{name}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="S1-{name}"'
    return answer.content


def test_the_tables_have_a_row_a_cell_and_a_row_a_smear(decided):
    bench, whole = decided
    rows = list(csv.DictReader(StringIO(fetch(bench, "cells.csv").decode())))
    cells = read_result(bench.folder).cells
    assert [(row["field"], int(row["number"])) for row in rows] == cells.select("field", "number").rows()
    changed, confirmed, rejected = (rows[place] for place in whole[:3])
    assert (changed["type"], changed["decided"], changed["decided_by"]) == ("basophil", "confirmed", "Ann")
    assert changed["machine"] == cells["predicted"][whole[0]]
    assert (confirmed["type"], confirmed["decided"]) == (cells["predicted"][whole[1]], "confirmed")
    assert (rejected["decided"], rejected["counted"]) == ("rejected", "false")
    smear = next(csv.DictReader(StringIO(fetch(bench, "smear.csv").decode())))
    standing = bench.smear["standing"]
    assert int(smear["leukocytes"]) == standing["total"]
    assert int(smear["cells_basophil"]) == sum(row["type"] == "basophil" and row["counted"] == "true" for row in rows)
    assert {kind["name"]: int(smear[f"cells_{kind['name']}"]) for kind in standing["types"]} == {
        kind["name"]: kind["cells"] for kind in standing["types"]}
    assert (smear["state"], smear["signed_by"]) == ("in review", "")


def test_a_spreadsheet_runs_nothing(decided):
    bench, whole = decided
    smear = next(csv.DictReader(StringIO(fetch(bench, "smear.csv").decode())))
    assert smear["comments"].startswith("Ann: =")
    bench.client.post("/api/v1/me", json={"name": "=1+1"})
    bench.send("decisions", cells=[whole[3]], did="reject")
    rows = list(csv.DictReader(StringIO(fetch(bench, "cells.csv").decode())))
    assert rows[whole[3]]["decided_by"] == "'=1+1"
    book = openpyxl.load_workbook(BytesIO(fetch(bench, "smear.xlsx")))
    assert book.sheetnames == ["smear", "cells"]
    kinds = {cell.data_type for sheet in book for line in sheet.iter_rows() for cell in line}
    assert "f" not in kinds
    heads = [cell.value for cell in book["cells"][1]]
    assert book["cells"].cell(whole[3] + 2, heads.index("decided_by") + 1).value == "=1+1"
    assert book["cells"].max_row == len(bench.smear["cells"]["number"]) + 1
    total = [cell.value for cell in book["smear"][1]].index("leukocytes")
    assert book["smear"].cell(2, total + 1).value == bench.smear["standing"]["total"]


def test_every_smear_is_a_row_of_the_worklists_spreadsheet_and_the_manifest_opens_alone(decided):
    bench, whole = decided
    book = openpyxl.load_workbook(BytesIO(bench.client.get("/api/v1/export/smears.xlsx").content))
    heads, *rows = ([cell.value for cell in line] for line in book.worksheets[0].iter_rows())
    assert [row[heads.index("subject")] for row in rows] == ["S1"]
    assert rows[0][heads.index("leukocytes")] == bench.smear["standing"]["total"]
    table = pl.read_parquet(BytesIO(fetch(bench, "confirmed.parquet")))
    assert table.height == len(whole[:2])
    assert "basophil" in table["label"].to_list()


def test_outlines_have_the_types_as_they_are_now(decided):
    bench, whole = decided
    cells = read_result(bench.folder).cells
    with zipfile.ZipFile(BytesIO(fetch(bench, "outlines.zip"))) as file:
        found = {name: json.loads(file.read(name)) for name in file.namelist()}
    assert sorted(found) == sorted(f"{name}.geojson" for name in cells["field"].unique())
    features = {(name.removesuffix(".geojson"), int(one["properties"]["name"])): one for name, field in found.items()
                for one in field["features"]}
    assert len(features) == cells.height - 1
    field, number = cells["field"][whole[0]], cells["number"][whole[0]]
    assert features[field, number]["properties"]["classification"]["name"] == "basophil"
    assert features[field, number]["geometry"]["type"] in ("Polygon", "MultiPolygon")
    assert (cells["field"][whole[2]], cells["number"][whole[2]]) not in features


def test_confirmed_cells_are_a_manifest_that_other_commands_take(decided, tmp_path):
    bench, whole = decided
    (tmp_path / "cells.parquet").write_bytes(fetch(bench, "confirmed.parquet"))
    manifest = read_manifest(tmp_path / "cells.parquet")
    cells = read_result(bench.folder).cells
    assert sorted(manifest["cell_id"]) == sorted(f"S1/{cells['field'][place]}/{cells['number'][place]}"
                                                 for place in whole[:2])
    row = manifest.filter(pl.col("label") == "basophil").row(0, named=True)
    assert row["x"] <= cells["x"][whole[0]]
    assert row["x"] + row["width"] >= cells["x"][whole[0]] + cells["width"][whole[0]]
    assert image_size(row["image"]) == (1200, 900)
    assert leukoscope("data", "audit", tmp_path / "cells.parquet", "-o", tmp_path / "audit").code == 0


def test_adapt_reads_the_confirmed_cells_of_a_review(decided, tmp_path):
    bench, whole = decided
    cells = read_result(bench.folder).cells
    kinds = sorted(("basophil", cells["predicted"][whole[1]]))
    where = ("--db", bench.db.url) if bench.db.url else ()
    said = refusal("adapt", "packaged", "--review", bench.folder, *where, "-o", tmp_path / "ours.zip")
    assert f"too few confirmed cells: 1 {kinds[0]} and 1 {kinds[1]}; confirm at least 5 cells of at least two" in said


def test_without_a_confirmed_cell_there_is_no_manifest(bench):
    answer = bench.client.get(f"{bench.path}/export/confirmed.parquet")
    assert answer.status_code == 422
    assert "no cell of this smear has been confirmed" in answer.json()["error"]


# ------------------------------------------------------------------------------------------------ the command

def test_folders_that_smear_did_not_write_or_finish_are_refused(folder: Path, tmp_path: Path):
    assert "nowhere: no such folder" in refusal("review", tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    assert "was not written by leukoscope smear" in refusal("review", tmp_path / "other")
    (tmp_path / "other" / "summary.json").write_text('{"leukoscope": 1}')
    assert "was not written by leukoscope smear" in refusal("review", tmp_path / "other")
    (tmp_path / "other" / "summary.json").write_text("{")
    assert "not valid JSON" in refusal("review", tmp_path / "other")
    (tmp_path / "stopped" / ".parts").mkdir(parents=True)
    assert "holds a stopped run" in refusal("review", tmp_path / "stopped")
    assert "is given twice" in refusal("review", folder, folder / ".." / folder.name)
    (folder / "cells.parquet").write_bytes(b"PAR1 damaged")
    assert "cells.parquet: cannot be read" in refusal("review", folder)
    (folder / "cells.parquet").unlink()
    assert "cells.parquet is missing" in refusal("review", folder)


@pytest.mark.parametrize(("change", "says"), [
    ({"leukoscope": "0.0.1"}, f"was written by leukoscope 0.0.1, this is {__version__}"),
    ({"fields": "many"}, "not a summary that this version can read"),
    ({"folders": ["../.."]}, "are not names of folders"), ({"folders": ["gone"]}, "gone: no such folder")])
def test_results_that_this_version_cannot_take_are_refused(folder: Path, change: dict, says: str):
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | change))
    assert says in refusal("review", folder)


def test_a_name_that_leads_out_of_the_folder_is_refused(folder: Path):
    summary = json.loads((folder / "summary.json").read_text())
    summary["fields"][0]["name"] = "../../secret"
    (folder / "summary.json").write_text(json.dumps(summary))
    assert "'../../secret' is not the name of a field" in refusal("review", folder)


def test_a_table_that_lacks_a_column_is_refused(folder: Path):
    pl.read_parquet(folder / "cells.parquet").drop("flag").write_parquet(folder / "cells.parquet")
    assert "lacks the column 'flag'" in refusal("review", folder)


def test_a_port_that_is_taken_is_named(folder: Path, started):
    _, address = started(folder)
    port = address.split(":")[2].split("/")[0]
    assert f"--port {port}: is in use" in refusal("review", folder, "--port", port, "--no-browser")


def test_verify_needs_folders():
    assert "Missing argument 'DIR...'" in refusal("review", "verify")


@pytest.fixture
def started():
    """Start the real command; its process and address. Ended with the test."""
    processes = []

    def start(folder: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
        code = "import sys; sys.argv[0] = 'leukoscope'\nfrom leukoscope.cli.main import main\nmain()"
        process = subprocess.Popen([sys.executable, "-c", code, "review", str(folder), "--no-browser", "--json",
                                    *options],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            text += line
        return process, json.loads(text)["address"]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_the_command_serves_the_page_and_ends_in_peace(folder: Path, started, db: Database):
    process, address = started(folder, *db.options)
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    page = opener.open(address).read().decode()
    assert "S1" in page
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert "Traceback" not in said
