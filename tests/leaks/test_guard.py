"""The guard follows copies of copies."""

from __future__ import annotations

import polars as pl
import pytest

from leukoscope.leaks.guard import check_leaks
from leukoscope.manifest import make_manifest
from leukoscope.recipes import make_recipe


@pytest.mark.parametrize(("parts", "found"), [
    (["train", "train", "train", "train"], None),
    (["train", "train", "test", "train"], "'c' (test), original 'b' (train)"),
    (["test", "train", "train", "train"], "'b' (train), original 'a' (test)"),
    (["train", "train", "train", "test"], None),
])
def test_a_copy_of_a_copy_apart_from_it_is_a_leak(parts, found):
    rows = [("a", "x", None), ("b", "x", "a"), ("c", "x", "b"), ("d", "y", None)]
    manifest = make_manifest([{"cell_id": c, "image": "i", "label": y, "original": o} for c, y, o in rows])
    splits = pl.DataFrame({"cell_id": list("abcd"), "fold": [0] * 4, "part": parts})
    recipe = make_recipe({"name": "x", "network": {"name": "lenet5"}, "split": {"kind": "holdout"}})
    copies = [leak for leak in check_leaks(manifest, splits, recipe).leaks if leak.kind == "copy"]
    assert [leak.examples for leak in copies] == ([(found,)] if found else [])
