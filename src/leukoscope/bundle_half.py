"""Weights kept in half the bytes: rounded to float16 once, and computed with as float32 all the same.

What is rounded is rounded before the calibration, the figures and the golden pair are made, so that the bundle says
what its weights do. Layers of one axis (biases, normalisation) stay as they are: they weigh little, and variances may
lie outside of what float16 can hold.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save
from torch import nn

from .errors import BundleError

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
