"""`leukoscope explain`, the sheet that it draws, and the examples on the page of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from scipy import stats as scipy_stats

from command import leukoscope, refusal
from leukoscope.commands import explain as explain_command
from leukoscope.commands.explain import draw_explanations, explain_cells
from leukoscope.commands.train import run_experiment
from leukoscope.figures.common import BLUE, VERMILLION
from leukoscope.figures.explain import HEAD, LABELS, ROW, ExplainedCell, explanation_sheet, overlay
from leukoscope.images.read import read_image
from leukoscope.predict.explain import LITTLE_AGREEMENT, Explanation, explain
from leukoscope.runs.run import Run
from page_reader import Page
from run_folder import Plan, build_run
from tiny import tiny_recipe

DPI = 120


@pytest.fixture(scope="module")
def run(folds) -> Run:
    """A finished run of two folds."""
    return folds[0]


def rows_of(sheet: Path) -> float:
    with Image.open(sheet) as image:
        return (image.height / DPI - HEAD) / ROW


def test_the_command_writes_a_sheet_maps_and_what_the_run_has_predicted(run, tmp_path):
    tested = {row["cell_id"]: row for row in run.predictions.iter_rows(named=True)}
    chosen = [run.predictions.filter(pl.col("fold") == fold)["cell_id"][0] for fold in (0, 1, 1)]
    chosen[2] = run.predictions.filter(pl.col("fold") == 1)["cell_id"][1]
    answer = leukoscope("explain", run.folder, *chosen, chosen[0], "-o", tmp_path)
    assert answer.code == 0, answer.err
    found = json.loads((tmp_path / "explanations.json").read_text())
    assert found["recipe"] == "tiny"
    assert [row["cell"] for row in found["cells"]] == chosen  # once each, in the order asked for
    for row in found["cells"]:
        known = tested[row["cell"]]
        assert (row["fold"], row["part"], row["label"]) == (known["fold"], "test", known["label"])
        assert row["predicted"] == row["explained"] == known["predicted"]
        assert row["probabilities"] == pytest.approx({c: known[f"p_{c}"] for c in run.classes}, abs=1e-5)
        with np.load(tmp_path / row["maps"]) as maps:
            direct = explain(run, row["fold"], maps["cell"])
            np.testing.assert_array_equal(maps["grad_cam"], direct.grad_cam)
            np.testing.assert_array_equal(maps["occlusion"], direct.occlusion)
    assert rows_of(tmp_path / "explanations.png") == pytest.approx(3, abs=0.02)
    page = Page(tmp_path / "explanations.html")
    for row in found["cells"]:
        with np.load(tmp_path / row["maps"]) as maps:
            both = scipy_stats.spearmanr(maps["grad_cam"].ravel(), maps["occlusion"].ravel())
        agreement = float(np.asarray(both)[0])
        assert row["agreement"] == pytest.approx(agreement, abs=1e-6)
        told = any("point at different places" in remark for remark in row["remarks"])
        assert told == (agreement < LITTLE_AGREEMENT)
        assert row["cell"] in page.text
    for cell in chosen:
        assert f"{cell}: {tested[cell]['predicted']} " in answer.out
    assert "which was tested on this cell" in answer.out
    assert str(tmp_path / "explanations.png") in answer.out


def test_a_network_that_was_trained_on_the_cell_is_named_as_such(run, tmp_path):
    trained = run.part(0, "train")[0]
    lines = explain_cells(run.folder, [trained], tmp_path, fold=0)
    assert "fold 0, which was trained on this cell" in lines[0]
    assert json.loads((tmp_path / "explanations.json").read_text())["cells"][0]["part"] == "train"
    assert "fold 1, which was tested on this cell" in explain_cells(run.folder, [trained], tmp_path)[0]


def test_files_are_explained_by_the_first_fold_and_keep_their_names_apart(run, cells, tmp_path):
    row = cells.row(0, named=True)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        Image.fromarray(read_image(Path(row["image"]))).save(tmp_path / folder / "cell 1.png")
    files = [str(tmp_path / folder / "cell 1.png") for folder in ("one", "two")]
    answer = leukoscope("explain", run.folder, *files, "-o", tmp_path / "out", "--class", "c")
    assert answer.code == 0, answer.err
    found = json.loads((tmp_path / "out" / "explanations.json").read_text())["cells"]
    assert [(one["fold"], one["part"], one["label"], one["explained"]) for one in found] == [(0, None, None, "c")] * 2
    assert [one["maps"] for one in found] == ["cell_1.npz", "cell_1_2.npz"]
    assert all((tmp_path / "out" / one["maps"]).is_file() for one in found)
    assert found[0]["probabilities"] == found[1]["probabilities"]


def test_many_cells_go_on_several_sheets(run, tmp_path, monkeypatch):
    monkeypatch.setattr(explain_command, "ROWS", 2)
    explain_cells(run.folder, run.predictions["cell_id"][:3].to_list(), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["explanations.png", "explanations_2.png"]
    assert rows_of(tmp_path / "explanations.png") == pytest.approx(2, abs=0.02)
    assert rows_of(tmp_path / "explanations_2.png") == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("arguments", "says"), [
    (["{run}", "nobody", "-o", "{out}"], "nobody: neither a cell of "),
    (["{run}", "{cell}", "-o", "{out}", "--class", "z"], "z: not a class of "),
    (["{run}", "{cell}", "-o", "{out}", "--fold", "2"], "no fold 2; it has folds 0 to 1"),
    (["{run}", "{cell}", "-o", "{out}", "--fold", "-1"], "no fold -1; it has folds 0 to 1"),
    (["{out}", "{cell}", "-o", "{out}"], "not a run"),
    (["{run}", "-o", "{out}"], "Missing argument 'CELL...'; see leukoscope explain --help"),
    (["{run}", "{cell}"], "Missing option '-o' / '--out'; see leukoscope explain --help")])
def test_what_is_asked_wrongly_is_refused_in_one_line_and_leaves_nothing(arguments, says, run, tmp_path):
    names = {"run": run.folder, "cell": run.predictions["cell_id"][0], "out": tmp_path / "out"}
    assert says in refusal("explain", *(argument.format(**names) for argument in arguments))
    assert not (tmp_path / "out").exists()


def test_the_overlay_is_the_grey_cell_where_nothing_speaks_and_the_colours_at_the_ends():
    cell = np.full((2, 2, 3), 255, np.uint8)
    shown = overlay(cell, np.array([[0.0, 0.5], [-0.25, 2.0]]), 0.5)
    np.testing.assert_allclose(shown[0, 0], 1)
    np.testing.assert_allclose(shown[0, 1], 0.15 + 0.85 * np.array(to_rgb(VERMILLION)))
    np.testing.assert_allclose(shown[1, 0], 0.575 + 0.425 * np.array(to_rgb(BLUE)))
    np.testing.assert_allclose(shown[1, 1], shown[0, 1])  # beyond the end
    assert np.ptp(overlay(np.full((1, 1, 3), (200, 10, 90), np.uint8), np.zeros((1, 1)), 1)) < 1e-12


def made_up(label: str, said: str, *, grad_cam: bool = True) -> ExplainedCell:
    rng = np.random.default_rng(3)
    found = Explanation(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8), said, {"a": 0.3, "b": 0.7},
                        rng.random((12, 12), np.float32) if grad_cam else None,
                        (0.4 * rng.random((12, 12)) - 0.3).astype(np.float32), "unit3" if grad_cam else "",
                        (6, 6) if grad_cam else (0, 0), () if grad_cam else ("no Grad-CAM: there is no map",))
    return ExplainedCell("a/cell.png", label, "fold 0, test", found)


def test_the_sheet_says_the_truth_the_answer_and_the_range_of_its_colours():
    figure = explanation_sheet([made_up("a", "b"), made_up("", "a", grad_cam=False)])
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"true: a", "true class unknown", "answer: b, 70.0\u202f%", "explained: a, 30.0\u202f%",
            "no Grad-CAM: there is no\nmap", "unit3, 6 × 6 px"} <= set(texts)
    most = made_up("a", "b").explanation.occlusion
    assert most is not None
    end = f"{100 * np.abs(most).max():.0f}\u202f%"
    assert [texts.count(text) for text in (f"−{end}", end, "none", "most")] == [2, 2, 1, 1]


def test_long_names_are_cut_to_their_column_and_braces_are_names_too():
    cell = made_up("a", "b")
    renamed = {"acute lymphoblastic leukemia, blast {0}": 0.3, "immature granulocyte (promyelocyte)": 0.7}
    found = replace(cell.explanation, probabilities=renamed, target="acute lymphoblastic leukemia, blast {0}")
    figure = explanation_sheet([replace(cell, label=found.target, name="f" * 90, explanation=found)])
    figure.canvas.draw()
    words = [text for text in figure.axes[0].texts if text.get_position()[0] == 0.1]
    assert len(words) == 5
    assert all(text.get_window_extent().x1 / figure.dpi < LABELS for text in words)
    assert all("…" in text.get_text() for text in words[:4])


@pytest.mark.parametrize("classes", [3, 11])
def test_the_page_shows_of_each_class_a_middling_right_and_the_surest_wrong_cell(classes, tmp_path, monkeypatch):
    names = [f"class {i}" for i in range(classes)]
    Image.fromarray(np.full((9, 9, 3), 90, np.uint8)).save(tmp_path / "cell.png")
    run = Run(build_run(tmp_path / "run", Plan(classes=names, cells=300, images=[tmp_path / "cell.png"])))
    drawn: list[list[ExplainedCell]] = []
    monkeypatch.setattr(explain_command, "explain", lambda run, fold, pixels: made_up("a", "b").explanation)
    monkeypatch.setattr(explain_command, "explanation_sheet",
                        lambda cells: (drawn.append(list(cells)), explanation_sheet(cells))[1])
    draw_explanations(run)
    table = run.predictions.with_columns(sure=pl.max_horizontal(f"p_{name}" for name in names))
    shown = {cell.label: table.row(by_predicate=pl.col("cell_id") == cell.name, named=True) for cell in drawn[0]}
    assert list(shown) == names[:8]
    for label, row in shown.items():
        assert row["predicted"] == label
        sure = table.filter((pl.col("label") == label) & (pl.col("predicted") == label))["sure"]
        assert abs((sure > row["sure"]).sum() - (sure < row["sure"]).sum()) <= 1
    for cell in drawn[1]:
        row = table.row(by_predicate=pl.col("cell_id") == cell.name, named=True)
        assert row["predicted"] != cell.label
        wrong = table.filter((pl.col("label") == cell.label) & (pl.col("predicted") != cell.label))
        assert row["sure"] == wrong["sure"].max()
        assert cell.remark == f"fold {row['fold']}, test"
    out = run.folder / "figures" / "explanations"
    assert rows_of(out / "right.png") == pytest.approx(len(drawn[0]), abs=0.02)
    assert rows_of(out / "wrong.png") == pytest.approx(len(drawn[1]), abs=0.02)


def test_a_trained_run_has_them_on_its_page(cells, tmp_path):
    outcome = run_experiment(tiny_recipe(training__epochs=1), cells, tmp_path / "run")
    table = Run(tmp_path / "run").predictions
    right = table.filter(pl.col("label") == pl.col("predicted"))["label"].n_unique()
    wrong = table.filter(pl.col("label") != pl.col("predicted"))["label"].n_unique()
    for name, rows in (("right", right), ("wrong", wrong)):
        sheet = tmp_path / "run" / "figures" / "explanations" / f"{name}.png"
        assert sheet.is_file() == (rows > 0)
        assert not rows or rows_of(sheet) == pytest.approx(rows, abs=0.02)
    page = outcome.page.read_text(encoding="utf-8")
    assert page.count('alt="explained cells: ') == (right > 0) + (wrong > 0)
    assert "where the network looks, not why" in page


def test_a_cell_is_shown_with_its_own_pixels(run, tmp_path):
    """Not with those that the network sees, 16 px here."""
    cell = run.predictions["cell_id"][0]
    seen = np.zeros((16, 16, 3), np.uint8)
    own = np.full((40, 40, 3), 200, np.uint8)
    explanation = Explanation(seen, "a", {"a": 1.0}, np.ones((16, 16), np.float32), np.ones((16, 16), np.float32))
    assert ExplainedCell(cell, "a", "", explanation).shown is seen
    shown = ExplainedCell(cell, "a", "", explanation, own)
    assert shown.shown is own
    pictures = [np.shape(np.asarray(image.get_array())) for image in explanation_sheet([shown]).axes[0].images]
    assert pictures[0] == (40, 40, 3)
    assert (40, 40, 3) in pictures[1:]
