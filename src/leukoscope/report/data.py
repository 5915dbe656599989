"""The data section: cells a class and part, subjects, what was left out, and the guard's verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from ..errors import LeukoscopeError
from ..figures.svg import image_uri
from ..images.read import read_cell
from ..runs.results import Results
from ..text import count, plain, plural
from .sentences import subjects_unknown

PARTS = ("train", "validation", "test")
KINDS = {
    "subject": "one subject in two parts", "group": "one group in two parts",
    "identical": "identical images in two parts", "near": "near-identical images in two parts",
    "augmented": "turned or mirrored copies in two parts", "copy": "copies apart from their original",
    "fitted": "a step fitted on more than the training part", "chosen": "something chosen on the test part",
}


def data_table(results: Results) -> dict[str, Any]:
    """Rows of (class, cells, subjects, train, validation, test) as text; ranges over the folds where they differ."""
    labels = results.manifest if results.manifest is not None else results.predictions
    known = "subject" in labels.columns and labels["subject"].null_count() < labels.height
    splits = results.splits
    parts = [p for p in PARTS if splits is not None and (splits["part"] == p).any()]
    folds = sorted(splits["fold"].unique()) if splits is not None else []
    counted = _counted(labels, splits)
    copies = labels.filter(pl.col("copy") > 0).height if "copy" in labels.columns else 0
    rows = []
    for name in (*results.classes, None):
        cells = labels if name is None else labels.filter(pl.col("label") == name)
        spans = [[counted.get((fold, part, name), 0) for fold in folds] for part in parts]
        rows.append({"name": name, "cells": count(cells.height), "parts": [_span(span) for span in spans],
                     "subjects": count(cells["subject"].drop_nulls().n_unique()) if known else ""})
    by_fold = [{"fold": fold, "part": part, "total": count(counted.get((fold, part, None), 0)),
                "cells": [count(counted.get((fold, part, name), 0)) for name in results.classes]}
               for fold in folds for part in parts]
    return {"parts": parts, "folds": len(folds), "subjects_known": known, "rows": rows[:-1], "total": rows[-1],
            "copies": copies, "by_fold": by_fold if len(folds) > 1 else []}


def _counted(labels: pl.DataFrame, splits: pl.DataFrame | None) -> Mapping[tuple[Any, str, str | None], int]:
    """(fold, part, label) -> cells; label None for all together."""
    found: defaultdict[tuple[Any, str, str | None], int] = defaultdict(int)
    if splits is not None:
        joined = splits.join(labels.select("cell_id", "label"), on="cell_id")
        for fold, part, label, cells in joined.group_by("fold", "part", "label").len().iter_rows():
            found[fold, part, label] += cells
            found[fold, part, None] += cells
    return found


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return count(low) if low == high else f"{count(low)}–{count(high)}"


def left_out(results: Results) -> dict[str, Any]:
    """What the manifest held and the run did not use."""
    found = results.left_out
    others = {plain(k): v for k, v in (found.get("other_labels") or {}).items() if v}
    lines = []
    if others:
        listed = ", ".join(f"{name} ({count(v)})" for name, v in others.items())
        lines.append(f"{plural(sum(others.values()), 'cell')} of other classes: {listed}")
    if found.get("unlabelled"):
        lines.append(f"{plural(found['unlabelled'], 'cell')} without a label")
    if found.get("over_per_class"):
        lines.append(f"{plural(found['over_per_class'], 'cell')} over the number per class that the recipe asks for")
    damaged = list(found.get("damaged") or [])
    return {"lines": lines, "damaged": damaged, "told": bool(found)}


def verdict(results: Results) -> dict[str, Any]:
    """The banner of the leak guard: tone, headline, lines, and each leak by its text."""
    guard = results.guard
    unknown = (["No subject is known for these cells: nothing can show whether cells of one person stand in both "
                "parts, so the figures may be optimistic for new people."] if subjects_unknown(results) else [])
    if guard is None:
        return {"tone": "warn", "head": "The leak guard's verdict is not in this folder", "leaks": [], "checked": [],
                "kinds": [], "lines": ["Whether the test part was seen in training is not known.", *unknown]}
    leaks = list(guard.get("leaks") or [])
    checked = [plain(c) for c in guard.get("checked") or []]
    missing = [plain(c) for c in guard.get("not_checked") or []]
    paper = guard.get("protocol") == "paper"
    lines = [f"Not checked: {'; '.join(missing)}."] if missing else []
    if leaks:
        head = f"This run contains {plural(len(leaks), 'leak')}: its figures are too good"
        if paper:
            lines.insert(0, "It follows the paper's protocol, so that the published figure can be compared. "
                            "For what the network can do on new cells, run it under the clean protocol.")
        return {"tone": "bad", "head": head, "leaks": leaks, "kinds": _kinds(leaks), "checked": checked,
                "lines": [*lines, *unknown]}
    head = "No leak found" if checked else "Not checked for leaks"
    head += ", under the paper's protocol" if paper else ""
    return {"tone": "warn" if unknown or not checked else "good", "head": head, "leaks": [], "kinds": [],
            "checked": checked, "lines": [*lines, *unknown]}


def _kinds(leaks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Leaks of one kind together: what, in how many folds, how many in the worst of them."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for leak in leaks:
        kinds.setdefault(str(leak["kind"]), []).append(leak)
    return [{"name": KINDS.get(kind, plain(kind)), "leaks": found,
             "folds": len({leak["fold"] for leak in found if leak.get("fold") is not None}),
             "most": max(int(leak.get("count") or 0) for leak in found)} for kind, found in kinds.items()]


MOST = 18
SIDE = 176


def worst_mistakes(results: Results, most: int = MOST) -> list[dict[str, Any]]:
    """Wrong cells by falling probability of the wrong answer: picture (or why there is none), classes, probabilities.

    A picture that cannot be read any more is named by `gone`, and stops nothing.
    """
    classes = results.classes
    wrong = results.predictions.filter(pl.col("label") != pl.col("predicted"))
    sure = pl.max_horizontal(pl.col(f"p_{name}") for name in classes)
    chosen = wrong.with_columns(sure.alias("_sure")).sort(["_sure", "cell_id"], descending=[True, False]).head(most)
    cells = _cells(results.manifest, chosen["cell_id"].to_list())
    return [_mistake(row, cells.get(row["cell_id"])) for row in chosen.iter_rows(named=True)]


def _cells(manifest: pl.DataFrame | None, ids: list[str]) -> dict[str, dict[str, Any]]:
    if manifest is None:
        return {}
    return {row["cell_id"]: row for row in manifest.filter(pl.col("cell_id").is_in(ids)).iter_rows(named=True)}


def _mistake(row: Mapping[str, Any], cell: Mapping[str, Any] | None) -> dict[str, Any]:
    picture, gone = "", ""
    if cell is None:
        gone = "not in the manifest of this run"
    else:
        try:
            picture = image_uri(read_cell(cell), side=SIDE)
        except LeukoscopeError as error:
            gone = error.what
    return {"cell_id": row["cell_id"], "fold": row["fold"], "true": row["label"], "said": row["predicted"],
            "p_true": row.get(f"p_{row['label']}"), "p_said": row[f"p_{row['predicted']}"],
            "picture": picture, "gone": gone}
