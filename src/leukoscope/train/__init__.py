"""A recipe and a manifest to a run: cells prepared, folds trained, resumed and evaluated."""
