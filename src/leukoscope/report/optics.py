"""What a study of microscopes shows beside its table: accuracy against what they cost, and their confusion matrices.

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
    """A microscope: whether its transfer function is free, N, photons a pixel, whether anything was learned; and the
    name of its recipe where these do not tell it from another."""

    free: bool
    pool: int
    photons: float
    learned: bool
    told_by: str = ""

    @property
    def line(self) -> str:
        """The curve that it is a point of."""
        return ("learned" if self.learned else "frozen") + (", free" if self.free else "") + self.also

    @property
    def also(self) -> str:
        return f", {self.told_by}" if self.told_by else ""

    @property
    def frozen(self) -> Kind:
        """What it is compared with: the same, held as it begins."""
        return replace(self, learned=False, told_by="")

    @property
    def name(self) -> str:
        photons = f", {self.photons:,.0f} photons" if self.photons else ""
        return f"N = {self.pool}, {self.line}{photons}"


def kind_of(recipe: Recipe) -> Kind:
    optics = recipe.optics
    return Kind(optics.transfer == "free", optics.pool, optics.photons, bool(optics.learn))


def kinds(runs: Iterable[Results]) -> dict[Kind, list[Results]]:
    """The runs that have a microscope, by it, in order. Kinds that several recipes share are told apart by a name."""
    recipes: dict[Kind, dict[str, list[Results]]] = {}
    for run in runs:
        if run.recipe is not None and run.recipe.optics.simulate:
            recipes.setdefault(kind_of(run.recipe), {}).setdefault(_without_repeat(run.recipe), []).append(run)
    found: dict[Kind, list[Results]] = {}
    for kind, by_recipe in recipes.items():
        for number, alike in enumerate(by_recipe.values(), start=1):
            assert alike[0].recipe is not None
            name = alike[0].recipe.name.rpartition(".")[2] if len(by_recipe) > 1 else ""
            own = replace(kind, told_by=name)
            found[own if own not in found else replace(kind, told_by=f"{name} {number}")] = alike
    return dict(sorted(found.items()))


def _without_repeat(recipe: Recipe) -> str:
    """What two runs have in common that differ in nothing but the repeat."""
    same = recipe.model_copy(update={"training": recipe.training.model_copy(update={"repeat": 0})})
    return same.model_dump_json(exclude={"name", "title", "description", "source"})


def pixels_seen(recipe: Recipe) -> int:
    """Pixels of a cell that the network sees."""
    return (recipe.preprocess.size // recipe.optics.pool) ** 2


def cost_figures(runs: Iterable[Results], published: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    """Accuracy against pixels, where N differs, and against photons, where they do. published: name -> pixels (as
    text, out of JSON) -> accuracy."""
    found = kinds(runs)
    figures = []
    if len({kind.pool for kind in found}) > 1:
        others = {name: {float(x): y for x, y in points.items()} for name, points in published.items()}
        figures.append(cost_curves(_curves(found, by_photons=False), title="Accuracy against pixels",
                                   xlabel="pixels of a cell on the sensor", published=others))
    if len({kind.photons for kind in found if kind.photons}) > 1:
        figures.append(cost_curves(_curves(found, by_photons=True), title="Accuracy against light",
                                   xlabel="photons that a pixel gathers from a white field"))
    return figures


def _curves(found: Mapping[Kind, Sequence[Results]], *, by_photons: bool) -> list[Curve]:
    lines: dict[str, dict[float, list[float]]] = {}
    for kind, runs in found.items():
        for run in runs:
            assert run.recipe is not None
            x = kind.photons if by_photons else float(pixels_seen(run.recipe))
            if x:
                accuracy = run.metrics["overall"]["accuracy"]["value"]
                lines.setdefault(kind.line, {}).setdefault(x, []).append(accuracy)
    return [Curve(name, points) for name, points in sorted(lines.items())]


def confusion_figures(runs: Iterable[Results]) -> list[Figure]:
    """One matrix a microscope, its repeats added up."""
    figures = []
    for kind, alike in kinds(runs).items():
        total = np.sum([run.metrics["confusion"] for run in alike], axis=0)
        more = "" if len(alike) == 1 else f", {plural(len(alike), 'repeat')}"
        figures.append(confusion_figure(alike[0].metrics["classes"], total.tolist(), title=kind.name + more))
    return figures
