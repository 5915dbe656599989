"""Table 2 of Shalini and Angel Viji 2022: what its six networks got right, what that can show, and ours beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..evaluate.compare import LEVEL
from ..stats.estimate import Estimate
from ..stats.paired import holm, mcnemar_p
from ..stats.rates import difference, wilson
from ..text import join, p_of, percent, points

MATRICES: Mapping[str, tuple[int, int, int, int]] = {
    "googlenet": (125, 5, 123, 7), "resnet101": (124, 6, 128, 2), "resnet152": (126, 4, 127, 3),
    "vgg16": (130, 0, 125, 5), "vgg19": (128, 2, 129, 1), "resnet50": (130, 0, 129, 1)}
"""Network -> leukemic images found and missed, healthy images found and taken for leukemic; 130 and 130. The paper
prints no matrix and no size of its test part: these are the fewest images that give its thirty figures, and only
multiples of them do."""
OWN = "resnet50"
FIGURES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
NAMES = {"accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity", "ppv": "PPV",
         "npv": "NPV"}


def published_figures() -> dict[str, dict[str, float]]:
    """Network -> figure -> the share that the paper prints in percent, from its confusion matrix."""
    return {name: {figure: value.value or 0.0 for figure, value in published_rates(name).items()} for name in MATRICES}


def published_rates(name: str) -> dict[str, Estimate]:
    """The five figures of a network of the paper with Wilson's intervals, which the paper does not give."""
    found, missed, healthy, false = MATRICES[name]
    return {"accuracy": wilson(found + healthy, found + missed + healthy + false),
            "sensitivity": wilson(found, found + missed), "specificity": wilson(healthy, healthy + false),
            "ppv": wilson(found, found + false), "npv": wilson(healthy, healthy + missed)}


def least_p(first: str, second: str, times: int = 1) -> float:
    """The least p value that McNemar's test can have between two networks of the paper: as if, of each class, every
    mistake of the one that made fewer were one of the other too. times: of the fewest test images."""
    (found, _, healthy, _), (their_found, _, their_healthy, _) = MATRICES[first], MATRICES[second]
    gains = (times * (found - their_found), times * (healthy - their_healthy))
    return mcnemar_p(sum(max(gain, 0) for gain in gains), sum(max(-gain, 0) for gain in gains))[0]


def told_apart(times: int = 1) -> dict[str, float]:
    """Of each other network of the paper, the least p value against ResNet-50, corrected for five comparisons."""
    others = [name for name in MATRICES if name != OWN]
    return dict(zip(others, holm(np.array([least_p(OWN, name, times) for name in others])).tolist(), strict=True))


def what_the_paper_shows() -> str:
    """Which of the others the paper's own figures can tell from ResNet-50, at best."""
    apart, doubled = ([name for name, p in told_apart(times).items() if p < LEVEL] for times in (1, 2))
    like = [name for name in MATRICES if name not in apart and name != OWN]
    still = [name for name in like if name not in doubled]
    return (f"With 260 test images, the fewest that give its figures, the paper tells ResNet-50 at best apart from "
            f"{join(apart) if apart else 'none'}, and not from {join(like)} (McNemar’s test with the most favourable "
            f"pairing, corrected by Holm); with twice as many, at best from all but {join(still)}.")


def table_two(found: Mapping[str, Any]) -> dict[str, Any]:
    """For the page: each network's figures as the paper has them, with Wilson's intervals, beside ours. found: what
    compare.json holds."""
    kinds = {kind["name"]: kind["figures"] for kind in found["kinds"]}
    names = [name for name in MATRICES if name in kinds] + [name for name in kinds if name not in MATRICES]
    rows = []
    for name in names:
        printed = published_rates(name) if name in MATRICES else {}
        row = [name]
        for figure in FIGURES:
            ours = kinds[name][figure]["value"]
            row += [in_percent(printed[figure].to_dict()) if printed else "-", percent(ours, unit=False)]
        rows.append(row)
    columns = ["network", *(text for figure in FIGURES for text in (f"{NAMES[figure]}, the paper", "ours"))]
    note = ("In percent; the intervals of ours are in the first table. The paper gives none: these are Wilson’s for "
            "its 130 leukemic and 130 healthy images, most of them copies of fields that were trained on. "
            f"{what_the_paper_shows()}")
    return {"title": "Table 2 of the paper, and ours", "columns": columns, "rows": rows, "note": note}


def inflation_table(clean: Mapping[str, Any], paper: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy of each network under the two protocols, and their difference (of two sets of test images)."""
    rows = []
    for kind in paper["kinds"]:
        ours = next((k["figures"]["accuracy"] for k in clean["kinds"] if k["name"] == kind["name"]), None)
        if ours is None:
            continue
        theirs = kind["figures"]["accuracy"]
        more = difference(Estimate.from_dict(theirs), Estimate.from_dict(ours))
        span = "" if more.low is None else f" ({points(more.low)} to {points(more.high)})"
        rows.append([kind["name"], in_percent(theirs), in_percent(ours), f"{points(more.value)}{span}"])
    return {"title": "What the paper’s protocol adds", "rows": rows,
            "columns": ["network", "accuracy, paper’s protocol", "clean protocol", "difference, points"],
            "note": "The two protocols test different images, so the difference is not paired and its interval wide."}


def in_percent(estimate: Mapping[str, Any]) -> str:
    """`99.6 (97.9–99.9)`."""
    if estimate["value"] is None:
        return "-"
    value = f"{100 * estimate['value']:.1f}"
    return value if estimate["low"] is None else f"{value} ({100 * estimate['low']:.1f}–{100 * estimate['high']:.1f})"


def against_own(found: Mapping[str, Any]) -> str:
    """The answer to the paper's claim: is ResNet-50 better than the others here?"""
    names = {kind["name"] for kind in found["kinds"]}
    if OWN not in names:
        return ""
    said: dict[str, list[str]] = {"better than": [], "worse than": [], "not to be told from": []}
    for pair in found["pairs"]:
        if OWN not in (pair["first"], pair["second"]):
            continue
        other = pair["second"] if pair["first"] == OWN else pair["first"]
        test = pair["tests"]["accuracy"]
        ahead = (test["difference"]["value"] or 0.0) * (1 if pair["first"] == OWN else -1)
        real = test["holm"] is not None and test["holm"] < LEVEL
        key = "not to be told from" if not real else "better than" if ahead > 0 else "worse than"
        said[key].append(f"{other} ({points(ahead)} points, {p_of(test['holm']) or 'no test'})")
    parts = [f"{key} {join(names)}" for key, names in said.items() if names]
    return f"Is ResNet-50 better than the others here? By accuracy it is {join(parts)}."


