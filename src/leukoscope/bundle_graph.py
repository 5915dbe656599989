"""One graph from pixels to probabilities: the recipe's steps, the network, the temperature.

Takes cells that are cut and resized already, uint8; what it computes is what `stages` and `predict` do, in operations
that ONNX has. Writes no file but the ONNX one.
"""

from __future__ import annotations

import logging
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from .bundle import INPUT, OUTPUTS
from .errors import BundleError
from .models import Units
from .optics_layer import StillMicroscope, microscope_of
from .recipe import Edges
from .spikes import edge_responses, first_spike, gabor_bank
from .stages import Stages


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
    example = (torch.zeros(2, size, size, 3, dtype=torch.uint8),)
    quiet: Any = logging.getLogger("torch.onnx")
    level = quiet.level
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter's own remarks on torch and on itself
        quiet.setLevel(logging.ERROR)
        try:
            torch.onnx.export(graph, example, str(path), input_names=[INPUT], output_names=list(OUTPUTS), dynamo=True,
                              dynamic_shapes=({0: torch.export.Dim("batch")},), external_data=False, verbose=False,
                              optimize=fold)
        except Exception as error:  # the exporter's, of many classes
            raise BundleError(f"this network cannot be written as ONNX ({str(error).strip().splitlines()[0][:160]})",
                              "predict with the run itself, or take another network") from error
        finally:
            quiet.setLevel(level)
    _without_traces(path)


def _without_traces(path: Path) -> None:
    """Take out what the exporter notes of the source: lines of code, and paths of this machine."""
    import onnx

    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input,
                 *model.graph.output, *model.graph.initializer, *model.functions,
                 *(node for function in model.functions for node in function.node)):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)
