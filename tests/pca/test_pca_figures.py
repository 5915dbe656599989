"""What the figures of principal components say: the words and pixels that they hold."""

from __future__ import annotations

import numpy as np
import pytest

from leukoscope.errors import LeukoscopeError
from leukoscope.figures.pca import components_sheet, reconstruction_sheet, variance_curve
from leukoscope.pca import fit_pca

CELLS = np.random.default_rng(0).normal(size=(40, 6, 6)) + 0.5
PCA = fit_pca(CELLS.reshape(40, -1), components=20)


def picture(axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def words(axes) -> list[str]:
    return [axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)]


def test_the_sheet_of_components_shows_the_mean_and_each_with_its_share():
    panels = components_sheet(PCA, 6).axes
    assert len(panels) == 12
    assert words(panels[0]) == ["Mean", "of 40"]
    assert words(panels[3]) == ["3", f"{100 * PCA.shares[2]:.1f}\u202f%"]
    image = panels[3].images[0]
    assert np.array_equal(picture(panels[3]), PCA.components[2].reshape(6, 6))
    low, high = image.get_clim()
    assert low == -high == -np.abs(PCA.components[2]).max()


def test_three_channels_give_a_mean_in_colour():
    colour = fit_pca(CELLS.reshape(40, -1)[:, :27], components=2)
    panels = components_sheet(colour, 3, 3).axes
    assert picture(panels[0]).shape == (3, 3, 3)
    assert picture(panels[1]) == pytest.approx(colour.components[0].reshape(3, 3, 3).mean(axis=0))


def test_the_curve_ends_at_what_is_kept_and_marks_99_percent():
    axes = variance_curve(PCA).axes[0]
    curve = max((np.asarray(line.get_ydata()) for line in axes.lines), key=len)
    assert curve[[0, 20]] == pytest.approx([0, PCA.shares.sum()])
    assert any(text.get_text().endswith("with all 20 components; fitted on 40 samples") for text in axes.texts)
    whole = fit_pca(CELLS.reshape(40, -1), variance=1.0)
    at = int(np.searchsorted(np.cumsum(whole.shares), 0.99)) + 1
    texts = [text.get_text() for text in variance_curve(whole).axes[0].texts]
    assert f"99\u202f% with {at} components; fitted on 40 samples" in texts


def test_cells_stand_beside_what_is_rebuilt_of_them():
    panels = reconstruction_sheet(PCA, CELLS[:2], (1, 20)).axes
    assert len(panels) == 6
    assert np.array_equal(picture(panels[3]), CELLS[1])
    flat = CELLS[:2].reshape(2, -1)
    assert picture(panels[5]) == pytest.approx(PCA.reconstruct(PCA.project(flat))[1].reshape(6, 6))
    assert panels[5].images[0].get_clim() == (CELLS[1].min(), CELLS[1].max())
    assert words(panels[1]) == ["1", f"keep {100 * PCA.shares[0]:.1f}\u202f%", words(panels[1])[2]]
    lost = np.sqrt(np.mean(np.square(PCA.reconstruct(PCA.project(flat))[1] - flat[1]))) / flat[1].std()
    assert words(panels[5])[-1] == f"{100 * lost:.1f}\u202f%"


def test_by_default_as_many_steps_as_there_are():
    titles = [axes.get_title(loc="left") for axes in reconstruction_sheet(PCA, CELLS[:1]).axes]
    assert titles == ["The cell", "10", "20"]


def test_sizes_and_counts_that_are_not_theirs():
    with pytest.raises(LeukoscopeError, match="36 pixels, not 1 x 5 x 5"):
        components_sheet(PCA, 5)
    with pytest.raises(LeukoscopeError, match="36 pixels, not 6 x 5"):
        reconstruction_sheet(PCA, CELLS[:, :, :5])
    with pytest.raises(LeukoscopeError, match="cannot rebuild cells from 21 components; there are 1 to 20"):
        reconstruction_sheet(PCA, CELLS[:1], (5, 21))
