"""What a laboratory does, with what `pip install leukoscope` brings: no PyTorch.

In an environment that has PyTorch these tests run too, and show that nothing of it is loaded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

import leukoscope
from leukoscope.images.read import read_image
from leukoscope.manifest import read_manifest, write_manifest
from leukoscope.phantom import write_cells, write_smears

OLDER = Path(__file__).parents[1] / "data" / "older" / "bundle.zip"
TRAINING = ("torch", "torchvision", "timm", "lightning", "captum", "numba", "onnxscript", "tensorboard")


def leukoscope_command(*words: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, which says at its end what it has loaded that the core lacks."""
    code = ("import atexit, sys\n"
            f"atexit.register(lambda: print('LOADED', *sorted(set({TRAINING}) & set(sys.modules)), file=sys.stderr))\n"
            "from leukoscope.cli.main import main\n"
            f"sys.argv = {['leukoscope', *map(str, words)]}\n"
            "main()\n")
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, encoding="utf-8")


def run(*words: object) -> str:
    """Its answer, after it ended well and loaded nothing of the training tier."""
    done = leukoscope_command(*words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "LOADED"
    return done.stdout


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom field with a few leukocytes."""
    truth = write_smears(tmp_path_factory.mktemp("field"), subjects=1, fields_per_subject=1, size=(640, 480),
                         types={"neutrophil": 4, "lymphocyte": 2})
    return Path(truth["image"][0])


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of a few labelled phantom cells."""
    folder = tmp_path_factory.mktemp("cells")
    manifest = write_cells(folder / "images", 8, labels=("lymphocyte", "neutrophil"), subjects=4)
    write_manifest(manifest, folder / "cells.parquet")
    return folder / "cells.parquet"


def test_a_smear_is_counted(field: Path, tmp_path: Path) -> None:
    summary = json.loads(run("smear", field, "-o", tmp_path / "smear", "--json"))
    assert summary["differential"]["found"] >= 5
    assert (tmp_path / "smear" / "smear.html").is_file()


def test_cells_are_predicted_and_a_bundle_is_evaluated(cells: Path, tmp_path: Path) -> None:
    run("predict", "packaged", cells, "-o", tmp_path / "p.csv")
    assert pl.read_csv(tmp_path / "p.csv").height == 16
    run("evaluate", "packaged", "--data", cells, "-o", tmp_path / "there", "--within-labels")
    assert (tmp_path / "there" / "report.html").is_file()
    assert run("report", tmp_path / "there").strip().endswith("report.html")


def test_a_bundle_of_somebody_else_is_used(cells: Path, tmp_path: Path) -> None:
    run("predict", OLDER, cells, "-o", tmp_path / "p.parquet")
    assert set(pl.read_parquet(tmp_path / "p.parquet")["predicted"]) <= {"a", "b"}


def test_data_sets_are_listed_indexed_and_audited(cells: Path, tmp_path: Path) -> None:
    assert "pbc" in run("data", "list")
    assert "licence" in run("data", "info", "bccd")
    images = tmp_path / "classes"
    for row in read_manifest(cells).iter_rows(named=True):
        place = images / row["label"]
        place.mkdir(parents=True, exist_ok=True)
        (place / Path(row["image"]).name).write_bytes(Path(row["image"]).read_bytes())
    run("data", "index", "folder", images, "-o", tmp_path / "own.parquet")
    assert pl.read_parquet(tmp_path / "own.parquet").height == 16
    run("data", "audit", tmp_path / "own.parquet", "-o", tmp_path / "audit")
    assert (tmp_path / "audit" / "audit.html").is_file()


def test_a_count_does_not_wait_for_scipy() -> None:
    """Its special functions take a sixth of the time of a small field to import."""
    code = ("import sys, leukoscope.commands.slide_inputs, leukoscope.commands.smear\n"
            "print([name for name in ('scipy.special', 'scipy.stats', 'matplotlib', 'onnx') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_model_is_loaded_in_python(cells: Path) -> None:
    model = leukoscope.load()
    first = read_manifest(cells)["image"][0]
    table = model.predict([first, read_image(first)])
    assert table["predicted"][0] == table["predicted"][1]


def test_the_demonstration_ends_with_a_count_and_a_page(tmp_path: Path) -> None:
    answer = run("demo", "-o", tmp_path / "demo")
    assert "neutrophil" in answer
    assert (tmp_path / "demo" / "count" / "smear.html").is_file()


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed here")
@pytest.mark.parametrize("words", [
    ("train", "demo", "--data", "CELLS", "-o", "OUT"), ("models",), ("demo", "--train", "-o", "OUT")])
def test_what_needs_more_says_in_one_line_what_to_install(words: tuple[str, ...], cells: Path, tmp_path: Path) -> None:
    done = leukoscope_command(*({"CELLS": cells, "OUT": tmp_path / "out"}.get(word, word) for word in words))
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith("LOADED")]
    assert len(said) == 1
    assert "pip install 'leukoscope[train]'" in said[0]
