"""`leukoscope export` and `leukoscope predict`. Parses, calls, prints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from . import console

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def register(app: typer.Typer) -> None:
    """Add the two commands."""
    app.command(epilog="Example: leukoscope export runs/wbc -o wbc-bundle --micrometres 0.1")(export)
    app.command(epilog="Example: leukoscope predict packaged cells/ 'more/*.png' -o predictions.parquet")(predict)


def export(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle to make: a folder, or a file ending in .zip.")],
    fold: Annotated[int, typer.Option(help="Whose weights.")] = 0,
    coverage: Annotated[float, typer.Option(help="Of the conformal sets that say what is unsure.")] = 0.95,
    micrometres: Annotated[float | None, typer.Option(help="Side of a pixel of the run's images, if known.")] = None,
    licence: Annotated[str, typer.Option(help="Of the weights, for the model card.")] = "not stated",
    half: Annotated[bool, typer.Option("--half", help="Keep weights in half the bytes, rounded to float16.")] = False,
    note: Annotated[list[str] | None, typer.Option(help="A sentence for the model card; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Make a bundle of a run: weights, graph, calibration, figures and model card, for prediction anywhere."""
    from ..commands.export import export_run
    from ..runs.run import Run

    with console.progress("reading cells", quiet=as_json) as on_progress:
        told = export_run(Run(run), out, fold=fold, coverage=coverage, micrometres=micrometres, licence=licence,
                          half=half, notes=note or (), on_progress=on_progress)
    if as_json:
        console.emit(told)
        return
    accuracy = told["metrics"]["overall"]["accuracy"]
    span = "" if accuracy["low"] is None else f" ({100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f})"
    console.say(f"accuracy {100 * accuracy['value']:.1f} %{span} on {told['metrics']['cells']:,} cells that were not "
                f"trained on; temperature {told['temperature']:.3g}")
    console.say(f"bundle: {out}")


def predict(
    bundle: Annotated[Path, typer.Argument(help="A bundle of leukoscope export, or the word packaged.")],
    inputs: Annotated[list[str], typer.Argument(help="Images, folders, patterns, or manifests.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The table to write: .parquet, .csv or .jsonl.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a prediction that was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the table where it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Predict the class of each cell image, and say which are unsure and which are unlike those of training."""
    from ..bundle.bundle import open_bundle
    from ..predict.model import bundle_path
    from ..predict.stream import predict_stream

    opened = open_bundle(bundle_path(bundle))
    with console.progress("predicting", quiet=as_json) as on_progress:
        found = predict_stream(opened, inputs, out, resume=resume, overwrite=overwrite, on_progress=on_progress)
    if as_json:
        console.emit({**asdict(found), "table": str(found.table)})
        return
    console.show_table(["predicted", "cells"], [[name, count] for name, count in found.counts.items()])
    doubts = [f"{count:,} {what}" for count, what in (
        (found.damaged, "cannot be read"), (found.unsure, "unsure"), (found.unknown, "unlike those of training"))
        if count]
    console.say(f"{found.cells:,} cells{': ' if doubts else ''}{', '.join(doubts)}")
    console.say(f"table: {found.table}")
