"""A counted phantom smear, and a workbench on a copy of it."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from browser import browser
from leukoscope.commands.smear import smear_fields
from leukoscope.phantom import write_smears
from leukoscope.review.desk import Desk
from leukoscope.review.door import CSRF, Keys
from leukoscope.review.serve import application, open_desk
from review_databases import Database, database

ADDRESS = "http://127.0.0.1:8765"


@dataclass(frozen=True)
class Bench:
    """A workbench and one who sits at it."""

    folder: Path
    client: TestClient
    desk: Desk
    keys: Keys
    db: Database

    @property
    def path(self) -> str:
        return f"/api/v1/smears/{next(iter(self.desk.seats))}"

    @property
    def smear(self) -> dict[str, Any]:
        return self.client.get(self.path).json()

    def send(self, what: str, status: int = 200, **body: Any) -> dict[str, Any]:
        """Change something; fails unless the server answers with `status`."""
        answer = self.client.post(f"{self.path}/{what}", json={"key": str(uuid.uuid4()), "since": 0, **body})
        assert answer.status_code == status, answer.text
        return answer.json()

    def answer_all(self) -> None:
        """Confirm all cells that must be answered."""
        standing = self.smear["standing"]
        self.send("decisions", cells=[*standing["unsure"], *standing["flagged"]], did="confirm")


def sit_down(desk: Desk, keys: Keys) -> TestClient:
    """A browser that has come with the token, and sends what the pages send."""
    client = TestClient(application(desk, keys), base_url=ADDRESS)
    client.get("/", params={"token": keys.token})
    found = re.search(r'name="csrf" content="([^"]+)"', client.get("/").text)
    assert found
    client.headers[CSRF] = found[1]
    return client


@pytest.fixture(scope="session")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a counted smear of two fields with flagged and unsure cells; not to be changed."""
    folder = tmp_path_factory.mktemp("counted")
    truth = write_smears(folder / "fields", subjects=1, fields_per_subject=2, size=(1200, 900), types={
        "neutrophil": 7, "lymphocyte": 4, "monocyte": 2, "ig": 1, "erythroblast": 2})
    smear_fields(truth["image"].unique(maintain_order=True).to_list(), folder / "count", subject="S1")
    cells = pl.read_parquet(folder / "count" / "cells.parquet")
    assert cells["flag"].drop_nulls().len() >= 2
    assert cells.filter(~pl.col("cut")).height >= 12
    return folder / "count"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; tests are skipped where there is none."""
    with browser() as opened:
        yield opened


@pytest.fixture
def folder(counted: Path, tmp_path: Path) -> Path:
    """A copy of it, to be reviewed."""
    return Path(shutil.copytree(counted, tmp_path / "count"))


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database, once of each kind."""
    with database(request.param) as empty:
        yield empty


@pytest.fixture
def bench(folder: Path, db: Database) -> Iterator[Bench]:
    desk, keys = Desk([folder], db.shared()), Keys(8765, "Ann")
    yield Bench(folder, sit_down(desk, keys), desk, keys, db)
    desk.close()


@pytest.fixture
def sit(db: Database) -> Callable[..., AbstractContextManager[Bench]]:
    """A workbench on other folders, with the settings of a laboratory."""
    @contextmanager
    def opened(folders: list[Path], laboratory: Path | None = None) -> Iterator[Bench]:
        desk, keys = open_desk(folders, db.shared(), laboratory), Keys(8765, "Ann")
        try:
            yield Bench(folders[0], sit_down(desk, keys), desk, keys, db)
        finally:
            desk.close()

    return opened


@pytest.fixture
def sit_at() -> Callable[[Bench], TestClient]:
    """A second browser at a workbench."""
    return lambda bench: sit_down(bench.desk, bench.keys)
