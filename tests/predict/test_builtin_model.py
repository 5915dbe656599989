"""The model that comes with the package: it is there, small, whole, says what it cannot do, and names cells."""

from __future__ import annotations

import numpy as np
import pytest

from leukoscope import load
from leukoscope.errors import LeukoscopeError
from leukoscope.predict.model import packaged_model
from leukoscope.recipes import load_recipe

NINE = ("basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte", "monocyte", "neutrophil",
        "platelet", "blast")


def test_it_is_small_whole_and_of_the_recipe():
    assert packaged_model().stat().st_size < 12_000_000
    model = load()
    assert model.classes == NINE == load_recipe("leukoscope").data.classes
    assert model.description.frame == "cell"
    assert model.bundle.seen is not None
    card = model.bundle.parts["MODEL_CARD.md"].decode()
    assert "Not a medical device" in card
    assert "In a laboratory that it was not trained on" in card
    assert "no diagnosis" in card
    elsewhere = model.description.metrics["elsewhere"]
    assert {row["name"] for row in elsewhere["rows"]} == {"bccd", "chula", "cnmc", "lmu", "mll", "pbc"}
    assert repr(model).startswith("Model(leukoscope, 9 classes: basophil, eosinophil, ")
    assert repr(model).endswith("blast; built in)")


def test_cells_of_its_laboratories_are_named_in_use_as_in_training(data_folder):
    """Most of these were trained on: this says that use and training prepare alike, not how often it is right."""
    files = [(file, name) for folder, name in (
        ("pbc/PBC_dataset_normal_DIB/eosinophil", "eosinophil"), ("pbc/PBC_dataset_normal_DIB/platelet", "platelet"),
        ("pbc/PBC_dataset_normal_DIB/erythroblast", "erythroblast"), ("lmu/MYO", "blast"), ("lmu/NGS", "neutrophil"),
        ("chula/cells", "")) for file in sorted((data_folder / folder).rglob("*.jpg"))[5::60][:9] if name]
    table = load().predict([file for file, _ in files])
    assert len(files) >= 35
    assert np.mean([name == told for (_, name), told in zip(files, table["predicted"], strict=True)]) > 0.85
    assert table["known"].mean() > 0.9  # type: ignore[operator]


def test_an_image_without_a_cell_is_not_named():
    with pytest.raises(LeukoscopeError, match="no cell found: nothing looks like a nucleus"):
        load("packaged").predict(np.full((80, 80, 3), 230, np.uint8))
