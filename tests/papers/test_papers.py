"""What runs the papers decides before a run folder is made."""

from __future__ import annotations

from pathlib import Path

import pytest

import leukoscope.papers
from leukoscope.errors import LeukoscopeError
from leukoscope.papers import PAPERS, reproduce_paper
from leukoscope.papers.almotairi2020 import FINE_TUNED, without_missing_weights
from leukoscope.recipes import load_recipe


def test_published_weights_that_cannot_be_had_are_done_without(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.delenv("no_proxy", raising=False)
    (setting,) = without_missing_weights(load_recipe(FINE_TUNED))
    scratch = load_recipe(FINE_TUNED, settings=[setting])
    assert (load_recipe(FINE_TUNED).network.pretrained, scratch.network.pretrained) == (True, False)
    assert without_missing_weights(scratch) == ()


@pytest.mark.parametrize(("paper", "says"), [
    ("almotairi", "almotairi: no such paper; choose almotairi2020"),
    ("x", "x: no such paper; choose almotairi2020 or dimuro2020 or noshad2021 or shalini2022")])
def test_a_paper_that_is_none_is_refused_with_the_nearest_name(tmp_path, paper, says):
    with pytest.raises(LeukoscopeError, match=f"^{says}$"):
        reproduce_paper(paper, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_papers_are_the_modules_that_reproduce_one():
    folder = Path(leukoscope.papers.__path__[0])
    assert set(PAPERS) == {file.stem for file in folder.glob("*.py") if "\ndef reproduce(" in file.read_text()}
