"""The reproduction of dimuro2020: its tables against a hand count, its curves, and what is taken away from a run."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from PIL import Image

from command import leukoscope, refusal
from leukoscope.manifest import write_manifest
from leukoscope.optics import Microscope, aperture
from leukoscope.papers.dimuro2020_tables import PAPER, answers, made_up_for, table_one
from leukoscope.phantom import write_cells
from leukoscope.report.optics import kinds
from leukoscope.report.study import read_study
from leukoscope.runs.run import Run
from leukoscope.stats import Comparison, Estimate

LABELS = ("neutrophil", "lymphocyte", "monocyte")
VARIANTS = ('variants={frozen-1={"optics.pool"=1,"optics.learn"=[]}, '
            'frozen-2={"optics.pool"=2,"optics.learn"=[]}, learned-2={"optics.pool"=2}, '
            'free-learned-2={"optics.pool"=2,"optics.transfer"="free"}}')
SMALL = ("--set", "training.epochs=2", "--set", "preprocess.crop=40", "--set", "preprocess.size=40",
         "--set", "network.name=lenet5", "--set", "optics.grid=15", "--set", "optics.window=15",
         "--set", "training.batch_size=16", "--set", "split.test=0.4", "--set", "split.validation=0.2",
         "--set", "optics.learning_rate=0.1", "--set", VARIANTS)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Iterator[Path]:
    """A folder with 3 x 14 cells, reproduced twice over (`repro`)."""
    folder = tmp_path_factory.mktemp("dimuro")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKOSCOPE_CACHE", str(folder / "cache"))
        cells = write_cells(folder / "images", 14, labels=LABELS, subjects=14, size=48)
        write_manifest(cells, folder / "cells.parquet")
        answer = leukoscope("reproduce", "dimuro2020", "--data", folder / "cells.parquet", "-o", folder / "repro",
                            "--repeats", 2, *SMALL)
        assert answer.code == 0, answer.err
        (folder / "printed.txt").write_text(answer.out)
        yield folder


def accuracy(folder: Path) -> float:
    table = pl.read_parquet(folder / "predictions.parquet")
    return float((table["label"] == table["predicted"]).mean())  # type: ignore[arg-type]  # a share


def test_the_table_holds_the_mean_of_the_repeats(workplace):
    study = workplace / "repro" / "clean"
    rows = {row.kind.name: row for row in table_one(study)}
    assert set(rows) == {"N = 1, frozen", "N = 2, frozen", "N = 2, learned", "N = 2, learned, free"}
    for name, variant in (("N = 2, learned", "learned-2"), ("N = 1, frozen", "frozen-1")):
        hand = [accuracy(study / f"repeat-{k}" / variant) for k in (0, 1)]
        assert rows[name].accuracy.value == pytest.approx(np.mean(hand))
        assert rows[name].repeats == 2
    assert rows["N = 2, learned"].pixels == 400
    table, said = answers(study, list(rows.values()))
    by_n = {(row[0], row[1]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
    hand = np.mean([accuracy(study / f"repeat-{k}" / "learned-2") - accuracy(study / f"repeat-{k}" / "frozen-2")
                    for k in (0, 1)])
    gain = by_n["incoherent", "2"]["gain by learning"].split()[0].replace("−", "-")
    assert gain == (f"{100 * hand:+.1f}" if abs(hand) > 5e-4 else "0.0")
    assert by_n["incoherent", "2"]["the paper %"] == f"{100 * PAPER[2]:.2f}"
    assert by_n["incoherent", "2"]["against N of"] == "1"
    assert by_n["incoherent", "1"]["against N of"] == "-"
    assert by_n["free (the paper's)", "2"]["frozen, accuracy %"] == "-"
    assert len(said) == 2  # a gain and a loss
    assert "N = 2 (incoherent)" in said[0]
    assert "against frozen optics at N = 1" in said[1]


def test_it_prints_the_table_and_the_answer_and_writes_the_page(workplace):
    printed = (workplace / "printed.txt").read_text()
    assert "Table 1: accuracy for each N, frozen and learned" in printed
    assert "Learning the optics" in printed
    page = (workplace / "repro" / "clean" / "study.html").read_text()
    for words in ("Table 1", "Accuracy against pixels", "Confusion matrices", "MedMNIST+", "N = 2, learned, 2 repeats"):
        assert words in page, words


def test_repeats_share_the_split_and_differ_in_weights(workplace):
    first, second = (Run(workplace / "repro" / "clean" / f"repeat-{k}" / "frozen-2") for k in (0, 1))
    assert first.splits.equals(second.splits)
    assert not first.predictions.equals(second.predictions)


def test_it_goes_on_where_it_stopped_without_training_again(workplace, monkeypatch):
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(workplace / "cache"))
    arguments = ("reproduce", "dimuro2020", "--data", workplace / "cells.parquet", "-o", workplace / "repro",
                 "--repeats", 2, *SMALL)
    written = {file: file.stat().st_mtime_ns for file in (workplace / "repro").rglob("weights.safetensors")}
    answer = leukoscope(*arguments, "--resume")
    assert answer.out == (workplace / "printed.txt").read_text()
    assert {file: file.stat().st_mtime_ns for file in written} == written
    assert "contains a run already" in refusal(*arguments)


def test_the_page_of_a_run_shows_its_microscope(workplace):
    run = workplace / "repro" / "clean" / "repeat-0" / "learned-2"
    page = (run / "report.html").read_text()
    assert 'id="optics"' in page
    assert "the lamps and the pupil" in page.lower()
    names = sorted(file.name for file in (run / "figures" / "optics").glob("*.png"))
    assert names == ["1_the_microscope_as_it_was_trained.png", "2_how_the_optics_moved.png",
                     "3_a_cell_of_each_class.png"]
    frozen = workplace / "repro" / "clean" / "repeat-0" / "frozen-2"
    assert "Nothing was learned" in (frozen / "report.html").read_text()
    assert not (frozen / "figures" / "optics" / "2_how_the_optics_moved.png").exists()


def test_export_gives_the_numbers_of_the_weights(workplace, tmp_path):
    folder = workplace / "repro" / "clean" / "repeat-0" / "learned-2"
    answer = leukoscope("optics", "export", folder, "-o", tmp_path, "--focal-length", 9)
    assert answer.code == 0, answer.err
    microscope = _microscope(folder)
    lamps = microscope.illumination().detach().numpy()
    with open(tmp_path / "illumination.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["relative_current"]) for row in rows] == pytest.approx(lamps / lamps.max(), abs=1e-5)
    assert [row["lamp"] for row in rows] == ["red", "green", "blue"]
    mask = pl.read_csv(tmp_path / "pupil.csv")
    inside = aperture(15) > 0
    assert mask.height == inside.sum()
    made = np.log1p(np.exp(microscope.mask.detach().numpy()))  # the rim is left to the stop
    made = np.minimum(made / microscope.amplitude().max().item(), 1)
    np.testing.assert_allclose(mask["amplitude"].to_numpy(), made[inside], atol=1e-5)
    np.testing.assert_allclose(mask["inside"].to_numpy(), aperture(15)[inside], atol=1e-5)
    np.testing.assert_allclose(mask["transmission"], mask["amplitude"] ** 2, atol=1e-5)
    assert mask["x_mm"].max() == pytest.approx(9 * 0.95 * 14 / 15, abs=1e-5)  # the centre of the last sample
    facts = json.loads((tmp_path / "optics.json").read_text())
    assert facts["mask_radius_mm"] == pytest.approx(9 * 0.95)
    with Image.open(tmp_path / "pupil.png") as picture:
        dots = picture.size[0] / (2 * facts["mask_radius_mm"] / 25.4)
        assert picture.info["dpi"][0] == pytest.approx(dots, rel=1e-3)
        centre = np.asarray(picture)[picture.size[1] // 2, picture.size[0] // 2]
    assert centre == round(255 * float(made[7, 7]) ** 2)
    with tifffile.TiffFile(tmp_path / "psf.tif") as tiff:
        np.testing.assert_allclose(tiff.asarray(), microscope.psf().detach().numpy(), atol=1e-6)
        assert tiff.imagej_metadata is not None
        assert tiff.imagej_metadata["unit"] == "um"
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")
    assert f"{2 * 9 * 0.95:.3f} mm across" in answer.out


def test_export_answers_programs(workplace, tmp_path):
    answer = leukoscope("optics", "export", workplace / "repro" / "clean" / "repeat-0" / "learned-2", "-o", tmp_path,
                        "--json")
    assert json.loads(answer.out) == json.loads((tmp_path / "optics.json").read_text())


@pytest.mark.parametrize(("low", "high", "said"), [
    (-0.009, 0.02, "yes"), (-0.012, -0.0001, "not certain with these cells"),
    (-0.011, 0.03, "not certain with these cells"),
    (-0.05, -0.011, "no"), (0.01, 0.02, "yes"), (None, None, "not certain with these cells")])
def test_pixels_are_made_up_for_where_the_whole_interval_says_so(low, high, said):
    middle = 0.0 if low is None else (low + high) / 2
    assert made_up_for(Comparison(Estimate(middle, low, high, "t"), None, "t")) == said


def test_microscopes_that_differ_elsewhere_are_not_taken_for_repeats(workplace):
    study = workplace / "repro" / "clean"
    runs = read_study(study).runs
    one = runs["repeat-0/learned-2"]
    assert one.recipe is not None
    lamps = one.recipe.model_copy(update={"name": "x.lamps-only", "optics": one.recipe.optics.model_copy(
        update={"learn": ("illumination",)})})
    found = kinds([one, runs["repeat-1/learned-2"], replace(one, recipe=lamps)])
    assert {kind.name: len(alike) for kind, alike in found.items()} == {
        "N = 2, learned, learned-2": 2, "N = 2, learned, lamps-only": 1}


def test_a_free_transfer_function_is_exported_as_what_it_is(workplace, tmp_path):
    folder = workplace / "repro" / "clean" / "repeat-0" / "free-learned-2"
    answer = leukoscope("optics", "export", folder, "-o", tmp_path)
    assert "no pupil makes" in answer.out
    assert pl.read_csv(tmp_path / "pupil.csv").columns == ["x_cycles_per_um", "y_cycles_per_um", "weight"]
    assert "mask_radius_mm" not in json.loads((tmp_path / "optics.json").read_text())


def test_simulation_is_what_the_network_saw(workplace, tmp_path):
    folder = workplace / "repro" / "clean" / "repeat-0" / "learned-2"
    run = Run(folder)
    cell = run.predictions["cell_id"][0]
    answer = leukoscope("optics", "simulate", folder, cell, "-o", tmp_path)
    assert answer.code == 0, answer.err
    recorded = tifffile.imread(tmp_path / "recorded.tif")
    assert recorded.shape == (24, 24)  # the whole image of 48 px, not the crop of 40
    pixels = np.asarray(Image.open(run.manifest.filter(pl.col("cell_id") == cell)["image"][0]).convert("RGB"))
    import torch

    images = torch.from_numpy(np.moveaxis(pixels, -1, 0)[None] / np.float32(255))
    np.testing.assert_allclose(recorded, _microscope(folder)(images)[0, 0].detach().numpy(), atol=1e-6)
    with Image.open(tmp_path / "recorded.png") as picture:
        levels = np.asarray(picture).astype(float)
    white = float(_microscope(folder).illumination().detach().sum())
    np.testing.assert_allclose(levels / 65535, np.clip(recorded / white, 0, 1), atol=1e-4)


def test_what_cannot_be_exported_or_simulated_is_refused_in_a_line(workplace, tmp_path):
    folder = workplace / "repro" / "clean" / "repeat-0" / "learned-2"
    for length in ("0", "nan", "inf", "1e-7"):
        assert f"--focal-length {length.replace('e-7', 'e-07')}: expected 0.1 to 1000 millimetres" in refusal(
            "optics", "export", folder, "-o", tmp_path / "x", "--focal-length", length)
    for aperture_, words in (("1.2", "above the refractive index 1"), ("nan", "expected a number above 0")):
        assert words in refusal("optics", "export", folder, "-o", tmp_path / "x", "--numerical-aperture", aperture_)
    line = refusal("optics", "export", folder, "-o", tmp_path / "x", "--numerical-aperture", 0.5)
    assert "learned for 0.95" in line
    assert not (tmp_path / "x").exists()
    Image.new("L", (60, 60), 128).save(tmp_path / "grey.png")
    assert "is grey" in refusal("optics", "simulate", folder, tmp_path / "grey.png", "-o", tmp_path / "y")
    Image.new("RGB", (6, 60), "red").save(tmp_path / "thin.png")
    assert "smaller than half the point spread function or a pixel of the sensor" in refusal(
        "optics", "simulate", folder, tmp_path / "thin.png", "-o", tmp_path / "y")
    assert "neither a cell of" in refusal("optics", "simulate", folder, "nothing.png", "-o", tmp_path / "y")
    plain = workplace / "plain"
    assert leukoscope("train", "almotairi2020", "--data", workplace / "cells.parquet", "-o", plain, "--scale", "small",
                      "--set", "data.classes=[]", "--set", "preprocess.size=16", "--set", "training.epochs=1").code == 0
    assert "without a microscope" in refusal("optics", "export", plain, "-o", tmp_path / "x")


def test_reproduction_refuses_before_it_trains(workplace, tmp_path):
    data = workplace / "cells.parquet"
    line = refusal("reproduce", "dimuro2020", "--data", data, "-o", tmp_path / "r", *SMALL[:-2],
                   "--set", 'variants={a={"optics.pool"=5}}')
    assert "optics.pool = 5: the sensor has 8 of 40 px" in line
    assert "training.repeat" in refusal("reproduce", "dimuro2020", "--data", data, "-o", tmp_path / "r", *SMALL,
                                        "--set", "training.repeat=1")
    assert "optics.simulate = false" in refusal("reproduce", "dimuro2020", "--data", data, "-o", tmp_path / "r",
                                                *SMALL[:-2], "--set", "variants={}", "--set", "optics.simulate=false")
    assert "--repeats" in refusal("reproduce", "noshad2021", "--data", data, "-o", tmp_path / "r", "--repeats", 2)
    assert "--transfer" in refusal("reproduce", "dimuro2020", "--data", data, "-o", tmp_path / "r",
                                   "--transfer", data)
    assert not (tmp_path / "r").exists()


def _microscope(folder: Path) -> Microscope:
    from leukoscope.commands.optics import microscope_in

    return microscope_in(Run(folder), 0)
