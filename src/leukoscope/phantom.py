"""Synthetic blood smears with exact truth: fields and single cells, so that tests and the demo need no download.

    phantom_render.py     fields and cells, pixels and truth
    phantom_files.py      the same as files with a manifest
    phantom_subjects.py   stain, optics, camera, red cells and disease of a subject
    phantom_cells.py      what each cell type looks like, from phantom_parts.py and phantom_shapes.py
    phantom_layout.py     where cells lie
    phantom_optics.py     absorption, blur, illumination, sensor

docs/phantom.md says what is modelled and what is not.
"""

from __future__ import annotations

from .phantom_cells import DIAMETERS, SUBTYPES, TYPES
from .phantom_files import write_cells, write_smears
from .phantom_optics import Camera, Optics
from .phantom_render import CELL_SIDE, Field, TrueCell, render_cell, render_cells, render_field
from .phantom_subjects import DIFFERENTIALS, RedCells, Stain, Subject, draw_subject

__all__ = [
    "CELL_SIDE", "DIAMETERS", "DIFFERENTIALS", "SUBTYPES", "TYPES", "Camera", "Field", "Optics", "RedCells", "Stain",
    "Subject", "TrueCell", "draw_subject", "render_cell", "render_cells", "render_field", "write_cells", "write_smears",
]
