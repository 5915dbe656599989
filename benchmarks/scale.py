"""How near the scale that red cells give comes to the true one, field by field: docs/smear.md shows what it prints.

    python benchmarks/scale.py [FIELDS]

Phantoms at several scales have an exact one, and red cells of known size, which differ between subjects as they do
between people. In BCCD, people drew boxes around red cells: the median of the sides of those that lie whole in a field,
and apart from others, is their true diameter. FIELDS: of BCCD, spread over its lists (36).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from leukoscope.datasets import bccd
from leukoscope.images.read import read_image
from leukoscope.phantom import render_field
from leukoscope.smear.find import first_look_at
from leukoscope.smear.scale import RED_CELL
from leukoscope.smear.source import field_source
from leukoscope.stats import wilson

SCALES = 0.06, 0.1, 0.16, 0.25, 0.4, 0.6
EACH = 6
"""Phantoms of each scale."""
WITHIN = 0.1
FEWEST = 5
"""Boxes of single red cells below which a field of BCCD has no true diameter."""


@dataclass(frozen=True, eq=False)
class Known:
    """A field whose red cells are known: their median diameter in px; and um per pixel, None where it is not known."""

    name: str
    pixels: NDArray[np.uint8]
    diameter: float
    scale: float | None


def phantoms(scale: float) -> Iterator[Known]:
    """Of 90 x 70 um, each of another subject."""
    for seed in range(EACH):
        field = render_field(round(90 / scale), round(70 / scale), seed=(31, seed), micrometres_per_pixel=scale)
        yield Known(f"phantom {seed} at {scale:g}", field.pixels, float(np.median(field.red_cells[:, 2])), scale)


def bccd_fields(data: Path, most: int) -> Iterator[Known]:
    """Real fields."""
    boxes = bccd.index(data, "boxes").manifest
    names = boxes["field"].unique(maintain_order=True).to_list()
    for name in names[::max(len(names) // most, 1)][:most]:
        rows = boxes.filter(pl.col("field") == name)
        pixels = read_image(rows["image"][0])
        single = _single(rows.filter(pl.col("label") == "erythrocyte").select("x", "y", "width", "height").to_numpy(),
                         pixels.shape[1], pixels.shape[0])
        if len(single) >= FEWEST:
            yield Known(name, pixels, float(np.median(single)), None)


def _single(boxes: NDArray[np.int64], width: int, height: int) -> NDArray[np.float64]:
    """Mean sides of boxes that touch no border, are nearly square, and overlap no other by more than a fifth."""
    left, top, right, bottom = boxes[:, 0], boxes[:, 1], boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    inside = (left > 1) & (top > 1) & (right < width - 1) & (bottom < height - 1)
    square = (np.minimum(boxes[:, 2], boxes[:, 3]) > 0.8 * np.maximum(boxes[:, 2], boxes[:, 3]))
    across = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    down = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    common = np.clip(across, 0, None) * np.clip(down, 0, None) * (1 - np.eye(len(boxes), dtype=np.int64))
    alone = common.max(axis=1, initial=0) < 0.2 * boxes[:, 2] * boxes[:, 3]
    return boxes[inside & square & alone][:, 2:].mean(axis=1)


def report(what: str, fields: Iterable[Known]) -> list[tuple[Known, float | None]]:
    """Print in how many fields red cells are measured within WITHIN, and the others. Returns what was measured, px."""
    measured = [(known, first_look_at(field_source(known.pixels)).survey.scale.red_cell_diameter) for known in fields]
    errors = {known.name: None if found is None else found / known.diameter - 1 for known, found in measured}
    _say(f"{what}: diameter of red cells", errors)
    return measured


def _say(what: str, errors: Mapping[str, float | None]) -> None:
    known = [error for error in errors.values() if error is not None]
    right = sum(abs(error) <= WITHIN for error in known)
    share = wilson(right, len(errors))
    print(f"{what} within {WITHIN:.0%} in {right} of {len(errors)} fields ({share.low:.3f} to {share.high:.3f}), "
          f"median error {np.median(known) if known else np.nan:+.1%}, none in {len(errors) - len(known)}", flush=True)
    misses = [f"{name} {'none' if error is None else f'{error:+.0%}'}" for name, error in errors.items()
              if error is None or abs(error) > WITHIN]
    print(f"   {'; '.join(misses)}\n" if misses else "", end="", flush=True)


def main() -> None:
    """Print the figures."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 36
    every = [pair for scale in SCALES for pair in report(f"phantoms at {scale:g} um a pixel", phantoms(scale))]
    _say("all phantoms: diameter of red cells", {
        known.name: None if found is None else found / known.diameter - 1 for known, found in every})
    _say(f"all phantoms: scale, at {RED_CELL:g} um a red cell,", {
        known.name: None if found is None or known.scale is None else RED_CELL / found / known.scale - 1
        for known, found in every})
    given = os.environ.get("LEUKOSCOPE_DATA")
    data = (Path(given) if given else Path(__file__).parents[2] / "shared" / "data") / "bccd"
    if data.is_dir():
        measured = report("BCCD, by boxes of red cells", bccd_fields(data, most))
        # Boxes are drawn with slack, more or less the same in all fields.
        slack = float(np.median([known.diameter / found for known, found in measured if found is not None]))
        _say(f"BCCD, where boxes are {slack:.2f} times as wide as red cells: diameter", {
            known.name: None if found is None else found * slack / known.diameter - 1 for known, found in measured})
    else:
        print(f"no real fields: {data} does not exist (set LEUKOSCOPE_DATA)")


if __name__ == "__main__":
    main()
