"""Synthetic blood smears with exact truth: fields and single cells, so that tests and the demo need no download.

    render.py     fields and cells, pixels and truth
    files.py      the same as files with a manifest
    slide.py      a whole slide, composed of rendered blocks
    slide_files.py  the same as TIFF, SVS, OME-TIFF or DICOM
    subjects.py   stain, optics, camera, red cells and disease of a subject
    cells.py      what each cell type looks like, from parts.py and shapes.py
    layout.py     where cells lie
    optics.py     absorption, blur, illumination, sensor

docs/phantom.md says what is modelled and what is not.
"""

from __future__ import annotations

from .cells import DIAMETERS, SUBTYPES, TYPES
from .files import write_cells, write_smears
from .optics import Camera, Optics
from .render import CELL_SIDE, Field, TrueCell, render_cell, render_cells, render_field
from .subjects import DIFFERENTIALS, RedCells, Stain, Subject, draw_subject

__all__ = [
    "CELL_SIDE", "DIAMETERS", "DIFFERENTIALS", "SUBTYPES", "TYPES", "Camera", "Field", "Optics", "RedCells", "Stain",
    "Subject", "TrueCell", "draw_subject", "render_cell", "render_cells", "render_field", "write_cells", "write_smears",
]
