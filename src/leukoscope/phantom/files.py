"""Phantom smears as files in a folder, with their manifest: the input of the demo and of many tests.

Each file is written completely or not at all. Knows nothing of how cells look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from ..errors import LeukoscopeError
from ..files import atomic_path, write_json
from ..manifest import make_manifest
from ..progress import OnProgress
from .optics import check_range
from .render import Field, render_cell, render_field
from .subjects import Subject, draw_subject

FIVE = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")


def write_cells(root: Path | str, n_per_class: int = 20, *, labels: Sequence[str] = FIVE, subjects: int = 10,
                seed: int = 0, size: int = 96, micrometres_per_pixel: float | None = None,
                on_progress: OnProgress | None = None) -> pl.DataFrame:
    """Write one PNG per cell to root/<label>/ and return the manifest, one row each.

    The cells of a class take the subjects in turn, so each subject has cells of every class; the stain says nothing
    about the label. Further columns: `subtype`. Raises LeukoscopeError for counts below 1 or an unknown type.
    """
    check_range("n_per_class", n_per_class, 1, np.inf)
    people = _people(subjects, seed)
    root, rows, total = Path(root).absolute(), [], n_per_class * len(labels)
    for kind, label in enumerate(labels):
        for number in range(n_per_class):
            person = people[(number + kind) % subjects]
            rendered = render_cell(label, size=size, seed=(seed, 3, kind, number), subject=person,
                                   micrometres_per_pixel=micrometres_per_pixel)
            name = f"{person.name}_{label}_{number:05d}"
            path = root / label / f"{name}.png"
            _write_png(rendered.pixels, path)
            rows.append({"cell_id": name, "image": str(path), "label": label, "subject": person.name,
                         "source": "phantom", "subtype": rendered.cells[0].subtype})
            if on_progress is not None:
                on_progress(len(rows), total)
    return make_manifest(rows)


def write_smears(root: Path | str, *, subjects: int = 6, fields_per_subject: int = 4, seed: int = 0,
                 types: Mapping[str, int] | None = None, size: tuple[int, int] = (640, 480),
                 micrometres_per_pixel: float = 0.1, white_cells: float = 1.0,
                 on_progress: OnProgress | None = None) -> pl.DataFrame:
    """Write fields and their truth, and return the manifest of their nucleated cells, one row per box.

    root/images/<field>.png    the photograph, `size` = (width, height) px
    root/cells/<field>.png     16-bit labels: 0 background, else the number of a cell (platelets too) in the truth file
    root/nuclei/<field>.png    the same numbers in the nuclei, 0 elsewhere
    root/masks/<cell_id>.png   the mask of one cell over its whole field (the manifest's `mask`)
    root/truth/<field>.json    subject, scale, and each cell's type, subtype, box, areas

    types: how many of each type are in a field; None draws by each subject's differential, as `render_field` does.
    Further columns: `subtype`, `whole` (not cut by the edge nor covered).
    """
    check_range("fields_per_subject", fields_per_subject, 1, np.inf)
    root, rows, done = Path(root).absolute(), [], 0
    for index, person in enumerate(_people(subjects, seed)):
        for number in range(fields_per_subject):
            field = render_field(*size, seed=(seed, 4, index, number), subject=person, types=types,
                                 micrometres_per_pixel=micrometres_per_pixel, white_cells=white_cells)
            rows.extend(_write_field(root, f"{person.name}_{number:03d}", field))
            done += 1
            if on_progress is not None:
                on_progress(done, subjects * fields_per_subject)
    if not rows:
        raise LeukoscopeError("the fields hold no nucleated cell", "give `types` or a larger `size`")
    return make_manifest(rows)


def _write_field(root: Path, name: str, field: Field) -> list[dict[str, object]]:
    """Write a field and its truth; the manifest's rows of its nucleated cells."""
    image = root / "images" / f"{name}.png"
    _write_png(field.cell_labels.astype(np.uint16), root / "cells" / f"{name}.png")
    _write_png(field.nucleus_labels.astype(np.uint16), root / "nuclei" / f"{name}.png")
    _write_png(field.pixels, image)
    rows: list[dict[str, object]] = []
    truth = []
    for number, cell in enumerate(field.cells, start=1):
        box = {"x": cell.x, "y": cell.y, "width": cell.width, "height": cell.height}
        truth.append({"number": number, "type": cell.type, "subtype": cell.subtype, **box, "area_um2": cell.area,
                      "nucleus_area_um2": cell.nucleus_area, "diameter_um": cell.diameter, "whole": cell.whole})
        if cell.type == "platelet":
            continue
        cell_id = f"{name}_{number:03d}"
        mask = root / "masks" / f"{cell_id}.png"
        _write_png(np.where(field.cell_labels == number, 255, 0).astype(np.uint8), mask)
        rows.append({"cell_id": cell_id, "image": str(image), "label": cell.type, "subject": field.subject.name,
                     "source": "phantom", "field": name, **box, "mask": str(mask), "subtype": cell.subtype,
                     "whole": cell.whole})
    write_json(root / "truth" / f"{name}.json", {
        "subject": field.subject.name, "state": field.subject.state,
        "micrometres_per_pixel": field.micrometres_per_pixel, "cells": truth})
    return rows


def _write_png(pixels: NDArray[np.uint8] | NDArray[np.uint16], path: Path) -> None:
    try:
        with atomic_path(path) as beside:
            Image.fromarray(pixels).save(beside, compress_level=3)
    except OSError as error:
        raise LeukoscopeError(f"{path}: cannot be written ({error.strerror or error})",
                              "choose a folder that can be written to and has enough disk space") from error


def _people(count: int, seed: int) -> list[Subject]:
    check_range("subjects", count, 1, np.inf)
    width = len(str(count))
    return [draw_subject(np.random.default_rng([seed, 5, k]), name=f"S{k + 1:0{width}d}") for k in range(count)]
