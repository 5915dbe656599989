"""What runs the papers decides before a run folder is made."""

from __future__ import annotations

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
