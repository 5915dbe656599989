"""Principal components of many images: fitted exactly or from random directions, projected and rebuilt."""

from __future__ import annotations

from .pca import PCA, fit_pca, load_pca, save_pca

__all__ = ["PCA", "fit_pca", "load_pca", "save_pca"]
