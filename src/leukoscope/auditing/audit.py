"""The audit of a manifest before training: damaged cells, duplicates, imbalance, outliers, shortcuts.

One decoding pass, then tables. Of a manifest without its images but with a `sha256` column, only what this column shows
is checked; checks that were not possible are named. Draws nothing: report/audit.py does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from ..errors import ManifestError
from ..leaks.duplicates import duplicate_pairs
from ..manifest import INDEX_FIRST, make_manifest
from ..progress import OnProgress
from .attributes import find_attributes
from .findings import find_all
from .measure import BASIC, Measured, measure_cells
from .result import LISTED, Audit, Finding
from .shortcut import Shortcut, find_shortcuts
from .tables import balance_of, outliers_of, pair_facts, share_explained, sources_of

__all__ = ["LISTED", "Audit", "Finding", "audit"]


def audit(manifest: pl.DataFrame, *, on_progress: OnProgress | None = None, seed: int = 0) -> Audit:
    """Audit a manifest; `seed` is that of the cross-validation in the check for shortcuts.

    Raises ManifestError for a table that is not a manifest or has no cells.
    """
    manifest = make_manifest(manifest)
    if manifest.is_empty():
        raise ManifestError("the manifest has no cells to audit", INDEX_FIRST)
    not_done: list[str] = []
    measured = _measured(manifest, on_progress, not_done)
    pairs = pair_facts(duplicate_pairs(measured.prints), manifest)
    shortcuts = _shortcuts(manifest, measured.measures, pairs, seed, not_done)
    by = next((name for name in ("source", "subject") if manifest[name].n_unique() > 1), "")
    located = measured.measures.join(manifest.select("cell_id", "label", "subject", "source"), on="cell_id")
    result = Audit(
        manifest=manifest, findings=(), damaged=measured.damaged, pairs=pairs, measures=measured.measures,
        balance=balance_of(manifest), subjects=manifest.filter(pl.col("subject").is_not_null()).group_by(
            "subject", "label").len().sort("subject", "label"),
        outliers=outliers_of(located), sources=sources_of(located, by),
        explained=share_explained(located, by), shortcuts=shortcuts, not_done=tuple(not_done),
        attributes=find_attributes(manifest))
    return replace(result, findings=find_all(result, by))


def _measured(manifest: pl.DataFrame, on_progress: OnProgress | None, not_done: list[str]) -> Measured:
    """From the pixels; without any image, from the manifest's `sha256` column."""
    if "sha256" in manifest.columns and not any(Path(image).exists() for image in manifest["image"].unique()):
        not_done += ["damaged files, near duplicates, sharpness, brightness, stain and shortcuts: no image of the "
                     "manifest exists here; identical files are recognised by its sha256 column"]
        empty = pl.DataFrame(schema={"cell_id": pl.String()} | dict.fromkeys(BASIC, pl.Float64()))
        return Measured(empty, manifest.select("cell_id", "sha256"), ())
    return measure_cells(manifest, on_progress)


def _shortcuts(manifest: pl.DataFrame, measures: pl.DataFrame, pairs: pl.DataFrame, seed: int,
               not_done: list[str]) -> tuple[Shortcut, ...]:
    shortcuts: list[Shortcut] = []
    for target in ("label", "source") if measures.height else ():
        if target == "source" and manifest["source"].n_unique() < 2:
            continue
        of_target, reason = find_shortcuts(manifest, measures, pairs, target, seed)
        shortcuts += of_target
        if reason:
            not_done.append(f"shortcut to the {target}: {reason}")
    return tuple(shortcuts)
