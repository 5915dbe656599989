"""Cells as pixels for training and prediction: decoded once into one file, then served in batches.

Knows nothing of labels' names, splits or networks. `pack.py` decodes, `cache.py` keeps,
`batches.py` serves.
"""

from __future__ import annotations

from .batches import Batch, CellBatches
from .cache import Damaged, PackedCells, derived_cells
from .pack import pack_cells
from .stages import channel_statistics

__all__ = ["Batch", "CellBatches", "Damaged", "PackedCells", "channel_statistics", "derived_cells", "pack_cells"]
