"""Cells as pixels for training and prediction: decoded once into one file, then served in batches.

Knows nothing of labels' names, splits or networks. `cells_pack.py` decodes, `cells_file.py` keeps,
`cells_batches.py` serves.
"""

from __future__ import annotations

from .cells_batches import Batch, CellBatches
from .cells_file import Damaged, PackedCells, derived_cells
from .cells_pack import pack_cells
from .cells_statistics import channel_statistics

__all__ = ["Batch", "CellBatches", "Damaged", "PackedCells", "channel_statistics", "derived_cells", "pack_cells"]
