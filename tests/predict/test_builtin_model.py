"""The model that comes with the package: it is there, small, whole, says what it cannot do, and names cells."""

from __future__ import annotations

import numpy as np
import pytest

from leukoscope import load
from leukoscope.errors import LeukoscopeError
from leukoscope.predict.model import packaged_model
from leukoscope.recipes import load_recipe

EIGHT = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet")


def test_it_is_small_whole_and_of_the_recipe():
    assert packaged_model().stat().st_size < 3_000_000
    model = load()
    assert model.classes == EIGHT == load_recipe("leukoscope-small").data.classes
    assert model.description.frame == "cell"
    assert model.bundle.seen is not None
    card = model.bundle.parts["MODEL_CARD.md"].decode()
    assert "Lymphoblasts, and other blasts of leukemia, were not among its classes" in card
    assert "Not a medical device" in card
    assert "On another laboratory's cells" in card
    assert "under corruptions it loses" in card
    assert repr(model).startswith("Model(leukoscope-small, 8 classes: basophil, eosinophil, ")
    assert repr(model).endswith("platelet; built in)")
    assert "immature granulocyte (IG)" in model._repr_html_()


def test_cells_of_pbc_are_named_in_use_as_in_training(data_folder):
    """Most of these were trained on: this says that use and training prepare alike, not how often it is right."""
    files = [file for name in EIGHT for file in sorted((data_folder / "pbc").rglob(f"{name}/*.jpg"))[::90]]
    table = load().predict(files)
    assert len(files) == 80
    assert np.mean([file.parent.name == told for file, told in zip(files, table["predicted"], strict=True)]) > 0.9
    assert table["known"].mean() > 0.9  # type: ignore[operator]


def test_an_image_without_a_cell_is_not_named():
    with pytest.raises(LeukoscopeError, match="no cell found: nothing is stained like a nucleus"):
        load("packaged").predict(np.full((80, 80, 3), 230, np.uint8))
