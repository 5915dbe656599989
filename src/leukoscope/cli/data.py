"""`leukoscope data`: list, describe, get, index and audit data sets. Parses, calls, prints."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LeukoscopeError
from . import console

app = typer.Typer(no_args_is_help=True, help="Data sets: list, get, index, audit.", rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


@app.command("list", epilog="Example: leukoscope data list")
def list_sets(as_json: Json = False) -> None:
    """List the data sets and layouts that can be indexed."""
    from ..datasets import dataset_names, get_dataset

    sets = [get_dataset(name) for name in dataset_names()]
    if as_json:
        console.emit([{"name": s.name, "title": s.title, "licence": s.licence, "views": dict(s.views),
                       "downloadable": bool(s.downloads)} for s in sets])
        return
    console.show_table(["name", "what", "licence", "views"],
                       [[s.name, s.title, s.licence, ", ".join(s.views)] for s in sets])


@app.command(epilog="Example: leukoscope data info pbc")
def info(name: Annotated[str, typer.Argument(help="A name of `leukoscope data list`.")], as_json: Json = False) -> None:
    """Say what a data set is, its licence, how to get it, its views and its rule for subjects."""
    from ..datasets import get_dataset

    found = get_dataset(name)
    facts = {
        "name": found.name, "what": found.title, "licence": found.licence, "citation": found.citation,
        "homepage": found.homepage, "how to get it": found.obtain, "subjects": found.subject_rule,
    }
    if found.micrometres_per_pixel is not None:
        facts["scale"] = f"{found.micrometres_per_pixel} µm a pixel"
    if as_json:
        console.emit(facts | {"views": dict(found.views), "options": dict(found.options),
                              "downloads": [d.url for d in found.downloads]})
        return
    for title, entries in (("view", found.views), ("option", found.options)):
        facts |= {f"{title} {key}": value for key, value in entries.items()}
    for item in found.downloads:
        size = f"{item.bytes:,} bytes" if item.bytes else "size not published"
        facts[f"file {item.filename}"] = f"{item.url} ({size}{', optional' if item.optional else ''})"
    width = max(map(len, facts)) + 2
    for key, value in facts.items():
        console.say(f"{key:<{width}}{value}")


@app.command(epilog="Example: leukoscope data get bloodmnist --to data/")
def get(
    name: Annotated[str, typer.Argument(help="A name of `leukoscope data list`.")],
    to: Annotated[Path, typer.Option("--to", help="The folder to put it into.")],
    file: Annotated[list[str] | None, typer.Option(help="Only this file; `data info` lists them. Repeatable.")] = None,
) -> None:
    """Download a data set (resumes, verifies), or say how to request it."""
    from ..datasets import get_dataset
    from ..datasets.download import download

    found = get_dataset(name)
    with console.progress(f"getting {name}") as on_progress:
        files = download(found, to, names=file or (), on_progress=on_progress)
    console.show_lines([str(path) for path in files])
    console.say(f"next: leukoscope data index {name} {to} -o {name}.parquet")


@app.command(epilog="Example: leukoscope data index pbc PBC_dataset_normal_DIB --view five -o cells.parquet")
def index(
    name: Annotated[str, typer.Argument(help="A name of `leukoscope data list`.")],
    folder: Annotated[Path, typer.Argument(help="The folder that holds it.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The manifest to write, .parquet or .csv.")],
    view: Annotated[str, typer.Option(help="Which labels or parts; the first of the set's views if not given.")] = "",
    option: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of this layout; `data info` lists them.")] = None,
    as_json: Json = False,
) -> None:
    """Write the manifest of a folder; count what was expected and found, name what is missing or damaged."""
    from ..datasets import get_dataset
    from ..manifest import check_table_path, write_manifest

    check_table_path(out)
    found = get_dataset(name)
    chosen = view or found.default_view
    if chosen not in found.views:
        raise LeukoscopeError(f"{name} has no view '{chosen}'", f"choose one of {', '.join(found.views)}")
    result = found.index(folder, chosen, **_options(option or [], name, found.options))
    write_manifest(result.manifest, out)
    if as_json:
        console.emit({"manifest": str(out), "view": chosen, "cells": result.manifest.height,
                      "expected": dict(result.expected), "found": result.found, "missing": list(result.missing),
                      "damaged": [list(d) for d in result.damaged], "notes": list(result.notes)})
        return
    labels = sorted({*result.found, *result.expected})
    rows = [[label or "(no label)", result.found.get(label, 0), result.expected.get(label, "")] for label in labels]
    console.show_table(["label", "found", "whole set"], rows)
    for line in result.notes:
        console.say(line)
    console.show_some("missing", result.missing)
    console.show_some("damaged, left out", [f"{path}: {reason}" for path, reason in result.damaged])
    console.say(f"{out}: {result.manifest.height:,} cells of {name}, view {chosen}")


@app.command(epilog="Example: leukoscope data audit cells.parquet -o audit/")
def audit(
    manifest: Annotated[Path, typer.Argument(help="The manifest, .parquet or .csv.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for audit.html and audit.json.")],
    seed: Annotated[int, typer.Option(help="Seed of the cross-validation in the shortcut check.")] = 0,
    as_json: Json = False,
) -> None:
    """Look for damaged files, duplicates, leaks, imbalance, outliers and shortcuts before training."""
    from ..audit.audit import audit as make_audit
    from ..manifest import read_manifest
    from ..report.audit import write_audit

    cells = read_manifest(manifest)
    with console.progress("reading cells", quiet=as_json) as on_progress:
        result = make_audit(cells, on_progress=on_progress, seed=seed)
    page = write_audit(result, out)
    if as_json:
        console.emit(result.to_dict())
        return
    for line in result.verdict:
        console.say(line)
    console.say(f"page: {page}")


def _options(given: list[str], name: str, known: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` strings as a dictionary, with keys that the layout knows."""
    names = list(known)
    options: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or key not in names:
            raise LeukoscopeError(f"--option {text}: {name} has no such option",
                                  f"write KEY=VALUE with one of {', '.join(names) or '(it has none)'}")
        options[key] = value
    return options
