"""`leukoscope predict`, `leukoscope export` and `leukoscope adapt`. Parses, calls, prints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..commands.inputs import (
    check_bundle,
    check_counted,
    check_images,
    check_manifest,
    check_new_bundle,
    check_predictions,
    check_run,
)
from ..errors import LeukoscopeError
from ..text import plural
from . import console
from .options import Fold, Json, Overwrite, Resume, SkipDamaged
from .review import Db, engine_of


def predict(
    bundle: Annotated[Path, typer.Argument(
        metavar="BUNDLE", help="A bundle of leukoscope export, or the word packaged for the built-in model.")],
    inputs: Annotated[list[str], typer.Argument(
        metavar="CELLS...", help="Images of single cells, folders, patterns, or tables of cells.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The table to write: .parquet, .csv or .jsonl.")],
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Predict the class of each cell image.

    Also marks cells that are unsure, and cells unlike those of the training.
    """
    check_bundle(bundle)
    check_images(inputs)
    check_predictions(out, resume=resume, overwrite=overwrite)
    from ..bundle.bundle import open_bundle
    from ..predict.model import bundle_path
    from ..predict.stream import predict_stream

    opened = open_bundle(bundle_path(bundle))
    with console.progress("predicting", quiet=as_json) as on_progress:
        result = predict_stream(opened, inputs, out, resume=resume, overwrite=overwrite, on_progress=on_progress,
                                on_warning=console.note)
    if as_json:
        console.emit({**asdict(result), "table": str(result.table)})
        return
    console.show_table(["predicted", "cells"], [[name, count] for name, count in result.counts.items()])
    doubts = [f"{count:,} {what}" for count, what in (
        (result.damaged, "cannot be read"), (result.without_cell, "not classified: no cell found"),
        (result.unsure, "unsure"), (result.unknown, "unlike those of training"))
        if count]
    console.say(f"{plural(result.cells, 'cell')}{': ' if doubts else ''}{', '.join(doubts)}")
    console.say(f"table: {result.table}")


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run: the folder that leukoscope train wrote.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle to write: a folder, or a file ending in .zip.")],
    fold: Fold = 0,
    coverage: Annotated[float, typer.Option(
        help="Coverage of the conformal sets that decide which cells are unsure.")] = 0.95,
    micrometres: Annotated[float | None, typer.Option(
        help="Width of a pixel of the run's images in micrometres, if known.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the model card.")] = "not stated",
    half: Annotated[bool, typer.Option("--half", help="Store weights in half the bytes, rounded to float16.")] = False,
    int8: Annotated[bool, typer.Option(
        "--int8", help="Compute in 8 bits: faster, at a cost in accuracy that the model card states.")] = False,
    graph_only: Annotated[bool, typer.Option(
        "--graph-only", help="Leave out the weights for PyTorch: half the bytes.")] = False,
    laboratories: Annotated[Path | None, typer.Option(
        metavar="RUN", help="A finished run of the same recipe whose split is by laboratory: its left-out laboratories "
        "give temperature and coverage, and the model card states them.")] = None,
    note: Annotated[list[str] | None, typer.Option(help="A sentence for the model card. Can be repeated.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a bundle: a portable model from a run.

    It holds weights, graph, calibration, figures and a model card, and no code.
    """
    check_run(run, "export")
    if laboratories is not None:
        check_run(laboratories, "export")
    from ..bundle.parts import check_replaceable

    check_replaceable(out, overwrite)
    from ..commands.export import export_run
    from ..runs.run import Run
    from ..stats.estimate import Estimate
    from ..text import interval

    elsewhere = None
    if laboratories is not None:
        from ..runs.results import read_laboratories

        elsewhere = read_laboratories(laboratories)
    with console.progress("reading cells", quiet=as_json) as on_progress:
        described = export_run(Run(run), out, fold=fold, coverage=coverage, micrometres=micrometres, licence=licence,
                               half=half, int8=int8, graph_only=graph_only, laboratories=elsewhere, notes=note or (),
                               overwrite=overwrite, on_progress=on_progress)
    if as_json:
        console.emit(described)
        return
    metrics = described["metrics"]
    accuracy = interval(Estimate.from_dict(metrics["overall"]["accuracy"]))
    console.say(f"accuracy {accuracy} on {metrics['cells']:,} cells that were not trained on; temperature "
                f"{described['temperature']:.3g}")
    console.say(f"bundle: {out}")


def adapt(
    bundle: Annotated[Path, typer.Argument(
        metavar="BUNDLE", help="A bundle of leukoscope export, or the word packaged for the built-in model.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle to write: a folder, or a file ending in .zip.")],
    data: Annotated[Path | None, typer.Option("--data", help=(
        "The table of confirmed cells: cells.parquet or cells.csv."))] = None,
    reviews: Annotated[list[Path] | None, typer.Option("--review", metavar="DIR", help=(
        "A counted smear whose cells were confirmed in leukoscope review. Can be repeated."))] = None,
    db: Db = None,
    name: Annotated[str, typer.Option(help="Name of the laboratory, for the page and the model card.")] = "",
    skip_damaged: SkipDamaged = False,
    leave_out_trained: Annotated[bool, typer.Option("--leave-out-trained", help=(
        "Leave out cells that the model was trained on, and others of the same people."))] = False,
    as_json: Json = False,
) -> None:
    """Fit a model to your own laboratory with a few confirmed cells.

    About 20 cells of each type, from several slides. Writes a new bundle, and a page that says what it brings.
    """
    check_bundle(bundle)
    if (data is None) == (not reviews):
        raise LeukoscopeError("name the confirmed cells", "either --data cells.parquet, or --review smear/")
    if data is not None:
        check_manifest(data)
    check_counted(reviews or [], shared=db is not None)
    check_new_bundle(out)
    from ..commands.adapt import AdaptOptions, confirmed_in
    from ..commands.adapt import adapt as fit
    from ..manifest import read_manifest

    cells = read_manifest(data) if data is not None else confirmed_in(reviews or [], engine_of(db))
    with console.progress("reading cells", quiet=as_json) as on_progress:
        outcome = fit(bundle, cells, out, AdaptOptions(name, skip_damaged, leave_out_trained, known_only=data is None),
                      on_progress=on_progress)
    console.emit(outcome.to_dict()) if as_json else console.show_lines(outcome.lines)
