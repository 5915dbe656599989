"""A small phantom slide, rendered once, the same in files, and an archive of two."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from leukoscope.commands.slide_inputs import slides_of
from leukoscope.commands.slide_options import SlideOptions
from leukoscope.commands.smear_slides import smear_archive
from leukoscope.phantom.slide import BLURRED, MONOLAYER, THICK, PhantomSlide, render_slide
from leukoscope.phantom.slide_files import write_slide


@pytest.fixture(scope="session")
def phantom() -> PhantomSlide:
    """3,840 x 2,400 px: five by eight blocks, of which one is black and one is white."""
    return render_slide(3840, 2400, seed=4, block=480, variety=4, unrecorded=1, white_cells=0.15)


@pytest.fixture(scope="session")
def svs(phantom: PhantomSlide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(phantom, tmp_path_factory.mktemp("svs") / "slide.svs")


@pytest.fixture(scope="session")
def small(phantom: PhantomSlide) -> PhantomSlide:
    """2,880 x 2,400 px of the same blocks: thick at the left, then the monolayer, its last row out of focus. The
    squares in rows 0 and 1 and columns 1 and 2 are of the monolayer as a whole."""
    zones = np.full((5, 6), MONOLAYER, dtype="<U9")
    zones[:, :2], zones[4, 2:] = THICK, BLURRED
    chosen = np.random.default_rng(5).integers(0, [[[4, 8]]], (5, 6, 2))
    chosen[:, :2, 0] %= 2
    chosen[4, :, 0] %= 2
    return replace(phantom, width=2880, height=2400, zones=zones, chosen=chosen)


@pytest.fixture(scope="session")
def archive(small: PhantomSlide, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides of one name in two folders, a broken one, and a text."""
    folder = tmp_path_factory.mktemp("archive")
    for name in ("one", "two"):
        (folder / name).mkdir()
    write_slide(small, folder / "one" / "slide.svs")
    shutil.copy(folder / "one" / "slide.svs", folder / "two" / "slide.svs")
    (folder / "broken.svs").write_bytes((folder / "one" / "slide.svs").read_bytes()[:60_000])
    (folder / "notes.doc").write_text("nothing")
    return folder


@pytest.fixture(scope="session")
def counted(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, counted in this process: two leukocytes a slide."""
    out = tmp_path_factory.mktemp("counted") / "out"
    smear_archive(slides_of([str(archive)], out), out, SlideOptions(types=False, target=2, workers=1))
    return out
