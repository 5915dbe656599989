"""Principal components of images: fitted on the training part, kept in a file, used to project and to reconstruct.

Knows nothing of what the pixels are: an image is a row of numbers. Three equal channels carry nothing that one does
not: pass one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import LeukoscopeError, RunError
from ..files import atomic_path
from .blocks import DTYPES, centred, check_samples, row_blocks
from .exact import Fitted, Wanted, covariance_fit, gram_fit, too_many
from .randomized import random_fit

Progress = Callable[[int, int], None]
Method = Literal["auto", "gram", "covariance", "randomized"]

RANDOM_SIDE = 3000
"""Samples and pixels from which on the randomized way is faster than eigenvalues of a whole matrix ..."""
RANDOM_PART = 10
"""... as long as at most one in so many components is wanted (measured on 2 cores)."""

FORMAT = "leukoscope pca 1"
TENSORS = {"mean": ("float32", 1), "components": ("float32", 2), "variance": ("float64", 1),
           "total_variance": ("float64", 1), "samples": ("int64", 1)}
"""What a file holds: type and number of axes."""


@dataclass(frozen=True, eq=False)
class PCA:
    """Mean and principal components of n samples of d pixels.

    components: orthonormal rows, largest variance first; the entry of largest size of each is positive (as in
    scikit-learn). variance: of the samples along each, with n - 1 in the denominator. total_variance: along all d
    directions. method: what found them.
    """

    mean: Float32[np.ndarray, " d"]
    components: Float32[np.ndarray, "k d"]
    variance: Float64[np.ndarray, " k"]
    total_variance: float
    samples: int
    method: str

    @property
    def shares(self) -> Float64[np.ndarray, " k"]:
        """Share of the total variance that each component explains, in [0, 1]."""
        return self.variance / self.total_variance

    def project(self, x: np.ndarray) -> Float32[np.ndarray, "n k"]:
        """Scores (n, k) of samples x (n, d), in blocks of rows. LeukoscopeError for another d or a row with values
        that are not finite."""
        d = len(self.mean)
        if x.ndim != 2 or x.shape[1] != d or x.dtype.name not in DTYPES:
            raise LeukoscopeError(f"project: expected samples (n, {d}) of {', '.join(DTYPES)}, got {x.dtype} {x.shape}",
                                  "prepare them as the samples that the components were fitted on")
        scores = np.empty((len(x), len(self.components)), dtype=np.float32)
        for rows in row_blocks(x, 4):
            np.matmul(centred(x[rows], self.mean), self.components.T, out=scores[rows])
        bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        if len(bad):
            raise LeukoscopeError(f"project: row {bad[0]} holds a value that is not finite",
                                  "leave that sample out, or make it anew")
        return scores

    def reconstruct(self, scores: np.ndarray) -> Float32[np.ndarray, "n d"]:
        """Samples (n, d) of scores (n, j): the mean and the first j components, j <= k; LeukoscopeError for more."""
        k = len(self.components)
        if scores.ndim != 2 or scores.shape[1] > k:
            raise LeukoscopeError(f"reconstruct: expected scores (n, {k}) or of fewer components, "
                                  f"got {scores.shape}", "use the scores that project gives")
        samples = scores.astype(np.float32, copy=False) @ self.components[: scores.shape[1]]
        samples += self.mean
        return samples


def fit_pca(samples: np.ndarray, *, components: int | None = None, variance: float | None = None,
            method: Method = "auto", seed: int = 0, on_progress: Progress | None = None) -> PCA:
    """Fit principal components to samples (n, d), float16, float32, float64 or uint8, in memory or memory-mapped.

    Wanted is a number of `components`, or the fewest that keep the share `variance` (0 < variance <= 1) of the
    variance. `auto` takes the Gram matrix (n, n) when samples are no more than pixels, else the covariance (d, d); and
    randomized block Krylov iteration (randomized.py; `seed`) where both are above 3,000 and at most a tenth as many
    components, or a share, are wanted. The subspace is that of a full decomposition to 1e-4; randomized, where the
    variance falls by at least 1 % after the last component, and else its variance is the largest possible to 1e-4.
    Where the randomized way does not lead there (spectra that are very steep or fall too slowly, large shares), the
    matrix does; `PCA.method` says which did.

    The samples are read in blocks, never copied or centred whole. Memory beyond them, with s = min(n, d) and k
    components: the result (4 k d bytes), blocks of 250 MB in all (or four samples, if that is more), and
    gram and covariance 24 s^2 + 20 s k bytes, randomized 5 (rarely up to 11) times the result + 600 d bytes.

    LeukoscopeError: samples of another shape or type, fewer than 2, all the same, with values that are not finite
    (names the row) or whose squares overflow; more components than directions in which the samples vary (says how
    many that is).
    """
    wanted = _wanted(components, variance)
    check_samples(samples)
    n, d = samples.shape
    if components is not None and components > min(n - 1, d):
        raise too_many(components, min(n - 1, d), f"there are {n} samples of {d} pixels")
    chosen, exact = _method(method, n, d, components), "gram" if n <= d else "covariance"
    counter = _Counter(on_progress, 15 * n)
    fitted = random_fit(samples, wanted, seed, counter) if chosen == "randomized" else None
    if fitted is None:
        chosen = exact if chosen == "randomized" else chosen
        counter = _Counter(on_progress, 2 * d if chosen == "gram" else n)
        fitted = (gram_fit if chosen == "gram" else covariance_fit)(samples, wanted, counter)
    counter.finish()
    return _result(fitted, n, chosen)


def save_pca(pca: PCA, path: Path | str) -> None:
    """Write as safetensors, whole or not at all."""
    tensors = {"mean": pca.mean, "components": pca.components, "variance": pca.variance,
               "total_variance": np.array(pca.total_variance), "samples": np.array(pca.samples)}
    with atomic_path(path) as beside:
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, beside,
                  {"format": FORMAT, "method": pca.method})


def load_pca(path: Path | str) -> PCA:
    """Read what `save_pca` wrote; RunError names the file where it is missing, damaged or something else."""
    hint = "fit the components anew"
    try:
        with safe_open(path, "np") as opened:
            about = opened.metadata() or {}
            if about.get("format") != FORMAT:
                raise RunError(f"{path}: holds no principal components (format {about.get('format')!r}, "
                               f"expected {FORMAT!r})", "name a file that save_pca wrote")
            found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
    except FileNotFoundError as error:
        raise RunError(f"{path}: no such file", hint) from error
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path}: not readable principal components ({error})", hint) from error
    _check_tensors(found, path, hint)
    return PCA(found["mean"], found["components"], found["variance"], float(found["total_variance"][0]),
               int(found["samples"][0]), about.get("method", ""))


@dataclass
class _Counter:
    """Adds up what was worked through and reports it."""

    report: Progress | None
    work: int
    done: int = 0

    def __call__(self, more: int) -> None:
        self.done = min(self.done + more, self.work - 1)
        if self.report:
            self.report(self.done, self.work)

    def finish(self) -> None:
        if self.report:
            self.report(self.work, self.work)


def _wanted(components: int | None, variance: float | None) -> Wanted:
    if (components is None) == (variance is None):
        raise LeukoscopeError(f"components is {components}, variance is {variance}: exactly one of both is needed",
                              "give a number of components or the share of the variance that they keep")
    if components is not None and (isinstance(components, bool) or int(components) != components or components < 1):
        raise LeukoscopeError(f"components is {components}, expected a whole number from 1 on", "such as 500")
    if variance is not None and not 0 < variance <= 1:
        raise LeukoscopeError(f"variance is {variance}, expected a share above 0 and up to 1", "such as 0.99")
    return Wanted(components, variance)


def _method(method: str, n: int, d: int, components: int | None) -> str:
    """What `auto` is for these sizes, or the method that was named."""
    if method not in get_args(Method):
        raise LeukoscopeError(f"method is '{method}', expected one of {', '.join(get_args(Method))}", "use auto")
    if method != "auto":
        return method
    few = components is None or components * RANDOM_PART <= min(n, d)
    if few and min(n, d) > RANDOM_SIDE:
        return "randomized"
    return "gram" if n <= d else "covariance"


def _result(fitted: Fitted, n: int, method: str) -> PCA:
    """With signs that do not depend on the method."""
    for row in fitted.components:
        if -row.min() > row.max():
            np.negative(row, out=row)
    return PCA(fitted.mean.astype(np.float32), fitted.components, fitted.squares / (n - 1), fitted.total / (n - 1), n,
               method)


def _check_tensors(found: dict[str, np.ndarray], path: Path | str, hint: str) -> None:
    """RunError unless these are the tensors that save_pca writes, finite and of lengths that go together."""
    for name in sorted(TENSORS.keys() | found.keys()):
        got = f"{found[name].dtype} with {found[name].ndim} axes" if name in found else "nothing"
        expected = "{} with {} axes".format(*TENSORS[name]) if name in TENSORS else "nothing"
        if got != expected:
            raise RunError(f"{path}: {name} is {got}, expected {expected}", hint)
    k, d = found["components"].shape
    for name, length in {"mean": d, "variance": k, "total_variance": 1, "samples": 1}.items():
        if len(found[name]) != length:
            raise RunError(f"{path}: {name} has {len(found[name])} entries, expected {length}, as components is "
                           f"({k}, {d})", hint)
    for name, values in found.items():
        if not np.isfinite(values).all():
            raise RunError(f"{path}: {name} holds values that are not finite", hint)
    least, total = found["variance"].min(initial=np.inf), found["total_variance"][0]
    if k < 1 or d < 1 or found["samples"][0] <= k or not 0 < least <= total:
        raise RunError(f"{path}: {k} components of {found['samples'][0]} samples, least variance {least:g} of "
                       f"{total:g}, cannot be", hint)
