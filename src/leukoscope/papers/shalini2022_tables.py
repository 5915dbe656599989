"""Table 2 of Shalini and Angel Viji 2022: what its six networks got right, what that can show, and ours beside it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..evaluation.compare import LEVEL
from ..runs.comparison import Comparison
from ..stats.estimate import Estimate
from ..stats.paired import holm, mcnemar_p
from ..stats.rates import difference, wilson
from ..text import figure_name, join, p_of, points, share
from .tables import Table, cell

MATRICES: Mapping[str, tuple[int, int, int, int]] = {
    "googlenet": (125, 5, 123, 7), "resnet101": (124, 6, 128, 2), "resnet152": (126, 4, 127, 3),
    "vgg16": (130, 0, 125, 5), "vgg19": (128, 2, 129, 1), "resnet50": (130, 0, 129, 1)}
"""Network -> true positives, false negatives (130 leukemic images), true negatives, false positives (130 healthy ones).
The paper prints no matrix and no size of its test part: these are the fewest images that give its thirty figures, and
only multiples of them do."""
OWN = "resnet50"
FIGURES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")


def published_figures() -> dict[str, dict[str, float]]:
    """Network -> figure -> the share that the paper prints in percent, from its confusion matrix."""
    return {name: {figure: value.value or 0.0 for figure, value in published_rates(name).items()} for name in MATRICES}


def published_rates(name: str) -> dict[str, Estimate]:
    """The five figures of a network of the paper with Wilson's intervals, which the paper does not give."""
    tp, fn, tn, fp = MATRICES[name]
    return {"accuracy": wilson(tp + tn, tp + fn + tn + fp), "sensitivity": wilson(tp, tp + fn),
            "specificity": wilson(tn, tn + fp), "ppv": wilson(tp, tp + fp), "npv": wilson(tn, tn + fn)}


def least_p(first: str, second: str, times: int = 1) -> float:
    """The smallest p value that McNemar's test can have between two networks of the paper: if, in each class, every
    error of the better network were also an error of the other. times: multiple of the fewest test images."""
    (tp, _, tn, _), (their_tp, _, their_tn, _) = MATRICES[first], MATRICES[second]
    gains = (times * (tp - their_tp), times * (tn - their_tn))
    return mcnemar_p(sum(max(gain, 0) for gain in gains), sum(max(-gain, 0) for gain in gains))[0]


def told_apart(times: int = 1) -> dict[str, float]:
    """For each other network of the paper, the smallest p value against ResNet-50, corrected for five comparisons."""
    others = [name for name in MATRICES if name != OWN]
    return dict(zip(others, holm(np.array([least_p(OWN, name, times) for name in others])).tolist(), strict=True))


def what_the_paper_shows() -> str:
    """Which of the others can differ significantly from ResNet-50 by the paper's own figures."""
    different, doubled = ([name for name, p in told_apart(times).items() if p < LEVEL] for times in (1, 2))
    alike = [name for name in MATRICES if name not in different and name != OWN]
    still = [name for name in alike if name not in doubled]
    return (f"With 260 test images, the fewest that give its figures, the paper's ResNet-50 can differ significantly "
            f"from {join(different) or 'none'}, but not from {join(alike)} (McNemar’s test with the most favourable "
            f"pairing, corrected by Holm); with twice as many images, from all but {join(still)}.")


def table_two(comparison: Comparison) -> Table:
    """Each network's figures as the paper has them, with Wilson's intervals, beside ours."""
    kinds = {network.name: network.figures for network in comparison.kinds}
    rows = []
    for name in sorted(kinds, key=lambda name: [*MATRICES, name].index(name)):
        paper = published_rates(name) if name in MATRICES else {}
        rows.append([name, *(text for figure in FIGURES for text in (
            cell(paper.get(figure)), share(kinds[name][figure].value)))])
    columns = ["network", *(text for figure in FIGURES for text in (f"{figure_name(figure)}, the paper", "ours"))]
    return Table("Table 2 of the paper, and ours", columns, rows,
                 "In percent; the intervals of ours are in the first table. The paper gives none: these are Wilson’s "
                 "for its 130 leukemic and 130 healthy images, most of them copies of fields that it was trained on. "
                 f"{what_the_paper_shows()}")


def inflation_table(clean: Comparison, paper: Comparison) -> Table:
    """Accuracy of each network under the two protocols, and their difference (of two sets of test images)."""
    accuracies = [{network.name: network.figures["accuracy"] for network in comparison.kinds}
                  for comparison in (paper, clean)]
    rows = [[name, cell(theirs), cell(accuracies[1][name]), cell(difference(theirs, accuracies[1][name]), points)]
            for name, theirs in accuracies[0].items() if name in accuracies[1]]
    return Table("What the paper’s protocol adds",
                 ["network", "accuracy, paper’s protocol", "clean protocol", "difference, points"], rows,
                 "The two protocols test different images, so the difference is not paired and its interval wide.")


def against_own(comparison: Comparison) -> str:
    """The answer to the paper's claim: is ResNet-50 better than the others here?"""
    if OWN not in {network.name for network in comparison.kinds}:
        return ""
    others: dict[str, list[str]] = {"better than": [], "worse than": [], "not significantly different from": []}
    for pair in comparison.pairs:
        names = [pair.first, pair.second]
        if OWN not in names:
            continue
        test = pair.tests["accuracy"]
        ahead = (test.difference.value or 0.0) * (1 if pair.first == OWN else -1)
        significant = test.holm is not None and test.holm < LEVEL
        key = ("better than" if ahead > 0 else "worse than") if significant else "not significantly different from"
        names.remove(OWN)
        others[key].append(f"{names[0]} ({points(ahead)} points, {p_of(test.holm) or 'no test'})")
    answer = join(f"{key} {join(names)}" for key, names in others.items() if names)
    return f"Is ResNet-50 better than the others here? By accuracy it is {answer}."
