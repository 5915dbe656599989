"""Work on a Ray cluster: an actor for each core of each machine, which holds the networks and does a task at a time.

Only tasks travel, which are names of functions, paths and coordinates: slides and results lie where all machines see
them under one path. An actor is asked for its version of leukoscope, and whether it sees the folder of the results and
the bundle, before it gets work; a machine that lacks one is refused. A slide that a machine does not see is left to
those that do. Machines may join and leave while the work goes on: a new one gets actors within seconds, and what actors
of a lost one had in work is done again.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import LeukoscopeError, first_line
from .cluster_join import connect
from .engines import Ended, Failed, Task, Waiting, given_up

LOOK = 2.0
"""s between two looks at which machines there are."""
STARTS = 10
"""Times that an actor is started on a machine where they die at once."""
PATIENCE = 300.0
"""s for which a cluster may be without any machine."""
WAIT = 10.0
"""s without any worker after which it is said what is waited for."""
Reference = Any
"""To a result that is to come: Ray's own types of what it takes and gives do not match."""


@dataclass(frozen=True, eq=False)
class _Worker:
    """An actor, and the id and name of its machine."""

    actor: Any
    machine: str
    host: str


class Cluster:
    """An engine on a Ray cluster. address: of its head; None for the one that runs on this machine or, where there is
    none, for one of this machine's own. workers: at most so many actors. folder: where results are stored meanwhile; it
    exists when the first task is given. on_note: takes lines for the user. needs: paths that each machine must see.
    Raises LeukoscopeError where there is no such cluster."""

    def __init__(self, address: str | None, workers: int | None, folder: Path, on_note: Callable[[str], None],
                 needs: Sequence[str] = ()) -> None:
        self._most, self._folder, self._say, self._needs = workers, folder, on_note, needs
        self._connected = connect(address)
        self._waiting = Waiting()
        self._starting: dict[Reference, _Worker] = {}
        self._idle: list[_Worker] = []
        self._busy: dict[Reference, tuple[_Worker, Task, int]] = {}
        self._ended: deque[Ended] = deque()
        self._refused: dict[str, str] = {}  # machine -> why
        self._blind: dict[str, dict[str, str]] = {}  # path that a task needs -> machines without it, with their names
        self._unsaid: list[str] = []
        self._said_blind: set[str] = set()
        self._said_waiting = False
        self._failed_starts: Counter[str] = Counter()
        self._worked = self._looked = time.monotonic()
        self._class = _actor_class()
        self._sign: Path | None = None

    @property
    def slots(self) -> int:
        return max(len(self._starting) + len(self._idle) + len(self._busy), 1)

    def submit(self, task: Task) -> None:
        if self._sign is None:
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".cluster.", delete=False) as file:
                self._sign = Path(file.name)
            self._look()
        self._waiting.add(task)
        self._hand_out()

    def next(self) -> Ended:
        import ray

        while not self._ended:
            if time.monotonic() - self._looked > LOOK:
                self._look()
            self._hand_out()
            pending = [*self._starting, *self._busy]
            if not self._idle and not self._busy:
                self._check_hope()
            if not self._busy and (self._waiting.any or not self._idle):
                self._tell_waiting()
            self._give_up_unseen()
            if not pending and not self._ended:
                time.sleep(LOOK / 4)
            for reference in ray.wait(pending, timeout=LOOK)[0] if pending and not self._ended else ():
                if reference in self._starting:
                    self._welcome(reference, self._starting.pop(reference))
                else:
                    self._collect(reference, *self._busy.pop(reference))
        return self._ended.popleft()

    def close(self) -> None:
        import ray

        if self._sign is not None:
            self._sign.unlink(missing_ok=True)
        for worker in self._workers:
            _end(worker)
        self._starting.clear()
        self._idle.clear()
        self._busy.clear()
        if self._connected:
            ray.shutdown()

    @property
    def _workers(self) -> list[_Worker]:
        return [*self._starting.values(), *self._idle, *(worker for worker, _, _ in self._busy.values())]

    def _look(self) -> None:
        """Start an actor for each core that has none."""
        import ray

        self._looked = time.monotonic()
        workers = Counter(worker.machine for worker in self._workers)
        for machine in ray.nodes():
            name = machine["NodeID"]
            if not machine["Alive"] or name in self._refused:
                continue
            missing = int(machine["Resources"].get("CPU", 0)) - workers[name]
            if self._most is not None:
                missing = min(missing, self._most - workers.total())
            for _ in range(missing):
                self._start(name, machine["NodeManagerHostname"])
                workers[name] += 1

    def _start(self, machine: str, host: str) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(machine, soft=False)
        actor = self._class.options(num_cpus=1, max_restarts=0, scheduling_strategy=there).remote()
        paths = [str(self._sign), *self._needs]
        self._starting[actor.hello.remote(paths)] = _Worker(actor, machine, host)

    def _welcome(self, reference: Reference, worker: _Worker) -> None:
        """Take an actor that has started; refuse its machine if it has another version or other folders."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            version, unseen = ray.get(reference)
        except RayTaskError:
            self._refuse(worker, "has no leukoscope that can be loaded")
            return
        except RayError as error:
            _end(worker)
            self._failed_starts[worker.machine] += 1
            if self._failed_starts[worker.machine] >= STARTS:
                self._refuse(worker, f"ends its workers when they start ({first_line(error)})")
            return
        if version != __version__:
            self._refuse(worker, f"has leukoscope {version}, and this is {__version__}")
        elif unseen:
            self._refuse(worker, f"does not see {self._folder if unseen == str(self._sign) else unseen}")
        else:
            self._failed_starts.pop(worker.machine, None)
            self._idle.append(worker)
            self._worked, self._said_waiting = time.monotonic(), False
            self._tell()

    def _refuse(self, worker: _Worker, reason: str) -> None:
        if worker.machine not in self._refused:
            self._refused[worker.machine] = f"{worker.host} {reason}"
            # Said when another one works; else it is the one line with which the run ends.
            self._unsaid.append(f"left out: {worker.host} {reason}")
        for other, own in [*self._starting.items()]:
            if own.machine == worker.machine:
                _end(self._starting.pop(other))
        _end(worker)
        self._tell()

    def _tell(self) -> None:
        """Say which machines were refused, once another one works."""
        if self._idle or self._busy:
            for line in self._unsaid:
                self._say(line)
            self._unsaid.clear()

    def _tell_waiting(self) -> None:
        """Say once, after some seconds, why nothing is done."""
        import ray

        if self._said_waiting or time.monotonic() - self._worked < WAIT:
            return
        self._said_waiting = True
        count = int(ray.cluster_resources().get("CPU", 0))
        self._say(f"waiting for a free processor on the cluster (it has {count}); Ctrl+C stops, and --resume goes on"
                  if self._starting else
                  f"waiting for a machine: the cluster has none that can work; add one with ray start within "
                  f"{PATIENCE / 60:.0f} min")

    def _hand_out(self) -> None:
        for worker in self._idle[::-1] if self._waiting.any else ():
            it = self._waiting.take(len(self._busy), lambda task, machine=worker.machine: (
                machine not in self._blind.get(task.needs, ())))
            if it is not None:
                task, tried = it
                self._idle.remove(worker)
                work = worker.actor.work.remote(task.function, task.arguments, task.needs)
                self._busy[work] = worker, task, tried

    def _pass_on(self, worker: _Worker, task: Task, tried: int) -> None:
        """Leave a task to machines that see its file. A file that has gone here too is for the task to report."""
        if os.path.exists(task.needs):
            self._blind.setdefault(task.needs, {})[worker.machine] = worker.host
        else:
            task = replace(task, needs="")
        self._waiting.back(task, tried)

    def _give_up_unseen(self) -> None:
        """End tasks whose file no machine sees; one whose processors are all busy may see it."""
        machines = {worker.machine for worker in self._workers}
        if not self._blind or not machines:
            return
        for task in self._waiting.remove(lambda task: machines <= self._blind.get(task.needs, {}).keys()):
            names = ", ".join(sorted(set(self._blind[task.needs].values())))
            self._ended.append((task.key, Failed(f"{task.needs}: no machine of the cluster sees it ({names})",
                                                 "put slides where all machines see them under one path")))

    def _collect(self, reference: Reference, worker: _Worker, task: Task, tried: int) -> None:
        """Take the result of an actor, or note that it died; a lost machine is no fault of the task."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        self._worked = time.monotonic()
        try:
            seen, result = ray.get(reference)
            self._idle.append(worker)
            if not seen:
                self._pass_on(worker, task, tried)
                return
            self._ended.append((task.key, result))
            for machine, host in self._blind.get(task.needs, {}).items():
                if machine not in self._said_blind:
                    self._said_blind.add(machine)
                    self._say(f"{host} does not see {task.needs}: left to other machines")
        except RayTaskError as error:  # its message could not be read there
            self._ended.append((task.key, Failed(first_line(error))))
            self._idle.append(worker)
        except RayError as error:
            _end(worker)
            stands = any(machine["NodeID"] == worker.machine and machine["Alive"] for machine in ray.nodes())
            if not stands:
                self._waiting.back(task, tried)
            elif not self._waiting.again(task, tried):
                self._ended.append((task.key, given_up(tried, _why(error))))
            self._look()

    def _check_hope(self) -> None:
        """Raise LeukoscopeError if no machine can work, or none has for long."""
        import ray

        able = {machine["NodeID"] for machine in ray.nodes()
                if machine["Alive"] and int(machine["Resources"].get("CPU", 0))}
        if able and able <= self._refused.keys() and not self._starting:
            raise LeukoscopeError(f"no machine of the cluster can work: {'; '.join(self._refused.values())}",
                                  f"install leukoscope {__version__} on every machine, put slides and results where "
                                  "all see them under one path, and use --resume")
        if not self._starting and time.monotonic() - self._worked > PATIENCE:
            raise LeukoscopeError(f"the Ray cluster has had no machine for {PATIENCE / 60:.0f} min",
                                  "add one with ray start, then use --resume")


def _actor_class() -> Any:
    """The class of the actors. Ray sends a class of a function by value: it starts whatever version a machine has."""
    import ray

    class Worker:
        def hello(self, paths: list[str]) -> tuple[str, str]:
            """Version, and the first of the paths that the machine does not see, or ""."""
            import os

            from leukoscope import __version__

            return __version__, next((path for path in paths if not os.path.exists(path)), "")

        def work(self, function: Callable[..., object], arguments: tuple[object, ...],
                 needs: str) -> tuple[bool, object]:
            """Whether the machine sees what the task needs, and the result."""
            import os

            from leukoscope.commands.engines import call, one_thread

            if needs and not os.path.exists(needs):
                return False, None
            one_thread()
            return True, call(function, arguments)

    return ray.remote(Worker)


def _end(worker: _Worker) -> None:
    """End an actor, also one that is thought dead: what it had in work is done elsewhere."""
    import ray

    with contextlib.suppress(Exception):
        ray.kill(worker.actor, no_restart=True)


def _why(error: Exception) -> str:
    """What Ray says about a death, in its most telling line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "exit" in line.lower() or "memory" in line.lower()), first_line(error))[:200]
