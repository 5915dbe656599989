"""Checks of a data set before training on it: duplicates, leaks, imbalance, outliers, shortcuts.

Measures and states; `report/audit.py` makes the page."""
