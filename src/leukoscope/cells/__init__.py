"""Cells as pixels for training and prediction: decoded once into one file (`pack.py`, `cache.py`), then read in batches
(`batches.py`).

Knows nothing of label names, splits or networks.
"""

from __future__ import annotations

from .batches import Batch, CellBatches
from .cache import Damaged, PackedCells, derived_cells
from .input_steps import channel_statistics
from .pack import pack_cells

__all__ = ["Batch", "CellBatches", "Damaged", "PackedCells", "channel_statistics", "derived_cells", "pack_cells"]
