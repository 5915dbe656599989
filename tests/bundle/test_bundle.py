"""Bundles: the graph computes what torch does, calibration, what opening one checks."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
import torch
from onnx.external_data_helper import set_external_data
from scipy.special import log_softmax, softmax

from bundle_folder import change, replace_file
from command import leukoscope, refusal
from leukoscope.bundle import bundle as bundle_module
from leukoscope.bundle.bundle import FILES, open_bundle, write_bundle
from leukoscope.bundle.calibration import calibrate, conformal_radius, conformal_sets, fit_temperature
from leukoscope.bundle.graph import CellGraph, export_graph
from leukoscope.bundle.parts import HEAD
from leukoscope.cells import pack_cells
from leukoscope.cells.input_steps import InputSteps
from leukoscope.commands.export import export_run
from leukoscope.errors import BundleError, RunError
from leukoscope.finder.frame import FRAMING
from leukoscope.networks import build_network
from leukoscope.predict.run import predict_cells
from leukoscope.recipes import Edges, Network, Preprocess
from leukoscope.runs.run import Run
from tiny import make_cells, tiny_recipe, train_on_cpu

# The graph

def test_onnx_says_what_torch_says_of_500_real_cells(data_folder, tmp_path):
    files = sorted((data_folder / "pbc").rglob("*.jpg"))[::14][:500]
    assert len(files) == 500
    cells = pl.DataFrame({"cell_id": [str(file) for file in files], "image": [str(file) for file in files]})
    preprocess = Preprocess(size=64, crop=220)
    from leukoscope.manifest import make_manifest

    packed = pack_cells(make_manifest(cells), preprocess, cache=tmp_path)
    torch.manual_seed(0)
    network = build_network(Network(name="resnet18"), classes=8, size=64).eval()
    with torch.no_grad():
        network.get_submodule("last").weight.mul_(20)  # type: ignore[operator]  # so that the answers differ
    stages = InputSteps(preprocess, Edges(), np.array([0.8, 0.7, 0.75]), np.array([0.15, 0.2, 0.1]))
    expected = predict_cells(network, packed, np.arange(500), stages, batch_size=50)
    export_graph(CellGraph(network, stages, 1.0), 64, tmp_path / "model.onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    found = np.concatenate([np.asarray(session.run(None, {"cells": np.array(packed.pixels[i:i + 77])})[0])
                            for i in range(0, 500, 77)])
    assert np.abs(found - expected).max() < 1e-4
    assert expected.max() - expected.min() > 0.02  # not all alike


@pytest.mark.parametrize(("given", "spikes"), [("grey", True), ("edges", True), ("edges", False)])
def test_the_steps_of_a_recipe_are_inside_the_graph(given, spikes, tmp_path):
    rng = np.random.default_rng(1)
    cells = torch.from_numpy(rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8))
    cells[1] = 77
    stages = InputSteps(Preprocess(size=32, input=given, blur=0.7, normalise="image"), Edges(spikes=spikes),
                        np.zeros(3), np.ones(3))
    network = build_network(Network(name="lenet5"), classes=3, size=32).eval()
    graph = CellGraph(network, stages, 2.0)
    assert np.array_equal(graph._levels(cells).numpy(), stages.levels(cells.numpy()))
    with torch.inference_mode():
        probabilities, energy, _ = graph(cells)
        logits = network(stages.encode(torch.from_numpy(stages.levels(cells.numpy()))))
    torch.testing.assert_close(probabilities, torch.softmax(logits / 2, 1))
    torch.testing.assert_close(energy, torch.logsumexp(logits, 1))
    export_graph(graph, 32, tmp_path / "model.onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (cells, cells[:1]):
        there = session.run(None, {"cells": batch.numpy()})
        np.testing.assert_allclose(np.asarray(there[0]), graph(batch)[0].detach().numpy(), atol=1e-5)


# Calibration

def test_the_temperature_undoes_logits_that_are_too_large():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 4))
    labels = np.array([rng.choice(4, p=row) for row in softmax(logits, axis=1)])
    assert fit_temperature(logits, labels) == pytest.approx(1.0, abs=0.03)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3.0, abs=0.1)


def test_conformal_sets_hold_the_true_class_as_often_as_promised():
    rng = np.random.default_rng(1)
    held = []
    for _ in range(300):
        logits = rng.normal(0, 1.5, (160, 5))
        labels = np.array([rng.choice(5, p=row) for row in softmax(1.7 * logits, axis=1)])
        p = softmax(logits, axis=1)  # not calibrated: the promise does not need it
        radius = conformal_radius(p[:60], labels[:60], 0.9)
        held.append(conformal_sets(p[60:], radius)[np.arange(100), labels[60:]].mean())
    assert np.mean(held) == pytest.approx(0.9, abs=0.012)
    assert np.mean(held) >= 0.895


def test_a_temperature_is_not_driven_to_zero_where_nothing_is_judged_wrongly():
    logits = np.zeros((60, 3))
    labels = np.arange(60) % 3
    logits[np.arange(60), labels] = 4.0
    assert 0.5 < fit_temperature(logits, labels) < 1.5


def test_too_few_validation_cells_promise_nothing():
    p = np.full((5, 2), 0.5)
    assert conformal_radius(p, np.zeros(5, int), 0.9) == 1.0
    assert conformal_sets(p, 1.0).all()
    assert calibrate(np.empty((0, 3)), np.empty(0, int), 0.9).radius is None
    sets = conformal_sets(np.array([[0.2, 0.5, 0.3]]), 0.1)
    assert sets.tolist() == [[False, True, False]]  # the most probable class, though below 1 - radius


# What is exported

def test_a_bundle_states_what_the_run_did(run, bundle):
    told = open_bundle(bundle).description
    assert told.classes == run.classes == ("a", "b", "c")
    assert (told.size, told.crop, told.micrometres, told.licence) == (16, 18, 1.0, "CC0")
    assert told.metrics["cells"] == run.predictions.height
    # A temperature moves no rank, so accuracy stays.
    assert told.metrics["overall"]["accuracy"]["value"] == run.metrics["overall"]["accuracy"]["value"]
    assert told.trained["cells"] == len(run.part(0, "train"))
    assert told.trained["validation_cells"] == len(run.part(0, "validation"))
    validation = run.validation
    assert validation is not None
    labels = validation["label"].replace_strict(run.classes, range(3), return_dtype=pl.Int64).to_numpy()
    p = validation.select("p_a", "p_b", "p_c").to_numpy()
    assert told.temperature == pytest.approx(fit_temperature(np.log(p), labels), rel=1e-3)
    scaled = softmax(np.log(p) / told.temperature, axis=1)
    assert told.radius == pytest.approx(conformal_radius(scaled, labels, 0.95), abs=1e-4)
    card = (bundle / "MODEL_CARD.md").read_text()
    accuracy = told.metrics["overall"]["accuracy"]
    value, low, high = (f"{100 * accuracy[name]:.1f}" for name in ("value", "low", "high"))
    assert f"| accuracy | {value} % ({low}-{high}) |" in card
    assert "Not a medical device" in card
    assert "- Intended use, and by whom: *to be filled by the authors*" in card
    assert "CC0" in card


def test_probabilities_are_those_of_the_run_at_the_temperature(run, bundle):
    opened = open_bundle(bundle)
    tested = run.manifest.filter(pl.col("cell_id").is_in(run.predictions["cell_id"].implode()))
    packed = pack_cells(tested, run.recipe.preprocess)
    found, energy = opened.probabilities(np.array(packed.pixels))
    table = tested.select("cell_id").join(run.predictions, on="cell_id", how="left", maintain_order="left")
    p = table.select("p_a", "p_b", "p_c").to_numpy()
    np.testing.assert_allclose(found, softmax(np.log(p) / opened.description.temperature, axis=1), atol=1e-4)
    assert np.isfinite(energy).all()
    assert np.abs(log_softmax(np.log(p), axis=1) - np.log(p)).max() < 1e-6


def test_a_zip_file_is_the_same_bundle(run, bundle, tmp_path):
    export_run(run, tmp_path / "one.zip", micrometres=1.0, licence="CC0")
    one, other = open_bundle(tmp_path / "one.zip"), open_bundle(bundle)
    assert one.description.model_dump(exclude={"files"}) == other.description.model_dump(exclude={"files"})
    assert one.parts["golden.npz"] == other.parts["golden.npz"]
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert set(archive.namelist()) == {"bundle.json", *FILES} - {HEAD}


@pytest.mark.parametrize("name", ["bundle", "bundle.zip"])
def test_a_bundle_is_replaced_only_with_overwrite_and_nothing_else_is(run, bundle, tmp_path, name):
    opened, out = open_bundle(bundle), tmp_path / name
    described = opened.description.model_dump(exclude={"digest", "files", "format"})
    parts = {**opened.parts, "MODEL_CARD.md": b"first"}
    parts.pop("bundle.json", None)
    write_bundle(out, described, parts)
    assert f"{out}: already exists; name another bundle with -o, or use --overwrite" in refusal(
        "export", run.folder, "-o", out)
    write_bundle(out, described, {**parts, "MODEL_CARD.md": b"second"}, overwrite=True)
    assert open_bundle(out).parts["MODEL_CARD.md"] == b"second"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["folder", "file", "folder.zip"])
def test_overwrite_replaces_nothing_but_bundles(run, tmp_path, name):
    mine = tmp_path / name
    if name == "file":
        mine.write_text("mine")
    else:
        mine.mkdir()
        (mine / "mine.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert "is not a bundle, and a bundle would replace it" in refusal("export", run.folder, "-o", mine, "--overwrite")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_runs_that_cannot_be_exported(run, bundle, tmp_path):
    assert "already exists" in refusal("export", run.folder, "-o", bundle)
    assert "coverage is 2" in refusal("export", run.folder, "-o", tmp_path / "b", "--coverage", "2")
    assert "0.001 to 10" in refusal("export", run.folder, "-o", tmp_path / "b", "--micrometres", "96")
    assert "no fold 3" in refusal("export", run.folder, "-o", tmp_path / "b", "--fold", "3")
    half = tmp_path / "half"
    shutil.copytree(run.folder, half)
    (half / "metrics.json").unlink()
    with pytest.raises(RunError, match="not finished"):
        export_run(Run(half), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_the_command_says_what_it_made(run, tmp_path):
    answer = leukoscope("export", run.folder, "-o", tmp_path / "b", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told["temperature"] == open_bundle(tmp_path / "b").description.temperature
    said = leukoscope("export", run.folder, "-o", tmp_path / "c.zip").out
    assert f"bundle: {tmp_path / 'c.zip'}" in said


# Damaged bundles

@pytest.fixture
def copy(bundle, tmp_path) -> Path:
    shutil.copytree(bundle, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("name", [name for name in FILES if name != HEAD])
def test_a_changed_or_missing_file_is_named(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(bytes(content))
    with pytest.raises(BundleError, match=f"{name} is not the file that the bundle was made with"):
        open_bundle(copy)
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        open_bundle(copy)


def test_a_newer_format_says_so(copy):
    change(copy, format=2)
    with pytest.raises(BundleError, match="is of format 2, and this version reads up to 1; install a newer leukoscope"):
        open_bundle(copy)


def test_cells_that_were_framed_otherwise_are_refused(copy):
    """Else the network would be shown what it was not trained on, and say nothing of it."""
    change(copy, frame="cell", crop=0, framing=FRAMING - 1)
    with pytest.raises(BundleError, match=f"framed by framing {FRAMING - 1}, and this version has framing {FRAMING}"):
        open_bundle(copy)
    with pytest.raises(BundleError, match="train its run with this version and export it again: leukoscope export RUN"):
        open_bundle(copy)
    change(copy, framing=FRAMING)
    assert open_bundle(copy).description.framing == FRAMING


def test_a_bundle_of_an_older_version_says_how_to_export_it_again(copy):
    described = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({key: value for key, value in described.items() if key != "framing"}))
    with pytest.raises(BundleError, match=r"copy: an older version made it \(bundle\.json lacks framing\); export it "
                       "again: leukoscope export RUN -o BUNDLE"):
        open_bundle(copy)


def test_a_class_map_that_does_not_match_the_graph(copy):
    change(copy, classes=["a", "b"])
    with pytest.raises(BundleError, match=r"the graph has 3 classes, bundle.json names 2 \(a, b\)"):
        open_bundle(copy)


@pytest.mark.parametrize(("told", "said"), [
    ({"format": "1"}, "names no format"), ({"temperature": 0}, "temperature: Input should be greater than 0"),
    ({"size": 20}, "golden.npz holds uint8 .*, expected uint8 cells of 20 px"), ({"more": 1}, "more: Extra inputs"),
    ({"classes": ["a", "a", "b"]}, "classes must be unique"), ({"positive": "x"}, "'x' is not a class"),
    ({"radius": float("nan")}, "radius: Input should be a finite number"),
    ({"files": {}}, "names no model.onnx")])
def test_a_description_that_is_wrong(copy, told, said):
    change(copy, **told)
    with pytest.raises(BundleError, match=said):
        open_bundle(copy)


def test_classes_that_were_exchanged_are_noticed(copy):
    described = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(described | {"classes": ["c", "a", "b"]}))
    with pytest.raises(BundleError, match=r"bundle\.json is not what the bundle was made with"):
        open_bundle(copy)


@pytest.mark.parametrize("golden", [
    {"cells": np.zeros((2, 16, 16), np.uint8), "probabilities": np.zeros((2, 3))},
    {"cells": np.zeros((0, 16, 16, 3), np.uint8), "probabilities": np.zeros((0, 3))},
    {"cells": np.zeros((2, 16, 16, 3), np.float32), "probabilities": np.zeros((2, 3))},
    {"cells": np.zeros((2, 16, 16, 3), np.uint8)},
    {"cells": np.zeros((2, 16, 16, 3), np.uint8), "probabilities": np.array(["a", "b"])}])
def test_golden_pairs_of_another_form_are_refused(copy, golden):
    file = io.BytesIO()
    np.savez(file, **golden)
    replace_file(copy, "golden.npz", file.getvalue())
    with pytest.raises(BundleError, match=r"golden"):
        open_bundle(copy)


def test_weights_in_a_branch_of_the_graph_are_not_read_from_elsewhere(copy):
    """An If node whose branch holds a tensor in another file."""
    from onnx import TensorProto, helper

    model = onnx.load_model_from_string((copy / "model.onnx").read_bytes())
    hidden = helper.make_tensor("hidden", TensorProto.FLOAT, [1], bytes(4), raw=True)
    set_external_data(hidden, location="secret.bin")
    value = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1])
    branch = helper.make_graph([], "branch", [], [value], [hidden])
    model.graph.node.append(helper.make_node("If", ["condition"], ["out"], then_branch=branch, else_branch=branch))
    replace_file(copy, "model.onnx", model.SerializeToString())
    with pytest.raises(BundleError, match="keeps its weights in another file"):
        open_bundle(copy)


def test_a_run_behind_a_microscope_is_exported(tmp_path):
    cells = make_cells(tmp_path / "images", counts={"a": 12, "b": 12}, size=40)
    chosen = tiny_recipe(
        preprocess={"size": 40, "normalise": "none"}, training__epochs=1,
        optics={"simulate": True, "pool": 2, "window": 15, "grid": 15, "numerical_aperture": 0.5, "pixel": 0.2})
    run = train_on_cpu(chosen, cells, tmp_path / "run")
    export_run(run, tmp_path / "bundle")
    found, _ = open_bundle(tmp_path / "bundle").probabilities(
        np.array(pack_cells(run.manifest, run.recipe.preprocess).pixels))
    table = run.manifest.select("cell_id").with_row_index().join(run.predictions, on="cell_id", maintain_order="left")
    told = open_bundle(tmp_path / "bundle").description
    p = softmax(np.log(table.select("p_a", "p_b").to_numpy()) / told.temperature, axis=1)
    np.testing.assert_allclose(found[table["index"].to_numpy()], p, atol=1e-4)


def test_threads_share_the_cores_and_a_bundle_shows_itself_in_a_line(copy, monkeypatch):
    for cores, calls, threads in ((1, 1, 1), (2, 2, 1), (8, 8, 1), (32, 8, 4)):
        monkeypatch.setattr(bundle_module, "usable_cores", lambda cores=cores: cores)
        opened = open_bundle(copy)
        assert bundle_module.parallel_calls() == calls
        assert opened.session.get_session_options().intra_op_num_threads == threads
    assert repr(opened) == f"Bundle({str(copy)!r}, 'tiny', classes=('a', 'b', 'c'))"


def test_what_is_no_bundle(tmp_path, copy):
    for content in (b"", b"PK\x03\x04 half a zip", b"not at all"):
        (tmp_path / "x.zip").write_bytes(content)
        with pytest.raises(BundleError, match="not a bundle"):
            open_bundle(tmp_path / "x.zip")
    with pytest.raises(BundleError, match=r"holds no bundle\.json"):
        open_bundle(tmp_path)
    with pytest.raises(BundleError, match="no such file or folder"):
        open_bundle(tmp_path / "nothing")
    (copy / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="is not valid JSON"):
        open_bundle(copy)


def test_pickled_arrays_are_not_opened(copy):
    file = io.BytesIO()
    np.savez(file, cells=np.array([{"a": 1}], object), probabilities=np.zeros(1))
    replace_file(copy, "golden.npz", file.getvalue())
    with pytest.raises(BundleError, match=r"golden.npz cannot be read \(Object arrays cannot be loaded"):
        open_bundle(copy)


def test_a_graph_that_reaches_for_other_files_is_refused(copy):
    model = onnx.load_model_from_string((copy / "model.onnx").read_bytes())
    set_external_data(model.graph.initializer[0], location="../../etc/passwd")
    replace_file(copy, "model.onnx", model.SerializeToString())
    with pytest.raises(BundleError, match="keeps its weights in another file; do not use this bundle"):
        open_bundle(copy)
    replace_file(copy, "model.onnx", b"no graph")
    with pytest.raises(BundleError, match=r"model\.onnx cannot be read"):
        open_bundle(copy)


def test_a_graph_that_answers_otherwise_is_noticed(copy):
    model = onnx.load_model_from_string((copy / "model.onnx").read_bytes())
    from onnx import numpy_helper

    largest = max(model.graph.initializer, key=lambda t: np.prod(t.dims))
    values = numpy_helper.to_array(largest) * 1.5
    largest.CopyFrom(numpy_helper.from_array(values.astype(np.float32), largest.name))
    replace_file(copy, "model.onnx", model.SerializeToString())
    with pytest.raises(BundleError, match="the reference cells give different probabilities on this machine"):
        open_bundle(copy)
