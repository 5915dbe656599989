"""Every pixel of an index is looked at: what cannot be decoded is damaged, and no cell.

Readers look at the headers of images only, which is fast and does not see that a file ends in its middle.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import polars as pl

from ..errors import ImageError
from ..images.decode import Damaged, map_cells, usable_cores
from ..images.read import read_mask
from ..progress import OnProgress, behind
from .base import Index


def decoded(index: Index, *, on_progress: OnProgress | None = None) -> Index:
    """The index without cells whose image, box or mask cannot be decoded; these are added to `damaged`, each image
    once. Each image is decoded once, in threads, in constant memory. Raises ImageError where no cell is left."""
    manifest, cores = index.manifest, usable_cores()
    masks = manifest["mask"].drop_nulls().unique(maintain_order=True).to_list()
    total = manifest.height + len(masks)
    damaged: dict[str, str] = {}
    whole = np.ones(manifest.height, bool)
    for row, result in map_cells(manifest, lambda _: None, workers=cores,
                                 on_progress=behind(on_progress, 0, total)):
        if isinstance(result, Damaged):
            whole[row] = False
            damaged[result.image] = result.reason
    with ThreadPoolExecutor(cores) as pool:
        for number, reason in enumerate(pool.map(_wrong_with_mask, masks), 1):
            if reason:
                damaged[masks[number - 1]] = reason
            if on_progress is not None:
                on_progress(manifest.height + number, total)
    whole &= ~manifest["mask"].is_in(list(damaged)).fill_null(False).to_numpy()
    if not whole.any():
        path, reason = next(iter(damaged.items()))
        raise ImageError(path, f"{reason} (all {manifest.height:,} cells are damaged)", "export the images again")
    return replace(index, manifest=manifest.filter(pl.Series(whole)), damaged=(*index.damaged, *damaged.items()))


def _wrong_with_mask(path: str) -> str:
    try:
        read_mask(path)
    except ImageError as error:
        return error.reason
    return ""
