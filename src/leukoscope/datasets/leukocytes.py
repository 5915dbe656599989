"""The view `leukocytes`: nine classes that all laboratories share, and the subtype behind each.

A set maps its own names to subtypes; the subtype decides the class. A type that belongs to none of the classes (a
smudge cell, a plasma cell, an artefact) keeps its subtype and has no label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

CLASSES = ("basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte", "monocyte", "neutrophil",
           "platelet", "blast")
CLASS_OF: dict[str, str] = {name: name for name in CLASSES} | {
    "abnormal eosinophil": "eosinophil",
    "atypical lymphocyte": "lymphocyte",
    "band neutrophil": "neutrophil",
    "segmented neutrophil": "neutrophil",
    "promyelocyte": "immature granulocyte",
    "bilobed promyelocyte": "immature granulocyte",
    "myelocyte": "immature granulocyte",
    "metamyelocyte": "immature granulocyte",
    "proerythroblast": "erythroblast",
    "lymphoblast": "blast",
    "monoblast": "blast",
    "myeloblast": "blast",
}
"""Subtype -> class. Monoblasts are counted as blasts, as the WHO classification does."""

VIEW = "classes that several laboratories share (docs/datasets.md), with the finer type in the column subtype"


def class_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of subtypes -> counts of classes; "" for subtypes without a class."""
    totals: Counter[str] = Counter()
    for subtype, count in counts.items():
        totals[CLASS_OF.get(subtype, "")] += count
    return dict(totals)
