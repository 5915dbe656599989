"""Archives on a Ray cluster of several nodes on this machine: the same rows as here, whoever dies, joins or leaves."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from command import leukoscope, refusal
from leukoscope import __version__
from leukoscope.commands import smear_slides
from leukoscope.commands.archive_tables import scan_archive
from leukoscope.commands.cluster import Cluster
from leukoscope.commands.engines import TRIES, Task
from leukoscope.commands.slide_inputs import slides_of
from leukoscope.commands.slide_options import SlideOptions, unheard
from leukoscope.manifest import write_table
from worker_tasks import die, die_once, double, refuse

pytest.importorskip("ray", reason="Ray is not installed: pip install 'leukoscope[ray]'")

SQUARES = SlideOptions(types=False, target=20, workers=1)
"""Some squares of each slide."""
PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
TABLES = ("cells.parquet", "subjects.parquet", "one_slide.svs/squares.parquet", "two_slide.svs/cells.parquet")


def patient(get_node: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with more patience: on a busy machine a node takes longer than the 30 s that Ray waits."""
    def wait(*arguments: Any) -> Any:
        end = time.monotonic() + 240
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    return wait


def small() -> dict[str, Any]:
    """How a node is started. It is given its ports, since it waits only 15 s for those that its parts choose."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in PORTS]
        for one in sockets:
            one.bind(("", 0))
        ports = {name: one.getsockname()[1] for name, one in zip(PORTS, sockets, strict=True)}
    return {"object_store_memory": 80 * 2**20, "include_log_monitor": False, "include_dashboard": False, **ports}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without cores, and a node with one. Its workers find the tasks of the tests."""
    from ray._private import services
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=":")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_raylet_start_wait_time_s", "240")
        patch.setenv("RAY_agent_register_timeout_ms", "240000")
        patch.setattr(services, "get_node", patient(services.get_node))
        nodes: Any = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "no_monitor": True, **small()})
        nodes.first = nodes.add_node(num_cpus=1, **small())
        try:
            yield nodes
        finally:
            nodes.shutdown()


@pytest.fixture(scope="module")
def here(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, counted in this process."""
    out = tmp_path_factory.mktemp("here") / "out"
    smear_slides.smear_archive(slides_of([str(archive)], out), out, SQUARES)
    return out


def same(out: Path, other: Path) -> None:
    for name in TABLES:
        assert pl.read_parquet(out / name).equals(pl.read_parquet(other / name)), name


def results(engine: Cluster, *tasks: Task) -> dict[object, Any]:
    for task in tasks:
        engine.submit(task)
    return dict(engine.next() for _ in tasks)


def test_a_worker_that_dies_costs_its_task_only(cluster: Any, tmp_path: Path):
    engine = Cluster(cluster.address, None, tmp_path, unheard)
    try:
        done = results(engine, *(Task(n, double, (n,)) for n in range(3)), Task("once", die_once, (tmp_path / "m", 7)),
                       Task("always", die, ()), Task("refused", refuse, ()))
    finally:
        engine.close()
    assert [done[n] for n in range(3)] == [0, 2, 4]
    assert done["once"] == 7
    assert f"{TRIES} workers died of it" in done["always"].what
    assert done["always"].of_worker
    assert str(done["refused"].error()) == "slide.svs: is damaged; export it again"
    assert not list(tmp_path.glob(".cluster*"))


def test_workers_may_join_die_and_leave(cluster: Any, archive: Path, here: Path, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch):
    """An actor is killed, a second node joins, the first one dies; then the run is stopped, and goes on with another
    engine."""
    import ray

    out, engine = tmp_path / "out", Cluster(cluster.address, None, tmp_path, unheard)
    steps, machines = iter(("kill", "join", "leave", "work", "stop")), set()

    def meddle(done: int, total: int) -> None:
        assert total >= done
        busy = [worker for worker, _, _ in engine._busy.values()]
        machines.update(worker.machine for worker in busy)
        match next(steps, ""):
            case "kill":
                ray.kill(busy[0].actor)
            case "join":
                cluster.second = cluster.add_node(num_cpus=1, **small())
            case "leave":
                cluster.remove_node(cluster.first, allow_graceful=False)
            case "stop":
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(smear_slides, "engine_for", lambda *_: engine)
        with pytest.raises(KeyboardInterrupt):
            smear_slides.smear_archive(slides_of([str(archive)], out), out, SQUARES, on_progress=meddle)
    assert len(machines) == 2
    assert "left_out" in (out / ".parts" / "progress.json").read_text()
    answer = leukoscope("smear", archive, "-o", out, "--no-types", "--target", 20, "--resume", "--engine", "ray",
                        "--address", cluster.address)
    assert answer.code == 0, answer.err
    assert "left out: " in answer.err
    assert "broken.svs" in answer.err
    same(out, here)


def test_a_machine_with_another_version_gets_no_work(cluster: Any, archive: Path, tmp_path: Path):
    """A node whose processes import an older package, wherever else they could find this one."""
    old = tmp_path / "old"
    old.mkdir()
    (old / "leukoscope.py").write_text('__version__ = "0.0.1"\n')
    (old / "sitecustomize.py").write_text(f"""
import sys
from importlib.util import spec_from_file_location
class Old:
    def find_spec(self, name, path=None, target=None):
        return spec_from_file_location(name, {str(old / "leukoscope.py")!r}) if name == "leukoscope" else None
sys.meta_path.insert(0, Old())
""")
    said: list[str] = []
    engine = Cluster(cluster.address, None, tmp_path, said.append)
    node = cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(old)}, **small())
    try:
        end = time.monotonic() + 120
        while not said and time.monotonic() < end:
            assert results(engine, Task(1, double, (4,))) == {1: 8}  # the other machine goes on
            time.sleep(0.1)
    finally:
        engine.close()
        cluster.remove_node(node, allow_graceful=False)
    assert len(said) == 1
    assert said[0].endswith(f" has leukoscope 0.0.1, and this is {__version__}")


def test_the_cells_of_an_archive_are_one_table_by_subject(here: Path, tmp_path: Path):
    parts = sorted(path.relative_to(here / "cells").as_posix() for path in (here / "cells").rglob("*.parquet"))
    assert parts == ["subject=one%2Fslide.svs/one_slide.svs.parquet", "subject=two%2Fslide.svs/two_slide.svs.parquet"]
    table, joined = scan_archive(here), pl.read_parquet(here / "cells.parquet")
    assert table.collect().select(joined.columns).equals(joined)
    assert pl.scan_parquet(here / "cells" / "**" / "*.parquet", hive_partitioning=True).select(
        pl.col("subject").unique().sort()).collect()["subject"].to_list() == ["one/slide.svs", "two/slide.svs"]
    write_table(table, tmp_path / "lazy.csv")
    write_table(table.collect(), tmp_path / "eager.csv")
    assert (tmp_path / "lazy.csv").read_bytes() == (tmp_path / "eager.csv").read_bytes()


def test_a_cluster_that_is_not_there_is_one_line(archive: Path, tmp_path: Path):
    def of(*options: object) -> str:
        return refusal("smear", archive, "-o", tmp_path / "out", "--no-types", *options)

    assert "nothing answers there" in of("--engine", "ray", "--address", "127.0.0.1:9")
    assert "expected HOST:PORT" in of("--engine", "ray", "--address", "ray://head")
    assert "add --engine ray" in of("--address", "127.0.0.1:9")
    assert "use local or ray" in of("--engine", "slurm")
