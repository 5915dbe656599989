"""Images that were moved after a run: found by a table or a folder, and a resumed run does not depend on names."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from command import leukoscope, refusal
from leukoscope.errors import RunError
from leukoscope.manifest import read_manifest, write_manifest
from leukoscope.runs.elsewhere import Elsewhere
from leukoscope.train.prepare import _with_sources_of


@pytest.fixture(scope="module")
def moved(folds, tmp_path_factory) -> tuple[Path, Path, Path]:
    """A run whose images lie elsewhere now; the table of them as they are now; their folder."""
    run, folder = folds[0], tmp_path_factory.mktemp("moved")
    shutil.copytree(run.folder, folder / "run")
    manifest = run.manifest
    old = Path(manifest["image"][0]).parent
    shutil.copytree(old, folder / "images")
    frame = pl.read_parquet(folder / "run" / "manifest.parquet").with_columns(
        image=manifest["image"].str.replace(str(old), "/gone/away", literal=True))
    frame.write_parquet(folder / "run" / "manifest.parquet")
    now = manifest.with_columns(image=manifest["image"].str.replace(str(old), str(folder / "images"), literal=True))
    write_manifest(now, folder / "now.parquet")
    return folder / "run", folder / "now.parquet", folder / "images"


def test_images_are_found_again(moved):
    run, table, images = moved
    lost, now = read_manifest(run / "manifest.parquet"), read_manifest(table)
    assert not Path(lost["image"][0]).exists()
    for elsewhere in (Elsewhere(data=table), Elsewhere(root=images)):
        found = elsewhere.apply(lost)
        assert found["image"].to_list() == now["image"].to_list()
        assert found.drop("image").equals(lost.drop("image"))
    assert Elsewhere().apply(lost).equals(lost)


def test_what_does_not_hold_them_is_refused(moved, tmp_path):
    run, table, _ = moved
    lost = read_manifest(run / "manifest.parquet")
    with pytest.raises(RunError, match="holds none of the images, such as"):
        Elsewhere(root=tmp_path).apply(lost)
    with pytest.raises(RunError, match="no such folder"):
        Elsewhere(root=tmp_path / "x").apply(lost)
    write_manifest(read_manifest(table).with_columns(cell_id=pl.lit("other ") + pl.col("cell_id")),
                   tmp_path / "others.parquet")
    with pytest.raises(RunError, match="none of its cells is a cell of the run"):
        Elsewhere(data=tmp_path / "others.parquet").apply(lost)


def test_cells_are_explained_and_drawn_from_where_they_are(moved, tmp_path):
    run, table, images = moved
    cell = read_manifest(table)["cell_id"][0]
    assert "no such file" in refusal("explain", run, cell, "-o", tmp_path / "a")
    for k, option in enumerate((["--data", table], ["--images-root", images])):
        assert leukoscope("explain", run, cell, "-o", tmp_path / f"explained{k}", *option).code == 0
        assert leukoscope("features", run, cell, "-o", tmp_path / f"features{k}", *option).code == 0
    assert (tmp_path / "explained0" / "explanations.png").read_bytes() == (
        tmp_path / "explained1" / "explanations.png").read_bytes()


def test_a_source_is_only_a_name():
    old = pl.DataFrame({"cell_id": ["1", "2", "3"], "source": ["ds", "ds", "other"]})
    for names, same in ((["new", "new", "else"], True), (["ds", "new", "other"], False), (["x", "x", "x"], False)):
        now = old.with_columns(source=pl.Series(names))
        assert _with_sources_of(old, now).equals(old) == same
    turned = old.reverse()
    assert _with_sources_of(old, turned).equals(turned)


def test_training_goes_on_under_another_name_of_the_folder(moved, folds, tmp_path):
    """Case 04: the same cells, indexed from a folder of another name."""
    from tiny import tiny_recipe, train_on_cpu

    _, table, _ = moved
    shutil.copytree(folds[0].folder, tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    renamed = read_manifest(table).with_columns(source=pl.lit("wbc2024"))
    chosen = tiny_recipe(split={"kind": "kfold", "folds": 2, "validation": 0.25})
    again = train_on_cpu(chosen, renamed, tmp_path / "run", resume=True)
    assert again.predictions.equals(folds[0].predictions)
