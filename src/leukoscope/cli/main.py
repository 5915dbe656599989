"""The command line: parses, calls, prints. Every decision is made elsewhere.

Exit codes: 0 done; 2 input that the user can mend, told in one line; 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.exceptions import TyperException

from .. import __version__
from ..errors import LeukoscopeError, missing_extra
from . import console
from . import data as cli_data
from . import evaluate as cli_evaluate
from . import explain as cli_explain
from . import optics as cli_optics
from . import predict as cli_predict
from . import smear as cli_smear

INTERRUPTED = 130
app = typer.Typer(
    name="leukoscope", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
    help="Recognise leukocytes and detect acute lymphoblastic leukemia in blood-smear images, without leaks and with "
    "intervals. For research; not a medical device.",
    epilog="Start with: leukoscope demo",
)
app.add_typer(cli_data.app, name="data")
app.add_typer(cli_optics.app, name="optics")

Data = Annotated[Path, typer.Option("--data", help="The manifest: cells.parquet or cells.csv.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a key: --set training.epochs=5. Repeatable.")]
Protocol = Annotated[Literal["clean", "paper"], typer.Option(help="clean: nothing leaks. paper: as the authors did.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")]
Only = Annotated[list[str] | None, typer.Option("--only", help="Train this variant alone. Repeatable.")]
SkipDamaged = Annotated[bool, typer.Option("--skip-damaged", help="Leave damaged images out, and list them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def _version(wanted: bool) -> None:
    if wanted:
        console.say(f"leukoscope {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command(epilog="Example: leukoscope demo -o demo/")
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for everything it makes.")] = Path("demo"),
    train: Annotated[bool, typer.Option("--train", help="Also audit cells, train on them and report.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the smears and of the training.")] = 0,
) -> None:
    """Count the leukocytes of a built-in phantom smear, from fields to a page. No download."""
    from ..commands.demo import run_demo, run_training_demo

    if train:
        with console.training() as on_event:
            lines = run_training_demo(out, seed=seed, on_event=on_event)
    else:
        with console.progress("fields") as on_progress:
            lines = run_demo(out, seed=seed, on_progress=on_progress)
    console.show_lines(lines)


@app.command(epilog="Example: leukoscope recipes almotairi2020 > mine.toml")
def recipes(
    name: Annotated[str, typer.Argument(help="Print this recipe whole.")] = "", as_json: Json = False
) -> None:
    """List the built-in recipes, or print one to start from."""
    from ..recipes.recipe import builtin_recipes, recipe_text

    if name:
        sys.stdout.write(recipe_text(name)[1])
    elif as_json:
        console.emit(builtin_recipes())
    else:
        console.show_table(["recipe", "what"], [list(item) for item in builtin_recipes().items()])


@app.command(epilog="Example: leukoscope models resnet50 convnext_tiny --size 96")
def models(
    names: Annotated[list[str] | None, typer.Argument(help="Names of ours, of torchvision or timm.")] = None,
    size: Annotated[int, typer.Option(min=0, max=1024, help="Side of the input in px; 0 for the usual 224.")] = 0,
    as_json: Json = False,
) -> None:
    """List networks worth knowing, or tell of some: parameters, operations, memory, input, licence of weights."""
    from ..networks.listing import list_networks

    with console.progress("working out costs", quiet=as_json) as on_progress:
        facts = list_networks(names or [], size, on_progress=on_progress)
    console.show_networks(facts, as_json=as_json)


@app.command(epilog="Example: leukoscope train almotairi2020 --data cells.parquet -o runs/wbc --scale small")
def train(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or a name of `leukoscope recipes`.")],
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="The run folder to make.")],
    settings: Set = None,
    protocol: Protocol = "clean",
    scale: Annotated[str, typer.Option(help="A scale of the recipe, such as small.")] = "full",
    only: Only = None,
    resume: Resume = False,
    skip_damaged: SkipDamaged = False,
    devices: Annotated[int, typer.Option(min=1, help="How many GPUs (or CPU processes).")] = 1,
    as_json: Json = False,
) -> None:
    """Train one recipe on a manifest; leaves a run folder with predictions, metrics and a report."""
    from ..recipes.recipe import load_recipe, only_variants

    chosen = only_variants(load_recipe(recipe, protocol=protocol, scale=scale, settings=settings or []), only or [])
    from ..commands.train import run_experiment
    from ..manifest import read_manifest

    with console.training(quiet=as_json) as on_event:
        outcome = run_experiment(chosen, read_manifest(data), out, resume=resume, skip_damaged=skip_damaged,
                                 devices=devices, on_event=on_event)
    console.emit(outcome.to_dict()) if as_json else console.show_lines(outcome.lines)


@app.command(epilog="Example: leukoscope compare runs/resnet50 runs/vgg16 runs/googlenet -o comparison/")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or evaluations of runs, on the same cells.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write to.")],
    rounds: Annotated[int, typer.Option(help="Rounds of the bootstrap by subject.")] = 2000,
    timed: Annotated[bool, typer.Option("--time/--no-time", help="Measure prediction times on this machine.")] = True,
    as_json: Json = False,
) -> None:
    """Say which of several runs is right most often, which differences are real, and what each costs."""
    from ..commands.compare import compare_runs

    lines, found = compare_runs(runs, out, rounds=rounds, timed=timed)
    console.emit(found) if as_json else console.show_lines(lines)


@app.command(epilog="Example: leukoscope features runs/wbc BA_100102.jpg -o features/")
def features(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    cell: Annotated[str, typer.Argument(help="A cell_id of the run, or an image file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for the picture.")],
    fold: Annotated[int, typer.Option(help="Whose weights.")] = 0,
) -> None:
    """Draw what each unit of the network makes of one cell."""
    from ..commands.features import draw_features

    console.say(str(draw_features(run, cell, out, fold=fold)))


cli_evaluate.register(app)
cli_explain.register(app)
cli_predict.register(app)
cli_smear.register(app)


@app.command(epilog="Example: leukoscope reproduce almotairi2020 --data PBC_dataset_normal_DIB -o repro --scale small")
def reproduce(
    paper: Annotated[str, typer.Argument(help="almotairi2020, dimuro2020, noshad2021 or shalini2022.")],
    data: Annotated[Path, typer.Option("--data", help="The folder of the data set, or a manifest.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for all its runs.")],
    scale: Annotated[Literal["small", "full"], typer.Option(help="small fits two cores.")] = "full",
    protocol: Annotated[Literal["clean", "paper", "both"], typer.Option(help="One protocol, or both.")] = "clean",
    transfer: Annotated[Path | None, typer.Option(help="A small data set to transfer to: folder or manifest.")] = None,
    repeats: Annotated[int | None, typer.Option(
        min=1, help="Trainings of each network (dimuro2020: 3, shalini2022: 1).")] = None,
    settings: Set = None,
    only: Only = None,
    resume: Resume = False,
    skip_damaged: SkipDamaged = False,
) -> None:
    """Run a paper's experiments and print its tables beside ours, with intervals."""
    from ..papers import reproduce_paper

    with console.training() as on_event:
        outcome = reproduce_paper(paper, data, out, scale=scale, protocol=protocol, transfer=transfer,
                                  settings=settings or [], repeats=repeats, only=only or [], resume=resume,
                                  skip_damaged=skip_damaged, on_event=on_event)
    console.show_lines(outcome.lines)


@app.command(epilog="Example: leukoscope report runs/wbc")
def report(run: Annotated[Path, typer.Argument(help="A run folder, a folder of runs, or a comparison.")]) -> None:
    """Draw the report of a run, of several, or of a comparison anew, from its folder alone."""
    from ..commands.report import write_any_report

    console.say(str(write_any_report(run)))


def main() -> None:
    """Run the command line; errors that a user can mend become one line and exit code 2."""
    command = typer.main.get_command(app)
    try:
        code = command.main(standalone_mode=False) or 0
        if code == INTERRUPTED:  # as typer has it of a KeyboardInterrupt
            raise KeyboardInterrupt
        sys.exit(code)
    except LeukoscopeError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        _fail(str(missing))
    except TyperException as error:
        if not error.format_message():  # a group without a command: its help is printed already
            sys.exit(2)
        _fail(f"{' '.join(error.format_message().split()).rstrip('.')}; see leukoscope {_subcommand()}--help")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if not error.filename and error.strerror is None:
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free the disk, or choose another folder" if full else "name what can be read, or a folder to write to"
        _fail(f"{error.filename or 'writing'}: {error.strerror}; {hint}")
    except (KeyboardInterrupt, typer.Abort):
        console.note("interrupted; a run goes on with --resume")
        sys.exit(INTERRUPTED)


def _fail(line: str) -> None:
    console.note(f"leukoscope: {line}")
    sys.exit(2)


def _subcommand() -> str:
    """The words of the command line that name a command that there is."""
    words: list[str] = []
    for word in sys.argv[1:]:
        groups = {group.name: group.typer_instance for group in app.registered_groups}
        inside = groups.get(words[0]) if words else app
        commands = inside.registered_commands if inside is not None else []
        names = {command.name or command.callback.__name__ for command in commands}  # type: ignore[union-attr]
        if word not in names and (words or word not in groups):
            break
        words.append(word)
    return "".join(f"{word} " for word in words)
