"""The model that is fitted to the laboratory from the worklist."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import uuid
from pathlib import Path

import pytest

from leukoscope.bundle.bundle import open_bundle
from leukoscope.review.api_model import PAGE_POLICY
from leukoscope.review.fitting import MODELS
from leukoscope.review.smear import Review
from soak.review import Browser, server


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
    assert bench.client.get("/api/v1/model").json()["confirmed"][0]["counts"] == counts
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


def confirm_two_types(folder: Path) -> int:
    """Confirm the whole cells of a counted smear, half of them as another type each; how many."""
    review = Review.open(folder, None)
    cells = [place for place, cut in enumerate(review.cells.table["cut"]) if not cut]
    half = len(cells) // 2
    for some, kind in ((cells[:half], "eosinophil"), (cells[half:], "lymphocyte")):
        review.decide(str(uuid.uuid4()), "Ann", some, "type", kind, review.state().seq)
    review.close()
    return len(cells)


def typed_by(folder: Path, copy: Path, bundle: Path) -> Path:
    """A copy of a counted smear, as another model would have left it."""
    shutil.copytree(folder, copy)
    summary = json.loads((copy / "summary.json").read_text())
    summary["bundle"] |= {"path": str(bundle), "packaged": False}
    (copy / "summary.json").write_text(json.dumps(summary))
    return copy


def test_where_two_models_typed_the_smears_the_person_says_which_to_fit(folder, tmp_path, sit, db):
    if db.url is not None:
        pytest.skip("asked once: no database is involved")
    bundle = tmp_path / "ours <b>.zip"
    bundle.write_bytes(b"no bundle, as the command will say")
    other = typed_by(folder, tmp_path / "other", bundle)
    cells = [confirm_two_types(one) for one in (folder, other)]

    def fit(bench, name: str):
        return bench.client.post("/api/v1/model", json={"bundle": name})

    with sit([folder, other]) as bench:
        page = bench.client.get("/model").text
        assert "typed by 2 models" in page
        assert "ours &lt;b&gt;.zip" in page
        assert page.count("without 1 smear that other models have typed") == 2
        choices = bench.client.get("/api/v1/model").json()["confirmed"]
        assert {one["bundle"]: (sum(one["counts"].values()), one["others"]) for one in choices} == {
            "packaged": (cells[0], 1), str(bundle): (cells[1], 1)}
        for unsaid in ("", "/etc/passwd"):
            assert "choose the one to fit" in fit(bench, unsaid).json()["error"]
        assert fit(bench, str(bundle)).json()["running"]
        assert "ours <b>.zip" in ended(bench)["failed"]  # it was this one that `adapt` was given
        bundle.unlink()
        assert "no longer there" in fit(bench, str(bundle)).json()["error"]


def children(of: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        if int(parent) == of and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_a_fit_ends_with_the_server_whatever_ends_that(folder, how):
    confirm_two_types(folder)
    with server(folder) as (process, address), Browser(address, "Ann") as ann:
        assert ann.client.post("/api/v1/model", json={}).json()["running"]
        fits = children(process.pid)
        assert len(fits) == 1
        process.send_signal(getattr(signal, how))
        process.wait(60)
        until = time.monotonic() + 20
        while Path(f"/proc/{fits[0]}").exists() and time.monotonic() < until:
            time.sleep(0.1)
        alive = Path(f"/proc/{fits[0]}").exists()
        if alive:
            os.kill(fits[0], signal.SIGKILL)
    assert not alive, "the fit goes on without its server"
    assert not list((folder / MODELS).iterdir())
