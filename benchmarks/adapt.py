"""What `leukoscope adapt` brings in a laboratory that was left out: docs/model.md shows what it prints.

    python benchmarks/adapt.py ELSEWHERE

ELSEWHERE: the run of leukoscope-laboratories. Each of its networks is fitted to some cells of the laboratory that it
was not trained on, drawn from half of the slides, people or images there, and tested on the other half. Needs PyTorch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.special import softmax

from leukoscope.adaptation.fit import Confirmed, find_temperatures, fit_head
from leukoscope.cells.pack import pack_cells
from leukoscope.evaluation.table import read_cells
from leukoscope.predict.table import predictions_table
from leukoscope.runs.network import load_network
from leukoscope.runs.run import Run

SIZES = (5, 10, 20, 50)
DRAWS = 6
LEAST = 12
"""Cells of a class and laboratory that are enough to take part."""


def seen(run: Run, fold: int) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """The test cells of a fold: manifest rows, logits (n, classes) and features (n, m)."""
    cells = run.manifest.filter(pl.col("cell_id").is_in(run.part(fold, "test").implode()))
    network, steps = load_network(run, fold)
    network, pixels, answers = network.eval(), pack_cells(cells, run.recipe.preprocess).pixels, []
    with torch.inference_mode():
        for start in range(0, len(pixels), 128):
            maps = steps.encode(torch.from_numpy(steps.levels(np.array(pixels[start:start + 128]))))
            for unit in list(network)[:-1]:
                maps = unit(maps)
            answers.append((network[-1](maps).double().numpy(), maps.double().numpy()))
    logits, features = (np.concatenate(part) for part in zip(*answers, strict=True))
    return cells, logits, features


def main(folder: Path) -> None:
    run = Run(folder)
    print("| not trained on | cells, groups | as it is |", " | ".join(f"{size} a type" for size in SIZES), "|")
    print("|---|---|---|" + "---|" * len(SIZES))
    means: dict[int, list[float]] = {}
    for fold in run.all_folds:
        cells, logits, features = seen(run, fold)
        enough = [name for name, count in cells.group_by("label").len().iter_rows() if count >= LEAST]
        trained = set(run.manifest.filter(pl.col("cell_id").is_in(run.part(fold, "train").implode()))["label"])
        allowed = [name for name in run.classes if name in enough and name in trained]
        kept = cells["label"].is_in(allowed).to_numpy()
        if len(allowed) < 2:
            continue
        cells, logits, features = cells.filter(kept), logits[kept], features[kept]
        answers = [run.classes.index(name) for name in allowed]
        probabilities = softmax(logits[:, answers], axis=1)
        labels = np.array([allowed.index(name) for name in cells["label"]])
        table = read_cells(predictions_table(cells, probabilities, allowed, fold=0), allowed)
        groups = np.empty(len(labels), np.int64)
        groups[np.argsort(cells["cell_id"].to_numpy(), kind="stable")] = table.clusters
        every = Confirmed(probabilities, features, labels, groups)
        before, rows = [], {size: [] for size in SIZES}
        for draw in range(DRAWS):
            rng = np.random.default_rng(draw)
            names = rng.permutation(np.unique(groups))
            here = np.isin(groups, names[:len(names) // 2])
            test = every.some(~here)
            before.append(float((test.probabilities.argmax(1) == test.labels).mean()))
            for size in SIZES:
                drawn = [rng.permutation(np.flatnonzero(here & (labels == k)))[:size] for k in np.unique(labels)]
                if min(map(len, drawn)) < min(5, size):
                    continue
                some = every.some(np.concatenate(drawn))
                head = fit_head(some, find_temperatures(some, rng))
                right = head.probabilities(test.probabilities, test.features).argmax(1) == test.labels
                rows[size].append(float(right.mean()))
        name = cells["source"][0]
        shown = [f"{100 * np.mean(values):.1f} ({100 * min(values):.0f}-{100 * max(values):.0f})" if values else "-"
                 for values in rows.values()]
        print(f"| {name} | {len(labels):,}, {table.count:,} | {100 * np.mean(before):.1f} |", " | ".join(shown), "|",
              flush=True)
        means.setdefault(0, []).append(float(np.mean(before)))
        for size, values in rows.items():
            means.setdefault(size, []).extend([float(np.mean(values))] if values else [])
    print("| **mean** | | " + " | ".join(f"{100 * np.mean(values):.1f}" for values in means.values()) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
