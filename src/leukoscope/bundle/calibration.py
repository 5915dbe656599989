"""What the validation cells say of a model's probabilities: temperature, conformal radius, least energy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

REJECTED = 0.01
"""Share of the validation cells whose energy lies below the threshold."""
_LIMITS = (-3.0, 3.0)  # of the logarithm of the temperature


@dataclass(frozen=True)
class Calibration:
    """temperature: what logits are divided by. radius: the conformal set is the classes of a probability of at least
    1 - radius; least_energy: a cell below it is unlike those of training. None where there were no validation cells."""

    temperature: float
    radius: float | None
    least_energy: float | None


def calibrate(logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"], coverage: float,
              temperature: float | None = None) -> Calibration:
    """From the logits of validation cells and their class indices. temperature: where it is fixed already."""
    if not len(labels):
        return Calibration(temperature or 1.0, None, None)
    temperature = temperature or fit_temperature(logits, labels)
    probabilities = np.exp(scipy.special.log_softmax(logits / temperature, axis=1))
    return Calibration(temperature, conformal_radius(probabilities, labels, coverage),
                       float(np.quantile(scipy.special.logsumexp(logits, axis=1), REJECTED)))


def fit_temperature(logits: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]) -> float:
    """The temperature of the least log loss (Guo et al. 2017), from e^-3 to e^3. One more cell is added that belongs to
    every class in equal parts; without it the temperature would go to zero where every cell is classified correctly."""
    from scipy.optimize import minimize_scalar  # late: prediction does not need it

    doubt = 1 / (len(labels) + 1)

    def loss(log_temperature: float) -> float:
        scaled = scipy.special.log_softmax(logits / math.exp(log_temperature), axis=1)
        return -float((1 - doubt) * scaled[np.arange(len(labels)), labels].mean() + doubt * scaled.mean())

    minimum: Any = minimize_scalar(loss, bounds=_LIMITS, method="bounded")
    return math.exp(float(minimum.x))


def conformal_radius(probabilities: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"],
                     coverage: float) -> float:
    """The radius with which sets hold the true class of new cells, exchangeable with these, with a chance of at least
    `coverage` on average (split conformal, Sadinle, Lei and Wasserman 2019): the (n + 1) coverage-th smallest of
    1 - p(true), and 1 (every class) where n is too small to promise anything."""
    scores = np.sort(1 - probabilities[np.arange(len(labels)), labels])
    rank = math.ceil((len(labels) + 1) * coverage - 1e-9)
    return float(scores[rank - 1]) if rank <= len(labels) else 1.0


def conformal_sets(probabilities: Float[np.ndarray, "n classes"], radius: float) -> Bool[np.ndarray, "n classes"]:
    """The classes in each cell's set; the most probable class is always one of them."""
    inside = probabilities >= 1 - radius
    inside[np.arange(len(inside)), probabilities.argmax(1)] = True
    return inside
