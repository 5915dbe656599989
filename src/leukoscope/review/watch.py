"""New photographs in a folder are counted as they come, by `leukoscope smear` in one process of its own; each count is
a smear of the worklist. A count that is there is never touched: photographs that come later are a further smear."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..datasets.base import IMAGE_SUFFIXES, is_litter
from ..errors import LeukoscopeError, first_line
from ..filenames import SUMMARY
from ..files import read_json
from .child import Child
from .folders import counts_in

QUIET = 30.0
"""Seconds without a new or growing photograph of a subject, after which its photographs are counted."""
EVERY = 2.0
"""Seconds between two looks into the folder."""


@dataclass(frozen=True)
class Waiting:
    """Photographs of a subject that are not counted yet, or could not be. why: a failure in one line, or ""."""

    subject: str
    photographs: int
    why: str


Stamp = tuple[str, int, float]
"""A photograph: its path, bytes, and when it was last changed."""


class Watch:
    """A folder of photographs. folder: photographs of one subject, or a sub-folder for each; out: where counts are
    kept, a folder each; on_count: is told the folder of each new count."""

    def __init__(self, folder: Path, out: Path, on_count: Callable[[Path], None]) -> None:
        self.folder, self._out, self._on_count = folder, out, on_count
        self._quiet: dict[str, tuple[frozenset[Stamp], float]] = {}
        self._failed: dict[frozenset[Stamp], Waiting] = {}
        self._counted: dict[str, frozenset[str]] = {}
        self._done: frozenset[Stamp] = frozenset()
        self._waiting: tuple[Waiting, ...] = ()
        self._counting = ""
        self._stopped = threading.Event()
        self._child: Child | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """What is not counted yet, or could not be."""
        return self._waiting

    @property
    def counting(self) -> str:
        """The subject that is being counted, or ""."""
        return self._counting

    def start(self) -> None:
        """Watch in the background."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and end a count that is under way: the next start begins it anew."""
        self._stopped.set()
        child = self._child
        if child is not None:
            child.end()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.look()
            except (LeukoscopeError, OSError) as error:  # the folder is away for a while, a network drive for example
                self._waiting = (Waiting(self.folder.name, 0, first_line(error)),)
            self._stopped.wait(EVERY)

    def look(self) -> None:
        """Look once: count what has been quiet for long enough."""
        waiting, ready = [], []
        for subject, stamps in self._new():
            known, since = self._quiet.get(subject, (frozenset(), 0.0))
            if known != stamps:
                self._quiet[subject] = stamps, (since := time.monotonic())
            failed = self._failed.get(stamps)
            waiting.append(failed or Waiting(subject, len(stamps), ""))
            if failed is None and time.monotonic() - since >= QUIET:
                ready.append((subject, stamps))
        self._waiting = tuple(waiting)
        for subject, stamps in ready:
            if not self._stopped.is_set():
                self._count(subject, stamps)

    def _new(self) -> Iterator[tuple[str, frozenset[Stamp]]]:
        """Each subject with its photographs that are in no count."""
        counted = self._photographs_counted()
        below = sorted(path for path in self.folder.iterdir() if path.is_dir() and not is_litter(path.name))
        for folder in (self.folder, *below):
            images = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
                      and not is_litter(path.name) and str(path.resolve()) not in counted]
            stamps = frozenset(map(_stamp, images)) - self._done
            if stamps:
                yield folder.resolve().name, stamps

    def _photographs_counted(self) -> set[str]:
        for folder in counts_in(self._out):
            if folder.name not in self._counted:
                summary = read_json(folder / SUMMARY)
                named = [*summary.get("fields", ()), *summary.get("unreadable", ()), *summary.get("left_out", ())]
                images = [one["image"] for one in named]
                images += [image.rpartition("#")[0] for image in images if "#" in image]  # pages of a file
                self._counted[folder.name] = frozenset(str(Path(image).resolve()) for image in images)
        return {image for images in self._counted.values() for image in images}

    def _count(self, subject: str, stamps: frozenset[Stamp]) -> None:
        self._counting = subject
        place = self._place(subject)
        beside = place.with_name(f".{place.name}.counting")
        words = ["smear", *sorted(path for path, _, _ in stamps), "-o", str(beside), f"--subject={subject}",
                 "--overwrite", "--json"]
        try:
            self._child = child = Child(words)
            if self._stopped.is_set():
                child.end()
            try:
                child.wait()
            finally:
                self._child = None
            if self._stopped.is_set():
                return
            beside.rename(place)
            self._done |= stamps
            self._on_count(place)
        except (LeukoscopeError, OSError) as error:
            self._failed[stamps] = Waiting(subject, len(stamps), first_line(error, 300))
        finally:
            self._counting = ""

    def _place(self, subject: str) -> Path:
        """A folder for a count that is not there yet: S1, S1-2, S1-3."""
        numbers = (f"{subject}-{number}" if number > 1 else subject for number in range(1, 100_000))
        return next(path for name in numbers if not (path := self._out / name).exists())


def _stamp(path: Path) -> Stamp:
    state = path.stat()
    return str(path.resolve()), state.st_size, state.st_mtime


def version_of(watch: Watch | None) -> str:
    """Changes with what the worklist says of a watched folder."""
    return "" if watch is None else hashlib.sha256(repr((watch.waiting, watch.counting)).encode()).hexdigest()[:12]
