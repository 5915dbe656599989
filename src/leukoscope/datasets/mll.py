"""Bone-Marrow-Cytomorphology of MLL, Helmholtz Munich and Fraunhofer IIS: 171,374 cells of marrow, 250 x 250 px, from
945 patients.

Marrow is not blood: young cells are common, and other types than in blood occur. The published files do not say from
which patient a cell is.
"""

from __future__ import annotations

from pathlib import Path

from .base import Dataset, Index
from .codes import VIEWS, Type, index_codes

TYPES = {
    "ABE": Type("abnormal eosinophil", 8),
    "ART": Type("artefact", 19_630),
    "BAS": Type("basophil", 441),
    "BLA": Type("blast", 11_973),
    "EBO": Type("erythroblast", 27_395),
    "EOS": Type("eosinophil", 5_883),
    "FGC": Type("faggot cell", 47),
    "HAC": Type("hairy cell", 409),
    "KSC": Type("smudge cell", 42),
    "LYI": Type("immature lymphocyte", 65),
    "LYT": Type("lymphocyte", 26_242),
    "MMZ": Type("metamyelocyte", 3_055),
    "MON": Type("monocyte", 4_040),
    "MYB": Type("myelocyte", 6_557),
    "NGB": Type("band neutrophil", 9_968),
    "NGS": Type("segmented neutrophil", 29_424),
    "NIF": Type("not identifiable", 3_538),
    "OTH": Type("other cell", 294),
    "PEB": Type("proerythroblast", 2_740),
    "PLM": Type("plasma cell", 7_629),
    "PMO": Type("promyelocyte", 11_994),
}
"""Code of the folder -> type and images expected. These counts were not checked against the publication or the
published files; only their sum is the published total, so a difference may be an error here."""


def index(root: Path, view: str = "types", **options: str) -> Index:
    """Index the folder with ABE, ART, ..., or one above it. Raises DatasetError where there is no cell."""
    return index_codes(root, view, options, name="mll", types=TYPES)


DATASET = Dataset(
    name="mll",
    title="Bone-Marrow-Cytomorphology_MLL_Helmholtz_Fraunhofer: cells of bone marrow, 21 types (Munich)",
    licence="CC BY 4.0",
    citation="C. Matek, S. Krappe, C. Münzenmayer, T. Haferlach, C. Marr, An expert-annotated dataset of bone marrow "
             "cytology in hematologic malignancies, The Cancer Imaging Archive (2021), doi 10.7937/TCIA.AXH3-T579",
    homepage="https://www.cancerimagingarchive.net/collection/bone-marrow-cytomorphology_mll_helmholtz_fraunhofer/",
    obtain="The Cancer Imaging Archive gives it through its own downloader: open https://www.cancerimagingarchive.net/"
           "collection/bone-marrow-cytomorphology_mll_helmholtz_fraunhofer/, download the images with the IBM Aspera "
           "plug-in, and index the folder that contains ABE, ART, ...",
    subject_rule="none: the files do not say from which patient a cell is",
    views=VIEWS,
    index=index,
    leukocytes={code: kind.name for code, kind in TYPES.items()},
)
