"""Photographs of a smear to its count, from Python: files or arrays in, cells and differential out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from PIL import Image

from ..errors import LeukoscopeError
from ..progress import OnProgress
from ..smear.summary import SmearSummary
from ..tables import read_parquet
from ..text import plural, span, type_name
from .smear import smear_fields

Field = str | Path | np.ndarray


@dataclass(frozen=True, eq=False)
class SmearCount:
    """A counted smear. cells: one row for each cell, as cells.parquet holds it (docs/smear.md names the columns).
    summary: the differential, the fields and the remarks. page: the result page as HTML."""

    cells: pl.DataFrame
    summary: SmearSummary
    page: str

    @property
    def differential(self) -> pl.DataFrame:
        """One row for each type: type, cells, share (0 to 1) and the ends of its 95 % interval; null where the type is
        no leukocyte, or where types are not to be relied on (`summary.unreliable`)."""
        return pl.DataFrame(
            [(kind.name, kind.cells,
              *((kind.share.value, kind.share.low, kind.share.high) if kind.share else 3 * (None,)))
             for kind in self.summary.differential.types],
            schema={"type": pl.String, "cells": pl.Int64, "share": pl.Float64, "low": pl.Float64, "high": pl.Float64},
            orient="row")

    def __repr__(self) -> str:
        counted, fields = self.summary.differential.total, len(self.summary.fields)
        doubt = "; types are not reliable: no differential" * bool(self.summary.unreliable)
        return (f"SmearCount({plural(counted, 'leukocyte')} counted, {self.cells.height} cells in "
                f"{plural(fields, 'field')}{doubt})")

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(type_name(name))}</td><td>{cells}</td>"
            f"<td>{'' if value is None else f'{100 * value:.1f}'}</td>"
            f"<td>{escape(span(low, high, page=True))}</td></tr>"
            for name, cells, value, low, high in self.differential.rows())
        remarks = "".join(f"<li>{escape(remark)}</li>" for remark in self.summary.notices)
        head = "<tr><th>type</th><th>cells</th><th>%</th><th>95 % CI</th></tr>"
        return f"<p>{escape(repr(self))}</p><table>{head}{rows}</table><ul>{remarks}</ul>"


def count_smear(fields: Field | Iterable[Field], *, model: str | Path | None = None, types: bool = True,
                micrometres: float | None = None, subject: str = "", out: Path | str | None = None,
                on_progress: OnProgress | None = None) -> SmearCount:
    """Find, outline, measure, type and count the leukocytes of one smear.

    fields: photographs of it, as files, folders or uint8 RGB arrays (height, width, 3). model: a bundle that types the
    cells; None for the built-in model. types: False finds and measures only. micrometres: um per pixel; None takes
    what the red cells say. out: a new folder for the page, tables and outlines; None keeps nothing on disk. Raises
    LeukoscopeError where no field can be read or an array is no image.
    """
    given = [fields] if isinstance(fields, str | Path | np.ndarray) else list(fields)
    with TemporaryDirectory() as work:
        inputs = [_written(field, Path(work) / f"field_{number}.png") if isinstance(field, np.ndarray) else field
                  for number, field in enumerate(given, start=1)]
        folder = Path(out) if out is not None else Path(work) / "count"
        summary = smear_fields(inputs, folder, bundle=model, types=types, micrometres=micrometres, subject=subject,
                               on_progress=on_progress)
        return SmearCount(read_parquet(folder / "cells.parquet"), summary,
                          (folder / "smear.html").read_text(encoding="utf-8"))


def _written(field: np.ndarray, path: Path) -> Path:
    if field.dtype != np.uint8 or field.ndim != 3 or field.shape[2] != 3 or 0 in field.shape:
        raise LeukoscopeError(f"an array of {field.dtype} {field.shape} is not a photograph",
                              "give uint8 (height, width, 3): red, green, blue")
    Image.fromarray(field).save(path, compress_level=1)
    return path
