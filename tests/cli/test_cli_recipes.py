"""Every built-in recipe runs through the real command line, on tiny phantom cells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import timm
import torch
from safetensors.torch import load_file

from command import leukoscope, refusal
from leukoscope.manifest import write_manifest
from leukoscope.phantom import write_cells
from leukoscope.recipes import builtin_recipes, load_recipe

LABELS = ("neutrophil", "eosinophil", "basophil", "lymphocyte", "monocyte")
SMALL = ("--set", "training.epochs=1", "--set", "preprocess.crop=0", "--set", "split.kind=holdout",
         "--set", "split.test=0.25", "--set", "split.validation=0.25", "--set", "training.batch_size=16")
TWO = ("--set", 'data.classes=["neutrophil", "lymphocyte"]', "--set", "data.positive=lymphocyte",
       "--set", "augment.copies={neutrophil = 10, lymphocyte = 12}", "--set", "pca.components=5",
       "--set", "pca.variance=0")

OPTICS = ("--scale", "small", "--set", "network.name=lenet5", "--set", "optics.window=31", "--set", "optics.grid=31")
MANY = ("--scale", "small", "--only", "googlenet", "--only", "vgg16", *TWO[:6])
FIVE = ("--set", f"data.classes={json.dumps(LABELS)}")
BUILT_IN = (*FIVE, "--set", "data.positive=")
SIZES = {"alexnet": "64", "noshad": "32", "dimuro": "96", "shalini": "32", "leukoscope": "32", "embeddings": "32"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Iterator[Path]:
    """A folder with a manifest of 5 x 8 cells of 8 subjects, and a finished run to transfer from."""
    folder = tmp_path_factory.mktemp("recipes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEUKOSCOPE_CACHE", str(folder / "cache"))
        cells = write_cells(folder / "images", 8, labels=LABELS, subjects=8, size=48)
        odd = pl.col("subject").str.slice(-1).is_in(["1", "3", "5", "7"])
        write_manifest(cells.with_columns(source=pl.when(odd).then(pl.lit("here")).otherwise(pl.lit("there"))),
                       folder / "cells.parquet")
        other = write_cells(folder / "others", 8, labels=LABELS, subjects=8, size=48, seed=9)
        write_manifest(other.with_columns(subject="other-" + other["subject"], cell_id="other-" + other["cell_id"]),
                       folder / "others.parquet")
        start = leukoscope("train", "almotairi2020", "--data", folder / "others.parquet", "-o", folder / "start",
                           *SMALL, "--set", "preprocess.size=16")
        assert start.code == 0, start.err
        yield folder


@pytest.mark.parametrize("name", sorted(builtin_recipes()))
def test_recipe(name, workplace, monkeypatch):
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(workplace / "cache"))
    size = next((size for word, size in SIZES.items() if word in name), "16")
    more = {"almotairi2020-transfer": ("--set", f"network.start={workplace / 'start'}"),
            "almotairi2020-alexnet": ("--set", "network.pretrained=false"),
            **dict.fromkeys(("dimuro2020", "dimuro2020-sensor"), OPTICS), "shalini2022": MANY,
            "leukoscope": BUILT_IN, "leukoscope-laboratories": BUILT_IN,
            **dict.fromkeys(("noshad2021-cnmc", "noshad2021-allidb", "noshad2021-ablation"), TWO)}.get(name, ())
    out = workplace / name
    answer = leukoscope("train", name, "--data", workplace / "cells.parquet", "-o", out, *SMALL,
                        "--set", f"preprocess.size={size}", *more, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    scale = "small" if "small" in more else "full"
    only = [more[i + 1] for i, word in enumerate(more) if word == "--only"]
    runs = [out / variant for variant in only or load_recipe(name, scale=scale).variants] or [out]
    for run in runs:
        metrics = json.loads((run / "metrics.json").read_text())
        assert sum(map(sum, metrics["confusion"])) == metrics["cells"] > 0
        assert json.loads((run / "guard.json").read_text())["leaks"] == []
        assert (run / "report.html").stat().st_size > 10_000
    assert Path(found["report"]).is_file()


def test_reproduce_prints_every_experiment_beside_the_paper(workplace, monkeypatch):
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(workplace / "cache"))
    arguments = ["reproduce", "almotairi2020", "--data", workplace / "cells.parquet", "-o", workplace / "repro",
                 "--transfer", workplace / "others.parquet", "--protocol", "clean", *SMALL,
                 "--set", "preprocess.size=64", "--set", "network.pretrained=false", "--set", "split.validation=0"]
    answer = leukoscope(*arguments)
    assert answer.code == 0, answer.err
    table = [line for line in answer.out.splitlines() if line.startswith("almotairi2020") and "(" in line]
    rows = {line.split()[0]: line for line in table}
    places = (f"ablation/{unit}" for unit in ("unit1", "unit2", "unit3", "none"))
    others = (f"almotairi2020-{name}" for name in ("plain", "lenet5", "alexnet", "transfer", *places))
    assert set(rows) == {"almotairi2020", *others}
    assert "accuracy % (95 % CI)" in answer.out
    assert rows["almotairi2020"].split()[-2:] == ["96.80", "92.63"]
    for name, row in rows.items():
        metrics = json.loads((workplace / "repro" / "clean" / name / "metrics.json").read_text())
        accuracy = metrics["overall"]["accuracy"]
        assert f" {100 * accuracy['value']:.1f} ({100 * accuracy['low']:.1f}-{100 * accuracy['high']:.1f})" in row
    assert "almotairi2020-alexnet was trained from random weights" in answer.out
    written = {file: file.stat().st_mtime_ns for file in (workplace / "repro").rglob("metrics.json")}
    assert leukoscope(*arguments, "--resume").out == answer.out
    assert {file: file.stat().st_mtime_ns for file in written} == written


def test_embeddings_of_a_network_of_one_s_own(workplace, monkeypatch, tmp_path):
    """A foundation model as a user has it: a state dict under other names, with a head of its own."""
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(workplace / "cache"))
    torch.manual_seed(0)
    theirs = timm.create_model("resnet10t", num_classes=11).state_dict()
    weights = {f"visual.{'stem.' + name[6:] if name.startswith('conv1.') else name}": value
               for name, value in theirs.items()}
    torch.save({"model": weights}, tmp_path / "foundation.pth")
    common = ("train", "embeddings", "--data", workplace / "cells.parquet", "--set", "network.name=timm.resnet10t",
              "--set", f"network.start={tmp_path / 'foundation.pth'}", "--set", "preprocess.frame=image",
              "--set", "preprocess.size=32", "--set", "training.epochs=2")
    said = refusal(*common, "-o", tmp_path / "refused")
    assert "has no tensor" in said
    assert "network.names" in said
    answer = leukoscope(*common, "-o", tmp_path / "run", "--set", 'network.names={"visual.stem." = "conv1.", '
                        '"visual." = ""}')
    assert answer.code == 0, answer.err
    after = load_file(tmp_path / "run" / "folds" / "0" / "weights.safetensors")
    body = [name for name in after if name.startswith("body.") and not name.endswith("num_batches_tracked")]
    assert len(body) > 40
    assert all(torch.equal(after[name], theirs[name.removeprefix("body.")]) for name in body)
    assert after["last.weight"].shape[0] == len(LABELS)
