"""Which graphs a bundle may hold: those that our exporter writes, which end, and whose maps have sizes that no cell
can change.

Reads ONNX, runs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from google.protobuf.message import Message
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

_ALLOWED = """
Abs Add And AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv
ConvTranspose Cos CumSum DequantizeLinear Div Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather
GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu
Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not OneHot Or PRelu
Pad Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements ScatterND Selu Shape
Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth DepthToSpace Split Sqrt Squeeze Sub Sum Swish Tanh
ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
"""
"""Operators of ONNX that the exporter of torch writes for networks of images, and others of the same kind. None repeats
or branches (If, Loop, Scan), draws numbers, or gives as many values as a cell's content decides (NonZero, Unique)."""
ALLOWED = frozenset(_ALLOWED.split())
MOST_NODES = 50_000
"""Operators of a graph; a DenseNet-121 has 430."""
_SIZES = {
    "ConstantOfShape": (0,), "Expand": (1,), "OneHot": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,),
    "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,), "TopK": (1,),
    "Unsqueeze": (1,), **{f"Reduce{kind}": (1,) for kind in (
        "L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")}}
"""Inputs that decide how many values an operator gives."""
_ATTRIBUTES = frozenset((AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.STRING, AttributeProto.TENSOR,
                         AttributeProto.FLOATS, AttributeProto.INTS, AttributeProto.STRINGS))
_STANDARD = ("", "ai.onnx")
_STORED = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_PAIRS = (TensorProto.FLOAT8E8M0, TensorProto.COMPLEX64, TensorProto.COMPLEX128, TensorProto.STRING)


def forbidden(model: ModelProto) -> str | None:
    """What of a graph no bundle may hold, in words that go on after the name of the file; None where there is
    nothing."""
    graph = model.graph
    if len(graph.node) > MOST_NODES:
        return f"has {len(graph.node):,} operators, and at most {MOST_NODES:,} are allowed"
    if any(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data for tensor in _tensors(model)):
        return "keeps its weights in another file"
    if model.functions or model.training_info or graph.sparse_initializer:
        return "holds functions, training or sparse weights, which the exporter does not write"
    odd = next(filter(None, map(_forbidden_node, graph.node)), None)
    if odd is not None:
        return odd
    short = next((tensor.name for tensor in _tensors(model) if not _whole(tensor)), None)
    if short is not None:
        return f"states more values than it holds ({short})"
    return _out_of_order(graph) or _size_from_cells(graph)


def _forbidden_node(node: NodeProto) -> str | None:
    if node.domain not in _STANDARD or node.op_type not in ALLOWED:
        return f"holds the operator {node.domain and f'{node.domain}.'}{node.op_type}, which bundles may not hold"
    odd = next((attribute.name for attribute in node.attribute if attribute.type not in _ATTRIBUTES), None)
    return None if odd is None else f"holds a part of a kind that the exporter does not write ({node.op_type}: {odd})"


def _tensors(message: Message) -> Iterator[TensorProto]:
    """Every tensor of a model, wherever it is: in graphs inside nodes, functions, attributes, sparse tensors."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for item in value if field.is_repeated else [value]:
            if field.message_type.name == "TensorProto":
                yield item
            else:
                yield from _tensors(item)


def _whole(tensor: TensorProto) -> bool:
    """Whether a tensor holds as many values as its shape states, of a kind that weights have."""
    if tensor.data_type in _PAIRS or min(tensor.dims, default=0) < 0:
        return False
    try:
        each = tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError, ValueError):
        return False
    if tensor.raw_data:
        return len(tensor.raw_data) == each * math.prod(tensor.dims)
    return sum(len(getattr(tensor, name)) for name in _STORED) == math.prod(tensor.dims)


def _out_of_order(graph: GraphProto) -> str | None:
    """Where a node reads a value before another one gives it, or gives it a second time. The exporter writes no such
    graph, and `_size_from_cells` reads it from its beginning to its end."""
    known = {"", *(given.name for given in graph.input), *(tensor.name for tensor in graph.initializer)}
    for node in graph.node:
        for name in node.input:
            if name not in known:
                return f"computes a value before it is known ({name})"
        for name in node.output:
            if name in known and name:
                return f"computes a value twice ({name})"
            known.add(name)
    return None


def _size_from_cells(graph: GraphProto) -> str | None:
    """Where the content of a cell would decide the size of a map: time and memory for the reference cells would then
    say nothing of other cells. Sizes themselves (Shape, Size) are no content."""
    content = {given.name for given in graph.input}
    for node in graph.node:
        if _reads(node, range(len(node.input)), content) and node.op_type not in ("Shape", "Size"):
            if _reads(node, _SIZES.get(node.op_type, ()), content):
                return f"computes the size of a map from the content of a cell ({node.op_type} {node.output[0]})"
            content.update(node.output)
    return None


def _reads(node: NodeProto, places: Sequence[int], names: set[str]) -> bool:
    return any(node.input[place] in names for place in places if place < len(node.input))
