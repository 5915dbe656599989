"""`leukoscope train` and what belongs to it: recipes, networks, papers, reports, the demonstration. Parses, calls,
prints.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..commands.inputs import check_empty, check_exists, check_free, check_manifest, check_result
from ..papers import PAPERS, check_paper, reproduce_paper
from . import console
from .options import Data, ImagesRoot, Json, Only, OutFolder, Overwrite, Protocol, Resume, Settings, SkipDamaged


def demo(
    out: OutFolder = Path("demo"),
    train: Annotated[bool, typer.Option(
        "--train", help="Also audit cells, train a network on them and write its report.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the smears and of the training.")] = 0,
    as_json: Json = False,
) -> None:
    """Count the leukocytes of a built-in phantom smear.

    From photographs to a count and its page. Needs no download.
    """
    check_empty(out)
    from ..commands.demo import run_demo, run_training_demo

    if train:
        with console.training(quiet=as_json) as on_event:
            lines = run_training_demo(out, seed=seed, on_event=on_event)
    else:
        with console.progress("fields", quiet=as_json) as on_progress:
            lines = run_demo(out, seed=seed, on_progress=on_progress)
    console.emit({"folder": str(out), "summary": list(lines)}) if as_json else console.show_lines(lines)


def recipes(
    name: Annotated[str, typer.Argument(metavar="[RECIPE]", help="Print this recipe.")] = "",
    as_json: Json = False,
) -> None:
    """List the built-in recipes, or print one to start from."""
    from ..recipes.recipe import builtin_recipes, recipe_text

    if name:
        sys.stdout.write(recipe_text(name)[1])
    elif as_json:
        console.emit(builtin_recipes())
    else:
        console.show_table(["recipe", "what"], [list(item) for item in builtin_recipes().items()])


def models(
    names: Annotated[list[str] | None, typer.Argument(
        metavar="[NETWORK...]", help="Names of networks: ours, or any of torchvision or timm.")] = None,
    size: Annotated[int, typer.Option(min=0, max=1024, help="Width of the input in px; 0 for the usual 224.")] = 0,
    as_json: Json = False,
) -> None:
    """List networks: parameters, operations, memory, licence."""
    from ..networks.listing import list_networks

    with console.progress("computing costs", quiet=as_json) as on_progress:
        facts = list_networks(names or [], size, on_progress=on_progress)
    console.show_networks(facts, as_json=as_json)


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name from leukoscope recipes, or a TOML file.")],
    data: Data,
    out: OutFolder,
    settings: Settings = None,
    protocol: Protocol = "clean",
    scale: Annotated[str, typer.Option(help="The scale: full, or one of the recipe, such as small.")] = "full",
    only: Only = None,
    resume: Resume = False,
    images_root: ImagesRoot = None,
    skip_damaged: SkipDamaged = False,
    devices: Annotated[int, typer.Option(min=1, help="Number of GPUs, or of CPU processes.")] = 1,
    as_json: Json = False,
) -> None:
    """Train a network on labelled cells, as a recipe says.

    Writes a run: a folder with predictions, metrics and a report.
    """
    from ..recipes.recipe import load_recipe, only_variants

    chosen = only_variants(load_recipe(recipe, protocol=protocol, scale=scale, settings=settings or []), only or [])
    check_manifest(data)
    from ..errors import require
    from ..train.folder import check_folder, check_name, run_folders

    require("torch")
    check_name(out)  # an error before the libraries load
    runs = run_folders(chosen, out)
    for folder in runs:
        check_folder(folder, resume)
    from ..manifest import read_manifest
    from ..runs.elsewhere import Elsewhere
    from ..train.selection import select_cells

    cells = Elsewhere(root=images_root).apply(read_manifest(data))
    for variant in runs.values():
        select_cells(cells, variant)
    from ..commands.train import run_experiment

    with console.training(quiet=as_json) as on_event:
        outcome = run_experiment(chosen, cells, out, resume=resume, skip_damaged=skip_damaged,
                                 devices=devices, on_event=on_event)
    console.emit(outcome.to_dict()) if as_json else console.show_lines(outcome.lines)


def reproduce(
    paper: Annotated[str, typer.Argument(
        metavar="PAPER", help=f"One of {', '.join(PAPERS)}.")],
    data: Annotated[Path, typer.Option("--data", help="The folder of the data set, or a table of cells.")],
    out: OutFolder,
    scale: Annotated[Literal["small", "full"], typer.Option(help="small is for two processor cores.")] = "full",
    protocol: Annotated[Literal["clean", "paper", "both"], typer.Option(
        help="clean: no leaks. paper: as the authors did it.")] = "clean",
    transfer: Annotated[Path | None, typer.Option(
        help="A small data set to transfer to: a folder, or a table of cells.")] = None,
    repeats: Annotated[int | None, typer.Option(
        min=1, help="How often each network is trained. Default: 3 for dimuro2020, 1 for shalini2022.")] = None,
    settings: Settings = None,
    only: Only = None,
    resume: Resume = False,
    skip_damaged: SkipDamaged = False,
    as_json: Json = False,
) -> None:
    """Repeat a paper's experiments; print its results beside ours."""
    check_paper(paper)
    for path in (data, transfer):
        if path is not None:
            check_exists(path, "name the folder of the data set, or a table of cells")

    with console.training(quiet=as_json) as on_event:
        outcome = reproduce_paper(paper, data, out, scale=scale, protocol=protocol, transfer=transfer,
                                  settings=settings or [], repeats=repeats, only=only or [], resume=resume,
                                  skip_damaged=skip_damaged, on_event=on_event)
    console.emit(outcome.to_dict()) if as_json else console.show_lines(outcome.lines)


def report(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="A run, a study, an evaluation or a comparison.")],
    as_json: Json = False,
) -> None:
    """Write the report of a run or comparison again."""
    check_result(run, "report", ("a run", "an evaluation", "a study", "a comparison", "a comparison of counts"))
    from ..commands.report import write_any_report

    page = write_any_report(run)
    console.emit({"report": str(page)}) if as_json else console.say(str(page))


def checklist(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="A finished run, or an evaluation.")],
    out: OutFolder,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fill the checklists that journals ask for.

    STARD-AI, TRIPOD+AI and CLAIM: each item with what the run knows, as a page and as Markdown.
    """
    check_result(run, "checklist", ("a run", "an evaluation"))
    check_free(out, ("checklists.html",), overwrite=overwrite)
    from ..report.checklists import write_checklists

    files = write_checklists(run, out)
    console.emit({"files": [str(file) for file in files]}) if as_json else console.show_lines(list(map(str, files)))
