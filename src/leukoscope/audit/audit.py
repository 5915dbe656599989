"""The audit of a manifest, before training: what is damaged, doubled, unbalanced, odd, or too easily told.

One decoding pass, then tables. A manifest without its images but with a `sha256` column is audited as far as that
goes; what could not be checked is named. Draws nothing: report/audit.py does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from ..errors import ManifestError
from ..leaks.duplicates import duplicate_pairs
from ..manifest import make_manifest
from ..progress import OnProgress
from .findings import find_all
from .measure import BASIC, Measured, measure_cells
from .result import LISTED, Audit, Finding
from .shortcut import Shortcut, find_shortcuts
from .tables import balance_of, outliers_of, pair_facts, share_explained, sources_of

__all__ = ["LISTED", "Audit", "Finding", "audit"]


def audit(manifest: pl.DataFrame, *, on_progress: OnProgress | None = None, seed: int = 0) -> Audit:
    """Audit a manifest; `seed` feeds the cross-validation of the shortcut check.

    Raises ManifestError for a table that is no manifest or has no cells.
    """
    manifest = make_manifest(manifest)
    if manifest.is_empty():
        raise ManifestError("the manifest has no cells to audit", "index a data set with: leukoscope data index")
    not_done: list[str] = []
    measured = _measured(manifest, on_progress, not_done)
    pairs = pair_facts(duplicate_pairs(measured.prints), manifest)
    shortcuts = _shortcuts(manifest, measured.measures, pairs, seed, not_done)
    by = next((name for name in ("source", "subject") if manifest[name].n_unique() > 1), "")
    located = measured.measures.join(manifest.select("cell_id", "label", "subject", "source"), on="cell_id")
    found = Audit(
        manifest=manifest, findings=(), damaged=measured.damaged, pairs=pairs, measures=measured.measures,
        balance=balance_of(manifest), subjects=manifest.filter(pl.col("subject").is_not_null()).group_by(
            "subject", "label").len().sort("subject", "label"),
        outliers=outliers_of(located), sources=sources_of(located, by),
        explained=share_explained(located, by), shortcuts=shortcuts, not_done=tuple(not_done))
    return replace(found, findings=find_all(found, by))


def _measured(manifest: pl.DataFrame, on_progress: OnProgress | None, not_done: list[str]) -> Measured:
    """Pixels where there are any; else what the manifest's own `sha256` column says."""
    if "sha256" in manifest.columns and not any(Path(image).exists() for image in manifest["image"].unique()):
        not_done += ["damaged files, near duplicates, sharpness, brightness, stain and shortcuts: no image of the "
                     "manifest is here; identical files are told by its sha256 column"]
        empty = pl.DataFrame(schema={"cell_id": pl.String()} | dict.fromkeys(BASIC, pl.Float64()))
        return Measured(empty, manifest.select("cell_id", "sha256"), ())
    return measure_cells(manifest, on_progress)


def _shortcuts(manifest: pl.DataFrame, measures: pl.DataFrame, pairs: pl.DataFrame, seed: int,
               not_done: list[str]) -> tuple[Shortcut, ...]:
    found: list[Shortcut] = []
    for target in ("label", "source") if measures.height else ():
        if target == "source" and manifest["source"].n_unique() < 2:
            continue
        one, reason = find_shortcuts(manifest, measures, pairs, target, seed)
        found += one
        if reason:
            not_done.append(f"shortcut to the {target}: {reason}")
    return tuple(found)
