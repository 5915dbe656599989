"""Write a look-alike of PBC: PBC_dataset_normal_DIB/<class>/<PREFIX>_<number>.jpg."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
from PIL import Image

draw_cell = runpy.run_path(str(Path(__file__).parents[1] / "drawing.py"))["draw_cell"]

PREFIXES = {
    "basophil": ("BA",), "eosinophil": ("EO",), "erythroblast": ("ERB",), "ig": ("IG", "MY", "MMY", "PMY"),
    "lymphocyte": ("LY",), "monocyte": ("MO",), "neutrophil": ("NEUTROPHIL", "BNE", "SNE"), "platelet": ("PLATELET",),
}


def make(root: Path, *, per_class: int = 4, width: int = 36, height: int = 36, seed: int = 0) -> Path:
    """Write `per_class` JPEG cells of each class below `root`; return the folder PBC_dataset_normal_DIB."""
    rng = np.random.default_rng(seed)
    base = Path(root) / "PBC_dataset_normal_DIB"
    for kind, (label, prefixes) in enumerate(PREFIXES.items()):
        (base / label).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            name = f"{prefixes[number % len(prefixes)]}_{100000 + number}.jpg"
            Image.fromarray(draw_cell(kind, width, height, rng)).save(base / label / name, quality=92)
    return base
