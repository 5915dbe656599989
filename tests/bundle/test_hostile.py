"""Bundles made to harm: each is refused in one line, within a time and a memory that are measured, before it is used.

Every digest in them is right: their maker knows the format."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bundle_folder import change, replace_file
from command import refusal
from leukoscope.bundle import bundle as bundle_module
from leukoscope.bundle import child as child_module
from leukoscope.bundle import parts as parts_module
from leukoscope.bundle.bundle import BUILT_IN, open_bundle, write_bundle
from leukoscope.bundle.child import Limits, limits
from leukoscope.bundle.graph import CellGraph, export_graph
from leukoscope.bundle.operators import forbidden
from leukoscope.cells.input_steps import InputSteps
from leukoscope.errors import BundleError
from leukoscope.networks import build_network
from leukoscope.predict.model import packaged_model
from leukoscope.recipes import Edges, Network, Preprocess

MEASURED = """
import json, os, resource, sys
from leukoscope.bundle.bundle import open_bundle
from leukoscope.errors import BundleError
for path in sys.argv[1:]:
    start, said = sum(os.times()[:4]), ""
    try:
        open_bundle(path)
    except BundleError as error:
        said = str(error)
    seconds = sum(os.times()[:4]) - start
    with open("/proc/self/status") as status:  # ru_maxrss of the process itself is that of whoever started it
        own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps([said, seconds, (own + child) / 1024]), flush=True)
"""
"""Opens bundles; prints of each what was said, the seconds of processors, and the MB that it and the process that
checks it have needed so far."""
SECONDS, MEGABYTES = 2.0, 500.0


def measured(*paths: Path) -> list[tuple[str, float, float]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", MEASURED, *map(str, paths)], capture_output=True, text=True,
                          check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(bundle, tmp_path / "copy")
    return tmp_path / "copy"


def graph_with(copy: Path, edit: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load_model_from_string((copy / "model.onnx").read_bytes())
    edit(model)
    replace_file(copy, "model.onnx", model.SerializeToString())


def loop(model: onnx.ModelProto) -> None:
    """Counts to 2^62."""
    one = helper.make_tensor_value_info("one", TensorProto.BOOL, [])
    inside = [helper.make_tensor_value_info("round", TensorProto.INT64, []),
              helper.make_tensor_value_info("going", TensorProto.BOOL, [])]
    body = helper.make_graph([helper.make_node("Identity", ["going"], ["one"])], "body", inside, [one])
    model.graph.initializer.extend([numpy_helper.from_array(np.array(2**62), "times"),
                                    numpy_helper.from_array(np.array(True), "always")])
    model.graph.node.append(helper.make_node("Loop", ["times", "always"], [], body=body))


def constant(model: onnx.ModelProto) -> None:
    """3,000,000,000 numbers: 12 GB."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([3_000_000_000]), "many"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["many"], ["huge"]))
    used(model, "huge")


def used(model: onnx.ModelProto, name: str) -> None:
    """Add the mean of some values, times 0, to the energy, so that they are computed."""
    energy = next(node for node in model.graph.node if "energy" in node.output)
    energy.output[0] = "energy.before"
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
    model.graph.node.extend([helper.make_node("ReduceMean", [name], [f"{name}.mean"], keepdims=0),
                             helper.make_node("Mul", [f"{name}.mean", "nothing"], [f"{name}.zero"]),
                             helper.make_node("Add", ["energy.before", f"{name}.zero"], ["energy"])])


def stated(model: onnx.ModelProto) -> None:
    """A constant that states 12 GB and holds nothing."""
    model.graph.initializer.append(TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=[3_000_000_000]))
    used(model, "huge")


def padded(model: onnx.ModelProto) -> None:
    """Cells with borders of 20,000 px."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 20_000, 20_000, 0] * 2), "borders"))
    model.graph.node.extend([helper.make_node("Pad", ["cells", "borders"], ["wide"]),
                             helper.make_node("Cast", ["wide"], ["wide.float"], to=TensorProto.FLOAT)])
    used(model, "wide.float")


def slow(model: onnx.ModelProto) -> None:
    """A thousand products of matrices of 2,000 x 2,000: 8,000,000,000,000 multiplications."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([2_000, 2_000]), "square"))
    model.graph.node.append(helper.make_node("Shape", ["cells"], ["shape"]))
    model.graph.node.append(helper.make_node("Cast", ["shape"], ["shape.float"], to=TensorProto.FLOAT))
    model.graph.node.append(helper.make_node("ReduceMean", ["shape.float"], ["number"], keepdims=0))
    model.graph.node.append(helper.make_node("Expand", ["number", "square"], ["m0"]))
    for n in range(1000):
        model.graph.node.append(helper.make_node("MatMul", [f"m{n}", "m0"], [f"m{n + 1}"]))
    used(model, "m1000")


def from_cells(model: onnx.ModelProto) -> None:
    """As many values as the largest grey level says."""
    model.graph.node.extend([
        helper.make_node("Cast", ["cells"], ["numbers"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["numbers"], ["largest"], keepdims=0),
        helper.make_node("ConstantOfShape", ["largest"], ["some"])])
    used(model, "some")


@pytest.mark.parametrize(("edit", "said"), [
    (loop, "model.onnx holds the operator Loop, which bundles may not hold; do not use this bundle"),
    (constant, "checking it needs more memory than a bundle of its size"),
    (stated, r"model.onnx states more values than it holds \(huge\)"),
    (padded, "checking it needs more memory than a bundle of its size"),
    (slow, "checking it took longer than a bundle of its size needs"),
    (from_cells, r"computes the size of a map from the content of a cell \(ConstantOfShape some\)")])
def test_a_graph_of_endless_time_or_memory_is_refused(copy, edit, said):
    graph_with(copy, edit)
    with pytest.raises(BundleError, match=said):
        open_bundle(copy)
    told, seconds, memory = measured(copy)[0]
    assert told
    assert seconds < 2 * SECONDS
    assert memory < MEGABYTES


def test_other_parts_that_the_exporter_does_not_write_are_named(copy):
    content = (copy / "model.onnx").read_bytes()
    for edit, said in (
            (lambda model: model.functions.add(name="Relu"), "functions"),
            (lambda model: model.graph.sparse_initializer.add(), "sparse"),
            (lambda model: model.graph.node.add(op_type="Relu", domain="stranger"), "the operator stranger.Relu"),
            (lambda model: model.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH), ": body"),
            (lambda model: model.graph.initializer.add(name="text", data_type=TensorProto.STRING, dims=[0]), "text")):
        model = onnx.load_model_from_string(content)
        assert forbidden(model) is None
        edit(model)
        assert said in str(forbidden(model))


def test_what_a_cell_decides_is_found_in_any_order_of_the_graph(copy):
    """onnxruntime sorts a graph itself, so that a size could be read before what it is computed from."""
    def edit(model: onnx.ModelProto) -> None:
        from_cells(model)
        nodes = [*reversed(model.graph.node)]
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    graph_with(copy, edit)
    with pytest.raises(BundleError, match=r"model\.onnx computes a value before it is known \("):
        open_bundle(copy)


@pytest.mark.parametrize("edit", [
    lambda model: model.graph.node.add(op_type="A" * 300_000),
    lambda model: model.graph.node.add(op_type="Relu", domain="d" * 300_000),
    lambda model: model.graph.initializer.add(name="t" * 300_000, data_type=TensorProto.FLOAT, dims=[7]),
    lambda model: model.graph.node.add(op_type="\x1b[2J\nRelu")])
def test_names_of_any_length_are_one_short_line(copy, edit):
    """What the process that checks says was longer than a pipe holds: neither of the two went on."""
    graph_with(copy, edit)
    told, seconds, _ = measured(copy)[0]
    assert "model.onnx" in told
    assert len(told) < 700
    assert told.isprintable()
    assert seconds < SECONDS


def test_a_zip_file_that_states_more_packed_bytes_than_it_has_is_refused(copy, tmp_path):
    """Else 900 MB could be packed in 900 kB, of which the directory states 100 MB. Here it is a third."""
    body = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = b"".join([*(body.compress(bytes(10_000_000)) for _ in range(30)), body.flush()])
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as archive:
        for file in copy.iterdir():
            archive.write(file, file.name) if file.name != "model.onnx" else archive.writestr(file.name, packed)
    content = bytearray((tmp_path / "bomb.zip").read_bytes())
    place = content.rindex(b"model.onnx") - 46
    assert content[place:place + 4] == b"PK\1\2"
    struct.pack_into("<H", content, place + 10, zipfile.ZIP_DEFLATED)
    struct.pack_into("<II", content, place + 20, 30_000_000, 300_000_000)
    (tmp_path / "bomb.zip").write_bytes(content)
    told, seconds, memory = measured(tmp_path / "bomb.zip")[0]
    assert "states more packed bytes than the file holds" in told
    assert seconds < SECONDS
    assert memory < MEGABYTES


def test_a_zip_file_that_unpacks_to_much_more_is_refused(copy, tmp_path):
    for name, size, said in (("model.onnx", 900_000_000, "model.onnx would unpack from"),
                             ("recipe.toml", 10_000_000, "recipe.toml has 10,000,000 bytes, and at most 262,144"),
                             ("more", 3_000_000_000, "more has 3,000,000,000 bytes")):
        with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for file in copy.iterdir():
                if file.name != name:
                    archive.write(file, file.name)
            with archive.open(name, "w", force_zip64=True) as opened:
                for _ in range(size // 10_000_000):
                    opened.write(bytes(10_000_000))
        assert (tmp_path / "bomb.zip").stat().st_size < 15_000_000
        told, seconds, memory = measured(tmp_path / "bomb.zip")[0]
        assert said in told
        assert seconds < SECONDS
        assert memory < MEGABYTES


def test_a_zip_file_of_other_packing_or_of_a_million_names_is_refused(copy, tmp_path):
    with zipfile.ZipFile(tmp_path / "bz.zip", "w", zipfile.ZIP_BZIP2) as archive:
        for file in copy.iterdir():
            archive.write(file, file.name)
    assert "packed in a way that bundles are not" in refusal("predict", tmp_path / "bz.zip", tmp_path, "-o", "x.csv")
    with zipfile.ZipFile(tmp_path / "names.zip", "w") as archive:
        for number in range(30_000):
            archive.writestr(zipfile.ZipInfo(f"{number:040d}"), b"")
    with pytest.raises(BundleError, match="its directory is too large"):
        open_bundle(tmp_path / "names.zip")


def test_a_sparse_file_is_refused_before_it_is_read(copy):
    with (copy / "model.onnx").open("r+b") as opened:
        opened.truncate(900_000_000)
    if (copy / "model.onnx").stat().st_blocks * 512 > 450_000_000:
        pytest.skip("this file system has no sparse files")
    with pytest.raises(BundleError, match=r"model\.onnx would unpack from .* to 900,000,000 bytes"):
        open_bundle(copy)
    with (copy / "model.onnx").open("r+b") as opened:
        opened.truncate(3_000_000_000)
    with pytest.raises(BundleError, match="has 3,000,000,000 bytes, and at most 1,073,741,824 are allowed"):
        open_bundle(copy)


def test_weights_whose_header_states_another_size_are_refused(copy):
    content = (copy / "weights.safetensors").read_bytes()
    for changed, said in ((content + b"more", "states .* bytes, and the file holds"), (b"", "no file of weights"),
                          ((2**60).to_bytes(8, "little") + content[8:], "no file of weights"),
                          (b"\x02" + bytes(7) + b"[]", "no file of weights"),
                          *((len(text).to_bytes(8, "little") + text, "no file of weights") for text in (
                              b'{"a": {"data_offsets": [0, "x"]}}', b'{"a": {"data_offsets": [0, [1]]}}',
                              b'{"a": {"data_offsets": [0, 1e308]}}', b'{"a": {"data_offsets": [0, null]}}'))):
        replace_file(copy, "weights.safetensors", changed)
        with pytest.raises(BundleError, match=said):
            open_bundle(copy)


def test_reference_cells_of_terabytes_are_refused_by_their_header(copy):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("cells", "probabilities"):
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 16, 16, 3)})
            archive.writestr(f"{name}.npy", header.getvalue() + bytes(100))
    replace_file(copy, "golden.npz", file.getvalue())
    with pytest.raises(BundleError, match=r"golden.npz cannot be read \(cells.npy states 768,000,000,000,000 bytes"):
        open_bundle(copy)


@pytest.mark.parametrize("cells", [np.array(3, np.uint8), np.zeros(16, np.uint8), np.zeros((1, 16, 16), np.uint8)])
def test_reference_cells_of_another_shape_are_named(copy, cells):
    with np.load(copy / "golden.npz") as golden:
        probabilities = golden["probabilities"]
    file = io.BytesIO()
    np.savez(file, cells=cells, probabilities=probabilities)
    replace_file(copy, "golden.npz", file.getvalue())
    with pytest.raises(BundleError, match=r"golden\.npz holds uint8 \(.*\), expected uint8 cells of 16 px"):
        open_bundle(copy)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_reference_probabilities_are_numbers(copy, value):
    with np.load(copy / "golden.npz") as golden:
        cells, probabilities = golden["cells"], golden["probabilities"].copy()
    probabilities[0, 0] = value
    file = io.BytesIO()
    np.savez(file, cells=cells, probabilities=probabilities)
    replace_file(copy, "golden.npz", file.getvalue())
    with pytest.raises(BundleError, match="expected finite float32"):
        open_bundle(copy)


def test_weights_that_are_no_numbers_are_noticed(copy):
    def edit(model: onnx.ModelProto) -> None:
        weights = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
        weights.raw_data = np.full(list(weights.dims), np.nan, np.float32).tobytes()

    graph_with(copy, edit)
    with pytest.raises(BundleError, match="energies that are not finite"):
        open_bundle(copy)


@pytest.mark.parametrize(("keys", "value", "said"), [
    (("temperature",), float("inf"), "temperature: Input should be a finite number"),
    (("micrometres",), float("nan"), "micrometres: Input should be a finite number"),
    (("crop",), 10**9, "crop: Input should be less than or equal to 8192"),
    (("smaller",), "half", "smaller: Input should be 'keep' or 'refuse'"),
    (("classes", 0), "", "classes.0: String should have at least 1 character"),
    (("classes", 0), "\ud800", "classes"), (("licence",), "\udfff", "licence"),
    (("coverage",), None, "radius and coverage must both be numbers, or both null"),
    (("radius",), 7.0, "radius: Input should be less than or equal to 1"),
    (("trained", "counts", "a"), -1, "trained: counts.a: Input should be greater than or equal to 0"),
    (("trained", "sources"), 7, "trained: sources: Input should be"),
    (("trained", "cells"), "many", "trained: cells: Input should be a valid integer"),
    (("trained", "more"), 10**30, "trained.more: a number that is not finite, or too large"),
    (("trained", "more"), "\ud800", "trained.more: a text that cannot be written"),
    (("metrics", "cells"), None, "metrics: cells: Input should be a valid integer"),
    (("metrics", "overall"), {}, "metrics: overall.accuracy: Field required"),
    (("metrics", "overall", "macro_f1"), 1, "metrics: overall.macro_f1: Input should be"),
    (("metrics", "sensitivity", "a", "low"), float("inf"), "metrics: sensitivity.a.low: Input should be a finite"),
    (("metrics", "int8"), {}, "metrics: int8.accuracy_float32: Field required"),
    (("notes",), [7], "notes.0: Input should be a valid string")])
def test_every_field_of_the_description_is_checked(copy, keys, value, said):
    described = json.loads((copy / "bundle.json").read_text())
    inside = described
    for key in keys[:-1]:
        inside = inside[key]
    inside[keys[-1]] = value
    change(copy, **described)
    with pytest.raises(BundleError, match=said) as caught:
        open_bundle(copy)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_text_that_is_nested_too_deeply_is_refused(copy):
    (copy / "bundle.json").write_text('{"format":' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(BundleError, match=r"bundle\.json"):
        open_bundle(copy)


def test_a_description_of_deep_tables_is_refused(copy):
    deep: list = []
    for _ in range(300):
        deep = [deep]
    change(copy, trained={**json.loads((copy / "bundle.json").read_text())["trained"], "more": deep})
    with pytest.raises(BundleError, match=r"trained\.more\.0: it is nested too deeply"):
        open_bundle(copy)


@pytest.mark.parametrize(("more", "said"), [
    ([0] * 2_000_000, "bundle.json has"), ([[]] * 500_000, ""), ({str(n): 0 for n in range(120_000)}, "")],
    ids=["numbers", "lists", "keys"])
def test_a_long_description_is_bounded_in_time_and_memory(copy, more, said):
    change(copy, trained={**json.loads((copy / "bundle.json").read_text())["trained"], "more": more})
    told, seconds, memory = measured(copy)[0]
    assert said in told
    assert seconds < SECONDS
    assert memory < MEGABYTES


@pytest.mark.parametrize("text", [b"x = " + b"[" * 50_000, b"x = " + b"9" * 5_000, b"\xff", b"x = ",
                                  b"a." * 100_000 + b"a = 1", b"[" + b"''." * 50_000 + b"a]"])
def test_a_recipe_that_is_no_toml_is_refused_at_opening(copy, text):
    replace_file(copy, "recipe.toml", text)
    with pytest.raises(BundleError, match=r"recipe\.toml cannot be read"):
        open_bundle(copy)


def arrays(**named: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **named)  # type: ignore[arg-type]  # its stub takes the names for options
    return file.getvalue()


def stating(header: bytes, entries: int = 1) -> bytes:
    """A .npz whose first array has this header and no values, and empty entries after it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("centre.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
        for number in range(1, entries):
            archive.writestr(f"{number}.npy", b"")
    return file.getvalue()


def encrypted(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[6] |= 1
    changed[changed.index(b"PK\1\2") + 8] |= 1
    return bytes(changed)


@pytest.mark.parametrize("content", [
    b"nothing", arrays(), arrays(centre=np.zeros(3, np.float32))[:-40],
    encrypted(arrays(centre=np.zeros(3, np.float32))),
    stating(b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000,)}\n"), stating(b"(" * 9_000),
    stating(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1)}\n"), stating(b"{}", entries=5_000),
    arrays(**dict.fromkeys(("centre", "spread", "weights", "gain", "offset", "confirmed", "shift"),
                           np.zeros(10**5, np.float32)))], ids=range(9))
def test_a_head_that_is_damaged_is_refused_at_opening(copy, content):
    replace_file(copy, "head.npz", content)
    with pytest.raises(BundleError, match=r"head\.npz: ") as caught:
        open_bundle(copy)
    assert "\n" not in str(caught.value)


def test_a_table_of_training_cells_that_is_damaged_is_refused_at_opening(copy):
    content = (copy / "seen.parquet").read_bytes()
    for changed in (content[:-9], b"PAR1" * 10, b"nothing", content[:50] + bytes(50) + content[100:]):
        replace_file(copy, "seen.parquet", changed)
        with pytest.raises(BundleError, match=r"seen\.parquet"):
            open_bundle(copy)
    file = io.BytesIO()
    pl.DataFrame({"source": [1]}).write_parquet(file)
    replace_file(copy, "seen.parquet", file.getvalue())
    with pytest.raises(BundleError, match=r"seen.parquet cannot be read \(its columns are source"):
        open_bundle(copy)


def test_a_table_of_a_hundred_million_training_cells_is_refused(copy):
    rows, file = pl.DataFrame({"source": pl.repeat(7, 1_000_000, dtype=pl.Int64, eager=True)}), io.BytesIO()
    pl.concat([rows] * 100, rechunk=False).write_parquet(file, compression="zstd")  # 800 MB when it is read
    assert len(file.getvalue()) < 1_000_000
    replace_file(copy, "seen.parquet", file.getvalue())
    told, seconds, memory = measured(copy)[0]
    assert "it states 100,000,000 values in" in told
    assert seconds < SECONDS
    assert memory < MEGABYTES


def test_the_built_in_model_is_the_one_that_needs_no_process(monkeypatch, copy):
    """Where this fails after the built-in model was made anew: put its digest into BUILT_IN."""
    def no_process(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(bundle_module, "checking_process", no_process)
    assert open_bundle(packaged_model()).description.digest == BUILT_IN
    with pytest.raises(AssertionError, match="a process was started"):
        open_bundle(copy)


def test_no_process_can_be_started(monkeypatch, copy):
    monkeypatch.setattr(sys, "executable", "/nothing/here")
    with pytest.raises(BundleError, match="cannot be checked: no process can be started"):
        open_bundle(copy)


@pytest.mark.parametrize(("allowed", "said"), [
    (Limits(5, 2**20, 100), "checking it needs more memory than a bundle of its size|ended without an answer"),
    (Limits(5, 2**28, 0.01), "checking it took longer than 0 s; try again when this machine is less busy")])
def test_a_process_without_an_answer_is_one_line(allowed, said, copy, monkeypatch):
    """It ends before it has read all, or never."""
    monkeypatch.setattr(child_module, "limits", lambda *_: allowed)
    with pytest.raises(BundleError, match=said):
        open_bundle(copy)


def test_limits_grow_with_the_network_and_end():
    small, large = (limits({"model.onnx": bytes_}, size) for bytes_, size in ((30_000, 16), (240_000_000, 224)))
    assert small.seconds < 1.1
    assert small.memory < 2**28
    assert 15 < large.seconds < 60
    assert large.memory > 2**30


def test_what_would_not_be_opened_is_not_written(copy, tmp_path, monkeypatch):
    opened = open_bundle(copy)
    monkeypatch.setitem(parts_module.MOST, "model.onnx", 1000)
    described = opened.description.model_dump(exclude={"format", "files", "digest"})
    with pytest.raises(BundleError, match=r"model\.onnx has .* bytes, and at most 1,000 are allowed"):
        write_bundle(tmp_path / "new", described, opened.parts)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["wbcsnet2", "resnet12", "mobilenet_v3_small", "shufflenet_v2_x0_5", "convnext_atto"])
def test_what_the_exporter_writes_is_allowed_and_within_the_limits(name, copy, tmp_path):
    """Of every network worth knowing, and of 50 families of timm, this was shown when the operators were listed."""
    steps = InputSteps(Preprocess(size=64, blur=0.7, normalise="image"), Edges(), np.zeros(3), np.ones(3))
    torch.manual_seed(0)
    graph = CellGraph(build_network(Network(name=name), classes=3, size=64).eval(), steps, 1.3)
    export_graph(graph, 64, tmp_path / "model.onnx")
    cells = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        probabilities = graph(torch.from_numpy(cells))[0].numpy()
    golden = io.BytesIO()
    np.savez(golden, cells=cells, probabilities=probabilities)
    replace_file(copy, "model.onnx", (tmp_path / "model.onnx").read_bytes())
    replace_file(copy, "golden.npz", golden.getvalue())
    change(copy, size=64)
    np.testing.assert_allclose(open_bundle(copy).probabilities(cells)[0], probabilities, atol=1e-4)
