"""The model that is fitted to the laboratory from the worklist."""

from __future__ import annotations

import time
import uuid

import pytest

from leukoscope.bundle.bundle import open_bundle
from leukoscope.review.api_model import PAGE_POLICY
from leukoscope.review.fitting import MODELS


def begin(bench):
    return bench.client.post("/api/v1/model", json={})


def ended(bench, seconds: float = 900) -> dict:
    """What the page is told once the fit has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        said = bench.client.get("/api/v1/model").json()
        if not said["running"]:
            return said
        time.sleep(0.2)
    raise AssertionError("the fit does not end")


def test_a_model_is_fitted_to_the_confirmed_cells_and_shows_before_and_after(bench):
    if bench.db.url is None:
        pytest.skip("fitted once, with the decisions of a PostgreSQL, whose address is handed on")
    cells = bench.smear["cells"]
    types = [one["name"] for one in bench.smear["types"]]
    whole = [place for place, cut in enumerate(cells["cut"]) if not cut]
    neutrophils = [place for place in whole if cells["now"][place] == types.index("neutrophil")]
    others = [place for place in whole if place not in neutrophils]
    # This laboratory calls every neutrophil an eosinophil: the model cannot know, and can learn it.
    bench.send("decisions", cells=neutrophils, did="type", type="eosinophil")
    bench.send("decisions", cells=others, did="type", type="lymphocyte")
    bench.send("types", text="smudge cell")
    bench.send("decisions", cells=neutrophils[:1], did="type", type="smudge cell")
    counts = {"eosinophil": len(neutrophils) - 1, "lymphocyte": len(others)}
    assert bench.client.get("/api/v1/model").json()["confirmed"]["counts"] == counts
    assert "leukoscope adapt packaged --review" in bench.client.get("/model").text
    assert begin(bench).json()["running"]
    assert "is being fitted already" in begin(bench).json()["error"]
    said = ended(bench)
    assert said["failed"] == ""
    one = said["fitted"][0]
    assert one["after"]["value"] > one["before"]["value"]
    assert one["counts"] == counts
    bundle = open_bundle(bench.folder / MODELS / "model-1.zip")
    assert bundle.description.adapted
    page = bench.client.get("/model/model-1")
    assert "Before and after" in page.text
    assert "smudge cell, which the model does not know" in page.text
    assert page.headers["content-security-policy"] == PAGE_POLICY
    assert "model-1" in bench.client.get("/model").text


@pytest.mark.parametrize("name", ["model-1", "..%2Fsummary", "model-2"])
def test_no_other_page_is_given_away(bench, name):
    (bench.folder / MODELS).mkdir()
    (bench.folder / MODELS / "model-1.html").write_text("no model beside it")
    (bench.folder / MODELS / "model-2.zip").write_bytes(b"no bundle")
    assert bench.client.get(f"/model/{name}").status_code == 404


def test_too_few_cells_and_a_fit_that_fails_are_said_in_one_line(bench, monkeypatch):
    assert "Confirm at least 5 cells of at least 2 types" in begin(bench).json()["error"]
    assert "Confirm at least 5 cells" in bench.client.get("/model").text
    (bench.folder / MODELS).write_text("in the way")
    cells = [place for place, cut in enumerate(bench.smear["cells"]["cut"]) if not cut]
    for half, kind in ((cells[:5], "basophil"), (cells[5:10], "eosinophil")):
        bench.client.post(f"{bench.path}/decisions", json={
            "key": str(uuid.uuid4()), "since": 0, "cells": half, "did": "type", "type": kind})
    assert "File exists" in begin(bench).json()["error"]
