"""The command line refuses bad input in one line that names it, with exit code 2, and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from PIL import Image

from command import leukoscope, refusal
from damaged import write_damaged
from leukoscope.cli.main import COMMANDS, GROUPS, app, command_words
from leukoscope.manifest import read_manifest, write_manifest
from leukoscope.phantom import write_cells

TINY = ("--set", "preprocess.size=16", "--set", "training.epochs=1", "--set", "network.name=lenet5",
        "--set", "network.options={}", "--set", "split.kind=holdout", "--set", "split.test=0.3",
        "--set", "split.validation=0.3")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    """A manifest of 2 x 12 phantom cells of 6 subjects."""
    folder = tmp_path_factory.mktemp("cells")
    manifest = write_cells(folder / "images", 12, labels=("lymphocyte", "neutrophil"), subjects=6, size=32)
    write_manifest(manifest, folder / "cells.parquet")
    return folder / "cells.parquet"


def changed(cells: Path, to: Path, change) -> Path:
    """The manifest with its rows changed by a function on a list of dictionaries."""
    write_manifest(pl.DataFrame(change(read_manifest(cells).to_dicts())), to)
    return to


def test_help_answers_without_loading_torch():
    code = ("import sys; sys.argv = ['leukoscope', '--help']\n"
            "from leukoscope.cli.main import main\n"
            "try: main()\nexcept SystemExit: pass\n"
            "heavy = {'torch', 'lightning', 'matplotlib', 'sklearn', 'scipy', 'cv2', 'numba', 'polars',\n"
            "         'pydantic', 'rich'}\n"
            "heavy &= set(sys.modules)\n"
            "assert not heavy, heavy")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


@pytest.mark.parametrize("command", ["", "demo", "recipes", "models", "train", "evaluate", "compare", "explain",
                                     "features", "export", "predict", "smear", "review", "review verify", "review user",
                                     "review user add", "reproduce",
                                     "report", "data", "data list", "data info", "data get", "data index", "data audit",
                                     "optics", "optics export", "optics simulate"])
def test_every_command_has_help_with_an_example(command):
    answer = leukoscope(*command.split(), "--help")
    assert answer.code == 0
    if command not in ("data", "optics", "review user"):
        assert f"leukoscope {command}".strip() in answer.out.partition("Usage")[2].partition("\n")[2]


@pytest.mark.parametrize(("function", "example"), COMMANDS)
def test_every_command_takes_its_example_which_stands_on_one_line_of_its_help(function, example):
    words = shlex.split(example.partition(">")[0])
    named = command_words(example)
    words = words[len(" ".join(named).split()):]
    answer = leukoscope(*" ".join(named).split(), "--help")
    assert f"  Example: leukoscope {example}\n" in answer.out
    assert "--json" in answer.out
    command: Any = typer.main.get_command(app)
    for name in named:
        command = command.commands[name]
    assert command.callback.__name__ == function.__name__
    assert command.make_context(named[-1], words).params


def test_the_list_of_commands_cuts_no_sentence():
    for group in ([], *([name] for name in GROUPS)):
        assert "..." not in leukoscope(*" ".join(group).split(), "--help").out.partition("Commands:")[2]


@pytest.mark.parametrize(("arguments", "says"), [
    (["trian"], "No such command 'trian'"),
    (["train", "demo"], "Missing option '--data'"),
    (["train", "demo", "--data", "x.parquet", "-o", "r", "--protocol", "dirty"], "'dirty' is not one of"),
    (["train", "dmo", "--data", "x.parquet", "-o", "r"],
     "dmo: neither a file nor a built-in recipe; did you mean demo?"),
    (["train", "demo", "--data", "x.parquet", "-o", "r"], "x.parquet: no such file"),
    (["train", "demo", "--data", "x.parquet", "-o", "r", "--set", "training.epochs=0"], "training.epochs"),
    (["train", "demo", "--data", "x.parquet", "-o", "r", "--set", "training.epoch=3"], "training.epoch: no such key"),
    (["train", "demo", "--data", "x.parquet", "-o", "r", "--set", "epochs"], "expected KEY=VALUE"),
    (["train", "demo", "--data", "x.parquet", "-o", "r", "--scale", "huge"], "no scale 'huge'"),
    (["data", "info", "pcb"], "pbc"),
    (["data", "index", "pbc", "nowhere", "-o", "c.parquet"], "nowhere: no such folder"),
    (["data", "index", "pbc", "nowhere", "-o", "c.xls"], "written as .parquet or .csv"),
    (["data", "index", "pbc", "nowhere", "-o", "c.csv", "--view", "nine"], "pbc has no view 'nine'; choose one of"),
    (["data", "index", "pbc", "nowhere", "-o", "c.csv", "--option", "a=b"], "no such option"),
    (["data", "get", "allidb1", "--to", "x"], "allidb1 cannot be downloaded by a program"),
    (["data", "audit", "nowhere.csv", "-o", "a"], "nowhere.csv: no such file"),
    (["report", "nowhere"], "nowhere"),
    (["evaluate", "nowhere", "--data", "x.csv", "-o", "e"], "no such"),
    (["reproduce", "almotari", "--data", "x", "-o", "r"], "almotari: no such paper; choose almotairi2020"),
])
def test_wrong_arguments(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refusal(*arguments)
    assert os.listdir(tmp_path) == []


def test_a_recipe_with_a_fault_is_named(tmp_path, cells):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('name = "mine"\n[network]\nname = "wbcnet"\n')
    assert "wbcsnet" in refusal("train", recipe, "--data", cells, "-o", tmp_path / "run")
    recipe.write_text('name = "mine"\n[network\n')
    assert f"{recipe}: not valid TOML" in refusal("train", recipe, "--data", cells, "-o", tmp_path / "run")
    recipe.write_text('name = "mine"\n[network]\nname = "lenet5"\n[split]\nby = "image"\n')
    assert "use --protocol paper" in refusal("train", recipe, "--data", cells, "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bad_manifests_stop_before_anything_is_written(tmp_path, cells):
    def train(manifest: Path) -> str:
        return refusal("train", "demo", "--data", manifest, "-o", tmp_path / "run", *TINY,
                       "--set", "data.classes=['lymphocyte', 'neutrophil']")

    twice = tmp_path / "twice.csv"
    read_manifest(cells).sample(fraction=2, with_replacement=True, seed=0).write_csv(twice)
    assert "is used in" in train(twice)
    one = changed(cells, tmp_path / "one.csv", lambda rows: [r for r in rows if r["label"] == "neutrophil"])
    assert "class 'lymphocyte' has no cells" in train(one)
    few = changed(cells, tmp_path / "few.csv", lambda rows: [r | {"subject": "same"} for r in rows])
    assert "class 'lymphocyte' has 12 cells in 1 units" in train(few)
    lost = str(tmp_path / "no.png")
    gone = changed(cells, tmp_path / "gone.csv", lambda rows: [rows[0] | {"image": lost}, *rows[1:]])
    assert "no.png" in train(gone)
    outside = changed(cells, tmp_path / "outside.csv",
                      lambda rows: [rows[0] | {"x": 900, "y": 900, "width": 9, "height": 9}, *rows[1:]])
    assert "outside" in train(outside)
    assert not (tmp_path / "run").exists()


def test_a_damaged_image_stops_the_run_or_is_left_out_and_listed(tmp_path, cells):
    bad = tmp_path / "bad.jpg"
    Image.new("RGB", (64, 64), "red").save(bad)
    bad.write_bytes(bad.read_bytes()[:200])
    manifest = changed(cells, tmp_path / "m.parquet", lambda rows: [rows[0] | {"image": str(bad)}, *rows[1:]])
    arguments = ["train", "demo", "--data", manifest, "-o", tmp_path / "run", *TINY,
                 "--set", "data.classes=['lymphocyte', 'neutrophil']"]
    assert "bad.jpg" in refusal(*arguments)
    assert not (tmp_path / "run").exists()
    answer = leukoscope(*arguments, "--skip-damaged", "--json")
    assert answer.code == 0, answer.err
    left_out = json.loads((tmp_path / "run" / "left_out.json").read_text())["damaged"]
    assert [Path(row["image"]).name for row in left_out] == ["bad.jpg"]
    assert "bad.jpg" in (tmp_path / "run" / "report.html").read_text()
    assert json.loads(answer.out)["metrics"]["classes"] == ["lymphocyte", "neutrophil"]


def test_a_run_is_not_overwritten_and_resuming_a_finished_one_changes_nothing(tmp_path, cells):
    arguments = ["train", "demo", "--data", cells, "-o", tmp_path / "run", *TINY,
                 "--set", "data.classes=['lymphocyte', 'neutrophil']"]
    assert leukoscope(*arguments).code == 0
    before = (tmp_path / "run" / "predictions.parquet").read_bytes()
    assert "--resume" in refusal(*arguments)
    assert leukoscope(*arguments, "--resume").code == 0
    assert (tmp_path / "run" / "predictions.parquet").read_bytes() == before
    assert "seed" in refusal(*arguments, "--resume", "--set", "seed=7")


def test_an_evaluation_refuses_what_the_run_was_trained_on(tmp_path, cells):
    run, out = tmp_path / "run", tmp_path / "elsewhere"
    assert leukoscope("train", "demo", "--data", cells, "-o", run, *TINY,
                      "--set", "data.classes=['lymphocyte', 'neutrophil']").code == 0

    def others(name: str, **changes: object) -> Path:
        fresh = write_cells(tmp_path / name, 4, labels=("lymphocyte", "neutrophil"), subjects=6, size=32, seed=7)
        write_manifest(fresh.with_columns(**{key: pl.lit(value) for key, value in changes.items()}),
                       tmp_path / f"{name}.parquet")
        return tmp_path / f"{name}.parquet"

    nameless = changed(cells, tmp_path / "nameless.csv", lambda rows: [r | {"subject": None} for r in rows])
    line = refusal("evaluate", run, "--data", nameless, "-o", out)
    assert "identical images between these cells and those that" in line
    same_people = others("same_people")
    assert "subjects of these cells that" in refusal("evaluate", run, "--data", same_people, "-o", out)
    assert not out.exists()
    elsewhere = others("other_laboratory", source="elsewhere")
    answer = leukoscope("evaluate", run, "--data", elsewhere, "-o", out)
    assert answer.code == 0, answer.err
    assert "on 8 cells" in answer.out
    assert "report.html" in answer.out


def test_what_cannot_be_written_is_one_line(tmp_path, cells):
    (tmp_path / "file").write_text("in the way")
    line = refusal("train", "demo", "--data", cells, "-o", tmp_path / "file" / "run", *TINY,
                   "--set", "data.classes=['lymphocyte', 'neutrophil']")
    assert str(tmp_path / "file") in line
    assert str(tmp_path / "file") in refusal("data", "audit", cells, "-o", tmp_path / "file")


def test_json_is_json(tmp_path, cells):
    assert {row["name"] for row in json.loads(leukoscope("data", "list", "--json").out)} >= {"pbc", "cnmc", "yolo"}
    assert "almotairi2020" in json.loads(leukoscope("recipes", "--json").out)
    indexed = leukoscope("data", "index", "folder", cells.parent / "images", "-o", tmp_path / "m.csv", "--json")
    assert json.loads(indexed.out)["found"] == {"lymphocyte": 12, "neutrophil": 12}
    audited = leukoscope("data", "audit", cells, "-o", tmp_path / "audit", "--json")
    assert json.loads(audited.out) == json.loads((tmp_path / "audit" / "audit.json").read_text())


def test_a_reader_that_stops_listening_is_no_error():
    done = subprocess.run(f"{sys.executable} -m leukoscope data list | head -1",
                          shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_every_kind_of_damage_is_named_by_audit_and_training_and_never_replaced(tmp_path, cells):
    bad = {name: kind.path for name, kind in write_damaged(tmp_path / "bad").items()}
    rows = [{"cell_id": f"bad-{name}", "image": str(path), "label": "neutrophil", "subject": f"bad-{name}"}
            for name, path in bad.items()]
    table = {"cell_id": "table", "image": str(cells), "label": "lymphocyte", "x": 0, "y": 0, "width": 5, "height": 5}
    manifest = changed(cells, tmp_path / "m.parquet", lambda good: [*good, *rows, table])
    named = {*(row["cell_id"] for row in rows), "table"}
    arguments = ["train", "demo", "--data", manifest, "-o", tmp_path / "run", *TINY,
                 "--set", "data.classes=['lymphocyte', 'neutrophil']"]
    assert str(len(named)) in refusal(*arguments)
    assert not (tmp_path / "run").exists()
    assert leukoscope(*arguments, "--skip-damaged", "--json").code == 0
    left_out = json.loads((tmp_path / "run" / "left_out.json").read_text())["damaged"]
    assert {row["cell_id"] for row in left_out} == named
    assert all(row["reason"] for row in left_out)
    assert not named & set(pl.read_parquet(tmp_path / "run" / "predictions.parquet")["cell_id"])
    audited = json.loads(leukoscope("data", "audit", manifest, "-o", tmp_path / "audit", "--json").out)
    assert named == {row["cell_id"] for row in audited["damaged"]}


@pytest.mark.parametrize(("words", "seen"), [
    (("optics", "nothing"), "see leukoscope optics --help"), (("data", "index"), "see leukoscope data index --help"),
    (("nothing",), "see leukoscope --help"), (("train",), "see leukoscope train --help"),
    (("optics", "export", "--fold", "x"), "see leukoscope optics export --help")])
def test_a_wrong_word_points_to_the_help_of_the_command_that_there_is(words, seen):
    assert refusal(*words).endswith(seen)


@pytest.mark.parametrize("group", ["data", "optics"])
def test_a_group_alone_prints_its_help_and_nothing_more(group):
    answer = leukoscope(group)
    assert (answer.code, answer.err) == (2, "")
    assert "Commands" in answer.out
