"""The microscopes of a study: accuracy against what they cost, and their confusion matrices.

Runs that differ in nothing but `training.repeat` are one microscope.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.figure import Figure

from ..figures.metrics import confusion_figure
from ..figures.optics import Curve, cost_curves
from ..recipes.recipe import Recipe
from ..runs.results import Results
from ..text import plural


@dataclass(frozen=True, order=True)
class Kind:
    """A microscope: whether its transfer function is free, N, photons a pixel, whether any part was trained; and the
    name of its recipe where these are the same for several recipes."""

    free: bool
    pool: int
    photons: float
    learned: bool
    recipe: str = ""

    @property
    def line(self) -> str:
        """The curve that it is a point of."""
        return ("learned" if self.learned else "frozen") + (", free" if self.free else "") + self.also

    @property
    def also(self) -> str:
        return f", {self.recipe}" if self.recipe else ""

    @property
    def frozen(self) -> Kind:
        """What it is compared with: the same, as at the start of training."""
        return replace(self, learned=False, recipe="")

    @property
    def name(self) -> str:
        photons = f", {self.photons:,.0f} photons" if self.photons else ""
        return f"N = {self.pool}, {self.line}{photons}"


def kinds(runs: Iterable[Results]) -> dict[Kind, list[Results]]:
    """Microscope -> its runs, in order, for the runs that have one."""
    recipes: dict[Kind, dict[str, list[Results]]] = {}
    for run in runs:
        if run.recipe is not None and run.recipe.optics.simulate:
            optics, training = run.recipe.optics, run.recipe.training.model_copy(update={"repeat": 0})
            kind = Kind(optics.transfer == "free", optics.pool, optics.photons, bool(optics.learn))
            alike = run.recipe.model_copy(update={"training": training}).model_dump_json(
                exclude={"name", "title", "description", "source"})
            recipes.setdefault(kind, {}).setdefault(alike, []).append(run)
    named: dict[Kind, list[Results]] = {}
    for kind, by_recipe in recipes.items():
        for number, own in enumerate(by_recipe.values(), start=1):
            name = own[0].recipe.name.rpartition(".")[2] if len(by_recipe) > 1 and own[0].recipe else ""
            different = replace(kind, recipe=name)
            named[different if different not in named else replace(kind, recipe=f"{name} {number}")] = own
    return dict(sorted(named.items()))


def pixels_seen(recipe: Recipe) -> int:
    """Pixels of a cell on the sensor."""
    return (recipe.preprocess.size // recipe.optics.pool) ** 2


def cost_figures(runs: Iterable[Results], published: Mapping[str, Mapping[float, float]]) -> list[Figure]:
    """Accuracy against pixels, where N differs, and against photons, where they do. published: name -> pixels ->
    accuracy."""
    microscopes = kinds(runs)
    figures = []
    if len({kind.pool for kind in microscopes}) > 1:
        figures.append(cost_curves(_curves(microscopes, by_photons=False), title="Accuracy against pixels",
                                   xlabel="pixels of a cell on the sensor", published=published))
    if len({kind.photons for kind in microscopes if kind.photons}) > 1:
        figures.append(cost_curves(_curves(microscopes, by_photons=True), title="Accuracy against light",
                                   xlabel="photons that a pixel receives from a white field"))
    return figures


def _curves(microscopes: Mapping[Kind, Sequence[Results]], *, by_photons: bool) -> list[Curve]:
    lines: dict[str, dict[float, list[float]]] = {}
    for kind, runs in microscopes.items():
        for run in runs:
            x = kind.photons if by_photons else pixels_seen(run.recipe) if run.recipe else 0
            if x and run.metrics.accuracy.value is not None:
                lines.setdefault(kind.line, {}).setdefault(float(x), []).append(run.metrics.accuracy.value)
    return [Curve(name, points) for name, points in sorted(lines.items())]


def confusion_figures(runs: Iterable[Results]) -> list[Figure]:
    """One matrix a microscope, its repeats added up."""
    return [confusion_figure(
        own[0].metrics.classes, np.sum([run.metrics.confusion for run in own], axis=0).tolist(),
        title=kind.name + ("" if len(own) == 1 else f", {plural(len(own), 'repeat')}"))
        for kind, own in kinds(runs).items()]
