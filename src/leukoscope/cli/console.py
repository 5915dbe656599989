"""What commands print: progress on standard error, answers on standard output, JSON where a program reads."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from ..progress import OnProgress
from ..text import duration, escaped, join, plural, visible

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

    from ..networks.listing import Facts
    from ..train.epochs import Event, Left, OnEvent

WIDE = 150
"""Columns of a terminal from which a list gives reasons too."""
_UNBROKEN = 10_000  # columns of a file or a pipe: rows stay on one line


def _bar(quiet: bool) -> Progress:
    from rich.console import Console  # late: help and one-line answers need none of it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    err = Console(stderr=True, highlight=False, soft_wrap=True)
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                    console=err, transient=True, disable=quiet or not err.is_terminal)


@contextmanager
def progress(description: str, *, quiet: bool = False) -> Iterator[OnProgress]:
    """A bar on standard error while the block runs; the yielded function takes (done, total).

    Nothing is drawn when `quiet`, nor where standard error is no terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with _bar(quiet) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def training(*, quiet: bool = False) -> Iterator[OnEvent]:
    """Show a training on standard error while the block runs; the yielded function takes its events.

    A terminal shows a bar for each phase; the bar of the training counts all epochs of all runs. A log file gets a line
    at the start and after each epoch. Both say how long the whole training still takes.
    """
    bar = _bar(quiet)
    bar.columns = (*bar.columns[:-1], _left_column())
    tasks: dict[str, TaskID] = {}
    notes: list[str] = []  # said when the training starts: a refusal before is one line

    def on_event(event: Event) -> None:
        left, done, total = event.left, float(event.done), event.total
        if left is not None and event.phase == "batch":
            done, total = left.all_epochs - left.epochs, left.all_epochs
        if event.phase in _PHASES:
            if event.phase not in tasks:
                tasks[event.phase] = bar.add_task("")
            bar.update(tasks[event.phase], description=" ".join([_PHASES[event.phase], *_places(event)]),
                       completed=done, total=total, left=_time_left(left) if event.phase == "batch" else "")
        if event.phase == "note" and not quiet:
            notes.append(": ".join(part for part in (event.run, event.text) if part))
        if event.phase in ("start", "done"):
            for line in notes:
                note(line)
            notes.clear()
        if event.phase == "start" and left is not None and not quiet:
            note(_start_line(left))
        if event.phase == "epoch" and not quiet:
            note(_epoch_line(event))

    with bar:
        yield on_event


_PHASES = {"pack": "reading cells", "fingerprint": "looking for duplicates", "edges": "finding edges",
           "fit": "fitting components", "batch": "training"}


def _left_column() -> ProgressColumn:
    from rich.progress import Task, TimeRemainingColumn
    from rich.text import Text

    class LeftColumn(TimeRemainingColumn):
        """The time left that the task itself gives, else the estimate of the bar."""

        def render(self, task: Task) -> Text:
            return Text(task.fields["left"]) if task.fields.get("left") else super().render(task)

    return LeftColumn()


def _places(event: Event) -> list[str]:
    """Run, fold and epoch of an event, where there are several."""
    fold = f"fold {event.fold + 1}/{event.folds}" if event.fold is not None and (event.folds or 0) > 1 else ""
    epoch = f"epoch {event.epoch}/{event.epochs}" if event.epoch else ""
    return [place for place in (event.run, fold, epoch) if place]


def _start_line(left: Left) -> str:
    """`training 3 folds, 30 epochs in total`, or what is left of them after a stop."""
    most = "at most " if left.at_most else ""
    if left.epochs == left.all_epochs:
        numbers = [plural(left.all_runs, "run")] if left.all_runs > 1 else []
        return f"training {', '.join([*numbers, plural(left.all_folds, 'fold')])}, " \
               f"{most}{plural(left.all_epochs, 'epoch')} in total"
    numbers = [f"{count} of {plural(total, name)}" for name, count, total in (
        ("run", left.runs, left.all_runs), ("fold", left.folds, left.all_folds)) if total > 1]
    return f"training continues: {join([*numbers, f'{most}{left.epochs:.0f} of {left.all_epochs} epochs'])} are left"


def _epoch_line(event: Event) -> str:
    row, accuracy = event.metrics, event.metrics["validation_accuracy"]
    line = f"{', '.join(_places(event))}: loss {row['train_loss']:.3f}"
    if accuracy is not None:
        line += f", validation loss {row['validation_loss']:.3f}, accuracy {100 * accuracy:.1f} %"
    times = [f"{row['seconds']:.0f} s", _time_left(event.left)]
    return f"{line} ({'; '.join(filter(None, times))})"


def _time_left(left: Left | None) -> str:
    """`about 1 min 20 s left`, `at most ...` where training may stop early; nothing where it is not known."""
    if left is None or left.seconds is None or left.epochs <= 0:
        return ""
    step = 1 if left.seconds < 60 else 10 if left.seconds < 600 else 60
    seconds = max(round(left.seconds / step) * step, 1)
    text = f"{seconds} s" if seconds < 60 else duration(seconds)
    return f"{'at most' if left.at_most else 'about'} {text} left"


def say(text: str = "") -> None:
    """Print one line of an answer."""
    _print(text, sys.stdout)


def note(text: str) -> None:
    """Print one line beside the answer, on standard error."""
    _print(text, sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    """A line; characters that the stream cannot encode, such as bytes of a file name, and those that a terminal obeys
    are written out."""
    encoding = stream.encoding or "utf-8"
    print(visible(text).encode(encoding, "backslashreplace").decode(encoding), file=stream)


def emit(value: object) -> None:
    """Print JSON on standard output; what that cannot encode, such as bytes of a file name, as its number."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, allow_nan=False)
    sys.stdout.write(f"{text}\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print a table; columns that hold numbers are set flush right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else visible(escaped(str(cell))) for cell in row))
    width = None if sys.stdout.isatty() else _UNBROKEN
    Console(width=width, highlight=False, markup=False, emoji=False).print(table)


def show_some(title: str, lines: Sequence[str], most: int = 10) -> None:
    """Print a titled list, and how many more there are than `most`."""
    if not lines:
        return
    say(f"{title} ({len(lines)}):")
    for line in lines[:most]:
        say(f"  {line}")
    if len(lines) > most:
        say(f"  ... and {len(lines) - most} more; --json lists all")


def show_lines(lines: Sequence[str]) -> None:
    """Print the lines of an answer."""
    for line in lines:
        say(line)


def show_networks(facts: Sequence[Facts], *, as_json: bool = False) -> None:
    """Print a table of networks; costs are for one image."""
    if as_json:
        emit([asdict(network) for network in facts])
        return
    wide = shutil.get_terminal_size().columns >= WIDE
    columns = ["network", "from", "input, px", "at", "parameters", "operations", "weights", "maps", "licence"]
    show_table(
        [*columns, *(["why"] if wide else [])],
        [[f.name, f.origin, f.sizes.removesuffix(" px"), str(f.cost.size), f"{f.cost.parameters / 1e6:.1f} M",
          f"{f.cost.operations / 1e9:.2f} G", f"{f.cost.weights / 1e6:.0f} MB", f"{f.cost.maps / 1e6:.0f} MB",
          f.licence, *([f.why] if wide else [])] for f in facts])
    say("operations: multiply-additions for one image; maps: memory of the outputs of all layers for one image, which "
        "training stores; licence: of the published weights")
