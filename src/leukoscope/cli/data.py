"""`leukoscope data`: list, describe, download, index and audit data sets. Parses, calls, prints."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ..commands.inputs import check_free, check_manifest
from ..errors import LeukoscopeError
from ..filenames import check_table_path
from ..text import is_text
from . import console
from .options import Json, OutFolder, Overwrite

DataSet = Annotated[str, typer.Argument(metavar="NAME", help="A name from leukoscope data list.")]


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


def info(name: DataSet, as_json: Json = False) -> None:
    """Describe a data set: licence, source, views, subjects."""
    from ..datasets import get_dataset

    described = get_dataset(name)
    facts = {
        "name": described.name, "what": described.title, "licence": described.licence, "citation": described.citation,
        "homepage": described.homepage, "how to get it": described.obtain, "subjects": described.subject_rule,
    }
    if described.micrometres_per_pixel is not None:
        facts["scale"] = f"{described.micrometres_per_pixel} µm a pixel"
    if as_json:
        console.emit(facts | {"views": dict(described.views), "options": dict(described.options),
                              "downloads": [d.url for d in described.downloads]})
        return
    for title, entries in (("view", described.views), ("option", described.options)):
        facts |= {f"{title} {key}": value for key, value in entries.items()}
    for item in described.downloads:
        size = f"{item.bytes:,} bytes" if item.bytes else "size not published"
        facts[f"file {item.filename}"] = f"{item.url} ({size}{', optional' if item.optional else ''})"
    width = max(map(len, facts)) + 2
    for key, value in facts.items():
        console.say(f"{key:<{width}}{value}")


def get(
    name: DataSet,
    to: Annotated[Path, typer.Option("--to", help="The folder to download to.")],
    file: Annotated[list[str] | None, typer.Option(
        help="Only this file (leukoscope data info lists them). Can be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Download a data set, or say how to request it.

    An interrupted download continues when the command is repeated. Checksums are verified where they are published.
    """
    from ..datasets import get_dataset
    from ..datasets.download import download

    with console.progress(f"downloading {name}", quiet=as_json) as on_progress:
        files = download(get_dataset(name), to, names=file or (), on_progress=on_progress)
    if as_json:
        console.emit({"files": [str(path) for path in files]})
        return
    console.show_lines([str(path) for path in files])
    console.say(f"next: leukoscope data index {name} {to} -o {name}.parquet")


def _layout(name: str) -> str:
    """The name of a layout or data set, checked before anything else; a folder in its place gets the right line."""
    from ..datasets import dataset_names, get_dataset
    from ..datasets.suggest import index_command

    if name not in dataset_names() and Path(name).is_dir():
        raise LeukoscopeError(f"{name}: a folder, but the layout comes first", f"use: {index_command(Path(name))}")
    return get_dataset(name).name


def index(
    layout: Annotated[str, typer.Argument(
        metavar="LAYOUT", callback=_layout, is_eager=True,
        help="folder (one folder per class), table, voc, coco, yolo, or a data set from leukoscope data list.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that holds the images.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The table of cells to write: .parquet or .csv.")],
    view: Annotated[str, typer.Option(
        help="Which labels or parts of the data set; without it, its first view.")] = "",
    option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=(
        "An option of this layout (leukoscope data info lists them). Can be repeated."))] = None,
    attributes: Annotated[Path | None, typer.Option(metavar="TABLE", help=(
        "A table of what cells look like, such as that of WBCAtt: a row for each, by image or cell_id."))] = None,
    decode: Annotated[bool, typer.Option(
        "--decode", help="Look at every pixel: files that are cut off or damaged are left out and named.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a table of cells from a folder of images.

    Counts the expected cells and those found, and names missing and damaged files. Reads the headers of images only,
    and with --decode all their pixels.
    """
    check_table_path(out)
    check_free(out, overwrite=overwrite)
    from ..datasets import get_dataset
    from ..datasets import index as index_folder
    from ..manifest import write_manifest

    chosen = get_dataset(layout)
    view = view or chosen.default_view
    result = index_folder(layout, folder, view, **_options(option or [], layout, chosen.options))
    if attributes is not None:
        from ..datasets.attributes import with_attributes

        result = with_attributes(result, attributes)
    if decode:
        from ..datasets.decoded import decoded

        with console.progress("looking at pixels", quiet=as_json) as on_progress:
            result = decoded(result, on_progress=on_progress)
    write_manifest(result.manifest, out)
    if as_json:
        console.emit({"manifest": str(out), "view": view, "cells": result.manifest.height,
                      "pixels_checked": decode, "expected": dict(result.expected), "found": result.found,
                      "missing": list(result.missing), "damaged": [list(d) for d in result.damaged],
                      "notes": list(result.notes)})
        return
    labels = sorted({*result.found, *result.expected})
    rows = [[label or "(no label)", result.found.get(label, 0), result.expected.get(label, "")] for label in labels]
    known = 3 if result.expected else 2  # of one's own images nobody knows how many there should be
    console.show_table(["label", "found", "whole set"][:known], [row[:known] for row in rows])
    console.show_lines(result.notes)
    console.show_some("missing", result.missing)
    console.show_some("damaged, left out", [f"{path}: {reason}" for path, reason in result.damaged])
    checked = "every pixel was decoded" if decode else (
        "only headers of images were read, pixels were not checked: --decode does")
    console.say(f"{out}: {result.manifest.height:,} cells of {layout}, view {view}; {checked}")


def _options(given: list[str], layout: str, known: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` strings as a dictionary, with keys that the layout knows."""
    names = list(known)
    options: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or key not in names:
            raise LeukoscopeError(f"--option {text}: {layout} has no such option",
                                  f"write KEY=VALUE, KEY one of {', '.join(names)}" if names else "leave it out")
        if not is_text(value):
            raise LeukoscopeError(f"--option {text}: not text in UTF-8", "write it in a terminal that uses UTF-8")
        options[key] = value
    return options


def join(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE...", help="Tables of cells, one for each laboratory.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The table of cells to write: .parquet or .csv.")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Join tables of cells into one, to train over several laboratories.

    The column source names the laboratory of each cell.
    """
    for path in tables:
        check_manifest(path)
    check_table_path(out)
    check_free(out, overwrite=overwrite)
    from ..datasets.join import join_manifests
    from ..manifest import write_manifest

    cells = join_manifests(tables)
    write_manifest(cells, out)
    counts = dict(cells.group_by("source").len().sort("source").iter_rows())
    if as_json:
        console.emit({"out": str(out), "cells": cells.height, "sources": counts})
        return
    console.show_table(["laboratory", "cells"], [[name, f"{count:,}"] for name, count in counts.items()])
    console.say(f"{out}: {cells.height:,} cells of {len(counts)} laboratories")


def audit(
    manifest: Annotated[Path, typer.Argument(metavar="CELLS", help="The table of cells: .parquet or .csv.")],
    out: OutFolder,
    seed: Annotated[int, typer.Option(help="Seed of the cross-validation in the shortcut check.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Check cells before training: damage, duplicates, leaks.

    Also class imbalance, unusual images, and shortcuts such as a class that its background reveals. Writes audit.html
    and audit.json.
    """
    check_manifest(manifest)
    check_free(out, ("audit.html", "audit.json"), overwrite=overwrite)
    from ..manifest import read_manifest

    cells = read_manifest(manifest)
    from ..auditing.audit import audit as make_audit
    from ..report.audit import write_audit

    with console.progress("reading cells", quiet=as_json) as on_progress:
        result = make_audit(cells, on_progress=on_progress, seed=seed)
    page = write_audit(result, out)
    if as_json:
        console.emit(result.to_dict())
        return
    console.show_lines(result.verdict)
    console.say(f"page: {page}")
