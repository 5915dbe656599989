"""The result of an audit, as a frozen value that can be written as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

import polars as pl

from ..files import JsonObject
from ..images.decode import Damaged
from .attributes import Attribute
from .shortcut import Shortcut

Level = Literal["problem", "warning", "note", "fine"]
LEVELS: tuple[Level, ...] = ("problem", "warning", "note", "fine")
LISTED = 1000
"""Rows of each list in audit.json, at most; the counts are always complete."""


@dataclass(frozen=True)
class Finding:
    """kind: what was checked. level: how serious. text: one sentence. hint: what to do, may be empty."""

    kind: str
    level: Level
    text: str
    hint: str = ""


@dataclass(frozen=True)
class Audit:
    """The result of an audit. Tables are polars frames with the manifest's names.

    findings: the worst first. pairs: as `duplicate_pairs`, with the facts of both cells. measures: one row for each
    decoded cell (`measure.COLUMNS`). outliers: `[cell_id, what, value, low, high, score]`. balance: cells of each
    label. subjects: cells of each subject and label. sources: means and spread of brightness and stain of each source.
    explained: share of the variance of each measure between sources (or subjects). not_done: checks that were not
    possible, and why. attributes: those that the manifest has.
    """

    manifest: pl.DataFrame
    findings: tuple[Finding, ...]
    damaged: tuple[Damaged, ...]
    pairs: pl.DataFrame
    measures: pl.DataFrame
    balance: pl.DataFrame
    subjects: pl.DataFrame
    outliers: pl.DataFrame
    sources: pl.DataFrame
    explained: dict[str, float]
    shortcuts: tuple[Shortcut, ...]
    not_done: tuple[str, ...]
    attributes: tuple[Attribute, ...] = ()

    @property
    def verdict(self) -> tuple[str, ...]:
        """One line for each finding, the worst first."""
        return tuple(f"{finding.level}: {finding.text}" for finding in self.findings)

    @property
    def pair_counts(self) -> dict[str, int]:
        """Pairs: all, of each kind, and across labels, subjects, sources, parts and folds where these are known."""
        counts = {kind: int((self.pairs["kind"] == kind).sum()) for kind in ("identical", "near", "augmented")}
        across = {f"across {name.removeprefix('other_')}s": int(self.pairs[name].sum())
                  for name in self.pairs.columns if name.startswith("other_")}
        return {"all": self.pairs.height, **counts, **across}

    def to_dict(self) -> JsonObject:
        """JSON-safe; lists have at most `LISTED` rows."""
        return {
            "cells": self.manifest.height, "verdict": list(self.verdict),
            "findings": [asdict(finding) for finding in self.findings], "not_done": list(self.not_done),
            "damaged": [asdict(damaged) for damaged in self.damaged[:LISTED]], "damaged_count": len(self.damaged),
            "pair_counts": self.pair_counts, "pairs": _rows(self.pairs),
            "balance": _rows(self.balance), "subjects": _rows(self.subjects),
            "outliers": _rows(self.outliers), "outlier_count": self.outliers["cell_id"].n_unique(),
            "sources": _rows(self.sources), "explained": self.explained,
            "shortcuts": [shortcut.to_dict() for shortcut in self.shortcuts],
            "attributes": [asdict(attribute) for attribute in self.attributes],
        }


def _rows(table: pl.DataFrame) -> list[JsonObject]:
    return [{name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
            for row in table.head(LISTED).iter_rows(named=True)]
