"""Predictions to metrics, comparisons and robustness, every figure with its interval."""
