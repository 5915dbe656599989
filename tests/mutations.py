"""Ways to damage a file, and to make a bundle that is wrong in one place while its digests are right.

Each is a hypothesis strategy of plain values, so that a failure is reported as the smallest list of changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
from hypothesis import strategies as st

from bundle_folder import change, replace_file

NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE, 0x10000, 0x40000000)
ODD: tuple[Any, ...] = (None, True, -1, 0, 10**12, 2**70, 1e308, float("inf"), float("nan"), "", "\ud800", "a" * 5000,
                        "\n", "=1+1", [], {}, [[[[[]]]]], "../..", 0.5)
"""Values for a field that expects another one."""
OPERATORS = ("Relu", "Identity", "Reshape", "Expand", "Tile", "Loop", "If", "NonZero", "MatMul", "Conv", "Softmax",
             "ConstantOfShape", "Transpose", "Gather", "Range", "Shape", "Abs", "Concat")

Change = tuple[str, float, int]
SHARES = st.integers(0, 9_999).map(lambda number: number / 10_000)
"""Places in a file. Floats would nearly all lie at its beginning."""
BYTES: st.SearchStrategy[list[Change]] = st.lists(st.one_of(
    st.tuples(st.just("flip"), SHARES, st.integers(0, 7)),
    st.tuples(st.just("byte"), SHARES, st.integers(0, 255)),
    st.tuples(st.just("number"), SHARES, st.integers(0, 2 * len(NUMBERS) - 1)),
    st.tuples(st.just("cut"), SHARES, st.just(0)),
    st.tuples(st.just("remove"), SHARES, st.integers(1, 64)),
    st.tuples(st.just("repeat"), SHARES, st.integers(1, 64)),
    st.tuples(st.just("zero"), SHARES, st.integers(1, 256))), min_size=1, max_size=5)
"""Changes of bytes: what is done, where (a share of the file), and with what."""


def mutated(content: bytes, changes: Sequence[Change]) -> bytes:
    """The content after the changes, one after the other."""
    for name, share, value in changes:
        content = _CHANGES[name](content, int(share * len(content)), value)
    return content


def _number(content: bytes, place: int, value: int) -> bytes:
    number, order = NUMBERS[value % len(NUMBERS)], "little" if value < len(NUMBERS) else "big"
    return content[:place] + number.to_bytes(4, order) + content[place + 4:]  # type: ignore[arg-type]  # little or big


_CHANGES: dict[str, Callable[[bytes, int, int], bytes]] = {
    "flip": lambda content, place, bit: content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1:]
    if content else content,
    "byte": lambda content, place, value: content[:place] + bytes([value]) + content[place + 1:],
    "number": _number,
    "cut": lambda content, place, _: content[:place],
    "remove": lambda content, place, count: content[:place] + content[place + count:],
    "repeat": lambda content, place, count: content[:place] + content[place:place + count] * 9 + content[place:],
    "zero": lambda content, place, count: content[:place] + bytes(count) + content[place + count:],
}


def changed_field(folder: Path, number: int, value: Any) -> None:
    """Another value in one field of bundle.json, with the digest that belongs to it."""
    described = json.loads((folder / "bundle.json").read_text())
    places = [place for place in _places(described) if place[-1][1] != "digest"]
    inside, key = places[number % len(places)][-1]
    inside[key] = value
    change(folder, **described)


def _places(value: Any) -> list[list[tuple[Any, Any]]]:
    """Each table or list inside with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in ([(value, key)], *_places(item))]


VALUES_OF_TOML = ("-1", "0", "7", "0.5", "1e999", "nan", "1e-300", "10000000000000000000000", "true", '""', '"a"', "[]",
                  "{}", "[[1], 2]", '{"a" = 1}', "1979-05-27T07:32:00Z", '["a", "a"]', '"\\u0000"', "'../..'",
                  '"' + "a" * 5000 + '"')
"""Values of TOML that a key of a recipe does not expect."""


def changed_line(text: str, number: int, value: str) -> str:
    """Another value for one key of a recipe."""
    lines = text.splitlines()
    keys = [place for place, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    place = keys[number % len(keys)]
    lines[place] = f"{lines[place].partition(' = ')[0]} = {value}"
    return "\n".join(lines)


def changed_graph(folder: Path, number: int, what: int, amount: int) -> None:
    """One change of a node, an attribute or a constant of the graph, with the digest that belongs to it."""
    model = onnx.load_model_from_string((folder / "model.onnx").read_bytes())
    node = model.graph.node[number % len(model.graph.node)]
    tensor = model.graph.initializer[number % len(model.graph.initializer)]
    if what == 0:
        node.op_type = OPERATORS[amount % len(OPERATORS)]
    elif what == 1 and node.attribute:
        attribute = node.attribute[amount % len(node.attribute)]
        attribute.i = amount
        del attribute.ints[:]
        attribute.ints.extend([amount] * 4)
    elif what == 2:
        tensor.dims.append(amount)
    elif what == 3 and node.input:
        others = [name for other in model.graph.node for name in other.output]
        node.input[0] = others[amount % len(others)]
    elif what == 4:
        tensor.raw_data = amount.to_bytes(8, "little", signed=True) * (len(tensor.raw_data) // 8)
    else:
        model.graph.node.remove(node)
    replace_file(folder, "model.onnx", model.SerializeToString())
