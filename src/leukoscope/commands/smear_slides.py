"""Slides to counts: one slide into a folder, or an archive of them, each into a folder of its own.

Slides are split into regions; a few are in work at once. The results are the same, row for row, however many workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import LeukoscopeError
from ..images.decode import usable_cores
from ..predict.model import Model
from ..predict.sources import Listed, Source
from ..progress import OnProgress
from ..smear.summary import Plan, SmearSummary, SubjectsSummary
from ..text import escaped
from .engines import Engine, Failed, Here, Processes, Task
from .slide_inputs import SlideInput, Slides
from .slide_plan import SlideJob, SlidePlan, plan_slide
from .slide_region import RegionDone, count_region
from .slide_write import files_of_slide, write_slide
from .smear import left_out, open_model, plan_of
from .smear_inputs import file_names
from .smear_resume import clear, open_resumable
from .smear_subjects import FILES, write_subjects

TARGET = 200
"""Leukocytes of a usual count."""


@dataclass(frozen=True)
class SlideOptions:
    """How slides are counted. target: leukocytes after which the count of a slide ends; None for all of the monolayer.
    workers: processes; None for as many as there are cores."""

    bundle: str | None = None
    types: bool = True
    micrometres: float | None = None
    target: int | None = TARGET
    workers: int | None = None


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
                on_progress: OnProgress | None = None) -> SmearSummary:
    """Count the leukocytes of one slide; docs/slides.md says what is written into `out`. Raises LeukoscopeError for a
    slide that cannot be read or is no smear, and as `smear_fields` does."""
    model = _checked(options)
    engine = _engine(options)
    try:
        return _Slides([given], [out], options, model, engine, on_progress, overwrite=overwrite, resume=resume).one()
    finally:
        engine.close()


def smear_archive(slides: Slides, out: Path, options: SlideOptions, *, overwrite: bool = False, resume: bool = False,
                  on_progress: OnProgress | None = None) -> SubjectsSummary:
    """Count the leukocytes of each slide, into a folder of `out`, with joined tables and a page that leads to all. A
    slide that cannot be counted is named and left out. Raises LeukoscopeError where none can be counted."""
    model = _checked(options)
    sources = [Source(one.subject, str(one.path)) for one in slides.slides]
    folders = [one.folder for one in slides.slides]
    with open_resumable(out, plan_of(sources, model, **_stated(options)), FILES, folders, resume=resume,
                        overwrite=overwrite) as parts:
        if parts.finished:
            return SubjectsSummary.read(out)
        engine = _engine(options)
        try:
            run = _Slides(slides.slides, [out / folder for folder in folders], options, model, engine, on_progress)
            smears = run.all()
        finally:
            engine.close()
        if not smears:
            parts.drop()
            name, reason = next(iter(run.failed.items()))
            raise LeukoscopeError(f"no slide could be counted; {name}: {reason}", "give scans of smears")
        beside = left_out(Listed([], list(slides.left_out)))
        plan = plan_of(sources, model, **_stated(options))
        return write_subjects(SubjectsSummary(__version__, smears, run.failed, beside, FILES, plan), out)


class _Slides:
    """The slides of a call, and what has become of them."""

    def __init__(self, slides: Sequence[SlideInput], folders: Sequence[Path], options: SlideOptions,
                 model: Model | None, engine: Engine, on_progress: OnProgress | None, *, overwrite: bool = False,
                 resume: bool = True) -> None:
        self._waiting = list(zip(slides, folders, strict=True))[::-1]
        self._options, self._model, self._engine, self._on_progress = options, model, engine, on_progress
        self._overwrite, self._resume = overwrite, resume
        self._open: dict[str, _Run] = {}
        self._flying = 0
        self._regions = 0
        self._order = [folder.name for folder in folders]
        self._smears: dict[str, SmearSummary] = {}
        self.failed: dict[str, str] = {}

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
                assert isinstance(key, tuple)
                self._take(self._open[key[0]], key[1], result, strict)
                self._fill()
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
                self._submit(run, "region", count_region, run.job, run.waiting.pop())
            elif self._waiting and len(self._open) <= self._engine.slots:
                self._begin(*self._waiting.pop())
            else:
                return

    def _begin(self, slide: SlideInput, out: Path) -> None:
        """Open the folder of a slide; it is done already, or its plan comes next."""
        source = Source(str(slide.path), str(slide.path))
        name = file_names([source])[0]
        plan = plan_of([source], self._model, subject=slide.subject, **_stated(self._options))
        stack = ExitStack()
        parts = stack.enter_context(open_resumable(out, plan, files_of_slide(name), resume=self._resume,
                                                   overwrite=self._overwrite))
        if parts.finished:
            self._smears[out.name] = SmearSummary.read(out)
            stack.close()
            return
        options = self._options
        job = SlideJob(str(slide.path), str(parts.folder), str(out), name, slide.subject, options.bundle, options.types,
                       options.micrometres, options.target, __version__)
        self._open[out.name] = _Run(job, plan, stack)
        self._submit(self._open[out.name], "plan", plan_slide, job)

    def _submit(self, run: _Run, step: str, function: Any, *arguments: Any) -> None:
        self._flying += 1
        self._engine.submit(Task((Path(run.job.out).name, step), function, arguments))

    def _take(self, run: _Run, step: str, result: Any, strict: bool) -> None:
        name = Path(run.job.out).name
        if isinstance(result, Failed):
            if result.number is not None or strict:
                raise result.error()
            self.failed[escaped(run.job.path)] = result.what.removeprefix(f"{run.job.path}: ")
            run.waiting, run.in_flight = [], run.in_flight - (step == "region")
            if not run.in_flight:
                self._drop(run)
            return
        if step == "plan":
            run.begin(result)
        elif step == "region":
            run.take(result)
            self._regions += 1
            if self._on_progress is not None:
                self._on_progress(self._regions, self._total())
        else:
            self._smears[name] = result
            del self._open[name]
            run.stack.close()
            return
        if escaped(run.job.path) in self.failed:
            if not run.in_flight:
                self._drop(run)
        elif run.complete:
            self._submit(run, "write", write_slide, run.job, run.plan, run.numbers)

    def _total(self) -> int:
        """Regions that are known by now; of slides that have ended early, only those that were done."""
        return self._regions + sum(len(run.waiting) + run.in_flight for run in self._open.values())

    def _drop(self, run: _Run) -> None:
        """Remove what was begun of a slide that cannot be counted."""
        del self._open[Path(run.job.out).name]
        run.stack.close()
        clear(Path(run.job.out))
        if not any(Path(run.job.out).iterdir()):
            Path(run.job.out).rmdir()


def _leave(run: _Run, error: BaseException) -> None:
    """Leave the folder of a slide so that it can go on."""
    try:
        run.stack.__exit__(type(error), error, error.__traceback__)
    except BaseException as raised:
        if raised is not error:
            raise


def _checked(options: SlideOptions) -> Model | None:
    if options.target is not None and options.target < 1:
        raise LeukoscopeError(f"--target {options.target}: expected at least 1 leukocyte", "usual are 100, 200 and 400")
    return open_model(options.bundle, options.types, options.micrometres)


def _engine(options: SlideOptions) -> Engine:
    workers = options.workers if options.workers is not None else usable_cores()
    if workers < 1:
        raise LeukoscopeError(f"--workers {workers}: expected at least 1", "leave it out to use all cores")
    return Here() if workers == 1 else Processes(workers)


def _stated(options: SlideOptions) -> dict[str, Any]:
    """What must be the same for a stopped run to go on."""
    return {"micrometres": options.micrometres, "target": options.target}

