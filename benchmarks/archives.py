"""Archives of slides on each engine: the scheduler's own cost, throughput, and the same table after workers are killed.

    python benchmarks/archives.py                                    # 100,000 empty regions, 200 slides, 20 kills
    python benchmarks/archives.py --empty 10000 --slides 20          # what fewer cores allow
    python benchmarks/archives.py --folder DIR --parts empty         # one part at a time: then local, ray, ...

Parts: `empty`, regions that do nothing, on both engines; `local` and `ray`, the same phantom archive on each; `kills`,
the same on Ray while workers are killed at random; `nodes`, the same on several nodes of Ray with a worker each, while
workers and whole nodes are killed at random, and another node joins for each. The archive is four different phantom
slides under many names. With `--folder` archive and results stay there, so that each part runs alone and is compared
with what an earlier call has counted. On 2 cores `empty` takes about 4 min and each other part about 20 min, with
--slides 100 half of that; after 20 regions a part says how long it takes. Ray runs on this machine, with a core for
each worker. docs/archives.md extends these figures to a million slides.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import pickle
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from leukoscope import __version__
from leukoscope.commands import smear_slides
from leukoscope.commands.cluster import Cluster
from leukoscope.commands.engines import Engine, Processes, Task
from leukoscope.commands.slide_inputs import slides_of
from leukoscope.commands.slide_options import SlideOptions, unheard
from leukoscope.commands.slide_plan import SlideJob
from leukoscope.commands.slide_region import RegionDone
from leukoscope.phantom.slide import render_slide
from leukoscope.phantom.slide_files import write_slide

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster as Nodes

PARTS = ("empty", "local", "ray", "kills", "nodes")
LEAST = 0.9
"""Throughput on Ray, of that of the local engine."""
ESTIMATE = 20
"""Regions after which a part says how long it takes."""
NODE = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
"""How a node of Ray is started."""
_SIDES = 2880, 2400  # px of a slide of the archive
_BLOCK = 480


@dataclass(frozen=True)
class Run:
    """An archive that was counted: seconds of the clock, regions, and the folder of the result."""

    clock: float
    regions: int
    out: Path


def nothing(job: SlideJob, number: int) -> RegionDone:
    """An empty region."""
    return RegionDone(number, 0)


def empty(name: str, engine: Engine, count: int) -> None:
    """Print what the driver spends on a region, with as much in flight as for real ones."""
    out = "/archive/2024/counted"
    job = SlideJob("/archive/2024/slides/slide_0123456.svs", f"{out}/slide_0123456/.parts", f"{out}/slide_0123456",
                   f"{out}/cells/subject=patient 0123456/slide_0123456.parquet", "slides/slide_0123456.svs",
                   "slide_0123456", "patient 0123456", None, True, None, 200, __version__)
    engine.submit(Task(-1, nothing, (job, -1)))
    engine.next()  # workers have started
    sent, done = 0, 0
    clock, own = time.perf_counter(), time.process_time()
    while done < count:
        while sent < count and sent - done < 2 * engine.slots:
            engine.submit(Task(("slide_0123456", "region", sent), nothing, (job, sent)))
            sent += 1
        engine.next()
        done += 1
    clock, own = time.perf_counter() - clock, time.process_time() - own
    message = len(pickle.dumps((nothing, (job, count)))) + len(pickle.dumps(RegionDone(count, 0)))
    print(f"{name}: {count:,} empty regions in {clock:.1f} s: {1e3 * own / count:.3f} ms of the driver's processor and "
          f"{1e3 * clock / count:.3f} ms of the clock each, {message} bytes to and from a worker", flush=True)
    engine.close()


def archive_of(count: int, folder: Path) -> Path:
    """`count` phantom slides, every fourth of the same content; those of an earlier call stay."""
    if len(list(folder.glob("slide_*.svs"))) == count:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rendered = render_slide(*_SIDES, seed=4, block=_BLOCK, variety=4, white_cells=0.15)
    zones = np.full((_SIDES[1] // _BLOCK, _SIDES[0] // _BLOCK), "monolayer", dtype="<U9")
    for number in range(count):
        path = folder / f"slide_{number:04d}.svs"
        if number < 4:
            chosen = np.random.default_rng([5, number]).integers(0, [[[4, 8]]], (*zones.shape, 2))
            write_slide(replace(rendered, zones=zones, chosen=chosen), path)
        else:
            os.link(folder / f"slide_{number % 4:04d}.svs", path)
    for truth in folder.glob("*.truth.json"):
        truth.unlink()
    return folder


def count(archive: Path, out: Path, make: Callable[[], Engine], meddle: Callable[[Engine], None] | None = None) -> Run:
    """Count an archive with 20 leukocytes a slide."""
    started, regions, said = [], 0, False

    def engine(*_: object) -> Engine:
        started.append(make())
        return started[0]

    def on_progress(done: int, total: int) -> None:
        nonlocal regions, said
        regions = done
        if done >= ESTIMATE and not said:
            said = True
            print(f"{out.name}: about {(time.perf_counter() - clock) * total / done / 60:.0f} min in all", flush=True)
        if meddle is not None:
            meddle(started[0])

    smear_slides.engine_for = engine
    clock = time.perf_counter()
    smear_slides.smear_archive(slides_of([str(archive)], out), out, SlideOptions(types=True, target=20),
                               overwrite=True, on_progress=on_progress)
    run = Run(time.perf_counter() - clock, regions, out)
    out.with_suffix(".json").write_text(json.dumps({"clock": run.clock, "regions": run.regions}))
    return run


def earlier(folder: Path, part: str) -> Run | None:
    """What a part of an earlier call has counted there."""
    stored = folder / f"{part}.json"
    return Run(**json.loads(stored.read_text()), out=folder / part) if stored.is_file() else None


def killer(times: int, every: float, nodes: Nodes | None = None) -> tuple[Callable[[Engine], None], Counter[str]]:
    """What kills the process of a random worker or, half of the time, a random one of `nodes`, for which another joins:
    `times` in all, at least `every` seconds apart."""
    rng, last, killed = random.Random(7), [time.monotonic()], Counter[str]()

    def meddle(engine: Engine) -> None:
        import ray

        assert isinstance(engine, Cluster)
        workers = [worker for worker, _, _ in engine._busy.values()]
        if not workers or killed.total() >= times or time.monotonic() - last[0] < every:
            return
        if nodes is not None and rng.random() < 0.5:
            nodes.remove_node(rng.choice(sorted(nodes.worker_nodes, key=id)), allow_graceful=False)
            nodes.add_node(num_cpus=1, **NODE)
            killed["nodes"] += 1
        else:
            ray.kill(rng.choice(workers).actor)
            killed["workers"] += 1
        last[0] = time.monotonic()

    return meddle, killed


def nodes_of(count: int) -> Nodes:
    """A head without cores, and nodes with one each, all on this machine."""
    from ray.cluster_utils import Cluster as Nodes

    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
    for _ in range(count):
        nodes.add_node(num_cpus=1, **NODE)
    return nodes


def show(what: str, run: Run, slides: int) -> None:
    written = sum(path.stat().st_size for path in run.out.rglob("*") if path.is_file())
    files = sum(path.is_file() for path in run.out.rglob("*"))
    print(f"{what}: {slides} slides, {run.regions:,} regions in {run.clock:.1f} s ({run.regions / run.clock:.2f} "
          f"regions/s); {written / slides / 1e3:.0f} kB and {files / slides:.1f} files a slide written", flush=True)


def same(first: Path, second: Path) -> bool:
    return all(pl.read_parquet(first / name).equals(pl.read_parquet(second / name)) for name in (
        "cells.parquet", "subjects.parquet"))


def in_words(killed: Counter[str]) -> str:
    return ", ".join(f"{number} {what} killed" for what, number in sorted(killed.items()))


def compare(folder: Path, parts: Sequence[str]) -> None:
    """Print whether parts gave the table of the local engine, and the throughput of Ray."""
    local = earlier(folder, "local")
    for part in parts if local else ():
        run = earlier(folder, part)
        assert local is not None
        assert run is not None
        print(f"{part}: the same table as local: {same(local.out, run.out)}")
        if part == "ray":
            ratio = local.clock / run.clock
            print(f"throughput of ray, of local: {ratio:.2f}, aim {LEAST}: {'ok' if ratio >= LEAST else 'below'}")


def main() -> None:
    """Print the cost of empty regions, throughput of both engines, and whether the tables are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--empty", type=int, default=100_000)
    parser.add_argument("--slides", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--every", type=float, default=2.0, help="s between two kills, at least")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--folder", type=Path, help="where archive and results stay, for parts that run alone")
    given = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    import ray

    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    if set(given.parts) - {"nodes"}:
        ray.init("local", num_cpus=given.workers, log_to_driver=False, logging_level=logging.ERROR, **NODE)
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)

        def cluster() -> Cluster:
            return Cluster(None, given.workers, folder, unheard)

        def local() -> Processes:
            return Processes(given.workers)

        if "empty" in given.parts:
            empty("local", local(), given.empty)
            empty("ray", cluster(), given.empty)
        archive = archive_of(given.slides, folder / "archive") if set(given.parts) - {"empty"} else folder
        meddle, killed = killer(given.kills, given.every)
        for part, make, between in (("local", local, None), ("ray", cluster, None), ("kills", cluster, meddle)):
            if part in given.parts:
                run = count(archive, folder / part, make, between)
                show(f"{part}{f', {in_words(killed)}' if between else ''}", run, given.slides)
        ray.shutdown()
        if "nodes" in given.parts:
            logging.getLogger("ray").setLevel(logging.CRITICAL)  # of each lost node it prints the last lines
            nodes = nodes_of(given.workers)
            meddle, killed = killer(given.kills, given.every, nodes)
            run = count(archive, folder / "nodes", lambda: Cluster(nodes.address, None, folder, unheard), meddle)
            show(f"nodes, {in_words(killed)}", run, given.slides)
            nodes.shutdown()
        compare(folder, [part for part in ("ray", "kills", "nodes") if part in given.parts])


if __name__ == "__main__":
    sys.exit(main())
