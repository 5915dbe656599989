"""A slide in the workbench: its cells at full resolution, and tiles at any zoom."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from leukoscope.commands.slide_inputs import SlideInput
from leukoscope.commands.smear_slides import SlideOptions, smear_slide
from leukoscope.errors import LeukoscopeError
from leukoscope.phantom.slide import PhantomSlide
from leukoscope.phantom.slide_files import write_slide
from leukoscope.review.desk import Desk
from leukoscope.review.door import Keys
from leukoscope.review.result import read_result
from leukoscope.review.serve import application
from leukoscope.review.slides import TILE, SlidePictures


@pytest.fixture(scope="module")
def result(small: PhantomSlide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workbench")
    slide = write_slide(small, folder / "blood.svs")
    smear_slide(SlideInput(slide, "", ""), folder / "out", SlideOptions(types=False, target=1, workers=1))
    return folder / "out"


def test_tiles_are_the_slide_at_any_zoom(result: Path, small: PhantomSlide):
    slide = SlidePictures.of(read_result(result))
    assert slide is not None
    assert slide.levels == 12  # 2,880 px are less than 2 ** 12
    finest = np.asarray(Image.open(io.BytesIO(slide.tile(12, 2, 1))))
    expected = small.read(1, 2 * TILE, TILE, TILE, TILE)
    assert np.abs(finest.astype(int) - expected).mean() < 4
    last = Image.open(io.BytesIO(slide.tile(12, 5, 4)))
    assert last.size == (2880 - 5 * TILE, 2400 - 4 * TILE)
    whole = Image.open(io.BytesIO(slide.tile(9, 0, 0)))
    assert whole.size == (360, 300)
    assert Image.open(io.BytesIO(slide.tile(0, 0, 0))).size == (1, 1)
    for level, column, row in ((12, 6, 0), (12, 0, -1), (13, 0, 0), (-1, 0, 0)):
        with pytest.raises(LeukoscopeError, match="no tile"):
            slide.tile(level, column, row)


def test_the_workbench_serves_cells_and_tiles(result: Path):
    desk, keys = Desk([result]), Keys(8765, "Ann")
    key = next(iter(desk.seats))
    client = TestClient(application(desk, keys), base_url="http://127.0.0.1:8765")
    client.get(f"/?token={keys.token}")
    smear = client.get(f"/api/v1/smears/{key}").json()
    assert smear["fields"][0]["slide"] is True
    assert ">Slide<" in client.get(f"/smears/{key}").text
    for name in ("cells/0.jpg", "cells/0/around.jpg", "fields/0.jpg", "tiles/10/0_0.jpg"):
        answer = client.get(f"/api/v1/smears/{key}/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg"), name
    assert client.get(f"/api/v1/smears/{key}/tiles/10/9_9.jpg").status_code == 422
    assert client.get("/api/v1/smears/other/tiles/10/0_0.jpg").status_code == 404
    desk.close()


def test_without_the_slide_the_map_stands_in(result: Path):
    slide = result.parent / "blood.svs"
    slide.rename(slide.with_suffix(".away"))
    try:
        assert SlidePictures.of(read_result(result)) is None
        assert read_result(result).missing() == ["blood"]
    finally:
        slide.with_suffix(".away").rename(slide)
