"""All decisions in one file, and back, from and to both databases."""

from __future__ import annotations

import json
import random
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from command import leukoscope, refusal
from leukoscope.review import actions
from leukoscope.review.accounts import Accounts
from leukoscope.review.smear import Review, verify
from review_databases import Database, database


def decide(folder: Path, db: Database, *names: str) -> list:
    """Somebody rejects and restores a cell, one decision a name; all events."""
    review = Review.open(folder, db.shared())
    for name in names:
        how = review.state().cells[review.names[0]][1]
        review.decide(name, "Ann", [0], "restore" if how == "rejected" else "reject", "", 10**6)
    events = list(review.state().events)
    review.close()
    return events


def where(folder: Path, db: Database) -> list:
    return db.options if db.url else [folder]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_backup_is_restored_into_either_database(folder: Path, counted: Path, db: Database, kind: str,
                                                   tmp_path: Path):
    events = decide(folder, db, *(f"decision-{number}" for number in range(4)))
    said = leukoscope("review", "backup", tmp_path / "b.zip", *where(folder, db))
    assert said.out.endswith("b.zip: 5 events of 1 smear\n"), said
    assert (tmp_path / "b.zip").stat().st_mode & 0o077 == 0
    again = Path(shutil.copytree(counted, tmp_path / "again"))
    with database(kind) as other:
        restore = ("review", "restore", tmp_path / "b.zip", *where(again, other))
        assert "S1: 5 events added, of 5" in leukoscope(*restore).out
        assert decide(again, other) == events
        assert verify(again, other.shared()).broken == ""
        assert len(decide(again, other, "decision-9")) == 6
        assert "0 events added" in leukoscope(*restore).out
        assert len(decide(again, other)) == 6


def test_a_backup_while_somebody_decides_is_one_whole_state(folder: Path, db: Database, tmp_path: Path):
    review, stop = Review.open(folder, db.shared()), threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            review.act(f"comment-{number}", "Ann", lambda state: actions.comment(state, "on it goes", None))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        while len(review.state().events) < 5:
            pass
        for number in range(3):
            assert leukoscope("review", "backup", tmp_path / f"{number}.zip", *where(folder, db)).code == 0
    finally:
        stop.set()
        worker.join()
    kept = review.state().events
    review.close()
    sizes = []
    for number in range(3):
        with zipfile.ZipFile(tmp_path / f"{number}.zip") as file:
            name = next(one for one in file.namelist() if one.startswith("events/"))
            hashes = [json.loads(line)["hash"] for line in file.read(name).splitlines()]
        assert hashes == [event.hash for event in kept[:len(hashes)]]
        sizes.append(len(hashes))
    assert sizes[0] >= 5
    assert sizes == sorted(sizes)


def test_a_record_that_went_on_otherwise_is_not_touched(folder: Path, counted: Path, db: Database, tmp_path: Path):
    decide(folder, db, "decision-1")
    leukoscope("review", "backup", tmp_path / "b.zip", *where(folder, db))
    again = Path(shutil.copytree(counted, tmp_path / "again"))
    with database("sqlite") as other:
        events = decide(again, other, "decision-2")
        line = refusal("review", "restore", tmp_path / "b.zip", again)
        assert "differs from the backup from event 1 of S1 on" in line
        assert decide(again, other) == events


def test_accounts_come_back_with_the_database(db: Database, folder: Path, tmp_path: Path):
    if db.url is None:
        pytest.skip("accounts of SQLite are in a file of their own")
    Accounts(db.shared()).add("Ann", "haematologist", "a pass phrase")  # type: ignore[arg-type]
    decide(folder, db, "decision-1")
    leukoscope("review", "backup", tmp_path / "b.zip", *db.options)
    with database("postgresql") as other:
        leukoscope("review", "restore", tmp_path / "b.zip", *other.options)
        assert Accounts(other.shared()).check("Ann", "a pass phrase")  # type: ignore[arg-type]


def test_what_is_no_backup_is_refused(folder: Path, tmp_path: Path):
    with database("sqlite") as db:
        decide(folder, db, "decision-1", "decision-2")
    file = tmp_path / "b.zip"
    assert leukoscope("review", "backup", file, folder).code == 0
    assert "b.zip: already exists" in refusal("review", "backup", file, folder)
    assert leukoscope("review", "backup", file, folder, "--overwrite").code == 0
    assert "no folder is named" in refusal("review", "backup", tmp_path / "c.zip")
    assert "no such file" in refusal("review", "restore", tmp_path / "none.zip", folder)
    (tmp_path / "text.zip").write_text("no backup")
    assert "is no backup of decisions, or damaged" in refusal("review", "restore", tmp_path / "text.zip", folder)
    changed = {"events": ("reject", "restore"), "backup.json": ('"format": 1', '"format": 2')}
    for part, (old, new) in changed.items():
        with zipfile.ZipFile(file) as whole, zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as other:
            for name in whole.namelist():
                text = whole.read(name).decode()
                other.writestr(name, text.replace(old, new) if name.startswith(part) else text)
    assert "the record of S1 is damaged: event 2 was changed" in refusal("review", "restore", tmp_path / "events.zip",
                                                                        folder)
    assert "by a newer version" in refusal("review", "restore", tmp_path / "backup.json.zip", folder)


def test_a_smear_whose_folder_is_not_named_is_left_out(folder: Path, counted: Path, tmp_path: Path):
    with database("sqlite") as db:
        decide(folder, db, "decision-1")
    leukoscope("review", "backup", tmp_path / "b.zip", folder)
    other = Path(shutil.copytree(counted, tmp_path / "other"))
    summary = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps(summary | {"subject": "S2"}))
    assert "S1: left out, no named folder" in leukoscope("review", "restore", tmp_path / "b.zip", other).out
    assert not (other / "review.sqlite").exists()


def test_a_damaged_backup_is_one_line_whatever_is_wrong_with_it(folder: Path, tmp_path: Path):
    """A packed part that is damaged raises zlib's error, one that is cut off an EOFError."""
    with database("sqlite") as db:
        decide(folder, db, *(f"decision-{number}" for number in range(30)))
    file, other = tmp_path / "b.zip", tmp_path / "other.zip"
    assert leukoscope("review", "backup", file, folder).code == 0
    content, chance = file.read_bytes(), random.Random(16)
    for _ in range(25):
        changed = bytearray(content)
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        other.write_bytes(changed)
        answer = leukoscope("review", "restore", other, folder)
        assert answer.code in (0, 2), answer
        assert answer.code == 0 or len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(("smear", "event", "says"), [
    ({"smear": [1]}, {}, "Input should be a valid string"), ({}, {"seq": "a"}, "Input should be a valid integer"),
    ({}, {"body": 5}, "is no backup"), ({}, {"body": {"x": float("nan")}}, "is no backup"),
    ({}, {"more": 1}, "is no backup"),
    ({}, {"key": "\ud800"}, "is no backup"), ({"name": "\ud800"}, {}, "is no backup")])
def test_a_backup_of_odd_values_is_refused(tmp_path: Path, folder: Path, smear: dict, event: dict, says: str):
    row = {"seq": 1, "key": "k", "at": "", "who": "", "kind": "", "body": {}, "previous": "0" * 64, "hash": ""} | event
    record = {"smear": "x", "name": "n", "folder": ""} | smear
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.writestr("backup.json", json.dumps({"format": 1, "smears": [record]}))
        file.writestr(f"events/{record['smear']}.jsonl", json.dumps(row))
        file.writestr("accounts.jsonl", "")
    assert says in refusal("review", "restore", tmp_path / "b.zip", folder)


def test_a_backup_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, folder: Path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("backup.json", b" " * 30_000_000)
    assert "would unpack to 30,000,000 bytes" in refusal("review", "restore", tmp_path / "b.zip", folder)
