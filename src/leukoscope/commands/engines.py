"""Where work is done: in this process, or in several processes of this machine; cluster.py: on a Ray cluster. Knows
nothing of slides.

An engine takes tasks and gives their results in the order in which they end. A worker that dies costs its task only,
which another one does again.
"""

from __future__ import annotations

import multiprocessing as mp
import os
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from ..errors import LeukoscopeError, input_error
from ..finder.network import THREADS

TRIES = 3
"""Times that a task is tried beside others, where workers die of it; then once more, alone."""


@dataclass(frozen=True)
class Failed:
    """Why a task has no result: what and hint of an error that a user can correct; or number and file of an error of
    the system, such as a full disk. of_worker: whether workers died of it."""

    what: str
    hint: str = ""
    number: int | None = None
    of_worker: bool = False

    def error(self) -> Exception:
        """As an exception."""
        if self.number is not None:
            return OSError(self.number, os.strerror(self.number), self.what)
        return LeukoscopeError(self.what, self.hint)


@dataclass(frozen=True)
class Task:
    """A function of a module, and what it is called with. needs: a path that the machine must see, or ""."""

    key: Hashable
    function: Callable[..., object]
    arguments: tuple[object, ...]
    needs: str = ""


Ended = tuple[Hashable, object]
"""The key of a task that has ended, and its result or Failed."""


class Engine(Protocol):
    """slots: tasks that it works on at once, which may change. `next` waits for a task that ends."""

    @property
    def slots(self) -> int: ...

    def submit(self, task: Task) -> None: ...

    def next(self) -> Ended: ...

    def close(self) -> None: ...


def call(function: Callable[..., object], arguments: tuple[object, ...]) -> object:
    """The result of a task, or Failed: exceptions of strangers' files need not survive the way between processes."""
    try:
        return function(*arguments)
    except OSError as error:
        if error.errno is None:
            return Failed(str(input_error(error)))
        return Failed(str(error.filename or "writing"), number=error.errno)
    except Exception as error:
        it = input_error(error)
        return Failed(it.what, it.hint)


def given_up(tried: int, how: str) -> Failed:
    """The result of a task that workers died of."""
    return Failed(f"{tried} workers died of it ({how})", "it may need more memory than there is", of_worker=True)


class Waiting:
    """Tasks that wait for a worker, first come, first served. A task need not be the cause of its worker's death:
    another may have used all memory, or somebody ended it. So a task of which TRIES workers have died waits until all
    others are done, and is then tried alone."""

    def __init__(self) -> None:
        self._tasks: deque[tuple[Task, int]] = deque()
        self._doubtful: deque[tuple[Task, int]] = deque()
        self._alone = False

    @property
    def any(self) -> bool:
        """Whether a task waits."""
        return bool(self._tasks or self._doubtful)

    def add(self, task: Task) -> None:
        self._tasks.append((task, 1))

    def back(self, task: Task, tried: int) -> None:
        """Take back a task whose worker did not begin it."""
        (self._tasks if tried <= TRIES else self._doubtful).appendleft((task, tried))

    def again(self, task: Task, tried: int) -> bool:
        """Take back a task whose worker died; False if it has been tried often enough."""
        if tried <= TRIES:
            self.back(task, tried + 1)
        return tried <= TRIES

    def take(self, busy: int, fits: Callable[[Task], bool] = lambda task: True) -> tuple[Task, int] | None:
        """The next task that fits a worker, and the number of this try. busy: workers that do a task now."""
        self._alone = self._alone and busy > 0
        if self._alone:
            return None
        it = _first(self._tasks, fits)
        if it is None and not busy:
            self._alone = (it := _first(self._doubtful, fits)) is not None
        return it

    def remove(self, which: Callable[[Task], bool]) -> list[Task]:
        """Take some tasks away."""
        taken = []
        for items in (self._tasks, self._doubtful):
            while (it := _first(items, which)) is not None:
                taken.append(it[0])
        return taken


def _first(items: deque[tuple[Task, int]], fits: Callable[[Task], bool]) -> tuple[Task, int] | None:
    it = next((it for it in items if fits(it[0])), None)
    if it is not None:
        items.remove(it)
    return it


def one_thread() -> None:
    """Let this process work with one thread, beside others."""
    import cv2

    os.environ[THREADS] = "1"
    cv2.setNumThreads(1)


class Here:
    """The work is done in this process, a task at a time."""

    slots = 1

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        self._tasks.append(task)

    def next(self) -> Ended:
        task = self._tasks.popleft()
        return task.key, call(task.function, task.arguments)

    def close(self) -> None:
        self._tasks.clear()


class Processes:
    """Processes of this machine, each with one thread. A process that dies is replaced, and its task tried again."""

    def __init__(self, workers: int) -> None:
        self.slots = workers
        self._context = mp.get_context("spawn")
        self._waiting = Waiting()
        self._idle: list[tuple[BaseProcess, Connection]] = []
        self._busy: dict[Connection, tuple[BaseProcess, Task, int]] = {}
        self._ended: deque[Ended] = deque()

    def submit(self, task: Task) -> None:
        self._waiting.add(task)
        self._hand_out()

    def next(self) -> Ended:
        while not self._ended:
            for ready in wait(list(self._busy)):
                assert isinstance(ready, Connection)
                self._collect(ready)
            self._hand_out()
        return self._ended.popleft()

    def close(self) -> None:
        for process, connection in [*self._idle, *((it[0], one) for one, it in self._busy.items())]:
            process.terminate()
            process.join()
            connection.close()
        self._idle.clear()
        self._busy.clear()

    def _hand_out(self) -> None:
        while len(self._busy) < self.slots and (it := self._waiting.take(len(self._busy))) is not None:
            task, tried = it
            process, connection = self._idle.pop() if self._idle else self._start()
            try:
                connection.send((task.function, task.arguments))
            except OSError:  # it died while it was idle
                process.join()
                connection.close()
                self._waiting.back(task, tried)
                continue
            self._busy[connection] = process, task, tried

    def _start(self) -> tuple[BaseProcess, Connection]:
        here, there = self._context.Pipe()
        process = self._context.Process(target=_work, args=(there,), daemon=True)
        process.start()
        there.close()
        return process, here

    def _collect(self, connection: Connection) -> None:
        """Take the result of a worker, or note that it died."""
        process, task, tried = self._busy.pop(connection)
        try:
            self._ended.append((task.key, connection.recv()))
            self._idle.append((process, connection))
        except (EOFError, OSError):
            process.join()
            connection.close()
            if not self._waiting.again(task, tried):
                self._ended.append((task.key, given_up(tried, f"exit code {process.exitcode}")))


def _work(connection: Connection) -> None:
    """The loop of a worker: until the driver has gone."""
    one_thread()
    while True:
        try:
            function, arguments = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            connection.send(call(function, arguments))
        except (BrokenPipeError, KeyboardInterrupt):
            return
