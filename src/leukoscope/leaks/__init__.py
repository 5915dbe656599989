"""Leaks between training and test: duplicates, splits, the guard, and what a model was trained on."""
