"""What commands print: progress on standard error, answers on standard output, JSON where a program reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..progress import OnProgress

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

WIDE = 150
"""Columns of a terminal from which a list gives reasons too."""


def _bar(quiet: bool) -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                    console=err, transient=True, disable=quiet or not err.is_terminal)


@contextmanager
def progress(description: str, *, quiet: bool = False) -> Iterator[OnProgress]:
    """A bar on standard error while the block runs; the yielded function takes (done, total).

    Nothing is drawn when `quiet`, nor where standard error is no terminal.
    """
    with _bar(quiet) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def training(*, quiet: bool = False) -> Iterator[Callable[[Any], None]]:
    """Follow a training on standard error while the block runs; the yielded function takes its events.

    A terminal sees a bar a phase and the last epoch's figures; a log file gets a line an epoch.
    """
    bar = _bar(quiet)
    tasks: dict[str, TaskID] = {}

    def on_event(event: Any) -> None:
        title = _PHASES.get(event.phase)
        if title:
            where = f" fold {event.fold + 1}/{event.folds}" if event.fold is not None and event.folds else ""
            epoch = f" epoch {event.epoch}/{event.epochs}" if event.epoch else ""
            if event.phase not in tasks:
                tasks[event.phase] = bar.add_task(title)
            bar.update(tasks[event.phase], description=title + where + epoch, completed=event.done, total=event.total)
        if event.phase == "epoch" and not quiet:
            note(_epoch_line(event))

    with bar:
        yield on_event


_PHASES = {"pack": "reading cells", "fingerprint": "looking for duplicates", "edges": "finding edges",
           "fit": "fitting components", "batch": "training"}


def _epoch_line(event: Any) -> str:
    fold = f"fold {event.fold + 1}/{event.folds}, " if event.folds and event.folds > 1 else ""
    row = event.metrics
    line = f"{fold}epoch {event.epoch}/{event.epochs}: loss {row['train_loss']:.3f}"
    if row.get("validation_accuracy") is not None:
        line += f", validation loss {row['validation_loss']:.3f}, accuracy {100 * row['validation_accuracy']:.1f} %"
    return f"{line} ({row['seconds']:.0f} s)"


def say(text: str = "") -> None:
    """Print one line of an answer, as it stands."""
    out.print(text, markup=False)


def note(text: str) -> None:
    """Print one line beside the answer, on standard error."""
    err.print(text, markup=False)


def emit(value: Any) -> None:
    """Print JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print a table; columns that hold numbers are set flush right."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[i], int | float) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    Console(highlight=False, markup=False, emoji=False).print(table)


def show_some(title: str, lines: Sequence[str], most: int = 10) -> None:
    """Print a titled list, and how many more there are than `most`."""
    if not lines:
        return
    say(f"{title} ({len(lines)}):")
    for line in lines[:most]:
        say(f"  {line}")
    if len(lines) > most:
        say(f"  ... and {len(lines) - most} more; --json names all")


def show_lines(lines: Sequence[str]) -> None:
    """Print the lines of an answer."""
    for line in lines:
        say(line)


def show_networks(facts: Sequence[Any], *, as_json: bool = False) -> None:
    """Print what `models.listing.list_networks` gives, costs for one image."""
    if as_json:
        emit([asdict(one) for one in facts])
        return
    wide = out.width >= WIDE
    columns = ["network", "from", "input, px", "at", "parameters", "operations", "weights", "maps", "licence"]
    show_table(
        [*columns, *(["why"] if wide else [])],
        [[one.name, one.origin, one.sizes.removesuffix(" px"), str(one.cost.size),
          f"{one.cost.parameters / 1e6:.1f} M", f"{one.cost.operations / 1e9:.2f} G",
          f"{one.cost.weights / 1e6:.0f} MB", f"{one.cost.maps / 1e6:.0f} MB", one.licence,
          *([one.why] if wide else [])] for one in facts])
    say("operations: multiplications with an addition, for one image; maps: what all layers hand on, which training "
        "keeps of an image; licence: of the published weights")
