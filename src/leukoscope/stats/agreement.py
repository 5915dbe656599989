"""How well two ways of measuring or counting the same things agree: differences, limits, kappa.

Neither of the two is the truth. Lines through two measurements are in `lines.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from jaxtyping import Float, Int

from ..errors import LeukoscopeError
from .estimate import Estimate, check_confidence, check_finite, check_same_length, no_estimate, student_quantile

Weights = Literal["none", "linear", "quadratic"]


@dataclass(frozen=True)
class Differences:
    """Differences of two measurements of the same things, in their unit. bias: the mean difference; spread: standard
    deviation of the differences; lower, upper: the limits between which 95 % of them are expected."""

    pairs: int
    spread: float
    bias: Estimate
    lower: Estimate
    upper: Estimate


def bland_altman(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"],
                 confidence: float = 0.95) -> Differences:
    """First minus second: the bias and the 95 % limits of agreement, bias -/+ 1.96 standard deviations, each with its
    interval (Bland and Altman 1999, Stat Methods Med Res 8:135). Pairs are taken as independent. With one pair there
    are no limits, with none no bias. Raises LeukoscopeError for NaN.
    """
    half = check_confidence(confidence)
    check_same_length(first=first, second=second)
    check_finite("first", first)
    check_finite("second", second)
    change = first - second
    n = change.size
    if n < 2:
        alone = no_estimate("no interval: one pair only" if n else "undefined: no pairs", change[0] if n else None)
        none = no_estimate("undefined: fewer than two pairs")
        return Differences(n, math.nan, alone, none, none)
    bias, spread = float(change.mean()), float(change.std(ddof=1))
    z, t = -float(scipy.special.ndtri(0.025)), -student_quantile(half, n - 1)
    error = spread * math.sqrt(1 / n + z**2 / (2 * (n - 1)))

    def at(value: float, error: float, method: str) -> Estimate:
        return Estimate(value, value - t * error, value + t * error, method)

    return Differences(n, spread, at(bias, spread / math.sqrt(n), "student's t"),
                       *(at(bias + sign * z * spread, error, "bland and altman 1999") for sign in (-1, 1)))


def rumke_limits(share: float, cells: int, confidence: float = 0.95) -> tuple[float, float]:
    """Between which shares a second count of `cells` cells may lie by chance alone, if `share` is the first count's
    (Rümke 1985, Blood Cells 11:137: Clopper and Pearson's limits for share * cells of the cells). Shares are 0 to 1.
    """
    half = check_confidence(confidence)
    if not 0 <= share <= 1 or cells < 1:
        raise LeukoscopeError(f"a share of {share} of {cells} cells", "give a share from 0 to 1 and one cell or more")
    hits = share * cells
    low = 0.0 if hits == 0 else float(scipy.special.betaincinv(hits, cells - hits + 1, half))
    high = 1.0 if hits == cells else float(scipy.special.betaincinv(hits + 1, cells - hits, 1 - half))
    return low, high


_DISTANCES: dict[Weights, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda apart: (apart > 0).astype(float), "linear": abs, "quadratic": lambda apart: apart.astype(float)**2}


def cohen_kappa(table: Int[np.ndarray, "k k"], confidence: float = 0.95, weights: Weights = "none") -> Estimate:
    """Agreement beyond chance of two observers, from -1 to 1 (Cohen 1960, 1968). table: how often the first said class
    i and the second class j. weights: of a disagreement by how far apart the two classes are in their order.

    The interval is normal, with the standard error of Fleiss, Cohen and Everitt (1969, Psychol Bull 72:323), and ends
    at -1 and 1; it takes cells as independent. Undefined where both always say one and the same class.
    """
    z, total = -float(scipy.special.ndtri(check_confidence(confidence))), int(table.sum())
    if table.ndim != 2 or table.shape[0] != table.shape[1] or (table < 0).any():
        raise LeukoscopeError("kappa needs a square table of counts", "give one row and one column for each class")
    places = np.arange(len(table))
    lost = _DISTANCES[weights](np.abs(places[:, None] - places))
    shares = table / max(total, 1)
    rows, columns = shares.sum(1), shares.sum(0)
    chance = float((lost * np.outer(rows, columns)).sum())
    if chance == 0:
        return no_estimate("undefined: all are of one class" if total else "undefined: nothing was compared")
    observed = float((lost * shares).sum())
    value = 1 - observed / chance
    # Of each entry, how far it moves kappa; the sum of their squares is the variance of Fleiss, Cohen and Everitt.
    expected = (lost @ columns)[:, None] + (rows @ lost)[None, :]
    moves = lost * chance - observed * expected + observed * chance
    variance = max(float((shares * moves**2).sum()), 0.0) / (total * chance**4)
    if variance == 0:
        return no_estimate("no interval: the two never differ", value)
    reach = z * math.sqrt(variance)
    return Estimate(value, max(value - reach, -1.0), min(value + reach, 1.0), "fleiss, cohen and everitt")
