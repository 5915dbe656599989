"""Convolutions in 8 bits: near the graph in 32 bits, calibrated and tested as shipped, and the cost on the card."""

from __future__ import annotations

import json

import numpy as np
import onnx
import polars as pl
import pytest
import torch

from bundle_folder import change
from leukoscope.bundle.bundle import Bundle, open_bundle
from leukoscope.bundle.calibration import conformal_radius
from leukoscope.bundle.graph import CellGraph, export_graph, int8_graph
from leukoscope.bundle.verify import TOLERANCE
from leukoscope.cells import pack_cells
from leukoscope.cells.input_steps import InputSteps
from leukoscope.commands.export import export_run
from leukoscope.errors import BundleError
from leukoscope.networks import build_network
from leukoscope.networks.units import Units
from leukoscope.recipes import Edges, Network, Preprocess


@pytest.fixture(scope="module")
def int8(run, tmp_path_factory) -> Bundle:
    out = tmp_path_factory.mktemp("int8") / "tiny.zip"
    export_run(run, out, int8=True)
    return open_bundle(out)


def cells_of(run, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Prepared pixels and class indices of a part."""
    cells = run.manifest.filter(pl.col("cell_id").is_in(run.part(0, part).implode()))
    labels = cells["label"].replace_strict(run.classes, range(len(run.classes)), return_dtype=pl.Int64).to_numpy()
    return np.array(pack_cells(cells, run.recipe.preprocess).pixels), labels


def test_it_answers_as_in_32_bits_within_what_the_card_says(run, bundle, int8):
    pixels, _ = cells_of(run, "test")
    p, q = (opened.probabilities(pixels)[0].astype(np.float64) for opened in (open_bundle(bundle), int8))
    cost = int8.description.metrics["int8"]
    assert np.abs(p - q).max() == pytest.approx(cost["largest_change"], abs=1e-3)
    assert 0 < np.abs(p - q).mean() == pytest.approx(cost["mean_change"], rel=0.05)
    assert cost["changed"] == (p.argmax(1) != q.argmax(1)).sum()
    assert cost["largest_change"] < 0.1
    assert int8.description.temperature == open_bundle(bundle).description.temperature


def test_it_is_calibrated_and_tested_as_it_is_shipped(run, int8):
    described = int8.description
    pixels, labels = cells_of(run, "validation")
    p, energy = int8.probabilities(pixels)
    assert described.radius == pytest.approx(conformal_radius(p.astype(np.float64), labels, 0.95), abs=1e-5)
    assert described.least_energy == pytest.approx(np.quantile(energy, 0.01), abs=1e-4)
    pixels, labels = cells_of(run, "test")
    accuracy = described.metrics["overall"]["accuracy"]["value"]
    assert accuracy == pytest.approx((int8.probabilities(pixels)[0].argmax(1) == labels).mean())
    cost = described.metrics["int8"]
    assert accuracy - cost["accuracy_float32"]["value"] == pytest.approx(cost["difference"]["value"])
    card = int8.parts["MODEL_CARD.md"].decode()
    assert "It computes its convolutions in 8 bits (int8)." in card
    assert f"They change the class of {cost['changed']} cell" in card


def test_its_weights_are_small_and_its_answers_are_the_same_in_any_batch(run, bundle, int8):
    weights = {t.name: t.data_type for t in onnx.load_model_from_string(int8.parts["model.onnx"]).graph.initializer}
    assert sum(name.endswith("weight_quantized") and kind == onnx.TensorProto.INT8
               for name, kind in weights.items()) == 2  # the convolutions of LeNet-5
    pixels, _ = cells_of(run, "test")
    whole, first = int8.probabilities(pixels), int8.probabilities(pixels[:5])
    assert np.array_equal(whole[0][:5], first[0])
    assert np.array_equal(whole[1][:5], first[1])


def test_the_reference_cells_of_8_bits_may_differ_by_a_step_of_rounding(int8, run, tmp_path):
    export_run(run, tmp_path / "b", int8=True)
    golden = np.load(tmp_path / "b" / "golden.npz")
    assert np.abs(open_bundle(tmp_path / "b").probabilities(golden["cells"])[0] - golden["probabilities"]).max() == 0
    from bundle_folder import replace_file

    for shift, good in ((0.01, True), (0.1, False)):
        moved = golden["probabilities"].copy()
        moved[0, 0] += shift
        np.savez(tmp_path / "golden.npz", cells=golden["cells"], probabilities=moved)
        replace_file(tmp_path / "b", "golden.npz", (tmp_path / "golden.npz").read_bytes())
        if good:
            assert shift > TOLERANCE
            open_bundle(tmp_path / "b")
            continue
        with pytest.raises(BundleError, match="the reference cells give different probabilities"):
            open_bundle(tmp_path / "b")
    metrics = json.loads((tmp_path / "b" / "bundle.json").read_text())["metrics"]
    change(tmp_path / "b", metrics={key: value for key, value in metrics.items() if key != "int8"})
    with pytest.raises(BundleError, match="the reference cells give different probabilities"):
        open_bundle(tmp_path / "b")


def test_the_first_steps_stay_as_they_are(tmp_path):
    """Blur and edge filters are convolutions too, and those of the recipe rather than of the network."""
    steps = InputSteps(Preprocess(size=32, input="edges", blur=0.7, normalise="image"), Edges(spikes=True), np.zeros(3),
                       np.ones(3))
    torch.manual_seed(0)
    graph = CellGraph(build_network(Network(name="lenet5"), classes=3, size=32), steps, 1.0)
    export_graph(graph, 32, tmp_path / "model.onnx")
    cells = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    model = onnx.load_model_from_string(int8_graph((tmp_path / "model.onnx").read_bytes(), cells))
    made = {output: node for node in model.graph.node for output in node.output}
    of_conv = [made[node.input[1]].op_type for node in model.graph.node
               if node.op_type == "Conv" and node.input[1] in made]
    assert of_conv == ["DequantizeLinear"] * 2
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 5
    assert not model.metadata_props


def test_what_8_bits_do_not_go_with(run, tmp_path):
    with pytest.raises(BundleError, match="--half and --int8: weights are stored in 16 bits or in 8; use one of the"):
        export_run(run, tmp_path / "b", half=True, int8=True)
    steps = InputSteps(Preprocess(size=32), Edges(), np.zeros(3), np.ones(3))
    flat = Units({"flat": torch.nn.Flatten(), "last": torch.nn.Linear(3 * 32 * 32, 2)})
    export_graph(CellGraph(flat, steps, 1.0), 32, tmp_path / "model.onnx")
    with pytest.raises(BundleError, match="the network has no convolutions to compute in 8 bits; export without"):
        int8_graph((tmp_path / "model.onnx").read_bytes(), np.zeros((2, 32, 32, 3), np.uint8))
