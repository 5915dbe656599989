"""Whole fields among single cells: a warning of one line, and no refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from leukoscope.bundle.bundle import open_bundle
from leukoscope.manifest import make_manifest, write_manifest
from leukoscope.predict.fields import field_warning
from leukoscope.predict.model import load
from leukoscope.predict.sources import look_through
from leukoscope.predict.stream import predict_stream
from smear_fields import phantom, save
from tiny import make_cells


@pytest.fixture(scope="module")
def field(tmp_path_factory) -> Path:
    """A phantom field of 625 x 500 px."""
    return save(phantom(1, 0.12).pixels, tmp_path_factory.mktemp("field") / "field.png")


def test_a_field_is_warned_of_and_predicted(bundle, field, tmp_path):
    cells = make_cells(tmp_path / "cells", counts={"a": 3})
    warned: list[str] = []
    result = predict_stream(open_bundle(bundle), [field, *cells["image"]], tmp_path / "p.csv", on_warning=warned.append)
    assert warned == [f"{field} looks like a field, not a single cell: use leukoscope smear"]
    assert result.cells == 4
    assert pl.read_csv(result.table)["predicted"].null_count() == 0
    with pytest.warns(UserWarning, match="looks like a field, not a single cell: use leukoscope smear"):
        load(bundle).predict(field)


def test_cells_are_not_warned_of(bundle, field, tmp_path):
    """Small images, large ones without red cells, damaged files, boxes in a field, and what a bundle was made for."""
    described = open_bundle(bundle).description
    cells = make_cells(tmp_path / "cells", counts={"a": 3})
    Image.fromarray(np.full((600, 600, 3), 230, np.uint8)).save(tmp_path / "empty.png")
    (tmp_path / "torn.png").write_bytes(field.read_bytes()[:2000])
    box = {"cell_id": "boxed", "image": str(field), "x": 10, "y": 5, "width": 80, "height": 80}
    write_manifest(make_manifest([box]), tmp_path / "boxes.parquet")
    inputs = [cells["image"][0], tmp_path / "empty.png", tmp_path / "torn.png"]
    assert field_warning(look_through(inputs).sources, described) == ""
    assert field_warning(look_through([tmp_path / "boxes.parquet"]).sources, described) == ""
    assert field_warning(look_through([field]).sources, described.model_copy(update={"crop": 400})) == ""
    Image.new("RGB", (1200, 900), (200, 180, 190)).save(tmp_path / "large.png")
    assert "large.png looks like a field" in field_warning(look_through([tmp_path / "large.png"]).sources, described)


def test_real_cells_and_fields_are_told_apart(data_folder):
    described = load().description
    cells = [path for name in ("pbc", "bccd5", "chula/cells", "lmu", "mll", "cnmc/training_data")
             for path in sorted((data_folder / name).rglob("*.*"))[::97] if path.suffix in (".jpg", ".png", ".bmp")]
    assert len(cells) > 80
    assert [path for path in cells if field_warning(look_through([path]).sources, described)] == []
    fields = sorted((data_folder / "bccd" / "BCCD").rglob("*.jpg"))[::20] + sorted(
        (data_folder / "chula" / "WBC_Samples").rglob("*.jpg"))[::6]
    assert len(fields) > 25
    assert np.mean([bool(field_warning(look_through([path]).sources, described)) for path in fields]) > 0.85
