"""Codes of LOINC for what a review reports. This is material of LOINC (loinc.org), which is copyright of Regenstrief
Institute, Inc. and free under its licence."""

from __future__ import annotations

from dataclasses import dataclass

from ..smear.count import plain_name

SYSTEM = "http://loinc.org"


@dataclass(frozen=True)
class Code:
    """A code and its name."""

    code: str
    display: str


PANEL = Code("24318-8", "Manual Differential panel - Blood")
LEUKOCYTES = Code("26464-8", "Leukocytes [#/volume] in Blood")
NUCLEATED = Code("18309-5", "Nucleated erythrocytes/100 leukocytes [Ratio] in Blood by Manual count")
PLATELETS = Code("49497-1", "Platelets [#/volume] in Blood by Estimate")

_TYPES = {  # name -> (LOINC's component, code of the percentage, code of the absolute number); members of PANEL, but ig
    "neutrophil": ("Neutrophils", "26511-6", "26499-4"),
    "segmented neutrophil": ("Segmented neutrophils", "26505-8", "30451-9"),
    "band neutrophil": ("Band form neutrophils", "26508-2", "26507-4"),
    "lymphocyte": ("Lymphocytes", "26478-8", "26474-7"), "monocyte": ("Monocytes", "26485-3", "26484-6"),
    "eosinophil": ("Eosinophils", "26450-7", "26449-9"), "basophil": ("Basophils", "30180-4", "26444-0"),
    "blast": ("Blasts", "26446-5", "30376-8"), "lymphoblast": ("Lymphoblasts", "34922-5", "35050-4"),
    "myeloblast": ("Myeloblasts", "30445-1", "30444-4"), "monoblast": ("Monoblasts", "34923-3", "35029-8"),
    "immature granulocyte": ("Immature granulocytes", "38518-7", "51584-1"),
    "metamyelocyte": ("Metamyelocytes", "28541-1", "30433-7"), "myelocyte": ("Myelocytes", "26498-6", "30446-9"),
    "promyelocyte": ("Promyelocytes", "26524-9", "26523-1"), "plasma cell": ("Plasma cells", "13047-6", "30458-4"),
    "atypical lymphocyte": ("Variant lymphocytes", "13046-8", "26477-0"),
    "prolymphocyte": ("Prolymphocytes", "30465-9", "30464-2"), "promonocyte": ("Promonocytes", "30466-7", "34926-6")}
_SAME = {"ig": "immature granulocyte", "variant lymphocyte": "atypical lymphocyte", "band": "band neutrophil",
         "reactive lymphocyte": "atypical lymphocyte", "neutrophil band": "band neutrophil",
         "neutrophil segmented": "segmented neutrophil"}
_PRESENCE = {
    "anisocytosis": ("702-1", "Anisocytosis"), "macrocytes": ("738-5", "Macrocytes"),
    "microcytes": ("741-9", "Microcytes"), "hypochromasia": ("728-6", "Hypochromia"),
    "polychromasia": ("10378-8", "Polychromasia"), "dimorphism": ("10379-6", "Erythrocytes.dual population"),
    "acanthocytes": ("7789-1", "Acanthocytes"), "bite cells": ("10371-3", "Bite cells"),
    "blister cells": ("10372-1", "Blister cells"), "echinocytes": ("7790-9", "Burr cells"),
    "elliptocytes": ("11274-8", "Elliptocytes"),
    "irregularly contracted cells": ("10375-4", "Irregularly contracted cells"),
    "ovalocytes": ("774-0", "Ovalocytes"), "schistocytes": ("800-3", "Schistocytes"),
    "sickle cells": ("801-1", "Sickle cells"), "spherocytes": ("802-9", "Spherocytes"),
    "stomatocytes": ("10380-4", "Stomatocytes"), "target cells": ("10381-2", "Target cells"),
    "teardrop cells": ("7791-7", "Dacrocytes"), "basophilic stippling": ("703-9", "Basophilic stippling"),
    "Howell-Jolly bodies": ("7793-3", "Howell-Jolly bodies"), "Pappenheimer bodies": ("7795-8", "Pappenheimer bodies"),
    "rouleaux": ("7797-4", "Rouleaux"), "toxic granulation": ("803-7", "Toxic granules"),
    "hypogranular neutrophils": ("33215-5", "Neutrophils.agranular"), "Döhle bodies": ("7792-5", "Dohle body"),
    "vacuolated neutrophils": ("18319-4", "Neutrophils.vacuolated"),
    "hypersegmented neutrophils": ("765-8", "Neutrophils.hypersegmented"), "smudge cells": ("7798-2", "Smudge cells"),
    "Auer rods": ("11281-3", "Auer rods"), "giant platelets": ("5908-9", "Giant platelets"),
    "hypogranular platelets": ("33216-3", "Platelets agranular"), "platelet clumps": ("7796-6", "Platelet clump"),
    "platelet satellitism": ("18312-9", "Platelet satellitism")}


def share_code(name: str) -> Code | None:
    """Of the percentage of a type; None where LOINC's panel has none."""
    found = _type(name)
    return Code(found[1], f"{found[0]}/100 leukocytes in Blood") if found else None


def number_code(name: str) -> Code | None:
    """Of the absolute number of a type; None where LOINC's panel has none."""
    found = _type(name)
    return Code(found[2], f"{found[0]} [#/volume] in Blood") if found else None


def finding_code(name: str) -> Code | None:
    """Of a graded finding; None where LOINC has none."""
    found = _PRESENCE.get(name)
    return Code(found[0], f"{found[1]} [Presence] in Blood by Light microscopy") if found else None


def _type(name: str) -> tuple[str, str, str] | None:
    plain = plain_name(name).replace("_", " ")
    return _TYPES.get(_SAME.get(plain, plain))
