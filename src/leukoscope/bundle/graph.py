"""One graph from pixels to probabilities: the recipe's steps, the network, the temperature; in 32, 16 or 8 bits.

Takes uint8 cells that are cut and resized, and computes what `cells.input_steps` and `predict.run` do, in operations
that ONNX has. Writes no file but the ONNX one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import torch
from jaxtyping import Float32, UInt8
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save
from torch import Tensor, nn

from ..cells.input_steps import InputSteps
from ..errors import BundleError
from ..networks.onnx_file import write_onnx
from ..networks.units import Units
from ..optics.microscope import StillMicroscope, microscope_of
from ..spikes.banks import gabor_bank
from ..spikes.coding import edge_responses, first_spike
from .operators import forbidden
from .verify import FEATURES, INPUT, OUTPUTS

LARGEST = float(np.finfo(np.float16).max)
BATCH = 16
"""Cells that are measured together."""


class CellGraph(nn.Module):
    """uint8 (b, size, size, 3) RGB -> probabilities (b, classes) float32, each row of which sums to 1, and the energy
    (b,): the logarithm of the sum of exponentials of the logits, which is high for cells like those trained on (Liu et
    al. 2020). Where the last unit is linear, also the features (b, n) that it weighs, which `adapt` fits a new head to.
    temperature: what logits are divided by before the softmax (not for the energy)."""

    def __init__(self, network: Units, steps: InputSteps, temperature: float) -> None:
        super().__init__()
        microscope = microscope_of(network)
        if microscope is not None:  # as the fixed optics that it has learned, without complex numbers
            network = deepcopy(network)
            network._modules["microscope"] = StillMicroscope(microscope)
        self.network = network.eval()
        self.steps = steps
        self.temperature = temperature
        self.outputs = (*OUTPUTS, FEATURES) if isinstance(network[-1], nn.Linear) else OUTPUTS

    def forward(self, cells: UInt8[Tensor, "b size size 3"]) -> tuple[Tensor, ...]:
        features = self._features(cells)
        logits = self.network[-1](features)
        return (torch.softmax(logits / self.temperature, 1), torch.logsumexp(logits, 1), features)[:len(self.outputs)]

    def logits(self, cells: UInt8[Tensor, "b size size 3"]) -> Float32[Tensor, "b classes"]:
        """The output of the network, before temperature and softmax."""
        return self.network[-1](self._features(cells))

    def _features(self, cells: Tensor) -> Tensor:
        """What the last unit is given."""
        maps = self.steps.encode(self._levels(cells))
        for unit in list(self.network)[:-1]:
            maps = unit(maps)
        return maps

    def _levels(self, cells: Tensor) -> Tensor:
        """As `InputSteps.levels`, in torch: the same whole numbers."""
        if self.steps.preprocess.input == "colour":
            return cells
        # Luma in whole numbers, rounded as `spikes.grey_levels` does.
        red, green, blue = cells.to(torch.int32).unbind(-1)
        luma = red * 19595 + green * 38470 + blue * 7471 + 0x8000
        grey = torch.div(luma, 1 << 16, rounding_mode="floor").to(torch.uint8)
        if self.steps.preprocess.input == "grey":
            return grey[..., None]
        edges = self.steps.edges
        bank = gabor_bank(edges.window, edges.wavelength, edges.sigma, edges.gamma, edges.orientations)
        responses = edge_responses(grey.to(torch.float32) / 255, bank)
        if edges.spikes:
            return first_spike(responses, edges.steps).amin(1)[..., None]
        strongest = responses.amax(1)
        most = strongest.amax((1, 2), keepdim=True)
        scaled = strongest / torch.where(most > 0, most, torch.ones_like(most)) * 255
        return scaled.round().to(torch.uint8)[..., None]


def export_graph(graph: CellGraph, size: int, path: Path, *, fold: bool = True) -> None:
    """Write the graph as ONNX, for any number of cells at once; weights inside the file. fold: let the exporter fold
    normalisation into convolutions, which changes their weights; else the runtime does so when it opens the graph.
    BundleError where ONNX has no such operations, or a bundle may not hold them (see `operators`)."""
    write_onnx(graph, torch.zeros(2, size, size, 3, dtype=torch.uint8), path, inputs=[INPUT],
               outputs=list(graph.outputs), axes={0: torch.export.Dim("batch")}, fold=fold)
    what = forbidden(onnx.load(path))
    if what is not None:
        raise BundleError(f"this network cannot become a bundle, since its graph {what}",
                          "predict with the run itself, or use another network")


def round_weights(network: nn.Module) -> None:
    """Round every float32 weight of two axes or more to the nearest float16, in place. Raises BundleError where a
    weight is larger than float16 can hold."""
    with torch.no_grad():
        for name, weight in network.state_dict().items():
            if weight.dim() > 1 and weight.dtype == torch.float32:
                if not bool((weight.abs() <= LARGEST).all()):
                    raise BundleError(f"{name} has weights above {LARGEST:g}", "export without --half")
                weight.copy_(weight.half().float())


def half_weights(network: nn.Module) -> bytes:
    """The rounded weights as safetensors: what was rounded in float16, all else unchanged."""
    return save({name: (weight.half() if weight.dim() > 1 and weight.dtype == torch.float32 else weight)
                 .detach().cpu().contiguous() for name, weight in network.state_dict().items()})


def half_graph(content: bytes) -> bytes:
    """An ONNX model with each float32 weight of two axes or more that float16 holds exactly stored as float16, and cast
    where it is used. The runtime casts once, when it opens the model."""
    model = onnx.load_model_from_string(content)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
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


def int8_graph(content: bytes, cells: UInt8[np.ndarray, "n size size 3"]) -> bytes:
    """An ONNX model whose network convolves in whole numbers: activations of 8 bits, in the range that they have for
    these cells, and weights of 7 bits, scaled by channel. All else, the first steps and the last layer among it, is
    computed in float32 as before. BundleError where the network has no convolutions.

    7 bits, since processors without VNNI add pairs of products in 16 bits and would overflow.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[np.ndarray] = (cells[n:n + BATCH] for n in range(0, len(cells), BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]  # None ends it
            return next(({INPUT: batch} for batch in self.batches), None)

    model = onnx.load_model_from_string(content)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv" and node.input[1].startswith(
        "network.") and not node.input[1].startswith("network.microscope")]
    if not convolutions:
        raise BundleError("the network has no convolutions to compute in 8 bits", "export without --int8")
    # What the pre-processing of onnxruntime does, the exporter has done; without this note it would warn.
    helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "int8.onnx"
        quantize_static(model, path, Batches(), QuantFormat.QDQ, nodes_to_quantize=convolutions, per_channel=True,
                        reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
        quantised = onnx.load(path)
    quantised.ClearField("metadata_props")
    return quantised.SerializeToString()
