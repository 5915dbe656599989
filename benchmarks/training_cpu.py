"""Training on the CPU, recipe by recipe: images a second of a step with each option, as a ratio to the plain step.

Plain: float32, channels first. Ours: channels last, as every training here runs. bf16: the same under autocast
(`--set training.precision=bf16`). With the word `compile` as an argument, also ours by torch.compile, with the seconds
that compiling takes; it needs a C++ compiler. The last column is the time to load and augment a batch from the packed
cache, as a share of our step: what is below 100 % is hidden behind it. Names of recipes as arguments choose some.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from leukoscope.cells import CellBatches, pack_cells
from leukoscope.cells.input_steps import plain_steps
from leukoscope.manifest import make_manifest
from leukoscope.recipes import Recipe, load_recipe
from leukoscope.runs.network import fresh_network
from leukoscope.train.lightning_module import optimizer_for
from peers import Way, cell_files, machine, times_in_turn

RECIPES = ("almotairi2020", "almotairi2020-lenet5", "noshad2021-cnmc", "leukoscope", "dimuro2020", "shalini2022")
BATCH, CELLS, ROUNDS = 8, 64, 2
CLASSES = ["a", "b"]


def recipe_of(name: str) -> Recipe:
    """For two classes of cells, without copies, from random weights."""
    recipe = load_recipe(name, settings=[f"data.classes={CLASSES}", "data.positive=", "data.merge={}",
                                         "augment.copies={}", "network.pretrained=false", "network.start="])
    return recipe.model_copy(update={"variants": {}})


def stepper(recipe: Recipe, network: nn.Module, *, last: bool, bf16: bool = False) -> Callable[[], None]:
    """A whole training step on made-up images of the recipe's size."""
    layout = torch.channels_last if last else torch.contiguous_format
    network = network.train().to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub
    optimizer = optimizer_for(recipe, network)
    side = recipe.preprocess.size
    images: Tensor = torch.rand(BATCH, 3, side, side).contiguous(memory_format=layout)
    labels = torch.arange(BATCH) % 2

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = network(images)
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def batch_seconds(recipe: Recipe, folder: Path) -> float:
    """To take a batch of cells from the packed cache, changed and encoded; of colours, also where edges are cached."""
    recipe = recipe.model_copy(update={"preprocess": recipe.preprocess.model_copy(update={"input": "colour"})})
    files, _ = cell_files(folder, CELLS)
    manifest = make_manifest([{"cell_id": str(n), "image": str(file)} for n, file in enumerate(files)])
    packed = pack_cells(manifest, recipe.preprocess, cache=folder)
    batches = CellBatches(packed, np.arange(CELLS), np.arange(CELLS) % 2, batch_size=BATCH,
                          augment=recipe.augment if recipe.augment.each_epoch else None,
                          steps=plain_steps(recipe), seed=0, shuffle=True)
    return times_in_turn({"batches": lambda: [None for _ in batches]}, ROUNDS)["batches"] / len(batches)


def main() -> None:
    """Print a line for each recipe."""
    names = [name for name in sys.argv[1:] if name != "compile"] or RECIPES
    print(f"training on the CPU: batches of {BATCH}, {torch.get_num_threads()} threads; {machine()}")
    for name in names:
        recipe = recipe_of(name)
        steps: dict[str, Way] = {"plain": stepper(recipe, fresh_network(recipe), last=False),
                 "ours": stepper(recipe, fresh_network(recipe), last=True),
                 "bf16": stepper(recipe, fresh_network(recipe), last=True, bf16=True)}
        compiling = ""
        if "compile" in sys.argv:
            compiled = torch.compile(fresh_network(recipe))
            steps["compiled"] = stepper(recipe, compiled, last=True)  # type: ignore[arg-type]  # torch's stub
            started = perf_counter()
            steps["compiled"]()
            compiling = f" (after {perf_counter() - started:.0f} s of compiling)"
        seconds = times_in_turn(steps, ROUNDS)
        with tempfile.TemporaryDirectory() as folder:
            share = batch_seconds(recipe, Path(folder)) / seconds["ours"]
        ratios = "  ".join(f"{way} {seconds['plain'] / each:.2f}" for way, each in seconds.items() if way != "plain")
        print(f"{name:<22} {recipe.network.name} at {recipe.preprocess.size}: plain {BATCH / seconds['plain']:.1f} "
              f"images/s, ratio {ratios}{compiling}, batch {share:.0%} of a step", flush=True)


if __name__ == "__main__":
    main()
