"""Fit a head to confirmed cells: a linear map on the features of a model, beside the answers that it gives already.

The head is the mean of two: one corrects the answers of the model, the other starts from the features alone. Each is
worth as much as its answers to cells that were left out are sure and right, by its temperature. Arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import log_softmax

from ..bundle.calibration import fit_temperature
from ..bundle.head import TINY, Head

FOLDS = 5
_AXES = 256  # principal axes of the features at most
_SPREAD = 0.1  # of the spread in all confirmed cells, added so that a feature that hardly varies is not blown up
_OFFSET, _GAIN = 1e-3, 1e-2  # penalties
_MISSED, _MOST_SHIFT = 0.05, 10.0  # see `_shift`


@dataclass(frozen=True, eq=False)
class Confirmed:
    """Confirmed cells as a model sees them.

    probabilities: (n, classes), features: (n, features), of the model; labels: (n,) class indices; groups: (n,) what is
    independent (people, slides or images), numbers from 0.
    """

    probabilities: Float64[np.ndarray, "n classes"]
    features: Float64[np.ndarray, "n features"]
    labels: Int64[np.ndarray, " n"]
    groups: Int64[np.ndarray, " n"]

    def some(self, rows: np.ndarray) -> Confirmed:
        return Confirmed(self.probabilities[rows], self.features[rows], self.labels[rows], self.groups[rows])


@dataclass(frozen=True)
class Member:
    """One of the heads that are averaged. strength: of the penalty on its weights; keep: whether the model's own
    answers for the confirmed types count."""

    strength: float
    keep: bool


MEMBERS = (Member(1e-3, keep=True), Member(1e-1, keep=False))
"""A weak penalty on what corrects the model, and a strong one on what starts from the features alone."""


def fit_head(cells: Confirmed, temperatures: tuple[float, ...]) -> Head:
    """The mean of the heads of all MEMBERS, each at its temperature, as `find_temperatures` gives them."""
    *own, whole = temperatures
    heads = [fit_member(cells, member) for member in MEMBERS]
    shares = [1 / (len(heads) * whole * temperature) for temperature in own]
    weights, gain, offset = (sum(share * getattr(head, name) for share, head in zip(shares, heads, strict=True))
                             for name in ("weights", "gain", "offset"))
    return replace(heads[0], weights=weights, gain=gain, offset=offset)


def find_temperatures(cells: Confirmed, rng: np.random.Generator) -> tuple[float, ...]:
    """The temperature of each of MEMBERS, and that of their mean, of the least loss in cells that were left out."""
    folds, labels = fold_of(cells.groups, rng), np.searchsorted(np.unique(cells.labels), cells.labels)
    logits = [left_out_logits(cells, member, folds) for member in MEMBERS]
    own = [fit_temperature(one, labels) for one in logits]
    mean = np.mean([one / temperature for one, temperature in zip(logits, own, strict=True)], axis=0)
    return (*own, fit_temperature(mean, labels))


def fit_member(cells: Confirmed, member: Member) -> Head:
    """The head of the least log loss among the confirmed types, every one of them counting the same. Its probabilities
    are not calibrated."""
    known, count = np.unique(cells.labels), cells.probabilities.shape[1]
    log_p = np.log(np.maximum(cells.probabilities[:, known], TINY))
    weight = 1 / np.bincount(cells.labels)[cells.labels]
    centre = cells.features.mean(0)
    spread = np.sqrt(cells.features.var(0) + _SPREAD * cells.features.var() + 1e-12) * np.sqrt(len(centre))
    _, size, axes = np.linalg.svd((cells.features - centre) / spread, full_matrices=False)
    axes = axes[:_AXES][size[:_AXES] > 1e-9 * size[0]]
    scores = ((cells.features - centre) / spread) @ axes.T
    parts = _solved(scores, log_p, np.searchsorted(known, cells.labels), weight / weight.sum(), member)
    weights, gain, offset, confirmed = np.zeros((len(centre), count)), np.ones(count), np.zeros(count), np.zeros(count)
    weights[:, known], confirmed[known] = axes.T @ parts.weights, 1
    gain[known], offset[known] = parts.gain, parts.offset
    return Head(centre, spread, weights, gain, offset, confirmed, _shift(cells.probabilities, known))


def _shift(probabilities: np.ndarray, known: np.ndarray) -> np.ndarray:
    """By how much the log odds of the confirmed types rise, so that at most _MISSED of the confirmed cells are called
    another type; 0 where it is so already."""
    here = probabilities[:, known].sum(1)
    odds = np.log(np.maximum(here, TINY)) - np.log(np.maximum(1 - here, TINY))
    return np.array([float(np.clip(-np.quantile(odds, _MISSED), 0, _MOST_SHIFT))])


@dataclass(frozen=True, eq=False)
class _Parts:
    """weights: (axes, confirmed); offset: (confirmed,)."""

    weights: np.ndarray
    offset: np.ndarray
    gain: float


def _solved(scores: np.ndarray, log_p: np.ndarray, labels: np.ndarray, weight: np.ndarray,
            member: Member) -> _Parts:
    """scores: (n, axes); log_p: (n, confirmed); labels: columns of it; weight: (n,), sums to 1."""
    from scipy.optimize import minimize  # late: prediction does not need it

    axes, classes, strength = scores.shape[1], log_p.shape[1], member.strength
    truth = np.eye(classes)[labels]

    def parts_of(values: np.ndarray) -> _Parts:
        return _Parts(values[:axes * classes].reshape(axes, classes), values[axes * classes:-1],
                      float(np.exp(values[-1])) if member.keep else 0.0)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        parts = parts_of(values)
        log_q = log_softmax(parts.gain * log_p + scores @ parts.weights + parts.offset, axis=1)
        wrong = weight[:, None] * (np.exp(log_q) - truth)
        slope = np.concatenate([
            (scores.T @ wrong + 2 * strength * parts.weights).ravel(), wrong.sum(0) + 2 * _OFFSET * parts.offset,
            [(wrong * log_p).sum() * parts.gain + 2 * _GAIN * values[-1] if member.keep else 0.0]])
        penalty = strength * (parts.weights**2).sum() + _OFFSET * (parts.offset**2).sum() + _GAIN * values[-1]**2
        return float(penalty - (weight * log_q[np.arange(len(labels)), labels]).sum()), slope

    found: Any = minimize(loss, np.zeros(axes * classes + classes + 1), jac=True, method="L-BFGS-B",
                          options={"maxiter": 200})
    return parts_of(found.x)


def fold_of(groups: Int64[np.ndarray, " n"], rng: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """The fold of each cell, 0 to FOLDS - 1 or fewer: groups stay together, and folds are of about one size. Cells of
    one group alone are folded cell by cell."""
    if len(np.unique(groups)) < 2:
        groups = np.arange(len(groups))
    names, sizes = np.unique(groups, return_counts=True)
    count = min(FOLDS, len(names))
    held, of_group = np.zeros(count), np.zeros(int(names.max()) + 1, np.int64)
    order = rng.permutation(len(names))
    for place in order[np.argsort(-sizes[order], kind="stable")]:
        least = int(held.argmin())
        of_group[names[place]] = least
        held[least] += sizes[place]
    return of_group[groups]


def left_out_logits(cells: Confirmed, member: Member, folds: np.ndarray) -> Float64[np.ndarray, "n confirmed"]:
    """The logits of each cell among the confirmed types, by a head that was fitted to the other folds. A type that
    these lack has a logit that no other is below."""
    known = np.unique(cells.labels)
    logits = np.empty((len(cells.labels), len(known)))
    for fold in np.unique(folds):
        rest, own = cells.some(folds != fold), cells.some(folds == fold)
        there = fit_member(rest, member).logits(own.probabilities, own.features)
        here = np.repeat(there.min(1, keepdims=True), len(known), axis=1)
        here[:, np.searchsorted(known, np.unique(rest.labels))] = there
        logits[folds == fold] = here
    return logits
