"""Over a thousand damaged and odd inputs: each is opened, or refused in one line, within 10 s of the processor and
1 GB; good rows stay as they are.

The same inputs in each run, within two minutes. `make fuzz` draws new ones for an hour: LEUKOSCOPE_FUZZ_MINUTES sets
the time, and a failure leaves its input in build/fuzz. To look at one kind: pytest tests/fuzz -k bundles -s."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle_folder import replace_file
from damaged import write_odd
from leukoscope.bundle.parts import FILES
from leukoscope.manifest import make_manifest, write_manifest
from leukoscope.phantom import write_cells
from leukoscope.recipes.recipe import builtin_recipes, recipe_text
from mutations import BYTES, ODD, VALUES_OF_TOML, changed_field, changed_graph, changed_line, mutated

HERE = Path(__file__).parent
OLDER = HERE.parent / "data" / "older"
MINUTES = float(os.environ.get("LEUKOSCOPE_FUZZ_MINUTES", "0"))
ROUND = 100
"""Inputs of hypothesis at once, where there are minutes."""
"""For all kinds and guided.py, which has a sixth; 0 for the fixed inputs."""
SECONDS, MEGABYTES = 10.0, 1024.0
HANG = 600.0
"""Seconds after which a process that says nothing hangs, however busy the machine is; one that has worked for twice
SECONDS hangs before."""
BUNDLE_SECONDS, BUNDLE_MEGABYTES = 2.0, 500.0
SHARES = {"bundles": 0.5, "images": 0.2, "tables": 0.1, "recipes": 0.05, "runs": 0.05, "folders": 0.1}
"""Of the time."""
FIXED = 120.0
"""Seconds, for the fixed inputs."""
EXAMPLES = {"bundles": 200, "images": 400, "tables": 250, "recipes": 250, "runs": 100, "folders": 20}
KEPT = HERE.parents[1] / "build" / "fuzz"


@dataclass
class Worker:
    """The process of worker.py, started anew after it hung or died. results: seconds and MB of each input."""

    process: subprocess.Popen[str] | None = None
    results: list[tuple[str, float, float]] = field(default_factory=list)

    def ask(self, kind: str, path: Path) -> tuple[str, str, float, float]:
        """outcome, message, seconds, MB (see worker.py); "hang" and "died" for a process that did not answer."""
        process = self.process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([kind, os.fsencode(path).hex()]) + "\n")
        process.stdin.flush()
        ready = answers(process)
        line = process.stdout.readline() if ready else ""
        if not line:
            code = process.poll()
            self.stop()
            return ("died", f"it ended with code {code}", 0, 0) if ready else ("hang", "", HANG, 0)
        answer = json.loads(line)
        self.results.append((answer[0], answer[2], answer[3]))
        return tuple(answer)

    def _start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen([sys.executable, str(HERE / "worker.py")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        return self.process

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def answers(process: subprocess.Popen[str]) -> bool:
    """Wait until the worker says something; False where it hangs."""
    assert process.stdout is not None
    given_up, start = time.monotonic() + HANG, worked(process.pid)
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < given_up and worked(process.pid) - start < 2 * SECONDS:
            if waiting.select(2):
                return True
    return False


def worked(process: int) -> float:
    """Seconds of processors that a process has used; 0 where the system does not say as Linux does."""
    try:
        words = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def worker() -> Iterator[Worker]:
    one = Worker()
    one.ask("recipes", HERE / "nothing")  # its libraries are loaded before the time is measured
    one.results.clear()
    yield one
    one.stop()


def fuzz(kind: str, inputs: st.SearchStrategy[Any], build: Callable[[Any], Path], worker: Worker,
         check: Callable[[Any, Path], None] = lambda _, __: None, *, seconds: float = SECONDS,
         megabytes: float = MEGABYTES) -> None:
    """Build and open one input after another until the time of the kind is over. check: what else must hold."""
    ends: list[float] = []

    # Many short rounds for a long time: hypothesis would go on to its last example without asking for more.
    @settings(max_examples=ROUND if MINUTES else EXAMPLES[kind], derandomize=not MINUTES, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # type: ignore
    @given(inputs)
    def run(drawn: Any) -> None:
        if not ends:  # not before: hypothesis prepares its texts first
            ends.append(time.monotonic() + SHARES[kind] * (50 * MINUTES or FIXED))
        if time.monotonic() > ends[0]:
            return
        path = build(drawn)
        outcome, said, took, memory = worker.ask(kind, path)
        if outcome not in ("opened", "refused") or took > seconds or memory > megabytes:
            raise AssertionError(f"{kind}: {outcome} after {took:.2f} s and {memory:.0f} MB; kept as {keep(path)}\n"
                                 f"{said}")
        check(drawn, path)

    run()
    while MINUTES and time.monotonic() < ends[0]:
        run()
    outcomes = [outcome for outcome, _, _ in worker.results]
    slowest, most = (max(result[place] for result in worker.results) for place in (1, 2))
    print(f"\n{kind}: {len(outcomes)} inputs, {outcomes.count('opened')} opened, {outcomes.count('refused')} refused, "
          f"slowest {slowest:.2f} s, at most {most:.0f} MB")
    assert len(outcomes) >= (1 if MINUTES else 10)  # a busy machine gets to few in a short time


def keep(path: Path) -> Path:
    KEPT.mkdir(parents=True, exist_ok=True)
    place = KEPT / f"{path.name}-{time.time_ns()}{path.suffix}"
    with contextlib.suppress(OSError):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, place)
    return place


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked bundle."""
    folder = tmp_path_factory.mktemp("whole") / "bundle"
    shutil.unpack_archive(OLDER / "bundle.zip", folder)
    return folder


def test_bundles(whole: Path, tmp_path: Path, worker: Worker) -> None:
    """Bytes of any file, fields of bundle.json and parts of the graph, each with right digests; bytes of the ZIP."""
    archive = (OLDER / "bundle.zip").read_bytes()
    parts = [name for name in FILES if (whole / name).is_file()]

    def build(drawn: tuple[str, Any]) -> Path:
        what, how = drawn
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        if what == "zip":
            (tmp_path / "b.zip").write_bytes(mutated(archive, how))
            return tmp_path / "b.zip"
        shutil.copytree(whole, tmp_path / "b")
        if what == "part":
            name, changes = how
            replace_file(tmp_path / "b", name, mutated((whole / name).read_bytes(), changes))
        elif what == "text":
            (tmp_path / "b" / "bundle.json").write_bytes(mutated((whole / "bundle.json").read_bytes(), how))
        else:
            {"field": changed_field, "graph": changed_graph}[what](tmp_path / "b", *how)
        return tmp_path / "b"

    number = st.integers(0, 10**6)
    inputs = st.one_of(
        st.tuples(st.just("zip"), BYTES), st.tuples(st.just("text"), BYTES),
        st.tuples(st.just("part"), st.tuples(st.sampled_from(parts), BYTES)),
        st.tuples(st.just("field"), st.tuples(number, st.sampled_from(ODD))),
        st.tuples(st.just("graph"), st.tuples(number, st.integers(0, 5), st.integers(-2**40, 2**40))))
    fuzz("bundles", inputs, build, worker, seconds=BUNDLE_SECONDS, megabytes=BUNDLE_MEGABYTES)


def test_images(tmp_path: Path, worker: Worker) -> None:
    """Bytes of every kind of image file."""
    seeds = {name: odd.path.read_bytes() for name, odd in write_odd(tmp_path / "odd").items()}

    def build(drawn: tuple[str, Any]) -> Path:
        path = tmp_path / f"damaged-{drawn[0]}"
        path.write_bytes(mutated(seeds[drawn[0]], drawn[1]))
        return path

    fuzz("images", st.tuples(st.sampled_from(sorted(seeds)), BYTES), build, worker)


VALUES = st.one_of(st.text(max_size=12), st.sampled_from(["", "NA", "nan", "=1+1", "a\tb", "a;b", "0012", "é", "\x00"]),
                   st.integers(), st.floats())


def test_tables(tmp_path: Path, worker: Worker) -> None:
    """Bytes of manifests, and manifests of any values."""
    rows = make_manifest([{"cell_id": f"c{n}", "image": f"{n}.png", "label": "a", "subject": f"s{n}"}
                          for n in range(9)])
    seeds = {}
    for suffix in (".csv", ".parquet"):
        write_manifest(rows, tmp_path / f"seed{suffix}")
        seeds[suffix] = (tmp_path / f"seed{suffix}").read_bytes()

    def build(drawn: tuple[str, Any]) -> Path:
        suffix, how = drawn
        path = tmp_path / f"table{suffix}"
        if isinstance(how, dict):
            columns = {name: pl.Series(name, values, strict=False) for name, values in how.items()}
            frame = pl.DataFrame(columns)
            frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
        else:
            path.write_bytes(mutated(seeds[suffix], how))
        return path

    column = st.lists(VALUES, min_size=3, max_size=3)
    frames = st.fixed_dictionaries({"cell_id": column, "image": column}, optional={
        "label": column, "subject": column, "x": column, "y": column, "width": column, "height": column})
    fuzz("tables", st.tuples(st.sampled_from(sorted(seeds)), BYTES | frames), build, worker)


def test_recipes(tmp_path: Path, worker: Worker) -> None:
    """Bytes of every built-in recipe, and other values of its keys."""
    seeds = {name: recipe_text(name)[1] for name in builtin_recipes()}

    def build(drawn: tuple[str, Any]) -> Path:
        name, how = drawn
        path = tmp_path / "recipe.toml"
        path.write_bytes(changed_line(seeds[name], *how).encode() if isinstance(how, tuple) else
                         mutated(seeds[name].encode(), how))
        return path

    values = st.tuples(st.integers(0, 200), st.sampled_from(VALUES_OF_TOML))
    fuzz("recipes", st.tuples(st.sampled_from(sorted(seeds)), BYTES | values), build, worker)


def test_runs(tmp_path: Path, worker: Worker) -> None:
    """Bytes of the files of a run."""
    shutil.unpack_archive(OLDER / "run.zip", tmp_path / "whole")
    names = ("recipe.toml", "manifest.parquet", "metrics.json", "predictions.parquet")

    def build(drawn: tuple[str, Any]) -> Path:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "run")
        path = tmp_path / "run" / drawn[0]
        path.write_bytes(mutated(path.read_bytes(), drawn[1]))
        return tmp_path / "run"

    fuzz("runs", st.tuples(st.sampled_from(names), BYTES), build, worker)


NAMES = st.one_of(
    st.text(st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.sampled_from(["a [1].png", "*.png", "?.png", "{a,b}.png", "-o.png", "<b>.png", "a\nb.png", "=1+1.png", " .png"]))


def test_folders(tmp_path: Path, worker: Worker) -> None:
    """Good cells under any names beside damaged ones: each good cell has the row that it has alone."""
    write_cells(tmp_path / "cells", 4, labels=("lymphocyte",), subjects=1)
    good = [path.read_bytes() for path in sorted((tmp_path / "cells").rglob("*.png"))[:4]]
    alone: dict[int, dict[str, Any]] = {}

    def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
        table = pl.read_parquet(folder.with_name("predictions.parquet"), glob=False)
        return {row["cell"]: {name: value for name, value in row.items() if name not in ("cell", "image")}
                for row in table.iter_rows(named=True)}

    def build(drawn: tuple[list[str], Any]) -> Path:
        folder = tmp_path / "in" / "folder"
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, content in enumerate(good):
            (folder / f"good{number}.png").write_bytes(content)
        for number, name in enumerate(drawn[0]):
            with contextlib.suppress(OSError):  # a name that this system does not take
                (folder / f"{name[:20]}{number}.png").write_bytes(good[number % 4])
        (folder / "damaged.png").write_bytes(mutated(good[0], drawn[1]))
        return folder

    def check(drawn: tuple[list[str], Any], folder: Path) -> None:
        rows = rows_of(folder)
        files = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        assert len(rows) >= len(files), (rows.keys(), files)
        for number in range(4):
            row = rows[str(folder / f"good{number}.png")]
            assert row["error"] is None
            assert alone.setdefault(number, row) == row

    fuzz("folders", st.tuples(st.lists(NAMES, max_size=4), BYTES), build, worker, check)


def test_the_worker_reports_what_it_should(tmp_path: Path, worker: Worker) -> None:
    (tmp_path / "no.png").write_bytes(b"nothing")
    assert worker.ask("images", tmp_path / "no.png")[0] == "refused"
    assert worker.ask("bundles", OLDER / "bundle.zip")[0] == "opened"
    outcome, said, _, _ = worker.ask("no such kind", tmp_path)
    assert outcome == "fault"
    assert "KeyError" in said
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert worker.ask("bundles", tmp_path / "empty.zip")[0] == "refused"
