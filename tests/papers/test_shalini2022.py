"""`leukoscope reproduce shalini2022`: on ALL-IDB1 in its layout and on two classes of a manifest; refusals."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import polars as pl
import pytest

from command import leukoscope, refusal
from leukoscope.errors import ManifestError
from leukoscope.manifest import make_manifest, write_manifest
from leukoscope.papers.request import Request
from leukoscope.papers.shalini2022 import read_task
from leukoscope.papers.shalini2022_tables import MATRICES, against_own
from leukoscope.recipes import expand_variants, load_recipe
from leukoscope.report.compare import read_comparison
from leukoscope.runs.run import Run

MAKE = runpy.run_path(str(Path(__file__).parents[1] / "data" / "allidb1" / "make.py"))["make"]
FAST = ("--scale", "small", "--set", "training.epochs=1", "--set", "preprocess.size=32", "--set", "split.test=0.4",
        "--set", "split.validation=0.2", "--set", "augment.copies={healthy = 18, leukemic = 18}",
        "--only", "googlenet", "--only", "resnet50")
NETWORKS = ("googlenet", "resnet50")


@pytest.fixture(scope="module")
def fields(tmp_path_factory) -> Path:
    """24 fields in the layout of ALL-IDB1, half of them leukemic."""
    return MAKE(tmp_path_factory.mktemp("all"), {i: ((40, 30),) if i % 2 else () for i in range(1, 25)})


@pytest.fixture(scope="module")
def reproduced(fields, tmp_path_factory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("out") / "repro"
    answer = leukoscope("reproduce", "shalini2022", "--data", fields, "-o", out, "--protocol", "both", *FAST)
    assert answer.code == 0, answer.err
    return out, answer.out


def test_the_table_of_the_paper_stands_beside_ours(reproduced):
    out, printed = reproduced
    found = json.loads((out / "clean" / "compare.json").read_text())
    rows = {line.split()[0]: line for line in printed.partition("protocol paper")[0].splitlines()
            if line.split()[:1] and line.split()[0] in NETWORKS and "minus" not in line}
    assert set(rows) == set(NETWORKS)
    table = found["tables"][0]
    assert table["title"] == "Table 2 of the paper, and ours"
    for row in table["rows"]:
        metrics = json.loads((out / "clean" / "repeat-0" / row[0] / "metrics.json").read_text())
        accuracy = metrics["overall"]["accuracy"]
        assert row[2] == f"{100 * accuracy['value']:.1f}"
        assert f"{100 * accuracy['value']:.1f} ({100 * accuracy['low']:.1f}-{100 * accuracy['high']:.1f})" in printed
        right = MATRICES[row[0]][0] + MATRICES[row[0]][2]
        assert row[1].startswith(f"{100 * right / 260:.1f} (")
    assert found["published"]["resnet50"]["accuracy"] == 259 / 260
    assert "Is ResNet-50 better than the others here? By accuracy it is" in printed
    assert against_own(read_comparison(found)) in printed
    page = (out / "clean" / "compare.html").read_text()
    assert "Table 2 of the paper" in page
    assert 'href="repeat-0/resnet50/report.html"' in page
    assert (out / "clean" / "figures" / "roc.svg").is_file()


def test_copies_are_tested_under_the_papers_protocol_alone(reproduced):
    out, _ = reproduced
    clean, paper = (Run(out / protocol / "repeat-0" / "resnet50") for protocol in ("clean", "paper"))
    copies = {run.folder: run.manifest.filter(pl.col("copy") > 0) for run in (clean, paper)}
    for run in (clean, paper):
        assert dict(run.manifest.group_by("label").len().iter_rows()) == {"healthy": 18, "leukemic": 18}
        assert copies[run.folder].height == 12
        assert pl.read_csv(run.folder / "copies.csv").height == 12
        assert list((run.folder / "figures" / "copies").glob("*.png"))
    learned = clean.splits.join(copies[clean.folder], on="cell_id", how="semi")
    assert set(learned["part"]) == {"train"}
    tested = set(clean.part(0, "test"))
    assert not set(copies[clean.folder]["original"]) & tested
    assert json.loads((clean.folder / "guard.json").read_text())["leaks"] == []
    parts = paper.splits.join(copies[paper.folder], on="cell_id", how="semi")
    assert "test" in set(parts["part"])
    kinds = {leak["kind"] for leak in json.loads((paper.folder / "guard.json").read_text())["leaks"]}
    assert {"copy", "fitted"} <= kinds


def test_every_network_has_the_same_cells_and_the_same_effort(reproduced):
    out, _ = reproduced
    runs = [Run(out / "clean" / "repeat-0" / name) for name in NETWORKS]
    for run in runs[1:]:
        assert run.splits.equals(runs[0].splits)
        told, first = (r.recipe.model_dump(exclude={"name", "network"}) for r in (run, runs[0]))
        assert told == first


def test_what_the_papers_protocol_adds_is_told(reproduced):
    out, printed = reproduced
    table = json.loads((out / "paper" / "compare.json").read_text())["tables"][1]
    assert table["title"] == "What the paper’s protocol adds"
    assert [row[0] for row in table["rows"]] == list(NETWORKS)
    for name, theirs, ours, added in table["rows"]:
        values = [json.loads((out / protocol / "repeat-0" / name / "metrics.json").read_text())["overall"]["accuracy"]
                  for protocol in ("paper", "clean")]
        assert theirs.startswith(f"{100 * values[0]['value']:.1f} ")
        assert ours.startswith(f"{100 * values[1]['value']:.1f} ")
        assert float(added.split()[0].replace("−", "-")) == pytest.approx(
            100 * (values[0]["value"] - values[1]["value"]), abs=0.06)
    assert table["title"] in printed
    assert "All runs keep to a paper's protocol" in printed


def test_it_goes_on_where_it_was(reproduced, fields):
    out, printed = reproduced
    written = {file: file.stat().st_mtime_ns for file in out.rglob("metrics.json")}
    answer = leukoscope("reproduce", "shalini2022", "--data", fields, "-o", out, "--protocol", "both", *FAST,
                        "--resume")
    assert answer.code == 0, answer.err
    assert {file: file.stat().st_mtime_ns for file in written} == written

    def timeless(text: str) -> list[str]:
        return [line.rpartition("  ")[0] if line.endswith(" ms") else line for line in text.splitlines()
                if not line.startswith(" ")]

    assert timeless(answer.out) == timeless(printed)


def request(data: Path, *settings: str, scale: str = "full") -> Request:
    return Request(data, Path("nowhere"), scale, ["clean"], settings)


def test_the_counts_follow_the_cells(fields, tmp_path):
    task = read_task(request(fields))
    assert task.settings[-1] == 'augment.copies={"healthy" = 1235, "leukemic" = 1235}'
    assert task.remarks == ("Missing: Im025 (neither Im025_0 nor Im025_1); " + "; ".join(
        f"Im{i:03d} (neither Im{i:03d}_0 nor Im{i:03d}_1)" for i in range(26, 109)) + ".",)
    rows = [{"cell_id": f"{label}{i}", "image": f"{label}{i}.png", "label": label}
            for label, count in (("mature", 2000), ("precursor", 1500)) for i in range(count)]
    write_manifest(make_manifest(rows), tmp_path / "cells.parquet")
    task = read_task(request(tmp_path / "cells.parquet", "data.positive=precursor"))
    assert task.settings[-1] == 'augment.copies={"mature" = 2500, "precursor" = 2500}'
    assert task.settings[0] == 'data.classes=["mature", "precursor"]'
    small = read_task(request(tmp_path / "cells.parquet", "data.positive=precursor", scale="small"))
    assert small.settings[-1] == 'augment.copies={"mature" = 1500, "precursor" = 1500}'  # of 1,200 a class
    assert "a quarter more than the larger class has" in small.remarks[0]
    own = read_task(request(tmp_path / "cells.parquet", "data.positive=mature", "augment.copies={mature = 9}"))
    assert not any("copies" in setting for setting in own.settings)
    with pytest.raises(ManifestError, match="positive class not specified; the classes are mature and precursor"):
        read_task(request(tmp_path / "cells.parquet"))


def test_the_six_networks_of_the_paper_are_trained_at_full_scale():
    recipe = load_recipe("shalini2022")
    random = {variant.network.name for variant in expand_variants(recipe).values() if not variant.network.start}
    assert random == set(MATRICES)
    own = expand_variants(recipe)["lite0-imagenet"].network
    assert (own.name, own.start) == ("tf_efficientnet_lite0", "efficientnet-lite0")
    assert (recipe.preprocess.size, recipe.training.epochs) == (224, 100)
    assert not any(variant.network.pretrained for variant in expand_variants(recipe).values())


def test_refusals_come_before_anything_is_trained(fields, tmp_path):
    few = MAKE(tmp_path / "few", {i: ((40, 30),) if i < 4 else () for i in range(1, 13)})
    said = refusal("reproduce", "shalini2022", "--data", few, "-o", tmp_path / "a")
    assert "split.folds = 5: class 'leukemic' has 3 cells in 3 units" in said
    assert "no network" not in said
    common = ("reproduce", "shalini2022", "--data", fields, "-o", tmp_path / "b")
    assert "--transfer: shalini2022 has no transfer to another data set" in refusal(*common, "--transfer", fields)
    assert "shalini2022: no variant 'vgg13'; it has: resnet50, googlenet, " in refusal(*common, "--only", "vgg13")
    assert "--only: the recipes of noshad2021 are no variants of one recipe" in refusal(
        "reproduce", "noshad2021", "--data", fields, "-o", tmp_path / "b", "--only", "vgg16")
    assert "use --repeats for the number of trainings" in refusal(*common, "--set", "training.repeat=1")
    assert "vgg16 needs an input of 32 to 1024 px" not in refusal(*common, "--set", "preprocess.size=16")
    assert "needs an input of 32 to 1024 px" in refusal(*common, "--set", "preprocess.size=16")
    assert not (tmp_path / "b").exists()
