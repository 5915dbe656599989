"""Slides to counts: one slide into a folder, or an archive of them, each into a folder of its own.

Slides are split into regions; a few are in work at once. The results are the same, row for row, whichever engine does
the work and however many workers it has.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from .. import __version__
from ..errors import LeukoscopeError
from ..filenames import PARTS
from ..files import remove_partials, write_json
from ..predict.model import Model
from ..predict.sources import Listed, Source
from ..progress import OnProgress
from ..smear.summary import Plan, SmearSummary, SubjectsSummary
from ..text import escaped
from .archive_tables import partition_of, write_archive
from .engines import Engine, Failed, Task
from .slide_inputs import SlideInput, Slides
from .slide_options import OnNote, SlideOptions, check_engine, engine_for, model_for, stated, unheard
from .slide_plan import SlideJob, SlidePlan, plan_slide
from .slide_region import RegionDone, count_region, store_failed
from .slide_write import files_of_slide, write_slide
from .smear import left_out, plan_of
from .smear_folder import clear
from .smear_inputs import file_names
from .smear_resume import open_resumable
from .smear_subjects import FILES

PROGRESS = "progress.json"
"""In the stored parts of an archive, while it is counted."""
_PLAN, _REGION, _WRITE = "plan", "region", "write"
_SECONDS = 2.0  # between two writings of the progress

Key = tuple[str, str, int]
"""Folder of a slide, step, and number of the region."""


@dataclass(eq=False)
class _Run:
    """A slide in work. regions: waiting; done: by number; last: the one at which the target is reached."""

    job: SlideJob
    plan: Plan
    stack: ExitStack
    waiting: list[int] = field(default_factory=list)
    done: dict[int, RegionDone] = field(default_factory=dict)
    in_flight: int = 0
    last: int | None = None

    def begin(self, planned: SlidePlan) -> None:
        self.waiting = [region.number for region in reversed(planned.regions)]

    def take(self, result: RegionDone) -> None:
        self.done[result.number] = result
        self.in_flight -= 1
        if self.job.target is None or self.last is not None:
            return
        total, number = 0, 0
        while number in self.done:
            total += self.done[number].leukocytes
            if total >= self.job.target:
                self.last, self.waiting = number, []
                return
            number += 1

    @property
    def complete(self) -> bool:
        return not self.waiting and not self.in_flight

    @property
    def numbers(self) -> list[int]:
        """The regions that count: those after the target was reached are left out, however many were in work."""
        return [number for number in sorted(self.done) if self.last is None or number <= self.last]


def smear_slide(given: SlideInput, out: Path, options: SlideOptions, *, overwrite: bool = False, resume: bool = False,
                on_progress: OnProgress | None = None, on_note: OnNote = unheard) -> SmearSummary:
    """Count the leukocytes of one slide; docs/slides.md says what is written into `out`. Raises LeukoscopeError for a
    slide that cannot be read or is no smear, and as `smear_fields` does."""
    check_engine(options)
    model = model_for(options)
    engine = engine_for(options, out / PARTS, on_note)
    try:
        return _Slides([given], [out], options, model, engine, on_progress, overwrite=overwrite, resume=resume).one()
    finally:
        engine.close()


def smear_archive(slides: Slides, out: Path, options: SlideOptions, *, overwrite: bool = False, resume: bool = False,
                  on_progress: OnProgress | None = None, on_note: OnNote = unheard) -> SubjectsSummary:
    """Count the leukocytes of each slide, into a folder of `out`, with joined tables and a page that leads to all. A
    slide that cannot be counted is named and left out. Raises LeukoscopeError where none can be counted."""
    check_engine(options)
    model = model_for(options)
    plan = _plan_of_archive(slides, model, options)
    folders = [one.folder for one in slides.slides]
    with open_resumable(out, plan, FILES, folders, resume=resume, overwrite=overwrite) as parts:
        earlier = SubjectsSummary.read(out) if parts.finished else None
        if earlier is not None and not earlier.unreadable:
            return earlier
        parts.folder.mkdir(exist_ok=True)  # slides that were left out are tried again
        engine = engine_for(options, out / PARTS, on_note)
        try:
            run = _Slides(slides.slides, [out / folder for folder in folders], options, model, engine, on_progress,
                          on_note, archive=out)
            smears = run.all()
        finally:
            engine.close()
        if not smears:
            parts.drop()
            name, reason = next(iter(run.failed.items()))
            raise LeukoscopeError(f"no slide could be counted; {name}: {reason}", "give scans of smears")
        beside = left_out(Listed([], list(slides.left_out)))
        return write_archive(SubjectsSummary(__version__, smears, run.failed, beside, FILES, plan), out)


def _plan_of_archive(slides: Slides, model: Model | None, options: SlideOptions) -> Plan:
    """What must be the same for a stopped run to go on: the slides by their names, since one that could not be counted
    may have been exported again."""
    names = "".join(f"{one.subject}\0{one.path}\n" for one in slides.slides)
    return replace(plan_of([], model, **stated(options)), fields=hashlib.sha256(os.fsencode(names)).hexdigest())


class _Slides:
    """The slides of a call, and what has become of them. archive: the folder of all of them, or None."""

    def __init__(self, slides: Sequence[SlideInput], folders: Sequence[Path], options: SlideOptions,
                 model: Model | None, engine: Engine, on_progress: OnProgress | None, on_note: OnNote = unheard, *,
                 archive: Path | None = None, overwrite: bool = False, resume: bool = True) -> None:
        self._waiting = list(zip(slides, folders, strict=True))[::-1]
        self._options, self._model, self._engine = options, model, engine
        self._on_progress, self._on_note, self._archive = on_progress, on_note, archive
        self._overwrite, self._resume = overwrite, resume
        self._open: dict[str, _Run] = {}
        self._flying = 0
        self._regions, self._written = 0, 0.0
        self._order = [folder.name for folder in folders]
        self._smears: dict[str, SmearSummary] = {}
        self.failed: dict[str, str] = {}
        self._unsaid: list[str] = []

    def one(self) -> SmearSummary:
        """The only slide. Raises what is wrong with it."""
        return next(iter(self.all(strict=True).values()))

    def all(self, *, strict: bool = False) -> dict[str, SmearSummary]:
        """Folder -> its smear, in the order of the slides. strict: raise what is wrong with a slide."""
        try:
            self._fill()
            while self._flying:
                key, result = self._engine.next()
                self._flying -= 1
                folder, step, number = cast(Key, key)
                self._take(self._open[folder], step, number, result, strict)
                self._fill()
                self._tell()
        except BaseException as error:
            for run in list(self._open.values()):
                _leave(run, error)
            raise
        return {name: self._smears[name] for name in self._order if name in self._smears}

    def _fill(self) -> None:
        """Hand out work until enough is in flight: regions of open slides first, then the next slide."""
        while self._flying < 2 * self._engine.slots:
            run = next((run for run in self._open.values() if run.waiting), None)
            if run is not None:
                run.in_flight += 1
                number = run.waiting.pop()
                self._submit(run, _REGION, number, count_region, run.job, number)
            elif self._waiting and len(self._open) <= self._engine.slots:
                self._begin(*self._waiting.pop())
            else:
                return

    def _begin(self, slide: SlideInput, out: Path) -> None:
        """Open the folder of a slide; it is done already, or its plan comes next."""
        source = Source(str(slide.path), str(slide.path))
        name = file_names([source])[0]
        plan = plan_of([source], self._model, subject=slide.subject, **stated(self._options))
        stack = ExitStack()
        parts = stack.enter_context(open_resumable(out, plan, files_of_slide(name), resume=self._resume,
                                                   overwrite=self._overwrite, below=self._archive is not None))
        if parts.finished:
            self._smears[out.name] = SmearSummary.read(out)
            stack.close()
            return
        options, bundle = self._options, self._options.bundle
        partition = partition_of(self._archive, slide.subject, out.name) if self._archive else ""
        # Absolute: a worker may run in another folder, or on another machine.
        job = SlideJob(str(slide.path.absolute()), str(parts.folder.absolute()), str(out.absolute()), partition,
                       escaped(str(slide.path)), name, slide.subject,
                       str(Path(bundle).absolute()) if bundle and Path(bundle).exists() else bundle, options.types,
                       options.micrometres, options.target, __version__)
        self._open[out.name] = _Run(job, plan, stack)
        self._submit(self._open[out.name], _PLAN, 0, plan_slide, job)

    def _submit(self, run: _Run, step: str, number: int, function: Callable[..., object],
                *arguments: object) -> None:
        self._flying += 1
        self._engine.submit(Task((Path(run.job.out).name, step, number), function, arguments, run.job.path))

    def _take(self, run: _Run, step: str, number: int, result: object, strict: bool) -> None:
        name = Path(run.job.out).name
        if isinstance(result, Failed) and result.of_worker and step == _REGION:
            result = store_failed(run.job, number, result.what)  # it costs this region only
        if isinstance(result, Failed):
            self._fail(run, step, result, strict)
            return
        if isinstance(result, SlidePlan):
            run.begin(result)
        elif isinstance(result, RegionDone):
            run.take(result)
            self._regions += 1
        else:
            assert isinstance(result, SmearSummary)
            self._smears[name] = result
            del self._open[name]
            run.stack.close()
            return
        if run.job.image in self.failed:
            if not run.in_flight:
                self._drop(run)
        elif run.complete:
            self._submit(run, _WRITE, 0, write_slide, run.job, run.plan, run.numbers)

    def _fail(self, run: _Run, step: str, result: Failed, strict: bool) -> None:
        """Leave a slide out; raise what is wrong with the system, or with the only slide."""
        if result.number is not None or strict:
            raise result.error()
        if run.job.image not in self.failed:
            reason = result.what.removeprefix(f"{run.job.path}: ")
            self.failed[run.job.image] = reason
            self._unsaid.append(f"left out: {run.job.image}: {reason}")
        run.waiting, run.in_flight = [], run.in_flight - (step == _REGION)
        if not run.in_flight:
            self._drop(run)

    def _tell(self) -> None:
        """Say how far the work is: as a bar, as lines about slides that are left out, and as a file of an archive."""
        if self._on_progress is not None and self._regions:
            self._on_progress(self._regions, self._total())
        if self._smears:  # where no slide can be counted, the first reason is the one line of the refusal
            for line in self._unsaid:
                self._on_note(line)
            self._unsaid.clear()
        if self._archive is not None and time.monotonic() - self._written > _SECONDS:
            self._written = time.monotonic()
            write_json(self._archive / PARTS / PROGRESS, {
                "slides": len(self._order), "counted": len(self._smears), "in_work": len(self._open),
                "regions": self._regions, "workers": self._engine.slots, "left_out": self.failed})

    def _total(self) -> int:
        """Regions that are known by now; of slides that have ended early, only those that were done; of slides that are
        not open yet, as many as others have had."""
        known = self._regions + sum(len(run.waiting) + run.in_flight for run in self._open.values())
        opened = len(self._smears) + len(self._open)
        return known + round(len(self._waiting) * known / max(opened, 1))

    def _drop(self, run: _Run) -> None:
        """Remove what was begun of a slide that cannot be counted."""
        del self._open[Path(run.job.out).name]
        run.stack.close()
        clear(Path(run.job.out))
        begun = [Path(run.job.out)]
        if run.job.partition:  # of a slide that is in no count, the table over all must have no cells
            cells = Path(run.job.partition)
            cells.unlink(missing_ok=True)
            remove_partials(cells.parent, cells.stem)
            begun += [cells.parent, cells.parent.parent]
        for folder in begun:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _leave(run: _Run, error: BaseException) -> None:
    """Leave the folder of a slide so that it can go on."""
    try:
        run.stack.__exit__(type(error), error, error.__traceback__)
    except BaseException as raised:
        if raised is not error:
            raise
