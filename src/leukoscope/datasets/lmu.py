"""AML-Cytomorphology of LMU Munich: 18,365 cells of blood, 400 x 400 px, from 100 patients with acute myeloid leukemia
and 100 without a malignancy of the blood.

The published files do not say from which patient a cell is.
"""

from __future__ import annotations

from pathlib import Path

from .base import Dataset, Index
from .codes import VIEWS, Type, index_codes

TYPES = {
    "BAS": Type("basophil", 79),
    "EBO": Type("erythroblast", 78),
    "EOS": Type("eosinophil", 424),
    "KSC": Type("smudge cell", 15),
    "LYA": Type("atypical lymphocyte", 11),
    "LYT": Type("lymphocyte", 3937),
    "MMZ": Type("metamyelocyte", 15),
    "MOB": Type("monoblast", 26),
    "MON": Type("monocyte", 1789),
    "MYB": Type("myelocyte", 42),
    "MYO": Type("myeloblast", 3268),
    "NGB": Type("band neutrophil", 109),
    "NGS": Type("segmented neutrophil", 8484),
    "PMB": Type("bilobed promyelocyte", 18),
    "PMO": Type("promyelocyte", 70),
}
"""Code of the folder -> type and images expected. These counts were not checked against the publication or the
published files; only their sum is the published total, so a difference may be an error here."""


def index(root: Path, view: str = "types", **options: str) -> Index:
    """Index the folder with BAS, EBO, ..., or one above it. Raises DatasetError where there is no cell."""
    return index_codes(root, view, options, name="lmu", types=TYPES)


DATASET = Dataset(
    name="lmu",
    title="AML-Cytomorphology_LMU: cells of blood with and without acute myeloid leukemia, 15 types (Munich)",
    licence="CC BY 3.0",
    citation="C. Matek, S. Schwarz, C. Marr, K. Spiekermann, A single-cell morphological dataset of leukocytes from "
             "AML patients and non-malignant controls (AML-Cytomorphology_LMU), The Cancer Imaging Archive (2019), "
             "doi 10.7937/tcia.2019.36f5o9ld",
    homepage="https://www.cancerimagingarchive.net/collection/aml-cytomorphology_lmu/",
    obtain="The Cancer Imaging Archive gives it through its own downloader: open https://www.cancerimagingarchive.net/"
           "collection/aml-cytomorphology_lmu/, download the images with the IBM Aspera plug-in, and index the folder "
           "that contains BAS, EBO, ...",
    subject_rule="none: the files do not say from which patient a cell is",
    views=VIEWS,
    index=index,
    leukocytes={code: kind.name for code, kind in TYPES.items()},
)
