"""Principal components of images: fitted on the training part, saved to a file, used to project and to reconstruct.

Knows nothing of what the pixels are: an image is a row of numbers. Of three equal channels pass only one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import LeukoscopeError, RunError
from ..files import atomic_path
from ..progress import OnProgress
from .blocks import DTYPES, centred, check_samples, slices
from .exact import Target, Tick, covariance_fit, gram_fit, too_many
from .randomized import random_fit

Method = Literal["auto", "gram", "covariance", "randomized"]

RANDOM_SIDE = 3000
"""Above so many samples and pixels `auto` is randomized, where that is faster (measured on 2 cores) ..."""
RANDOM_PART = 10
"""... and at most one in so many components is asked for."""

FORMAT = "leukoscope pca 1"
TENSORS = {"mean": ("float32", 1), "components": ("float32", 2), "variance": ("float64", 1),
           "total_variance": ("float64", 1), "samples": ("int64", 1)}
"""What a file holds: type and number of axes."""


@dataclass(frozen=True, eq=False)
class PCA:
    """Mean and principal components of n samples of d pixels.

    components: orthonormal rows, largest variance first; in each, the entry of largest absolute value is positive (as
    in scikit-learn). variance: of the samples along each, with n - 1 in the denominator. total_variance: along all d
    directions. method: how they were found.
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
        """Scores (n, k) of samples x (n, d). LeukoscopeError for another d or a row with values that are not finite."""
        d = len(self.mean)
        if x.ndim != 2 or x.shape[1] != d or x.dtype.name not in DTYPES:
            raise LeukoscopeError(f"project: expected samples (n, {d}) of {', '.join(DTYPES)}, got {x.dtype} {x.shape}",
                                  "prepare them like the samples that the components were fitted on")
        scores = np.empty((len(x), len(self.components)), dtype=np.float32)
        for rows in slices(x, 0, 4):
            np.matmul(centred(x[rows], self.mean), self.components.T, out=scores[rows])
        bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        if len(bad):
            raise LeukoscopeError(f"project: row {bad[0]} holds a value that is not finite",
                                  "leave out that sample, or correct it")
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
            method: Method = "auto", seed: int = 0, on_progress: OnProgress | None = None) -> PCA:
    """Fit principal components to samples (n, d), float16, float32, float64 or uint8, in memory or memory-mapped.

    Give a number of `components`, or a share `variance` (0 < variance <= 1) for the fewest components that keep it.
    `auto` takes the Gram matrix (n, n) if there are no more samples than pixels, else the covariance (d, d); and
    randomized block Krylov iteration (randomized.py; `seed`) where both are above 3,000 and at most a tenth as many
    components, or a share, are asked for. The subspace is that of a full decomposition to 1e-4; randomized, only where
    the variance falls by at least 1 % after the last component, and else its variance is the largest possible to 1e-4.
    Where the randomized method fails (spectra that are very steep or fall too slowly, large shares), the matrix is
    used; `PCA.method` says which was.

    The samples are read in blocks, never copied or centred whole. Memory beyond them, with s = min(n, d) and k
    components: the result (4 k d bytes), blocks of 250 MB in all (or four samples, if that is more), and
    gram and covariance 24 s^2 + 20 s k bytes, randomized 5 (rarely up to 11) times the result + 600 d bytes.

    LeukoscopeError: samples of another shape or type, fewer than 2, all the same, with values that are not finite
    (names the row) or whose squares overflow; more components than directions in which the samples vary (says how
    many there are).
    """
    target = _checked(components, variance, method)
    check_samples(samples)
    n, d = samples.shape
    side = min(n, d)
    if components is not None and components > min(n - 1, d):
        raise too_many(components, min(n - 1, d), f"there are {n} samples of {d} pixels")
    if method == "auto" and side > RANDOM_SIDE and (components or 0) * RANDOM_PART <= side:
        method = "randomized"
    work = 15 * n
    fitted = random_fit(samples, target, seed, _ticking(on_progress, work)) if method == "randomized" else None
    if fitted is None:
        if method in ("auto", "randomized"):
            method = "gram" if n <= d else "covariance"
        work = 2 * d if method == "gram" else n
        fitted = (gram_fit if method == "gram" else covariance_fit)(samples, target, _ticking(on_progress, work))
    if on_progress:
        on_progress(work, work)
    for row in fitted.components:  # signs that do not depend on the method
        if -row.min() > row.max():
            np.negative(row, out=row)
    return PCA(fitted.mean.astype(np.float32), fitted.components, fitted.squares / (n - 1), fitted.total / (n - 1), n,
               method)


def save_pca(pca: PCA, path: Path | str) -> None:
    """Write as safetensors, completely or not at all."""
    tensors = {"mean": pca.mean, "components": pca.components, "variance": pca.variance,
               "total_variance": np.array(pca.total_variance), "samples": np.array(pca.samples)}
    with atomic_path(path) as beside:
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, beside,
                  {"format": FORMAT, "method": pca.method})


def load_pca(path: Path | str) -> PCA:
    """Read what `save_pca` wrote; RunError names the file where it is missing, damaged or of another kind."""
    hint = "fit the components again"
    try:
        with safe_open(path, "np") as opened:
            about = opened.metadata() or {}
            if about.get("format") != FORMAT:
                raise RunError(f"{path}: holds no principal components (format {about.get('format')!r}, "
                               f"expected {FORMAT!r})", "give a file that save_pca wrote")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no mapping
    except FileNotFoundError as error:
        raise RunError(f"{path}: no such file", hint) from error
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path}: not readable principal components ({error})", hint) from error
    if fault := _fault(tensors):
        raise RunError(f"{path}: {fault}", hint)
    return PCA(tensors["mean"], tensors["components"], tensors["variance"], float(tensors["total_variance"][0]),
               int(tensors["samples"][0]), about.get("method", ""))


def _checked(components: int | None, variance: float | None, method: str) -> Target:
    if (components is None) == (variance is None):
        raise LeukoscopeError(f"components is {components}, variance is {variance}: exactly one of them is needed",
                              "give a number of components or the share of the variance that they keep")
    if components is not None and (isinstance(components, bool) or int(components) != components or components < 1):
        raise LeukoscopeError(f"components is {components}, expected a whole number of at least 1", "such as 500")
    if variance is not None and not 0 < variance <= 1:
        raise LeukoscopeError(f"variance is {variance}, expected a share above 0 and up to 1", "such as 0.99")
    if method not in get_args(Method):
        raise LeukoscopeError(f"method is '{method}', expected one of {', '.join(get_args(Method))}", "use auto")
    return Target(components, variance)


def _ticking(on_progress: OnProgress | None, work: int) -> Tick:
    """Adds up what was worked through and reports it, always less than the whole `work`."""
    done = 0

    def tick(more: int) -> None:
        nonlocal done
        done = min(done + more, work - 1)
        if on_progress:
            on_progress(done, work)

    return tick


def _fault(tensors: dict[str, np.ndarray]) -> str:
    """What is wrong with tensors of a file; "" where they are what save_pca writes, finite and of matching lengths."""
    for name in sorted(TENSORS.keys() | tensors.keys()):
        got = f"{tensors[name].dtype} with {tensors[name].ndim} axes" if name in tensors else "missing"
        expected = "{} with {} axes".format(*TENSORS[name]) if name in TENSORS else "no such tensor"
        if got != expected:
            return f"{name} is {got}, expected {expected}"
    k, d = tensors["components"].shape
    for name, length in {"mean": d, "variance": k, "total_variance": 1, "samples": 1}.items():
        if len(tensors[name]) != length:
            return f"{name} has {len(tensors[name])} entries, expected {length}, as components is ({k}, {d})"
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            return f"{name} holds values that are not finite"
    samples, least, total = tensors["samples"][0], tensors["variance"].min(initial=np.inf), tensors["total_variance"][0]
    if k < 1 or d < 1 or samples <= k or not 0 < least <= total:
        return f"{k} components of {samples} samples, least variance {least:g} of {total:g}, are not possible"
    return ""
