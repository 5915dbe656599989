"""`data index --decode` looks at every pixel; without it the last line says that nobody did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cases import write_noise
from command import leukoscope, refusal
from leukoscope.datasets import index
from leukoscope.datasets.decoded import decoded
from leukoscope.manifest import read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six whole images and two that end in their middle: their headers are right."""
    root = tmp_path / "cells"
    write_noise(root, [f"{label}/{number}.{suffix}" for label in "ab" for number, suffix in enumerate(
        ("jpg", "png", "tif", "bmp"))], width=64, height=48)
    for name in ("a/0.jpg", "b/1.png"):
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[:len(content) // 2])
    return root


def test_headers_alone_do_not_show_it_and_the_last_line_says_so(folder, tmp_path):
    answer = leukoscope("data", "index", "folder", folder, "-o", tmp_path / "c.parquet")
    assert read_manifest(tmp_path / "c.parquet").height == 8
    assert answer.out.splitlines()[-1].endswith("pixels were not checked: --decode does")


def test_pixels_show_it(folder, tmp_path):
    answer = leukoscope("data", "index", "folder", folder, "-o", tmp_path / "c.parquet", "--decode")
    assert answer.code == 0
    assert sorted(read_manifest(tmp_path / "c.parquet")["cell_id"]) == ["a/1", "a/2", "a/3", "b/0", "b/2", "b/3"]
    assert "damaged, left out (2):" in answer.out
    assert answer.out.splitlines()[-1].endswith("every pixel was decoded")
    facts = json.loads(leukoscope("data", "index", "folder", folder, "-o", tmp_path / "d.parquet", "--decode",
                                  "--json").out)
    assert (facts["pixels_checked"], facts["cells"], facts["found"]) == (True, 6, {"a": 3, "b": 3})
    assert [Path(path).name for path, _ in facts["damaged"]] == ["0.jpg", "1.png"]


def test_progress_reaches_the_number_of_cells_and_masks(folder):
    (folder / "t.csv").write_text("image,mask\na/1.png,b/0.jpg\na/2.tif,a/0.jpg\nb/2.tif,\n")
    seen: list[tuple[int, int]] = []
    found = decoded(index("table", folder / "t.csv"), on_progress=lambda done, total: seen.append((done, total)))
    assert found.manifest["cell_id"].to_list() == ["a/1", "b/2"]  # the mask of the other ends in its middle
    assert [Path(path).name for path, _ in found.damaged] == ["0.jpg"]
    assert seen[-1] == (5, 5)


def test_where_nothing_is_whole_nothing_is_written(folder, tmp_path):
    for path in folder.rglob("*.*"):
        path.write_bytes(path.read_bytes()[:200])
    assert "all 8 cells are damaged" in refusal("data", "index", "folder", folder, "-o", tmp_path / "c.csv", "--decode")
    assert not (tmp_path / "c.csv").exists()
