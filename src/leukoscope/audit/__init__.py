"""What to know of a data set before training on it: duplicates, leaks, imbalance, outliers, shortcuts.

Measures and states; `report/audit.py` draws the page."""
