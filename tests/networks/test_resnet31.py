"""The 31-layer network against Table 2 of Noshad and Fallahi 2021, row by row."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from leukoscope.errors import RecipeError
from leukoscope.networks import Units, build_network
from leukoscope.recipes import Network

TABLE_2 = """
conv1 112 64 9472
res2a_branch2a 55 32 2080
res2a_branch2b 55 32 9248
res2a_branch2c 55 64 2112
res2a_branch1 55 64 4160
res2b_branch2a 55 32 2080
res2b_branch2b 55 32 9248
res2b_branch2c 55 64 2112
res2c_branch2a 55 32 2080
res2c_branch2b 55 32 9248
res2c_branch2c 55 64 2112
res3a_branch2a 28 64 4160
res3a_branch2b 28 64 36928
res3a_branch2c 28 128 8320
res3a_branch1 28 128 8320
res3b_branch2a 28 64 8256
res3b_branch2b 28 64 36928
res3b_branch2c 28 128 8320
res3c_branch2a 28 64 8256
res3c_branch2b 28 64 36928
res3c_branch2c 28 128 8320
res4a_branch2a 14 64 8256
res4a_branch2b 14 64 36928
res4a_branch2c 14 256 16640
res4a_branch1 14 256 33024
res4b_branch2a 14 64 16448
res4b_branch2b 14 64 36928
res4b_branch2c 14 256 16640
res4c_branch2a 14 64 16448
res4c_branch2b 14 64 36928
res4c_branch2c 14 256 16640
"""
"""Layer, side of its output in px, maps, weights and biases. The paper prints 9,427 for conv1: 7 * 7 * 3 * 64 + 64 is
9,472, and only that gives the sum it prints."""


def build(size: int, classes: int = 2) -> Units:
    return build_network(Network(name="resnet31"), classes=classes, size=size)


def layer(network: Units, name: str) -> nn.Conv2d:
    if name == "conv1":
        module = network.get_submodule("stage1.0")
    else:
        module = network.get_submodule(f"stage{name[3]}.{name[4]}.{name[6:]}.0")
    assert isinstance(module, nn.Conv2d)
    return module


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def traced() -> tuple[Units, dict[str, tuple[int, ...]]]:
    """The network at 224 px and the shape of what each of its modules gives."""
    with torch.device("meta"):
        network = build(224)
        shapes: dict[str, tuple[int, ...]] = {}
        for name, module in network.named_modules():
            module.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: tuple(out.shape)}))
        network(torch.empty(1, 3, 224, 224))
    return network, shapes


@pytest.mark.parametrize("row", TABLE_2.split("\n")[1:-1])
def test_row_of_table_2(row, traced):
    network, shapes = traced
    name, side, maps, learnables = row.split()
    convolution = layer(network, name)
    path = next(path for path, module in network.named_modules() if module is convolution)
    assert shapes[path] == (1, int(maps), int(side), int(side))
    assert count(convolution) == int(learnables)


def test_the_head_of_table_2(traced):
    network, shapes = traced
    assert shapes["stage1"] == (1, 64, 55, 55)  # after the pooling
    assert shapes["last.1"] == (1, 12544)
    assert count(network.get_submodule("last")) == 25090
    assert shapes["last"] == (1, 2)


def test_the_table_names_every_convolution(traced):
    network, _ = traced
    convolutions = {module for module in network.modules() if isinstance(module, nn.Conv2d)}
    assert len(convolutions) == 31
    assert convolutions == {layer(network, row.split()[0]) for row in TABLE_2.split("\n")[1:-1]}


def test_parameters_are_those_of_the_paper_with_batch_norm_statistics(traced):
    network, _ = traced
    norms = sum(m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert norms == 2816
    assert count(network) - 2 * norms == 478_658  # weights and biases
    assert count(network) + 2 * norms == 489_922  # and scale, shift, running mean, running variance


@pytest.mark.parametrize("size", [32, 33, 47, 64, 100, 225])
def test_any_input_size(size):
    network = build(size, classes=3).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, size, size)).shape == (2, 3)


def test_a_smaller_input_is_refused():
    with pytest.raises(RecipeError, match="resnet31 needs an input of 32 to 1024 px"):
        build(31)


def test_against_the_same_steps_written_out():
    """Zero-pad 3, convolve, normalise, pool; blocks with their stride in the first convolution and the shortcut."""
    torch.manual_seed(0)
    network = build(40).eval()
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(0, 0.2)

    def step(x, path, kernel, stride=1):
        x = functional.pad(x, [kernel // 2] * 4)
        x = functional.conv2d(x, state[f"{path}.0.weight"], state[f"{path}.0.bias"], stride=stride)
        scale = state[f"{path}.1.weight"] / torch.sqrt(state[f"{path}.1.running_var"] + 1e-5)
        shift = state[f"{path}.1.bias"] - state[f"{path}.1.running_mean"] * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def block(x, path, stride, convolutional):
        y = step(x, f"{path}.branch2a", 1, stride).relu()
        y = step(y, f"{path}.branch2b", 3).relu()
        y = step(y, f"{path}.branch2c", 1)
        return (y + (step(x, f"{path}.branch1", 1, stride) if convolutional else x)).relu()

    x = torch.randn(2, 3, 40, 40)
    y = functional.pad(x, [3] * 4)
    y = functional.conv2d(y, state["stage1.0.weight"], state["stage1.0.bias"], stride=2)
    y = functional.batch_norm(y, state["stage1.1.running_mean"], state["stage1.1.running_var"],
                              state["stage1.1.weight"], state["stage1.1.bias"]).relu()
    y = functional.max_pool2d(y, 3, 2)
    for stage, stride in (("stage2", 1), ("stage3", 2), ("stage4", 2)):
        for name in "abc":
            y = block(y, f"{stage}.{name}", stride if name == "a" else 1, name == "a")
    y = functional.avg_pool2d(y, 2).flatten(1)
    y = y @ state["last.2.weight"].T + state["last.2.bias"]
    with torch.inference_mode():
        torch.testing.assert_close(network(x), y, rtol=1e-4, atol=1e-4)
