"""One graph from pixels to probabilities: the recipe's steps, the network, the temperature.

Takes cells that are cut and resized already, uint8; what it computes is what `stages` and `predict` do, in operations
that ONNX has. Writes no file but the ONNX one.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import torch
from jaxtyping import Float32, UInt8
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save
from torch import Tensor, nn

from ..cells.stages import Stages
from ..errors import BundleError
from ..networks.onnx_file import write_onnx
from ..networks.units import Units
from ..optics.microscope import StillMicroscope, microscope_of
from ..recipes.sections import Edges
from ..spikes.banks import gabor_bank
from ..spikes.coding import edge_responses, first_spike
from .bundle import INPUT, OUTPUTS


class CellGraph(nn.Module):
    """uint8 (b, size, size, 3) RGB -> probabilities (b, classes) float32, each row of which sums to 1, and the energy
    (b,): the logarithm of the sum of exponentials of the logits, which is high for cells like those trained on (Liu et
    al. 2020). temperature: what logits are divided by before the softmax (not for the energy)."""

    def __init__(self, network: Units, stages: Stages, temperature: float) -> None:
        super().__init__()
        self.network = _still(network).eval()
        self.stages = stages
        self.temperature = temperature

    def forward(self, cells: UInt8[Tensor, "b size size 3"]) \
            -> tuple[Float32[Tensor, "b classes"], Float32[Tensor, " b"]]:
        logits = self.logits(cells)
        return torch.softmax(logits / self.temperature, 1), torch.logsumexp(logits, 1)

    def logits(self, cells: UInt8[Tensor, "b size size 3"]) -> Float32[Tensor, "b classes"]:
        """What the network itself gives, before temperature and softmax."""
        return self.network(self.stages.encode(self._levels(cells)))

    def _levels(self, cells: Tensor) -> Tensor:
        """As `Stages.levels`, in torch: the same whole numbers."""
        steps = self.stages.preprocess
        if steps.input == "colour":
            return cells
        grey = _grey(cells)
        return grey[..., None] if steps.input == "grey" else _edges(grey, self.stages.edges)[..., None]


def _still(network: Units) -> Units:
    """The network; a microscope in front of it as the fixed optics that it has learned, without complex numbers."""
    microscope = microscope_of(network)
    if microscope is None:
        return network
    fixed = deepcopy(network)
    fixed._modules["microscope"] = StillMicroscope(microscope)
    return fixed


def _grey(cells: UInt8[Tensor, "b size size 3"]) -> UInt8[Tensor, "b size size"]:
    """Luma in whole numbers, rounded as `spikes.grey_levels` does."""
    red, green, blue = cells.to(torch.int32).unbind(-1)
    return torch.div(red * 19595 + green * 38470 + blue * 7471 + 0x8000, 1 << 16, rounding_mode="floor").to(torch.uint8)


def _edges(grey: UInt8[Tensor, "b size size"], edges: Edges) -> UInt8[Tensor, "b size size"]:
    bank = gabor_bank(edges.window, edges.wavelength, edges.sigma, edges.gamma, edges.orientations)
    responses = edge_responses(grey.to(torch.float32) / 255, bank)
    if edges.spikes:
        return first_spike(responses, edges.steps).amin(1)
    found = responses.amax(1)
    most = found.amax((1, 2), keepdim=True)
    return (found / torch.where(most > 0, most, torch.ones_like(most)) * 255).round().to(torch.uint8)


def export_graph(graph: CellGraph, size: int, path: Path, *, fold: bool = True) -> None:
    """Write the graph as ONNX, for any number of cells at once; weights inside the file. fold: let the exporter fold
    normalisation into convolutions, which changes their weights. BundleError where ONNX has no such operations."""
    write_onnx(graph, torch.zeros(2, size, size, 3, dtype=torch.uint8), path, inputs=[INPUT], outputs=list(OUTPUTS),
               axes={0: torch.export.Dim("batch")}, fold=fold)


LARGEST = float(np.finfo(np.float16).max)


def round_weights(network: nn.Module) -> None:
    """Round every float32 weight of two axes or more to the nearest float16, in place. Raises BundleError where one is
    larger than float16 can hold."""
    with torch.no_grad():
        for name, weight in network.state_dict().items():
            if _large(tuple(weight.shape)) and weight.dtype == torch.float32:
                if not bool((weight.abs() <= LARGEST).all()):
                    raise BundleError(f"{name} has weights above {LARGEST:g}", "export without --half")
                weight.copy_(weight.half().float())


def half_weights(network: nn.Module) -> bytes:
    """The rounded weights as safetensors: what was rounded in float16, all else as it is."""
    return save({name: (weight.half() if _large(tuple(weight.shape)) and weight.dtype == torch.float32 else weight)
                 .detach().cpu().contiguous() for name, weight in network.state_dict().items()})


def half_graph(content: bytes) -> bytes:
    """An ONNX model with each float32 initializer of two axes or more that float16 holds exactly kept so, and cast
    where it is used. The runtime casts once, when it opens the model."""
    model = onnx.load_model_from_string(content)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or not _large(tuple(tensor.dims)):
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halved = values.astype(np.float16)
        if not np.array_equal(halved.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(halved, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    return model.SerializeToString()


def _large(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1
