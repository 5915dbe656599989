"""Trained models at work: a run, a bundle or the built-in model, on cells or on files."""
