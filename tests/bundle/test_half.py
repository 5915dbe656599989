"""Weights in half the bytes: rounded once, the same in torch and in the graph, and the sizes that follow."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load as load_weights

from leukoscope.bundle.bundle import open_bundle
from leukoscope.bundle.graph import CellGraph, export_graph, half_graph, half_weights, round_weights
from leukoscope.cells.input_steps import InputSteps
from leukoscope.commands.export import export_run
from leukoscope.errors import BundleError, LeukoscopeError
from leukoscope.networks import build_network
from leukoscope.predict.stream import prepared
from leukoscope.recipes import Edges, Network, Preprocess
from tiny import make_cells, tiny_recipe, train_on_cpu


@pytest.fixture(scope="module")
def graph() -> CellGraph:
    """resnet12, with batch statistics of some cells, so that folding them would change the weights."""
    torch.manual_seed(0)
    network = build_network(Network(name="resnet12", options={"width": 0.5}), classes=8, size=32)
    network(3 * torch.randn(16, 3, 32, 32))
    round_weights(network)
    return CellGraph(network, InputSteps(Preprocess(size=32), Edges(), np.full(3, 0.7), np.full(3, 0.2)), 1.5)


@pytest.fixture(scope="module")
def exported(graph, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export_graph(graph, 32, path, fold=False)
    return path.read_bytes()


def test_rounding_is_to_the_nearest_and_once():
    network = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.BatchNorm1d(5))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    round_weights(network)
    once = {name: value.clone() for name, value in network.state_dict().items()}
    assert torch.equal(once["0.weight"], before["0.weight"].half().float())
    assert torch.equal(once["0.bias"], before["0.bias"])
    round_weights(network)
    assert all(torch.equal(value, once[name]) for name, value in network.state_dict().items())


def test_the_graph_holds_halves_and_answers_as_torch_does(graph, exported):
    halved = half_graph(exported)
    weights = sum(p.numel() for p in graph.network.parameters() if p.dim() > 1)
    assert len(exported) - len(halved) == pytest.approx(2 * weights, rel=0.05)
    kept = onnx.load_model_from_string(halved).graph.initializer
    assert sum(np.prod(t.dims) for t in kept if t.data_type == onnx.TensorProto.FLOAT16) == weights
    import onnxruntime

    cells = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    found = onnxruntime.InferenceSession(halved, providers=["CPUExecutionProvider"]).run(None, {"cells": cells})[0]
    with torch.inference_mode():
        assert np.abs(np.asarray(found) - graph(torch.from_numpy(cells))[0].numpy()).max() < 1e-5


def test_the_runtime_computes_no_constant_and_no_normalisation_in_a_call(exported, tmp_path):
    """What it does in a call, after it has folded what it can."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(half_graph(exported), options, providers=["CPUExecutionProvider"])
    done = [node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node]
    assert "BatchNormalization" not in done
    assert "Expand" not in done
    assert done.count("Cast") <= 1  # of the pixels


def test_what_halves_cannot_hold_exactly_stays(exported):
    model = onnx.load_model_from_string(exported)
    first = next(t for t in model.graph.initializer if len(t.dims) == 4)
    values = onnx.numpy_helper.to_array(first) + np.float32(1e-5)
    first.CopyFrom(onnx.numpy_helper.from_array(values, first.name))
    kept = {t.name: t for t in onnx.load_model_from_string(half_graph(model.SerializeToString())).graph.initializer}
    assert np.array_equal(onnx.numpy_helper.to_array(kept[first.name]), values)


def test_the_weights_for_torch_are_the_rounded_ones(graph):
    kept = load_weights(half_weights(graph.network))
    for name, value in graph.network.state_dict().items():
        assert torch.equal(kept[name].to(value.dtype), value)
        assert kept[name].dtype == (torch.float16 if value.dim() > 1 else value.dtype)


def test_weights_beyond_float16_are_refused():
    network = torch.nn.Linear(2, 2)
    with torch.no_grad():
        network.weight[0, 0] = 1e6
    with pytest.raises(BundleError, match="export without --half"):
        round_weights(network)


def test_a_run_as_half_a_bundle(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKOSCOPE_CACHE", str(tmp_path / "cache"))
    cells = make_cells(tmp_path / "images", counts={"a": 30, "b": 30})
    chosen = tiny_recipe(preprocess={"size": 16, "frame": "light"},
                         split={"kind": "holdout", "test": 0.3, "validation": 0.3})
    run = train_on_cpu(chosen, cells, tmp_path / "run")
    for half in (False, True):
        export_run(run, tmp_path / str(half), half=half, notes=["Never shown a blast."])
    whole, halved = (open_bundle(tmp_path / name) for name in ("False", "True"))
    stored = [(tmp_path / name / "weights.safetensors").stat().st_size for name in ("True", "False")]
    assert stored[0] < 0.75 * stored[1]
    assert halved.description.frame == "light"
    assert "- Never shown a blast." in halved.parts["MODEL_CARD.md"].decode()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    assert np.abs(whole.probabilities(pixels)[0] - halved.probabilities(pixels)[0]).max() < 0.01


def test_a_bundle_that_frames_cells_names_none_where_there_is_none():
    told = SimpleNamespace(frame="cell", crop=0, size=24, smaller="keep")
    for shape, level in (((40, 40, 3), 0), ((50, 60, 3), 255), ((1, 1, 3), 99)):
        with pytest.raises(LeukoscopeError, match="no cell found: nothing looks like a nucleus"):
            prepared(np.full(shape, level, np.uint8), told)  # type: ignore[arg-type]
    stained = np.full((60, 60, 3), 240, np.uint8)
    stained[20:40, 20:40] = (90, 60, 150)
    assert prepared(stained, told).shape == (24, 24, 3)  # type: ignore[arg-type]


def test_no_path_of_the_maker_is_in_a_graph(exported):
    model = onnx.load_model_from_string(exported)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert __file__.rsplit("/", 2)[0].encode() not in exported
    assert str(Path(str(torch.__file__)).parent).encode() not in exported
