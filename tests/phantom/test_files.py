"""Phantom files: the manifest, the pixels and the truth on disk are the same cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from leukoscope.errors import LeukoscopeError
from leukoscope.files import read_json
from leukoscope.manifest import make_manifest, read_manifest, write_manifest
from leukoscope.phantom import draw_subject, render_cell, write_cells, write_smears


def pixels(path: Path | str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_cells_on_disk_are_the_cells_of_the_manifest(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    manifest = write_cells(tmp_path, 3, subjects=4, seed=1, size=40, on_progress=lambda *at: calls.append(at))
    assert manifest.height == 15
    assert calls == [(k, 15) for k in range(1, 16)]
    assert set(manifest["label"].value_counts()["count"]) == {3}
    assert manifest["subject"].n_unique() == 4
    assert set(manifest["source"]) == {"phantom"}
    assert manifest.equals(make_manifest(manifest))
    for row in manifest.iter_rows(named=True):
        with Image.open(row["image"]) as image:
            assert image.size == (40, 40)
            assert image.mode == "RGB"
    assert len(list(tmp_path.rglob("*"))) == 15 + 5  # nothing half-written is left
    write_manifest(manifest, tmp_path / "cells.parquet")
    assert read_manifest(tmp_path / "cells.parquet")["image"].to_list() == manifest["image"].to_list()


def test_cells_are_those_of_the_renderer_and_repeat(tmp_path: Path) -> None:
    first = write_cells(tmp_path / "a", 1, labels=["monocyte"], subjects=1, seed=3, size=48)
    again = write_cells(tmp_path / "b", 1, labels=["monocyte"], subjects=1, seed=3, size=48)
    bytes_of = [Path(frame["image"][0]).read_bytes() for frame in (first, again)]
    assert bytes_of[0] == bytes_of[1]
    subject = draw_subject(np.random.default_rng([3, 5, 0]), name="S1")
    rendered = render_cell("monocyte", size=48, seed=(3, 3, 0, 0), subject=subject)
    assert (pixels(first["image"][0]) == rendered.pixels).all()


def test_every_subject_has_cells_of_every_class(tmp_path: Path) -> None:
    manifest = write_cells(tmp_path, 4, subjects=4, size=16, labels=["ig", "lymphoblast", "platelet"])
    counts = manifest.group_by("subject").agg(pl.col("label").n_unique())
    assert set(counts["label"]) == {3}


def test_smears_have_boxes_masks_and_labels_that_agree(tmp_path: Path) -> None:
    manifest = write_smears(tmp_path, subjects=2, fields_per_subject=2, seed=2, size=(320, 240),
                            types={"lymphocyte": 2, "neutrophil": 1, "platelet": 1})
    assert manifest.height == 2 * 2 * 3
    assert manifest.group_by("field").len()["len"].to_list() == [3] * 4
    assert manifest["subject"].n_unique() == 2
    for row in manifest.iter_rows(named=True):
        labels = pixels(tmp_path / "cells" / f"{row['field']}.png")
        nuclei = pixels(tmp_path / "nuclei" / f"{row['field']}.png")
        number = int(row["cell_id"].rsplit("_", 1)[1])
        mask = pixels(row["mask"]) > 127
        assert (mask == (labels == number)).all()
        rows, columns = np.nonzero(mask)
        box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert box == (row["x"], row["y"], row["width"], row["height"])
        assert (labels[nuclei == number] == number).all()
        truth = read_json(tmp_path / "truth" / f"{row['field']}.json")
        assert truth["subject"] == row["subject"]
        assert truth["cells"][number - 1]["type"] == row["label"]
        assert len(truth["cells"]) == 4  # the platelet too
        assert pixels(row["image"]).shape == (240, 320, 3)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(LeukoscopeError, match="n_per_class"):
        write_cells(tmp_path, 0)
    with pytest.raises(LeukoscopeError, match="unknown cell type"):
        write_cells(tmp_path, 1, labels=["wbc"])
    with pytest.raises(LeukoscopeError, match="no nucleated cell"):
        write_smears(tmp_path, subjects=1, fields_per_subject=1, types={"platelet": 1}, size=(64, 64))
    (tmp_path / "file").write_text("")
    with pytest.raises(LeukoscopeError, match="file"):
        write_cells(tmp_path / "file", 1, size=16)
