"""Any network as an ONNX file, without traces of the machine that wrote it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch
from onnxscript.optimizer import fold_constants, remove_unused_nodes
from torch import Tensor, nn

from ..errors import BundleError, first_line


def write_onnx(module: nn.Module, example: Tensor, path: Path, *, inputs: list[str], outputs: list[str],
               axes: dict[int, torch.export.Dim], fold: bool = True) -> None:
    """Write a module of one input as ONNX, without traces of the source. axes: number of an axis -> its dimension of
    torch.export, for the axes whose length may vary. fold: as in `export_graph`. BundleError where ONNX has no such
    operations."""
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter's own remarks on torch and on itself
        quiet.setLevel(logging.ERROR)
        try:
            torch.onnx.export(module, (example,), str(path), input_names=inputs, output_names=outputs, dynamo=True,
                              dynamic_shapes=(axes,), external_data=False, verbose=False, optimize=fold)
        except Exception as error:  # the exporter's, of many classes
            raise BundleError(f"this network cannot be written as ONNX ({first_line(error, 160)})",
                              "predict with the run itself, or use another network") from error
        finally:
            quiet.setLevel(level)
    model = onnx.load(path)
    if not fold:
        # Constants that are computed in every call would keep the runtime from folding normalisation when it opens the
        # model: a network like the built-in one would be four times as slow.
        fold_constants(model)
        remove_unused_nodes(model)
    # The exporter writes lines of code and paths of this machine into it.
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input,
                 *model.graph.output, *model.graph.initializer, *model.functions,
                 *(node for function in model.functions for node in function.node)):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)
