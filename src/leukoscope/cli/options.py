"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Data = Annotated[Path, typer.Option("--data", help="The table of cells: cells.parquet or cells.csv.")]
OutFolder = Annotated[Path, typer.Option("-o", "--out", help="The folder to write to.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run: the folder that leukoscope train wrote.")]
Fold = Annotated[int, typer.Option("--fold", help="The fold whose network is used.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE", help="Change a key of the recipe: --set training.epochs=5. Can be repeated.")]
Protocol = Annotated[Literal["clean", "paper"], typer.Option(
    "--protocol", help="clean: no leaks. paper: as the authors did it.")]
Only = Annotated[list[str] | None, typer.Option(
    "--only", metavar="VARIANT", help="Train only this variant of the recipe. Can be repeated.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue after an interruption.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that already exist.")]
SkipDamaged = Annotated[bool, typer.Option("--skip-damaged", help="Leave out damaged images, and list them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
MovedData = Annotated[Path | None, typer.Option("--data", help=(
    "Where the images were moved: the table of the same cells as they are now."))]
ImagesRoot = Annotated[Path | None, typer.Option("--images-root", help=(
    "Where the images were moved: the folder that holds them now."))]
