"""Every kind of page in a real browser: nothing cut off, nothing scrolled sideways but wide tables and, on a phone,
wide figures in boxes that take the focus; on paper every figure on one sheet; each page below 1.5 MB."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from command import leukoscope
from leukoscope.commands.smear_subjects import smear_subjects
from leukoscope.manifest import read_manifest, write_manifest
from leukoscope.phantom import write_cells, write_smears
from leukoscope.report.checklists import write_checklists
from leukoscope.report.run import write_report
from leukoscope.report.study import write_study
from leukoscope.runs.run import Run
from page_looks import chromium, look_at
from run_folder import Plan, build_run
from tiny import make_cells

EIGHT = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte", "immature granulocyte", "erythroblast",
         "platelet or thrombocyte")
LARGEST = 1_500_000
TYPES = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil", "blast", "immature granulocyte")


def predictions(folder: Path) -> list[Path]:
    """Two tables of predictions of eight classes."""
    tables = []
    for k in (0, 1):
        run = build_run(folder / f"of{k}", Plan(classes=EIGHT, folds=1, cells=160, seed=0, skill=2.0 + k))
        tables.append(folder / f"a network with a rather long name {k}.parquet")
        (run / "predictions.parquet").rename(tables[-1])
    return tables


def counts(folder: Path) -> list[Path]:
    """Of two counts; the last type is rare, so that letters of notes stand in the table."""
    for name, other in (("machine", 0), ("reference", 1)):
        rows = [",".join([f"{k:03d}", *(str((7 * k + 5 * i + other * (k % 4)) % 31 + 1) for i in range(len(TYPES) - 1)),
                          str(k // 11)]) for k in range(12)]
        (folder / f"{name}.csv").write_text("\n".join([",".join(["smear", *TYPES]), *rows]))
    return [folder / "machine.csv", folder / "reference.csv"]


def of_models(folder: Path, bundle: Path, run: Run) -> dict[str, Path]:
    """Pages that a network makes: explanations, a model fitted to a laboratory, robustness."""
    chosen = run.predictions["cell_id"].head(3).to_list()
    assert leukoscope("explain", run.folder, *chosen, "-o", folder / "why").code == 0
    cells = make_cells(folder / "elsewhere", counts=dict.fromkeys("abc", 12), strength=0.5, seed=5)
    write_manifest(cells.with_columns(
        pl.col("label").replace({"a": "b", "b": "c", "c": "a"}),
        group=pl.Series([f"slide {k % 6}" for k in range(cells.height)])), folder / "elsewhere.parquet")
    assert leukoscope("adapt", bundle, "--data", folder / "elsewhere.parquet", "-o", folder / "ours.zip").code == 0
    assert leukoscope("evaluate", bundle, "--data", folder / "elsewhere.parquet", "-o", folder / "shift", "--shift",
                      "--shift-cells", "6").code == 0
    return {"explanations": folder / "why" / "explanations.html", "fitted": folder / "ours.html",
            "robustness": folder / "shift" / "shift.html", "evaluation": folder / "shift" / "report.html"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, bundle: Path, run: Run) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    cells = write_cells(folder / "cells", 3, size=48, labels=("neutrophil", "lymphocyte"), subjects=2)
    images = [Path(image) for image in cells["image"]]
    for name, optics in (("one", {"pool": 2}), ("two", {"pool": 4}), ("three", {"pool": 2, "learn": []})):
        build_run(folder / "study" / name, Plan(classes=EIGHT, images=images, cells=240, optics=optics))
    (folder / "study" / "study.json").write_text(json.dumps({
        "title": "A study", "runs": ["one", "two", "three"], "conclusions": ["It cannot be said."],
        "paper": {"one": {"accuracy": 0.968, "macro_f1": 0.95}}}))
    tables = predictions(folder)
    assert leukoscope("compare", *tables, "-o", folder / "compare", "--rounds", "100").code == 0
    assert leukoscope("agreement", *counts(folder), "-o", folder / "agreement").code == 0
    truth = write_smears(folder / "smears", subjects=2, fields_per_subject=1, size=(420, 320),
                         types={"neutrophil": 2, "lymphocyte": 1})
    for image in map(Path, truth["image"].unique()):
        (folder / "fields" / image.stem).mkdir(parents=True)
        image.rename(folder / "fields" / image.stem / image.name)
    smear_subjects([folder / "fields"], folder / "smear")
    images = write_cells(folder / "eight", 3, size=48, labels=("neutrophil", "lymphocyte", "monocyte", "eosinophil",
                                                                "basophil"), subjects=2)
    shapes = ["round", "segmented in several lobes", "with a deep notch"]
    write_manifest(images.with_columns(attribute_shape_of_the_nucleus=pl.Series(
        [shapes[k % 3] for k in range(images.height)])), folder / "eight.parquet")
    assert leukoscope("data", "audit", folder / "eight.parquet", "-o", folder / "audit").code == 0
    manifest = read_manifest(folder / "study" / "one" / "manifest.parquet")
    write_manifest(manifest.with_columns(
        attribute_edge=pl.Series([("smooth", "torn")[k % 7 == 0] for k in range(manifest.height)]),
        attribute_side=pl.Series(["left", "right"] * (manifest.height // 2))), folder / "study" / "one" /
        "manifest.parquet")
    checklists, *_ = write_checklists(folder / "study" / "one", folder / "checklists")
    return {"audit": folder / "audit" / "audit.html", "checklists": checklists,
            "report": write_report(folder / "study" / "one"), "study": write_study(folder / "study"),
            "comparison": folder / "compare" / "compare.html", "agreement": folder / "agreement" / "agreement.html",
            "subjects": folder / "smear" / "index.html",
            "smear": next((folder / "smear").glob("*/smear.html")), **of_models(folder, bundle, run)}


def test_pages_stay_small(pages):
    assert {name: path.stat().st_size for name, path in pages.items() if path.stat().st_size > LARGEST} == {}


@pytest.mark.skipif(not chromium(), reason="no chromium here: apt-get install chromium")
def test_nothing_is_cut_off(pages):
    assert look_at(pages) == {}


@pytest.mark.skipif(not chromium(), reason="no chromium here: apt-get install chromium")
def test_the_browser_sees_what_is_wrong(tmp_path):
    page = tmp_path / "wrong.html"
    page.write_text('<!doctype html><meta name="viewport" content="width=device-width"><style>figure { break-inside: '
                    'auto; } .scroll { overflow-x: auto; }</style><section id="a"><div style="width:2000px">wide</div>'
                    '<div class="scroll"><table><tr><td style="min-width:1700px">x</td></tr></table></div>'
                    '<figure><svg width="50" height="50"><text x="45" y="20">too long</text></svg></figure></section>')
    found = look_at({"wrong": page})
    said = " ".join(found["wrong, phone"] + found["wrong, paper"])
    for fault in ("scrolls sideways", "cut at the right", "takes no focus", "text outside its figure",
                  "may break inside"):
        assert fault in said, (fault, found)
