"""Mistakes that a first day brings: each is refused in one line that says what to do, and nothing is written."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from command import leukoscope, refusal
from leukoscope.errors import EXTRAS
from leukoscope.manifest import read_manifest, write_manifest
from leukoscope.phantom import write_cells
from smear_fields import phantom

DATA = Path(__file__).parents[1] / "data"
SLOW = {"torch", "torchvision", "timm", "lightning", "numba", "matplotlib", "scipy", "cv2", "PIL", "tifffile", "onnx",
        "onnxruntime", "sqlalchemy", "leukoscope.commands.smear"}
"""What takes longer to import than a refusal may take."""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, its bundle as a folder and as a ZIP file, a study of two runs, and a table of cells."""
    folder = tmp_path_factory.mktemp("older")
    shutil.unpack_archive(DATA / "older" / "run.zip", folder / "run")
    shutil.unpack_archive(DATA / "older" / "bundle.zip", folder / "bundle")
    shutil.copy(DATA / "older" / "bundle.zip", folder / "bundle.zip")
    for name in ("small", "large"):
        (folder / "study" / name).mkdir(parents=True)
        shutil.copy(folder / "run" / "recipe.toml", folder / "study" / name)
    (folder / "study" / "study.json").write_text("{}")
    write_manifest(write_cells(folder / "images", 2, labels=("lymphocyte", "neutrophil"), subjects=2, size=32),
                   folder / "cells.parquet")
    (folder / "cells.parquet.xlsx").touch()
    return folder


def in_a_process(commands: list[list[str]], folder: Path, before: str = "") -> list[dict]:
    """Exit code, standard error, and which of SLOW was imported, of command lines that run one after the other in a
    fresh process, in a folder. `before`: code that runs first."""
    code = (f"import contextlib, io, json, sys\n{before}\n"
            "from leukoscope.cli.main import main\n"
            "for words in json.loads(sys.argv[1]):\n"
            "    sys.argv = ['leukoscope', *words]\n"
            "    with contextlib.redirect_stderr(io.StringIO()) as err:\n"
            "        try: main()\n"
            "        except SystemExit as exit_: code = exit_.code\n"
            f"    slow = sorted(set({sorted(SLOW)}) & set(sys.modules))\n"
            "    print(json.dumps({'code': code, 'err': err.getvalue(), 'slow': slow}))\n")
    done = subprocess.run([sys.executable, "-c", code, json.dumps(commands)], cwd=folder, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# Names and values

@pytest.mark.parametrize(("arguments", "says"), [
    (["almotairi"], "almotairi: neither a file nor a built-in recipe; did you mean almotairi2020 or "),
    (["demo", "--set", "training.epoch=3"], "training.epoch: no such key; did you mean training.epochs?"),
    (["demo", "--set", "trainig.epochs=3"], "trainig: no such key; did you mean training?"),
    (["demo", "--set", "epochs=3"], "epochs: no such key; did you mean training.epochs?"),
    (["demo", "--set", "augment.epochs=3"], "augment.epochs: no such key; did you mean training.epochs?"),
    (["demo", "--set", "xyzzy=3"], "xyzzy: no such key; docs/recipes.md lists every key"),
    (["demo", "--set", "data.classes=neutrophil"],
     """data.classes: expected a list (got 'neutrophil'); for example data.classes = ["a", "b"]"""),
    (["demo", "--set", "data.classes=neutrophil,lymphocyte"],
     """write: --set 'data.classes=["neutrophil", "lymphocyte"]'"""),
    (["demo", "--set", "data.classes=(neutrophil)"], """write: --set 'data.classes=["neutrophil"]'"""),
    (["demo", "--set", "data.positive=[neutrophil]"],
     "expected one value, not a list; write: --set 'data.positive=neutrophil'"),
    (["demo", "--set", "training.epochs=three"], "training.epochs: expected a whole number (got 'three')"),
    (["demo", "--set", "training.epochs=-1"], "training.epochs: must be greater than or equal to 1 (got -1)"),
    (["demo", "--set", "preprocess.size=[96,96]"], "preprocess.size: expected a whole number (got [96, 96])"),
    (["demo", "--set", "split.kind=kfolds"], "split.kind: expected 'kfold', 'holdout', 'holdout-kfold', 'official' or"),
    (["demo", "--set", "training.epochs", "=3"], "unexpected: =3; put a path with spaces in quotes, and write "
     "KEY=VALUE without spaces; see leukoscope train --help"),
    (["."], ".: a folder, not a recipe; leukoscope recipes lists the built-in recipes"),
])
def test_a_mistyped_recipe_or_key_gets_the_nearest_names(arguments, says, tmp_path):
    assert says in refusal("train", *arguments, "--data", "cells.parquet", "-o", tmp_path / "run")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("given", "classes"), [
    ("[neutrophil]", ["neutrophil"]), ("[ neutrophil, lymphocyte ]", ["neutrophil", "lymphocyte"]),
    ("['a b', c]", ["a b", "c"]), ('["neutrophil]', ["neutrophil"])])
def test_a_list_whose_quotes_the_shell_has_removed_gets_the_right_line(given, classes):
    line = refusal("train", "demo", "--data", "cells.parquet", "-o", "run", "--set", f"data.classes={given}")
    assert f"--set data.classes={given}: quotes are missing around the text in the list; write: --set" in line
    option, setting = shlex.split(line.partition("write: ")[2])
    assert option == "--set"
    assert json.loads(setting.removeprefix("data.classes=")) == classes
    assert "cells.parquet: no such file" in refusal("train", "demo", "--data", "cells.parquet", "-o", "run", option,
                                                    setting, "--set", f'data.positive={classes[0]}')


# Paths of another kind

def class_folders(root: Path) -> Path:
    for label in ("neutrophil", "lymphocyte"):
        (root / label).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (40, 40), (90 * number, 60, 120)).save(root / label / f"{number}.png")
    return root


@pytest.mark.parametrize("command", [["train", "demo", "--data"], ["evaluate", "packaged", "--data"],
                                     ["data", "audit"]])
def test_a_folder_in_place_of_a_table_is_to_be_indexed_first_by_a_line_that_works(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = class_folders(tmp_path / "my cells")
    line = refusal(*command, folder, "-o", tmp_path / "out")
    assert f"{folder}: a folder, not a table of cells; index it first: leukoscope data index folder '{folder}'" in line
    words = shlex.split(line.partition("index it first: ")[2])
    assert leukoscope(*words[1:]).code == 0
    assert read_manifest(tmp_path / "cells.parquet").height == 4


@pytest.mark.parametrize("name", sorted(path.parent.name for path in DATA.glob("*/make.py")))
def test_data_index_with_a_folder_first_suggests_the_layout(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "somewhere"
    runpy.run_path(str(DATA / name / "make.py"))["make"](root)
    for words in ([root], [root, name], [root, "-o", "x.csv"]):
        line = refusal("data", "index", *words)
        assert f"{root}: a folder, but the layout comes first; use: leukoscope data index {name} {root}" in line
    assert not (tmp_path / "x.csv").exists()


def test_further_layouts_are_suggested_and_an_unclear_folder_gets_their_names(tmp_path):
    class_folders(tmp_path / "split" / "train")
    class_folders(tmp_path / "split" / "test")
    assert "data index folder --option depth=2 " in refusal("data", "index", tmp_path / "split")
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("RGB", (40, 40)).save(flat / "1.png")
    assert "with LAYOUT one of folder, table, voc, coco, yolo (see leukoscope data list)" in refusal(
        "data", "index", flat)
    (flat / "labels.csv").write_text("image,label\n1.png,neutrophil\n")
    assert "data index table " in refusal("data", "index", flat)
    assert "no data set or layout is called 'flder'; the nearest: folder" in refusal("data", "index", "flder", flat)
    assert "table, voc, coco, yolo" in " ".join(leukoscope("data", "index", "--help").out.split())


@pytest.mark.parametrize(("command", "more"), [
    ("compare", []), ("explain", ["cell.png"]), ("features", ["cell.png"]), ("export", []), ("optics export", []),
    ("optics simulate", ["cell.png"])])
def test_a_bundle_or_a_study_in_place_of_a_run_is_refused(command, more, older, tmp_path):
    for bundle in (older / "bundle", older / "bundle.zip"):
        line = refusal(*command.split(), bundle, *more, "-o", tmp_path / "out")
        assert f"{bundle}: a bundle, not a run; leukoscope {command} takes the run that it was exported from" in line
        assert "predict, evaluate and smear take bundles" in line
    assert f"packaged: the built-in model, not a run; leukoscope {command} takes a run" in refusal(
        *command.split(), "packaged", *more, "-o", tmp_path / "out")
    study = older / "study"
    assert f"{study}: holds 2 runs; name one of them: {study / 'large'}, {study / 'small'}" in refusal(
        *command.split(), study, *more, "-o", tmp_path / "out")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("words", "says"), [
    (["train", "demo", "--data", "{run}", "-o", "x"], "{run}: a run, not a table of cells; tables of cells end in "),
    (["train", "{run}", "--data", "{cells}", "-o", "x"], "not a recipe; name a recipe, such as {run}/recipe.toml"),
    (["report", "{bundle}"], "{bundle}: a bundle, not a run (metrics.json is missing); leukoscope report takes a run"),
    (["report", "{cells}"], "{cells}: a table, not a run; leukoscope report takes"),
    (["report", "{images}"], "{images}: a folder, not a run (metrics.json is missing); leukoscope report takes"),
    (["checklist", "{study}", "-o", "x"], "{study}: a study, not a run (metrics.json is missing); leukoscope check"),
    (["power", "{run}"], "{run}: a run, not a comparison; leukoscope power takes a comparison"),
    (["predict", "{images}", "packaged", "-o", "x.csv"], "{images}: a folder, not a bundle; name a bundle"),
    (["predict", "{cells}", "{images}", "-o", "x.csv"], "{cells}: a table, not a bundle; name a bundle"),
    (["smear", "{images}", "-o", "x", "--bundle", "{study}"], "{study}: a study, not a bundle; name a bundle"),
    (["evaluate", "{images}", "--data", "{cells}", "-o", "x"], "{images}: a folder, neither a run nor a bundle; name"),
    (["explain", "{run}", "cell", "--data", "{images}", "-o", "x"], "{images}: a folder, not a table of cells; index"),
    (["data", "audit", "{cells}.xlsx", "-o", "x"], "{cells}.xlsx: not a table of cells; save the spreadsheet as CSV"),
    (["smear", "{run}", "-o", "x"], "{run}: a run, not a folder of images; name images, or a folder of images"),
    (["predict", "packaged", "{bundle}", "-o", "x.csv"], "{bundle}: a bundle, not a folder of images; name images, or"),
    (["review", "{cells}"], "{cells}: a table, not a counted smear; name a folder that leukoscope smear wrote"),
    (["smear", "{bundle}.zip", "-o", "x"], "bundle.zip: is a ZIP archive or an office document, not an image"),
    (["smear", "{images}", "-o", "x", "--micrometres", "0,1"], "Invalid value for '--micrometres': expected a number;"),
    (["data", "index"], "Missing argument 'LAYOUT'; see leukoscope data index --help"),
    (["reproduce", "almotairi", "--data", "x", "-o", "x"], "almotairi: no such paper; choose almotairi2020")])
def test_what_is_given_in_place_of_something_else_is_named(words, says, older, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {name: older / name for name in ("run", "bundle", "study", "images")} | {"cells": older / "cells.parquet"}
    assert says.format(**names) in refusal(*(word.format(**names) for word in words))


def test_an_evaluation_in_place_of_a_run_is_refused(older, tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps({"run": str(older / "run")}))
    assert "an evaluation, not a run; name the run that was evaluated" in refusal(
        "explain", tmp_path, "cell.png", "-o", tmp_path / "out")
    assert f"{older / 'study'}: holds 2 runs" in refusal("evaluate", older / "study", "--data", older / "cells.parquet",
                                                         "-o", tmp_path / "out")


# What exists is not overwritten

@pytest.mark.parametrize(("command", "file"), [
    (["compare", "{run}", "{study}/small"], "compare.json"), (["explain", "{run}", "cell.png"], "explanations.json"),
    (["features", "{run}", "cell.png"], "cell.png"), (["data", "audit", "{cells}"], "audit.json"),
    (["evaluate", "{run}", "--data", "{cells}"], "evaluation.json"), (["optics", "export", "{run}"], "optics.json"),
    (["optics", "simulate", "{run}", "cell.png"], "recorded.tif")])
def test_results_are_replaced_with_overwrite_alone(command, file, older, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / file).write_text("before")
    names = {"run": older / "run", "study": older / "study", "cells": older / "cells.parquet"}
    words = [*(word.format(**names) for word in command), "-o", out]
    assert f"{out / file}: already exists; name another folder with -o, or use --overwrite" in refusal(*words)
    assert (out / file).read_text() == "before"
    assert "already exists" not in leukoscope(*words, "--overwrite").err


def test_a_table_of_cells_is_replaced_with_overwrite_alone(tmp_path):
    words = ["data", "index", "folder", class_folders(tmp_path / "cells"), "-o", tmp_path / "cells.csv"]
    (tmp_path / "cells.csv").write_text("before")
    assert f"{tmp_path / 'cells.csv'}: already exists; name another file with -o, or use --overwrite" in refusal(*words)
    assert (tmp_path / "cells.csv").read_text() == "before"
    (tmp_path / "folder.csv").mkdir()
    line = refusal(*words[:-1], tmp_path / "folder.csv", "--overwrite")
    assert "folder.csv: is a folder; name a file with -o" in line
    assert leukoscope(*words, "--overwrite").code == 0
    assert read_manifest(tmp_path / "cells.csv").height == 4


def test_overwrite_replaces_no_result_of_another_kind(older):
    before = sorted((older / "run").iterdir())
    for command, kind in ((["compare", older / "run", older / "study" / "small"], "a comparison"),
                          (["evaluate", "packaged", "--data", older / "cells.parquet"], "an evaluation")):
        assert f"{older / 'run'}: holds a run, which {kind} would overwrite; name another folder with -o" in refusal(
            *command, "-o", older / "run", "--overwrite")
    assert sorted((older / "run").iterdir()) == before


# What is left out

@pytest.mark.parametrize("command", [["smear", "--no-types"], ["predict", "packaged"]])
def test_what_lies_in_a_folder_and_is_no_image_is_named(command, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("a.jp2", "s.svs", "n1.xml", "n2.xml", "Thumbs.db", ".hidden"):
        (folder / name).write_bytes(b"something")
    out = tmp_path / "out.csv"
    line = refusal(*command, folder, "-o", out)
    assert f"{folder}: holds no image (a.jp2: is JPEG 2000 (save it as TIFF or PNG); n1.xml, n2.xml: is a .xml" in line
    Image.fromarray(phantom(0).pixels).save(folder / "field.png")
    answer = leukoscope(*command, folder, "-o", out)
    assert answer.code == 0
    lines = [line for line in (answer.out + answer.err).splitlines() if line.startswith("left out: ")]
    assert lines == [f"left out: {folder / 'a.jp2'}: is JPEG 2000 (save it as TIFF or PNG)",
                     f"left out: {folder / 'n1.xml'}, {folder / 'n2.xml'}: is a .xml file, not an image",
                     f"left out: {folder / 's.svs'}: is a scan of a slide (export its fields as TIFF or PNG)"]


# Quick refusals

MISTYPED = [
    ["smear", "nowhere.jpg", "-o", "x"], ["smear", "nowhere/", "-o", "x"], ["smear", "no*.jpg", "-o", "x"],
    ["smear", ".", "--bundle", "nowhere.zip", "-o", "x"],
    ["predict", "packaged", "nowhere.jpg", "-o", "x.csv"], ["predict", "nowhere", ".", "-o", "x.csv"],
    ["train", "demo", "--data", "nowhere.parquet", "-o", "x"], ["train", "nowhere.toml", "--data", "x.csv", "-o", "x"],
    ["evaluate", "packaged", "--data", "nowhere.csv", "-o", "x"], ["evaluate", "nowhere", "--data", "x", "-o", "x"],
    ["compare", "nowhere", "there", "-o", "x"], ["explain", "nowhere", "cell.png", "-o", "x"],
    ["features", "nowhere", "cell.png", "-o", "x"], ["export", "nowhere", "-o", "x"], ["report", "nowhere"],
    ["optics", "export", "nowhere", "-o", "x"], ["optics", "simulate", "nowhere", "cell.png"],
    ["reproduce", "almotairi2020", "--data", "nowhere", "-o", "x"],
    ["data", "index", "folder", "nowhere", "-o", "x.csv"], ["data", "audit", "nowhere.csv", "-o", "x"],
    ["review", "nowhere"], ["review", "verify", "nowhere"],
]


def test_a_mistyped_path_is_refused_before_anything_slow_is_imported(tmp_path):
    answers = in_a_process(MISTYPED, tmp_path)
    for words, answer in zip(MISTYPED, answers, strict=True):
        wrong = next(word for word in words if word.startswith("no")).rstrip("/")
        assert answer["code"] == 2
        what = r"(no|neither a|not a run \(no) .*\n"
        assert re.fullmatch(f"leukoscope: {re.escape(wrong)}: {what}", answer["err"]), words
        assert answer["slow"] == [], words
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("content", "says"), [
    (b"", "the file is empty"), (b"PAR1" + bytes(90), "it is cut off at its end"),
    (b"cell_id,image", "it is no Parquet file")])
def test_a_damaged_table_is_refused_before_anything_slow_is_imported(tmp_path, content, says):
    (tmp_path / "t.parquet").write_bytes(content)
    commands = [["predict", "packaged", "t.parquet", "-o", "p.csv"], ["data", "audit", "t.parquet", "-o", "x"],
                ["evaluate", "packaged", "--data", "t.parquet", "-o", "x"],
                ["train", "almotairi2020", "--data", "t.parquet", "-o", "x"]]
    for words, answer in zip(commands, in_a_process(commands, tmp_path), strict=True):
        line = f"leukoscope: t.parquet: not a readable table ({says}); write or export it again\n"
        assert answer == {"code": 2, "slow": [], "err": line}, words


def test_what_a_glance_shows_is_refused_before_anything_slow_is_imported(tmp_path):
    (tmp_path / "my fields").mkdir()
    (tmp_path / "my fields" / "a.png").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.csv").touch()
    many = " ".join(f"{number:03}-photograph.jpg" for number in range(40))  # longer than a name may be
    cases = [
        (f"smear typo.jpg {many} -o x", "typo.jpg: no such file or folder; name images, folders, or patterns such as "
         "'fields/*.jpg'"),
        ("smear my fields -o x", "my: no such file or folder; put a path with spaces in quotes: 'my fields'"),
        ("reproduce almotairi --data x -o x", "almotairi: no such paper; choose almotairi2020"),
        ("smear empty -o x", "empty: holds no image (the folder is empty); name a folder of images"),
        ("predict packaged empty -o x.csv", "empty: holds no image (the folder is empty); name a folder of images"),
        ("smear 'my fields' -o there.csv", "there.csv: is a file; name a folder"),
        ("predict packaged 'my fields' -o x.xlsx",
         "x.xlsx: predictions are written as .parquet, .csv, .jsonl; end the name with one of these"),
        ("predict packaged 'my fields' -o there.csv",
         "there.csv: already exists; name another file with -o, or use --overwrite")]
    answers = in_a_process([shlex.split(words) for words, _ in cases], tmp_path)
    for answer, (_, line) in zip(answers, cases, strict=True):
        assert answer == {"code": 2, "slow": [], "err": f"leukoscope: {line}\n"}


def test_what_exists_or_is_empty_is_refused_before_anything_slow_is_imported(older, tmp_path):
    for name in ("empty", "full", "photographs", "stopped/.parts"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("full/something", "photographs/a.png", "there.zip", "explained/explanations.json", "features/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"something")
    (tmp_path / "stopped" / ".parts" / "plan.json").write_text('{"leukoscope": "0"}')
    (tmp_path / "notes.txt").write_text("# a comment\n\nlook at slide 7\n")
    (tmp_path / "no.txt").touch()
    run, cells = shlex.quote(str(older / "run")), shlex.quote(str(older / "cells.parquet"))
    unwritten = ("empty: was not written by leukoscope smear (no summary.json); name the folder that was given to "
                 "leukoscope smear with -o")
    cases = [
        ("review empty", unwritten), ("review verify empty", unwritten), ("review backup b.zip empty", unwritten),
        ("review restore b.zip empty", unwritten), ("adapt packaged --review empty -o x.zip", unwritten),
        ("review stopped", "stopped: holds a stopped run of leukoscope smear; finish it: leukoscope smear FIELDS -o "
         "DIR --resume"),
        ("review full --watch nowhere", "--watch nowhere: no such folder; name the folder that photographs come into"),
        ("smear photographs -o full", "full: is not empty; name another folder, or use --overwrite"),
        ("smear photographs -o full --resume", "full: is not empty; name another folder, or use --overwrite"),
        ("smear photographs -o stopped", "stopped: holds a stopped run; continue with --resume, or use --overwrite"),
        (f"smear photographs -o {run}", f"{older / 'run'}: holds recipe.toml, the result of another command; name "
         "another folder"),
        ("smear photographs -o x --micrometres 9", "--micrometres 9.0: expected 0.01 to 5 um per pixel; leave it out "
         "if unknown"),
        ("smear notes.txt -o x", "notes.txt: slide 1, look at slide 7, does not exist; correct it; paths are relative "
         "to the list"),
        ("smear no.txt -o x", "no.txt: holds no slide; slides end in .svs, .ndpi, .mrxs, .scn, .bif, .vms, .vmu, "
         ".svslide, .dcm, or are TIFF of more than 20,000 px"),
        ("smear there.zip there.zip full/something -o x", "none of 2 fields could be read; there.zip: is not an image "
         "(it starts with b'something'); give photographs of a smear"),
        ("adapt packaged --data t.csv -o there.zip", "t.csv: no such file or folder; make a table of cells: leukoscope "
         "data index LAYOUT FOLDER -o cells.parquet"),
        (f"adapt packaged --data {cells} -o there.zip", "there.zip: already exists; name another bundle with -o, or "
         "remove this one"),
        (f"export {run} -o there.zip", "there.zip: already exists; name another bundle with -o, or use --overwrite"),
        (f"train almotairi2020 --data {cells} -o full", "full: is not empty; choose another folder"),
        (f"train almotairi2020 --data {cells} -o {run}", f"{older / 'run'}: contains a run already; continue it with "
         "--resume, or choose another folder"),
        (f"explain {run} c.png -o explained", "explained/explanations.json: already exists; name another folder with "
         "-o, or use --overwrite"),
        (f"features {run} c.png -o features", "features/c.png: already exists; name another folder with -o, or use "
         "--overwrite"),
        ("demo -o full", "full: not empty; choose another folder with -o, or remove it")]
    before = sorted(tmp_path.rglob("*"))
    answers = in_a_process([shlex.split(words) for words, _ in cases], tmp_path)
    for answer, (words, line) in zip(answers, cases, strict=True):
        assert answer == {"code": 2, "slow": [], "err": f"leukoscope: {line}\n"}, words
    assert sorted(tmp_path.rglob("*")) == before


def test_a_mistyped_path_gets_the_name_of_a_similar_one(tmp_path):
    meant = tmp_path / "cells.parquet"
    meant.touch()
    assert f"did you mean {meant}?" in refusal("data", "audit", tmp_path / "cell.parquet", "-o", "x")


def test_a_name_that_is_no_text_is_printed_with_its_bytes():
    assert r"caf\udce9.jpg: no such file or folder" in refusal("smear", os.fsdecode(b"caf\xe9.jpg"), "-o", "x")


# A missing extra

HIDE = (f"hidden = {EXTRAS['train']}\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in hidden:\n"
        "            raise ModuleNotFoundError(f\"No module named '{name}'\", name=name)\n"
        "sys.meta_path.insert(0, Hide())\n")


def test_what_needs_an_extra_says_in_one_line_how_to_install_it(older, tmp_path):
    run, cells = str(older / "run"), str(older / "cells.parquet")
    commands = [
        ["train", "demo", "--data", cells, "-o", "x"], ["models"], ["demo", "--train", "-o", "x"],
        ["explain", run, "cell.png", "-o", "x"], ["features", run, "cell.png", "-o", "x"], ["export", run, "-o", "x"],
        ["optics", "export", run, "-o", "x"], ["optics", "simulate", run, "cell.png", "-o", "x"],
        ["reproduce", "almotairi2020", "--data", cells, "-o", "x"], ["evaluate", run, "--data", cells, "-o", "x"],
        ["compare", run, str(older / "study" / "small"), "-o", "x"]]
    for words, answer in zip(commands, in_a_process(commands, tmp_path, HIDE), strict=True):
        assert answer["code"] == 2, words
        assert re.fullmatch(r"leukoscope: this command needs \w+, which is not installed; install it with: pip install "
                            r"'leukoscope\[train\]'\n", answer["err"]), (words, answer["err"])
    assert os.listdir(tmp_path) == []
