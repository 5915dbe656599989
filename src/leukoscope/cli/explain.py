"""`leukoscope explain` and `leukoscope features`: what a network makes of a cell. Parses, calls, prints."""

from __future__ import annotations

from typing import Annotated

import typer

from ..commands.inputs import check_free, check_manifest, check_run
from ..filenames import stem_for
from . import console
from .options import Fold, ImagesRoot, Json, MovedData, OutFolder, Overwrite, RunFolder


def explain(
    run: RunFolder,
    cells: Annotated[list[str], typer.Argument(metavar="CELL...", help="A cell_id of the run, or an image file.")],
    out: OutFolder,
    fold: Annotated[int | None, typer.Option(
        help="The fold whose network is used. Without it, the fold that tested the cell; for other cells, the first."
    )] = None,
    target: Annotated[str | None, typer.Option(
        "--class", metavar="CLASS", help="The class to explain. Without it, the predicted class of each cell.")] = None,
    data: MovedData = None,
    images_root: ImagesRoot = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Show which pixels of a cell decided its predicted class.

    By Grad-CAM, and by covering the cell place by place.
    """
    check_run(run, "explain")
    if data is not None:
        check_manifest(data)
    check_free(out, ("explanations.png", "explanations.json"), overwrite=overwrite)
    from ..commands.explain import explain_cells
    from ..files import read_json
    from ..runs.elsewhere import Elsewhere

    with console.progress("explaining", quiet=as_json) as on_progress:
        lines = explain_cells(run, cells, out, fold=fold, target=target,
                              elsewhere=Elsewhere(data, images_root), on_progress=on_progress)
    console.emit(read_json(out / "explanations.json")) if as_json else console.show_lines(lines)


def features(
    run: RunFolder,
    cell: Annotated[str, typer.Argument(metavar="CELL", help="A cell_id of the run, or an image file.")],
    out: OutFolder,
    fold: Fold = 0,
    data: MovedData = None,
    images_root: ImagesRoot = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw the feature maps of a network for one cell."""
    check_run(run, "features")
    if data is not None:
        check_manifest(data)
    check_free(out, (f"{stem_for(cell)}.png",), overwrite=overwrite)
    from ..commands.features import draw_features
    from ..runs.elsewhere import Elsewhere

    picture = draw_features(run, cell, out, fold=fold, overwrite=overwrite, elsewhere=Elsewhere(data, images_root))
    console.emit({"picture": str(picture)}) if as_json else console.say(str(picture))
