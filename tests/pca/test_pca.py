"""Principal components: scikit-learn's full decomposition as the reference, properties, errors, files, memory."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA as Reference
from threadpoolctl import threadpool_limits

from leukoscope.errors import LeukoscopeError, RunError
from leukoscope.pca import PCA, fit_pca, load_pca, save_pca


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads cost more than they bring on tables as small as these, most of all where tests run side by side."""
    with threadpool_limits(1):
        yield


EXACT: tuple[Literal["gram"], Literal["covariance"]] = ("gram", "covariance")


def made(n: int, d: int, sizes: np.ndarray, mean: float = 0.0, seed: int = 0) -> np.ndarray:
    """float64 (n, d) around `mean`, with these singular values before centring and pixels of deviation near 1."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((side, len(sizes))))[0] for side in (n, d))
    samples = (left * sizes) @ right.T
    return samples * np.sqrt(n * d) / np.linalg.norm(sizes) + mean


def angle(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Sine of the largest principal angle between the spans of orthonormal rows."""
    ours, theirs = (np.linalg.qr(rows.T.astype(np.float64))[0] for rows in (ours, theirs))
    return float(np.linalg.norm(theirs - ours @ (ours.T @ theirs), 2))


def check_against_reference(pca: PCA, samples: np.ndarray, theirs: np.ndarray) -> None:
    """Same subspace, variances and reconstruction as the full decomposition of `theirs`, which are the samples in
    float64."""
    reference = Reference(len(pca.components), svd_solver="full").fit(theirs)
    assert angle(pca.components, np.asarray(reference.components_)) < 1e-4
    assert pca.variance == pytest.approx(reference.explained_variance_, rel=2e-5)
    assert pca.shares == pytest.approx(reference.explained_variance_ratio_, rel=2e-5)
    assert pca.mean == pytest.approx(reference.mean_, rel=1e-6, abs=1e-6)
    rebuilt = reference.inverse_transform(reference.transform(theirs))
    allowed = 1e-4 * theirs.std() + 2 * np.finfo(np.float32).eps * np.abs(theirs).max()
    assert np.abs(pca.reconstruct(pca.project(samples)) - rebuilt).max() < allowed


SPECTRA = {"slow": np.linspace(2, 1, 80), "exponential": np.exp(-np.arange(80) / 10),
           "steep": 10.0 ** -np.linspace(0, 7, 80)}


@pytest.mark.parametrize("mean", [0.0, 200.0])
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(("n", "d"), [(90, 400), (400, 90)])
def test_it_is_the_full_decomposition(n, d, spectrum, mean):
    samples = made(n, d, SPECTRA[spectrum], mean)
    for k in (1, 20, 70):
        for method in EXACT:
            check_against_reference(fit_pca(samples, components=k, method=method), samples, samples)


@pytest.mark.parametrize("mean", [0.0, 200.0])
@pytest.mark.parametrize(("n", "d"), [(300, 500), (500, 300)])
def test_randomized_is_the_full_decomposition_where_the_variance_falls(n, d, mean):
    sizes = np.arange(1, 300) ** -0.5
    sizes[25:] *= 0.95
    samples = made(n, d, sizes, mean).astype(np.float32)
    pca = fit_pca(samples, components=25, method="randomized")
    assert pca.method == "randomized"
    check_against_reference(pca, samples, samples.astype(np.float64))


@pytest.mark.parametrize("ends", ["even", "noise"])
def test_randomized_keeps_the_most_variance_where_it_hardly_falls(ends):
    rng = np.random.default_rng(1)
    samples = made(400, 600, np.arange(1, 300) ** -0.3) if ends == "even" else made(400, 600, np.ones(20))
    samples = (samples + 0.3 * rng.standard_normal(samples.shape)).astype(np.float32)
    for k in (5, 40):
        best = np.linalg.svd(samples - samples.mean(axis=0, dtype=np.float64), compute_uv=False)[:k] ** 2 / 399
        assert fit_pca(samples, components=k, method="randomized").variance.sum() > (1 - 1e-4) * best.sum()


def test_randomized_finds_more_equal_directions_than_a_block_is_wide():
    samples = made(400, 500, np.repeat([1.0, 0.1], [90, 200])).astype(np.float32)
    pca = fit_pca(samples, components=90, method="randomized")
    check_against_reference(pca, samples, samples.astype(np.float64))


def test_randomized_leaves_what_float32_cannot_hold_to_the_matrix():
    samples = made(300, 400, np.exp(-np.arange(100) / 6))
    for k, method in ((40, "randomized"), (60, "gram")):
        pca = fit_pca(samples, components=k, method="randomized")
        assert pca.method == method
        check_against_reference(pca, samples, samples)


@pytest.mark.parametrize("method", [*EXACT, "randomized"])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_types_of_numbers_and_places_where_they_lie(tmp_path, dtype, method):
    values = np.clip(made(150, 240, np.arange(1.0, 150) ** -1) * 30 + 128, 0, 255).astype(dtype)
    np.save(tmp_path / "samples.npy", values)
    mapped = np.load(tmp_path / "samples.npy", mmap_mode="r")
    for samples in (values, mapped, np.asfortranarray(values), np.repeat(values, 2, axis=1)[:, ::2]):
        check_against_reference(fit_pca(samples, components=6, method=method), samples, values.astype(np.float64))


def test_auto_takes_the_smaller_matrix_and_randomized_for_large_tables():
    rng = np.random.default_rng(0)
    assert fit_pca(rng.normal(size=(20, 30)), components=3).method == "gram"
    assert fit_pca(rng.normal(size=(30, 20)), components=3).method == "covariance"
    large = rng.normal(size=(3100, 4)).astype(np.float32) @ rng.normal(size=(4, 3001)).astype(np.float32)
    assert fit_pca(large, components=4).method == "randomized"
    assert fit_pca(large, variance=0.5).method == "randomized"


@st.composite
def tables(draw):
    n, d = draw(st.integers(3, 30)), draw(st.integers(2, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scales = 10.0 ** rng.uniform(-1, 1, d)
    unit = draw(st.sampled_from([1e-12, 1.0, 1e6]))
    return unit * scales * rng.normal(size=(n, d)), draw(st.integers(1, min(n - 1, d)))


@settings(deadline=None, max_examples=25)
@given(tables(), st.sampled_from([*EXACT, "randomized"]))
def test_properties(table, method):
    samples, k = table
    pca = fit_pca(samples, components=k, method=method)
    assert pca.components @ pca.components.T == pytest.approx(np.eye(k), abs=3e-5)
    assert (np.diff(pca.variance) <= 1e-9 * pca.variance[0]).all()
    assert pca.total_variance == pytest.approx(samples.var(axis=0, ddof=1).sum())
    assert pca.shares.sum() <= 1 + 1e-6
    largest = np.abs(pca.components).argmax(axis=1)
    assert (pca.components[np.arange(k), largest] > 0).all()
    scale = np.sqrt(pca.total_variance)
    scores = np.random.default_rng(0).normal(size=(4, k)).astype(np.float32) * np.float32(scale)
    assert pca.project(pca.reconstruct(scores)) == pytest.approx(scores, abs=2e-5 * scale + 1e-5 * abs(samples).max())
    lost = np.square(samples - pca.reconstruct(pca.project(samples))).sum() / (len(samples) - 1)
    assert lost == pytest.approx(pca.total_variance - pca.variance.sum(), abs=1e-5 * pca.total_variance)


@settings(deadline=None, max_examples=12)
@given(tables(), st.sampled_from([*EXACT, "randomized"]), st.floats(-1e3, 1e3))
def test_a_constant_moves_the_mean_only_and_the_order_of_samples_nothing(table, method, constant):
    samples, k = table
    scale = samples.std()
    before = fit_pca(samples, components=k, method=method)
    moved = fit_pca(samples + constant * scale, components=k, method=method)
    mixed = fit_pca(np.random.default_rng(1).permutation(samples), components=k, method=method)
    assert moved.mean - before.mean == pytest.approx(np.full(samples.shape[1], constant * scale), abs=1e-3 * scale)
    assert mixed.mean == pytest.approx(before.mean, abs=1e-5 * scale)
    for other in (moved, mixed):
        assert other.variance == pytest.approx(before.variance, rel=1e-5, abs=1e-9 * before.total_variance)
        expected, covariance = (p.components.T @ (p.components * p.variance[:, None]) for p in (before, other))
        assert covariance == pytest.approx(expected, abs=1e-4 * before.total_variance)


@pytest.mark.parametrize("method", [*EXACT, "randomized"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
def test_the_fewest_components_that_keep_the_share(share, method):
    samples = made(120, 200, np.exp(-np.arange(100) / 9))
    pca = fit_pca(samples, variance=share, method=method)
    squares = np.cumsum(np.linalg.svd(samples - samples.mean(axis=0), compute_uv=False) ** 2)
    k = len(pca.components)
    assert pca.shares.sum() >= share - 1e-6
    assert share == 1 or k == np.searchsorted(squares / squares[-1], share) + 1
    assert share < 1 or k == 100


def test_randomized_reads_large_shares_from_the_matrix_and_small_ones_itself():
    samples = np.random.default_rng(0).normal(size=(300, 400)) + made(300, 400, np.exp(-np.arange(100) / 3)) * 9
    assert fit_pca(samples, variance=0.6, method="randomized").method == "randomized"
    assert fit_pca(samples, variance=0.99999, method="randomized").method == "gram"


def test_a_seed_gives_the_same_numbers():
    samples = made(200, 300, np.arange(1.0, 150) ** -0.5)
    first, second = (fit_pca(samples, components=7, method="randomized", seed=3) for _ in range(2))
    assert np.array_equal(first.components, second.components)


@pytest.mark.parametrize("method", [*EXACT, "randomized"])
def test_progress_grows_to_the_whole(method):
    calls: list[tuple[int, int]] = []
    fit_pca(made(60, 90, np.ones(50)), components=3, method=method, on_progress=lambda *c: calls.append(c))
    assert calls[-1][0] == calls[-1][1]
    last = [done for done, whole in calls if whole == calls[-1][1]]
    assert last == sorted(last)
    assert len(calls) > 1


TABLE = np.random.default_rng(0).normal(size=(54, 80))


@pytest.mark.parametrize("method", ["auto", *EXACT, "randomized"])
def test_more_components_than_directions_says_how_many_there_are(method):
    with pytest.raises(LeukoscopeError, match=r"components is 54, but at most 53 are possible: .* ask for 53 or fewer"):
        fit_pca(TABLE, components=54, method=method)
    with pytest.raises(LeukoscopeError, match="at most 6 are possible"):
        fit_pca(TABLE[:, :6], components=7, method=method)
    thin = made(54, 80, np.arange(9.0, 0, -1), mean=3.0)
    with pytest.raises(LeukoscopeError, match=r"components is 20, but at most 9 are possible: .* vary in 9 directions"):
        fit_pca(thin, components=20, method=method)
    twice = np.repeat(TABLE[:20], 2, axis=0)
    with pytest.raises(LeukoscopeError, match="at most 19 are possible"):
        fit_pca(twice, components=20, method=method)
    assert len(fit_pca(twice, components=19, method=method).components) == 19


@pytest.mark.parametrize("method", ["auto", *EXACT, "randomized"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_value_that_is_not_finite_is_named_by_its_row(method, value, dtype):
    samples = TABLE.astype(dtype)
    samples[17, 5] = samples[30, 2] = value
    with pytest.raises(LeukoscopeError, match=rf"row (17|30) holds {value}"):
        fit_pca(samples, components=3, method=method)


@pytest.mark.parametrize("method", ["auto", *EXACT, "randomized"])
def test_data_that_cannot_be_fitted(method):
    def refused(samples: np.ndarray, words: str) -> None:
        with pytest.raises(LeukoscopeError, match=words) as caught:
            fit_pca(samples, components=1, method=method)
        assert "\n" not in str(caught.value)
        assert caught.value.hint

    for constant in (0.0, 0.1, 1e30, 255.0):
        refused(np.full((7, 9), constant), "all 7 are the same")
    refused(np.tile(TABLE[:1], (7, 1)), "all 7 are the same")
    refused(np.full((7, 9), 200, dtype=np.uint8), "all 7 are the same")
    refused(TABLE[:1], "1 of 80 pixels; PCA needs at least 2 samples")
    refused(TABLE[:0], "at least 2 samples")
    refused(TABLE[:, :0], "at least 1 pixel")
    refused(TABLE[0], r"expected a table \(n, d\)")
    refused(TABLE.astype(np.int64), "got int64")
    refused(TABLE.astype(object), "got object")
    refused(TABLE * 1e200, "overflow")
    refused(TABLE + 1e60, "the same|overflow")


def test_parameters_that_cannot_be():
    for wrong in ({}, {"components": 3, "variance": 0.9}):
        with pytest.raises(LeukoscopeError, match="exactly one of them"):
            fit_pca(TABLE, **wrong)
    for components in (0, -1, True):
        with pytest.raises(LeukoscopeError, match="whole number of at least 1"):
            fit_pca(TABLE, components=components)
    for share in (0.0, -0.1, 1.01, 99.0, float("nan")):
        with pytest.raises(LeukoscopeError, match="share above 0 and up to 1"):
            fit_pca(TABLE, variance=share)


def test_samples_that_do_not_fit_the_components():
    pca = fit_pca(TABLE, components=5)
    with pytest.raises(LeukoscopeError, match=r"expected samples \(n, 80\).*got float64 \(54, 79\)"):
        pca.project(TABLE[:, 1:])
    with pytest.raises(LeukoscopeError, match="row 3 holds a value that is not finite"):
        pca.project(np.where(np.arange(54)[:, None] == 3, np.nan, TABLE))
    with pytest.raises(LeukoscopeError, match="of fewer components"):
        pca.reconstruct(np.zeros((2, 6), dtype=np.float32))
    assert pca.reconstruct(np.zeros((2, 0))) == pytest.approx(np.tile(pca.mean, (2, 1)))
    assert pca.project(TABLE[:0]).shape == (0, 5)


def test_a_file_holds_all_of_it(tmp_path):
    pca = fit_pca(TABLE, variance=0.8)
    save_pca(pca, tmp_path / "deep" / "pca.safetensors")
    read = load_pca(tmp_path / "deep" / "pca.safetensors")
    for name in ("mean", "components", "variance"):
        assert np.array_equal(getattr(read, name), getattr(pca, name))
        assert getattr(read, name).dtype == getattr(pca, name).dtype
    assert (read.total_variance, read.samples, read.method) == (pca.total_variance, 54, "gram")


def test_a_file_that_is_not_whole_or_not_ours_is_named(tmp_path):
    path = tmp_path / "pca.safetensors"
    with pytest.raises(RunError, match=r"pca\.safetensors: no such file; fit"):
        load_pca(path)
    save_pca(fit_pca(TABLE, components=4), path)
    whole, tensors = path.read_bytes(), load_file(path)
    about = {"format": "leukoscope pca 1", "method": "gram"}

    def refused(words: str) -> None:
        with pytest.raises(RunError, match=words) as caught:
            load_pca(path)
        assert str(path) in str(caught.value)
        assert caught.value.hint

    for part in (b"", whole[:7], whole[:200], whole[:-1], b"PK" + whole, bytes(64)):
        path.write_bytes(part)
        refused("not readable principal components")
    save_file(tensors, path)
    refused("holds no principal components")
    for name in tensors:
        save_file({k: v for k, v in tensors.items() if k != name}, path, about)
        refused(f"{name} is missing")
        save_file(tensors | {name: tensors[name].astype(np.float16)}, path, about)
        refused(f"{name} is float16")
        save_file(tensors | {name: np.concatenate([tensors[name]] * 2)}, path, about)
        refused("entries, expected")
        if name != "samples":
            save_file(tensors | {name: tensors[name] * np.float32("nan")}, path, about)
            refused(f"{name} holds values that are not finite")
    for name, value in (("variance", -tensors["variance"]), ("samples", tensors["samples"] * 0),
                        ("total_variance", tensors["total_variance"] / 1e3)):
        save_file(tensors | {name: value}, path, about)
        refused("are not possible")


PEAK = """
import resource, sys
import numpy as np
from leukoscope.pca import fit_pca
samples = np.load(sys.argv[1], mmap_mode="r")
fit_pca(samples[:60, :300], components=9, method=sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fit_pca(samples, components=int(sys.argv[3]), method=sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is counted in kB on Linux")
@pytest.mark.parametrize(("n", "d", "k", "method"), [(300, 80_000, 20, "gram"), (80_000, 300, 20, "covariance"),
                                                     (1_000, 30_000, 20, "randomized")])
def test_memory_stays_within_what_is_stated(tmp_path, n, d, k, method):
    path = tmp_path / "samples.npy"
    rng = np.random.default_rng(0)
    samples = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(n, d))
    directions = rng.normal(size=(60, d)).astype(np.float32) * 3
    for start in range(0, n, 500):
        samples[start:start + 500] = 128 + rng.normal(size=(min(500, n - start), 60)).astype(np.float32) @ directions
    samples.flush()
    command = [sys.executable, "-c", PEAK, str(path), method, str(k)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    s, result = min(n, d), 4 * k * d
    stated = result + 250e6 + (24 * s**2 + 20 * s * k if method != "randomized" else 5 * result + 600 * d)
    assert int(done.stdout) * 1024 < n * d + stated  # pages of the file that were read count as memory of the process
