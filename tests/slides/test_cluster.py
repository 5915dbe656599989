"""Archives on a Ray cluster of several nodes on this machine: the same rows as here, whoever dies, joins or leaves."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from command import leukoscope, refusal
from leukoscope import __version__
from leukoscope.commands import cluster as cluster_module
from leukoscope.commands import smear_slides
from leukoscope.commands.archive_tables import scan_archive
from leukoscope.commands.cluster import Cluster
from leukoscope.commands.engines import TRIES, Task
from leukoscope.commands.slide_inputs import slides_of
from leukoscope.commands.slide_options import SlideOptions, unheard
from leukoscope.errors import LeukoscopeError
from leukoscope.manifest import write_table
from worker_tasks import die, die_first, double, fill_disk, refuse

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
        patch.setenv("RAY_health_check_timeout_ms", "60000")  # a node that answers late on a busy machine is not lost
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


def kill_node(cluster: Any, node: Any) -> None:
    """Kill a node, and wait until the head knows: until then it gives the dead node work."""
    cluster.remove_node(node, allow_graceful=False)
    while any(one["NodeID"] == node.node_id and one["Alive"] for one in cluster.global_state.node_table()):
        time.sleep(0.2)


def same(out: Path, other: Path) -> None:
    for name in TABLES:
        assert pl.read_parquet(out / name).equals(pl.read_parquet(other / name)), name


def results(engine: Cluster, *tasks: Task) -> dict[object, Any]:
    for task in tasks:
        engine.submit(task)
    return dict(engine.next() for _ in tasks)


def kill_the_command(words: list[str], begun: Callable[[], list[Path]]) -> None:
    """Start the command, and kill it by kill -9 as soon as files show that it has begun."""
    process = subprocess.Popen([sys.executable, "-c", "from leukoscope.cli.main import main; main()", *words],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 240
    while not begun() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"


def test_a_worker_that_dies_costs_its_task_only(cluster: Any, tmp_path: Path):
    engine = Cluster(cluster.address, None, tmp_path, unheard)
    try:
        done = results(engine, *(Task(n, double, (n,)) for n in range(3)),
                       Task("once", die_first, (1, tmp_path / "m", 7)),
                       Task("often", die_first, (TRIES, tmp_path / "n", 8)), Task("always", die, ()),
                       Task("refused", refuse, ()))
    finally:
        engine.close()
    assert [done[n] for n in range(3)] == [0, 2, 4]
    assert (done["once"], done["often"]) == (7, 8)
    assert f"{TRIES + 1} workers died of it" in done["always"].what
    assert done["always"].of_worker
    assert str(done["refused"].error()) == "slide.svs: is damaged; export it again"
    assert not list(tmp_path.glob(".cluster*"))


def test_workers_may_join_die_and_leave(cluster: Any, archive: Path, here: Path, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch):
    """An actor is killed, a second node joins, the first one dies; then the run is stopped, and goes on with another
    engine."""
    import ray

    out, engine = tmp_path / "out", Cluster(cluster.address, None, tmp_path, unheard)
    steps, machines = ["kill", "join", "leave", "stop"], set()

    def meddle(done: int, total: int) -> None:
        assert total >= done
        busy = [worker for worker, _, _ in engine._busy.values()]
        machines.update(worker.machine for worker in busy)
        if steps == ["stop"] and len(machines) < 2:
            return  # results of the first machine may still come in
        match steps.pop(0):
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
        kill_node(cluster, node)
    assert len(said) == 1
    assert said[0].endswith(f" has leukoscope 0.0.1, and this is {__version__}")


def test_a_killed_run_goes_on_with_either_engine(cluster: Any, archive: Path, here: Path, tmp_path: Path):
    """The command itself is killed on the cluster, by kill -9; the folder that it leaves goes on twice."""
    out, copy = tmp_path / "out", tmp_path / "copy"
    words = ["smear", str(archive), "-o", str(out), "--no-types", "--target", "20"]
    on_ray = ["--engine", "ray", "--address", cluster.address]
    kill_the_command([*words, *on_ray], lambda: list(out.glob("*/.parts/0*.json")))
    assert list(out.glob("*/.parts/0*.json"))
    shutil.copytree(out, copy)
    for folder, options in ((out, on_ray), (copy, ["--workers", "1"])):
        words[3] = str(folder)
        assert "holds a stopped run; continue with --resume" in refusal(*words, *options)
        answer = leukoscope(*words, *options, "--resume")
        assert answer.code == 0, answer.err
        same(folder, here)
        assert not list(folder.glob("**/.parts"))


def test_a_killed_run_leaves_nothing_beside_its_folder(cluster: Any, archive: Path, tmp_path: Path):
    out = tmp_path / "out"
    words = ["smear", str(archive / "one" / "slide.svs"), "-o", str(out), "--no-types", "--target", "2"]
    on_ray = ["--engine", "ray", "--address", cluster.address]
    kill_the_command([*words, *on_ray], lambda: list(out.glob(".parts/.cluster*")))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    answer = leukoscope(*words, "--workers", 1, "--resume")
    assert answer.code == 0, answer.err
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_slide_that_vanishes_and_a_full_disk_are_said(cluster: Any, archive: Path, tmp_path: Path):
    """As with the local engine (test_archives.py). The disk is a real one of 1 MB, if it can be mounted."""
    (tmp_path / "in").mkdir()
    for name in ("a.svs", "b.svs"):
        shutil.copy(archive / "one" / "slide.svs", tmp_path / "in" / name)
    options = replace(SQUARES, target=2, engine="ray", address=cluster.address)
    slides = slides_of([str(tmp_path / "in")], tmp_path / "out")
    (tmp_path / "in" / "a.svs").unlink()
    summary = smear_slides.smear_archive(slides, tmp_path / "out", options)
    assert list(summary.smears) == ["b"]
    assert [reason for name, reason in summary.unreadable.items() if name.endswith("a.svs")] == ["no such file"]
    engine = Cluster(cluster.address, None, tmp_path, unheard)
    try:
        full = results(engine, Task(1, fill_disk, ()))[1]
    finally:
        engine.close()
    assert isinstance(full.error(), OSError)
    with small_disk(tmp_path / "disk") as disk:
        words = ("smear", tmp_path / "in", "-o", disk / "out", "--no-types", "--target", 2, "--engine", "ray",
                 "--address", cluster.address)
        line = refusal(*words)
        assert "No space left on device; free disk space" in line
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        answer = leukoscope(*words, "--resume")
        assert answer.code == 0, answer.err
        assert pl.read_parquet(disk / "out" / "cells.parquet").equals(pl.read_parquet(tmp_path / "out/cells.parquet"))


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 1 MB. Skips the rest of the test where none can be mounted."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True,
                      check=False).returncode:
        pytest.skip("no disk can be mounted here: the full disk was tried with a worker's error alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


ONLY_HERE = "/proc/self/task/{}"
"""A path that this process sees and no other one."""


def test_what_no_machine_sees_is_said_with_its_machines(cluster: Any, tmp_path: Path):
    path = ONLY_HERE.format(os.getpid())
    assert Path(path).exists()
    engine = Cluster(cluster.address, None, tmp_path, unheard)
    try:
        done = results(engine, Task(1, double, (4,), path), Task(2, double, (5,)), Task(3, double, (6,), "/gone.svs"))
    finally:
        engine.close()
    host = socket.gethostname()
    assert f"{path}: no machine of the cluster sees it ({host}); put slides where all" in str(done[1].error())
    assert done[2] == 10
    assert done[3] == 12  # of a file that has gone everywhere the task itself speaks
    engine = Cluster(cluster.address, None, tmp_path, unheard, [path])
    try:
        with pytest.raises(LeukoscopeError, match=f"no machine of the cluster can work: {host} does not see {path}"):
            results(engine, Task(1, double, (4,)))
    finally:
        engine.close()


def test_a_slide_is_left_to_the_machines_that_see_it(cluster: Any, archive: Path, here: Path, tmp_path: Path):
    """A node whose processes do not see the slides works on no slide, and costs none."""
    (tmp_path / "sitecustomize.py").write_text(f"""
import os
stat = os.stat
def blind(path, *arguments, **options):
    if str(path).startswith({str(archive)!r}):
        raise FileNotFoundError(2, "hidden", path)
    return stat(path, *arguments, **options)
os.stat = blind
""")
    said: list[str] = []
    out, engine = tmp_path / "out", Cluster(cluster.address, None, tmp_path, said.append)
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    node = cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": path}, **small())
    slide = str(archive / "one" / "slide.svs")
    try:
        end = time.monotonic() + 120
        while not said and time.monotonic() < end:
            assert results(engine, *(Task(n, double, (n,), slide) for n in range(3))) == {0: 0, 1: 2, 2: 4}
        assert said == [f"{socket.gethostname()} does not see {slide}: left to other machines"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(smear_slides, "engine_for", lambda *_: engine)
            smear_slides.smear_archive(slides_of([str(archive)], out), out, SQUARES)
    finally:
        engine.close()
        kill_node(cluster, node)
    same(out, here)


def test_it_is_said_what_a_busy_or_empty_cluster_is_waited_for(cluster: Any, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch):
    import ray

    monkeypatch.setattr(cluster_module, "WAIT", 1.0)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        other: Any = ray.remote(num_cpus=1)(Other).remote()
        assert ray.get(other.works.remote())
        said: list[str] = []

        def busy(line: str) -> None:
            said.append(line)
            ray.kill(other)

        engine = Cluster(None, None, tmp_path, busy)
        assert results(engine, Task(1, double, (4,))) == {1: 8}
        engine.close()
        (line,) = said
        assert re.fullmatch(r"waiting for a free processor on the cluster \(it has \d\); Ctrl\+C stops, and --resume "
                            "goes on", line)
        said.clear()
        cluster.remove_node(getattr(cluster, "second", cluster.first), allow_graceful=True)
        while ray.cluster_resources().get("CPU", 0):
            time.sleep(0.2)

        def empty(line: str) -> None:
            said.append(line)
            cluster.add_node(num_cpus=1, **small())

        engine = Cluster(None, None, tmp_path, empty)
        assert results(engine, Task(1, double, (4,))) == {1: 8}
        engine.close()
        assert said == ["waiting for a machine: the cluster has none that can work; add one with ray start within "
                        "5 min"]
    finally:
        ray.shutdown()


class Other:
    """Another program on the cluster."""

    def works(self) -> bool:
        return True


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
