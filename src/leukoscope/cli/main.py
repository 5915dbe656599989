"""The entry point: runs a command and turns errors into one line. Every decision is made elsewhere.

Exit codes: 0 done; 2 bad input, explained in one line; 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from .. import __version__
from ..errors import LeukoscopeError, missing_extra
from . import (
    agreement,
    console,
    data,
    evaluate,
    explain,
    optics,
    power,
    predict,
    review,
    review_user,
    slide,
    smear,
    train,
)

INTERRUPTED = 130
COMMANDS = (
    (train.demo, "demo -o demo/"),
    (smear.smear, "smear fields/ -o smear/"),
    (review.review, "review smear/"),
    (slide.info, "slide info slide.svs --thumbnail slide.png"),
    (review.verify, "review verify smear/"),
    (review.backup, "review backup decisions.zip smear/"),
    (review.restore, "review restore decisions.zip smear/"),
    (review_user.add, "review user add 'Ann Weber' --role haematologist"),
    (review_user.list_users, "review user list"),
    (review_user.disable, "review user disable 'Ann Weber'"),
    (review_user.enable, "review user enable 'Ann Weber'"),
    (review_user.role, "review user role 'Ann Weber' administrator"),
    (review_user.password, "review user password 'Ann Weber'"),
    (predict.predict, "predict packaged cells/ 'more/*.png' -o predictions.csv"),
    (train.train, "train almotairi2020 --data cells.parquet -o runs/wbc"),
    (evaluate.evaluate, "evaluate wbc-bundle --data other.parquet -o elsewhere/"),
    (evaluate.compare, "compare runs/resnet50 runs/vgg16 -o comparison/"),
    (agreement.agreement, "agreement machine.csv reference.csv -o agreement/"),
    (power.power, "power comparison/"),
    (explain.explain, "explain runs/wbc BA_100102.jpg -o explained/"),
    (explain.features, "features runs/wbc BA_100102.jpg -o features/"),
    (predict.export, "export runs/wbc -o wbc-bundle --micrometres 0.1"),
    (predict.adapt, "adapt packaged --review smear/ -o our-model.zip"),
    (train.report, "report runs/wbc"),
    (train.checklist, "checklist runs/wbc -o checklists/"),
    (train.recipes, "recipes almotairi2020 > mine.toml"),
    (train.models, "models resnet50 convnext_tiny --size 96"),
    (train.reproduce, "reproduce almotairi2020 --data pbc/ -o repro/"),
    (data.list_sets, "data list"),
    (data.info, "data info pbc"),
    (data.get, "data get bloodmnist --to data/"),
    (data.index, "data index pbc PBC_dataset_normal_DIB -o cells.parquet"),
    (data.join, "data join here.parquet there.parquet -o all.parquet"),
    (data.audit, "data audit cells.parquet -o audit/"),
    (optics.export, "optics export runs/learned-4 -o optics/"),
    (optics.simulate, "optics simulate runs/learned-4 cell.jpg -o simulated/"),
)
"""Every command with its example, which begins with its name; in the order of the help."""


class _Words(TyperGroup):
    """Takes commands of two words too: `review verify` beside `review`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        pair = " ".join(args[:2])
        return (pair, self.commands[pair], args[2:]) if pair in self.commands else super().resolve_command(ctx, args)


app = typer.Typer(
    name="leukoscope", cls=_Words, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
    rich_markup_mode=None,  # plain help: examples stay on one line, and rich is not imported
    help="Find and count leukocytes in blood-smear images, and detect acute lymphoblastic leukemia. For research; not "
         "a medical device.",
    epilog="Start with: leukoscope demo",
)
GROUPS = {
    "data": typer.Typer(no_args_is_help=True, help="Data sets: list, download, index, audit."),
    "slide": typer.Typer(no_args_is_help=True, help="Whole slides: what a file is."),
    "optics": typer.Typer(no_args_is_help=True, help="Learned optics: export, simulate."),
    "review user": typer.Typer(no_args_is_help=True, help="Accounts of the workbench: add, list, disable, enable, "
                                                          "role, password."),
}
PAIRS = ("review verify", "review backup", "review restore")
"""Commands of two words whose first word is a command itself, whose help names them."""
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name, hidden=" " in _name)


def command_words(example: str) -> list[str]:
    """The names under which an example is found: ["data", "get"], ["review user", "add"], ["review verify"], ["train"].
    """
    first, second, third, *_ = *example.split(), "", ""
    for group, name in ((first, second), (f"{first} {second}", third)):
        if group in GROUPS:
            return [group, name]
    return [f"{first} {second}" if f"{first} {second}" in PAIRS else first]


for _function, _example in COMMANDS:
    *_group, _name = command_words(_example)
    (GROUPS[_group[0]] if _group else app).command(
        _name, hidden=_name in PAIRS, epilog=f"Example: leukoscope {_example}")(_function)


def _version(wanted: bool) -> None:
    if wanted:
        console.say(f"leukoscope {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")]
    = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; errors that a user can correct become one line and exit code 2."""
    command = typer.main.get_command(app)
    try:
        code = command.main(prog_name="leukoscope", standalone_mode=False) or 0
        if code == INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(code)
    except LeukoscopeError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        _fail(str(missing))
    except TyperException as error:
        if error.format_message().startswith("Usage: "):  # the help of a group that was called without a command
            console.say(error.format_message())
            sys.exit(2)
        _fail(_usage_line(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if not error.filename and error.strerror is None:
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free disk space, or choose another folder" if full else "check the path, and who may read and write it"
        nowhere = "the current folder" if error.errno == errno.ENOENT else "writing"  # it was removed
        _fail(f"{error.filename or nowhere}: {error.strerror}; {hint}")
    except (KeyboardInterrupt, typer.Abort):
        console.note("interrupted; repeat the command with --resume to continue, where it has that option")
        sys.exit(INTERRUPTED)


def _usage_line(error: TyperException) -> str:
    """What is wrong with the words of a command line, and where its help is."""
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    message = re.sub(r"Input should be a valid (number|integer), unable to parse string as an? \w+",
                     lambda found: f"expected a {'whole ' * (found[1] == 'integer')}number", message)
    if unexpected := re.fullmatch(r"Got unexpected extra argument\(s\) \((.*)\)", message):
        message = f"unexpected: {unexpected[1]}; put a path with spaces in quotes, and write KEY=VALUE without spaces"
    path = context.command_path if context else "leukoscope"
    return f"{message}{' S' if message.endswith('?') else '; s'}ee {path} --help"


def _fail(line: str) -> NoReturn:
    console.note(f"leukoscope: {line}")
    sys.exit(2)
