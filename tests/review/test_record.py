"""The record of decisions: nothing is lost, nothing is changed unseen, and everything can be undone."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from command import leukoscope, refusal
from leukoscope.errors import LeukoscopeError
from leukoscope.review import actions
from leukoscope.review.database import HEAD, NotSaved, writing
from leukoscope.review.journal import add, broken, next_event
from leukoscope.review.result import read_result
from leukoscope.review.smear import Review, untouched, verify
from leukoscope.review.state import AMENDED, AMENDING, CONFIRMED, IN_REVIEW, MACHINE, NEW, REJECTED, SIGNED, State
from review_databases import Database

KINDS = ["neutrophil", "lymphocyte", "monocyte"]


@pytest.fixture
def review(folder: Path, db: Database):
    opened = Review.open(folder, db.shared())
    yield opened
    opened.close()


def undo(review: Review, key: str, who: str = "Ann"):
    return review.act(key, who, lambda state: actions.undo(state, who))


def redo(review: Review, key: str, who: str = "Ann"):
    return review.act(key, who, lambda state: actions.redo(state, who))


def test_looking_writes_nothing_and_the_first_decision_begins_the_record(review: Review, folder: Path, db: Database):
    review.standing()
    assert review.state().word == NEW
    assert not (folder / "review.sqlite").exists()
    assert db.url is None or db.sql(folder, "SELECT 1 FROM pg_tables WHERE schemaname = current_schema()") == []
    review.decide("decision-1", "Ann", [0], "confirm", "", 0)
    assert [event.kind for event in review.state().events] == ["imported", "decided"]
    assert review.state().events[0].body["digest"] == review.result.digest
    assert review.state().word == IN_REVIEW


def test_a_decision_says_what_was_and_what_is(review: Review):
    was = review.state().cells[review.names[0]]
    event = review.decide("decision-1", "Ann", [0], "type", "basophil", 0)
    assert event.body["cells"] == [[review.names[0], list(was), ["basophil", CONFIRMED]]]
    assert (event.who, event.seq) == ("Ann", 2)
    assert review.state().changed[review.names[0]] == (2, "Ann")


def test_the_same_key_is_the_same_decision(review: Review):
    first = review.decide("decision-1", "Ann", [0], "type", "basophil", 0)
    assert review.decide("decision-1", "Ann", [0], "type", "basophil", 0) == first
    assert len(review.state().events) == 2


def test_another_process_sees_what_was_stored(review: Review, folder: Path, db: Database):
    review.decide("decision-1", "Ann", [1, 2], "type", "basophil", 0)
    again = Review.open(folder, db.shared())
    try:
        assert again.state().cells == review.state().cells
        again.decide("decision-2", "Bob", [3], "reject", "", 0)
        assert review.state().cells[review.names[3]][1] == REJECTED
        with pytest.raises(actions.Stale, match="changed by Bob meanwhile"):
            review.decide("decision-3", "Ann", [3, 4], "confirm", "", 2)
        assert review.state().cells[review.names[4]][1] == MACHINE
    finally:
        again.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["type", "confirm", "reject", "restore", "undo", "redo"]),
                          st.lists(st.integers(0, 7), min_size=1, max_size=4), st.sampled_from(KINDS)), max_size=14))
def test_undo_and_redo_lead_back_and_forth_whatever_was_done(folder: Path, steps):  # of one database: it is all state
    for left in folder.glob("review.sqlite*"):
        left.unlink()
    review = Review.open(folder)
    try:
        start, stack, undone = dict(review.state().cells), [], []
        for number, (what, cells, kind) in enumerate(steps):
            before = dict(review.state().cells)
            try:
                if what == "undo":
                    undo(review, f"decision-{number}")
                    undone.append(before)
                    assert review.state().cells == stack.pop()
                elif what == "redo":
                    redo(review, f"decision-{number}")
                    stack.append(before)
                    assert review.state().cells == undone.pop()
                else:
                    review.decide(f"decision-{number}", "Ann", cells, what, kind, 0)  # type: ignore[arg-type]
                    stack.append(before)
                    undone = []
            except actions.Refused:
                assert review.state().cells == before
        for number in range(len(stack)):
            undo(review, f"back-{number:04d}")
        assert review.state().cells == start
        assert verify(folder).broken == ""
    finally:
        review.close()


def test_an_undo_does_not_take_back_what_somebody_else_did_since(review: Review):
    review.decide("decision-1", "Ann", [0], "type", "basophil", 0)
    review.decide("decision-2", "Bob", [0], "type", "monocyte", 2)
    with pytest.raises(actions.Stale, match="changed by Bob since"):
        undo(review, "decision-3")
    undo(review, "decision-4", "Bob")
    undo(review, "decision-5")
    with pytest.raises(actions.Refused, match="nothing to undo"):
        undo(review, "decision-6")


def test_signing_says_what_is_open_then_locks_and_an_amendment_keeps_what_was(review: Review):
    open_cells = review.standing()
    assert open_cells.flagged
    with pytest.raises(actions.Refused, match=f"{len(open_cells.flagged)} cells are flagged and not answered: "
                                              f"{open_cells.flagged[0]}"):
        review.sign("signature-1", "Ann", "")
    places = [review.cells.places[name] for name in (*open_cells.flagged, *open_cells.unsure)]
    review.decide("decision-1", "Ann", places, "confirm", "", 0)
    signed = review.sign("signature-2", "Ann", "seen")
    assert review.state().word == SIGNED
    assert signed.body["counts"]["leukocytes"] == review.standing().count.total
    for refused in (lambda: review.decide("decision-2", "Bob", [0], "reject", "", 9), lambda: undo(review, "undo-0001"),
                    lambda: review.act("comment-1", "Bob", lambda state: actions.comment(state, "late", None)),
                    lambda: review.sign("signature-3", "Bob", "")):
        with pytest.raises(actions.Refused, match="signed"):
            refused()
    with pytest.raises(actions.Refused, match="the reason has 1 to"):
        review.act("amend-001", "Bob", lambda state: actions.amend(state, "  "))
    review.act("amend-002", "Bob", lambda state: actions.amend(state, "second look"))
    assert review.state().word == AMENDING
    review.decide("decision-3", "Bob", [0], "reject", "", 9)
    review.sign("signature-4", "Bob", "")
    assert review.state().word == AMENDED
    assert [one.who for one in review.state().signatures] == ["Ann", "Bob"]
    assert verify(review.result.folder, review._engine).broken == ""


def test_the_database_refuses_to_change_or_delete_an_event(review: Review, folder: Path, db: Database):
    review.decide("decision-1", "Ann", [0], "confirm", "", 0)
    for order in ("UPDATE events SET who = 'Bob'", "DELETE FROM events", *(["TRUNCATE events"] if db.url else [])):
        with pytest.raises(DBAPIError, match="only ever added"):
            db.sql(folder, order)


@pytest.mark.parametrize(("order", "says"), [
    ("UPDATE events SET who = 'Bob' WHERE seq = 2", "event 2 was changed"),
    ("UPDATE events SET body = replace(body, 'basophil', 'monocyte') WHERE seq = 2", "event 2 was changed"),
    ("DELETE FROM events WHERE seq = 2", "event 2 is missing"),
    ("UPDATE events SET at = '2020-01-01T00:00:00.000Z' WHERE seq = 3", "event 3 was changed"),
])
def test_verify_names_what_was_tampered_with(review: Review, folder: Path, db: Database, order: str, says: str):
    for number in range(3):
        review.decide(f"decision-{number}", "Ann", [number], "type", "basophil", 0)
    answer = leukoscope("review", "verify", folder, *db.options)
    assert answer.code == 0
    assert "in review; 4 events, the chain holds" in answer.out
    review.close()
    db.unprotect(folder)
    db.sql(folder, order)
    assert says in refusal("review", "verify", folder, *db.options)
    answer = leukoscope("review", "verify", folder, "--json", *db.options)
    assert answer.code == 2
    assert says in json.loads(answer.out)[0]["broken"]


def test_verify_sees_an_event_whose_hash_is_right_and_whose_history_is_not(review: Review, folder: Path):
    digest = review.result.digest
    event = review.decide("decision-1", "Ann", [0], "type", "basophil", 0)
    forged = next_event(event, "decision-2", "Ann", "decided", {
        "did": "type", "cells": [[review.names[0], ["platelet", CONFIRMED], ["monocyte", CONFIRMED]]]})
    with writing(review._engine, digest) as connection:
        add(connection, digest, forged)
    assert broken([*review.state().events[:2], forged]) == ""
    assert "event 3 says of cell" in verify(folder, review._engine).broken


def test_a_clock_that_went_back_is_told_and_breaks_nothing(review: Review, folder: Path, db: Database, monkeypatch):
    from leukoscope.review import journal

    class Past(journal.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz).replace(year=2001)

    review.decide("decision-1", "Ann", [0], "confirm", "", 0)
    monkeypatch.setattr(journal, "datetime", Past)
    review.decide("decision-2", "Ann", [1], "confirm", "", 0)
    assert verify(folder, review._engine).broken == ""
    said = leukoscope("review", "verify", folder, *db.options).out
    assert "1 event dated before the one it follows" in said


def test_a_result_that_was_replaced_is_not_given_to_the_old_record(review: Review, folder: Path, db: Database):
    review.decide("decision-1", "Ann", [0], "confirm", "", 0)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"meaning": "counted again"}))
    os.utime(folder / "summary.json", (1, 1))
    with pytest.raises(LeukoscopeError, match="was replaced or removed"):
        review.decide("decision-2", "Ann", [1], "confirm", "", 0)
    with pytest.raises(LeukoscopeError, match=r"the record of another result .*keep the record"):
        Review.open(folder, db.shared())
    assert "the record of another result" in refusal("review", "verify", folder, *db.options)


def test_a_record_of_a_newer_version_is_refused(review: Review, folder: Path, db: Database):
    review.decide("decision-1", "Ann", [0], "confirm", "", 0)
    db.sql(folder, "UPDATE alembic_version SET version_num = '0099'")
    line = refusal("review", "verify", folder, *db.options)
    assert "was written by a newer version" in line
    assert ("review.sqlite:" if db.url is None else "postgresql+psycopg://leukoscope@127.0.0.1:") in line
    with pytest.raises(LeukoscopeError, match="was written by a newer version"):
        review.decide("decision-2", "Ann", [1], "confirm", "", 0)


def test_what_is_no_database_is_refused(folder: Path):
    (folder / "review.sqlite").write_bytes(b"not a database " * 100)
    assert "review.sqlite: cannot be read (file is not a database)" in refusal("review", "verify", folder)


def test_a_full_disk_stores_nothing_and_says_so(review: Review, folder: Path, db: Database):
    def fill() -> None:
        for number in range(40):
            review.act(f"comment-{number}", "Ann", lambda state: actions.comment(state, "x" * 4000, None))

    review.decide("decision-1", "Ann", [0], "confirm", "", 0)
    room_again = db.fill_disk(folder, review._engine)
    with pytest.raises(NotSaved, match=r"(full|No space left on device)\); free disk space"):
        fill()
    room_again()
    stored = len(review.state().events)
    assert verify(folder, review._engine).events == stored
    review.act("comment-after", "Ann", lambda state: actions.comment(state, "room again", None))
    assert verify(folder, review._engine).events == stored + 1


def test_eight_at_once_lose_nothing_and_do_nothing_twice(folder: Path, db: Database):
    def relabel(state: State, cell: str, who: str, kinds: list[str]) -> actions.Draft:
        kind = "monocyte" if state.cells[cell][0] != "monocyte" else "basophil"
        return actions.decide(state, [cell], "type", kind, base=10**6, who=who, types=kinds)

    def work(number: int) -> None:
        review, rng, who = Review.open(folder, db.shared()), random.Random(number), f"P{number}"
        for step in range(12):
            cell, key = rng.choice(review.names), f"person-{number}-{step}"
            review.act(key, who, lambda state, cell=cell: relabel(state, cell, who, review.types(state)))
            done.append(key)
        review.close()

    done: list[str] = []
    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    review = Review.open(folder, db.shared())
    keys = [event.key for event in review.state().events]
    review.close()
    assert len(done) == 8 * 12
    assert sorted(keys) == sorted([*done, "import"])
    assert verify(folder, db.shared()).broken == ""


KILLED = """
import sys
from pathlib import Path
from leukoscope.review import actions
from leukoscope.review.database import open_engine
from leukoscope.review.smear import Review
review = Review.open(Path(sys.argv[1]), open_engine(sys.argv[3]) if len(sys.argv) > 3 else None)
def relabel(state, cell):
    kind = "monocyte" if state.cells[cell][0] != "monocyte" else "basophil"
    return actions.decide(state, [cell], "type", kind, base=0, who="Ann", types=review.types(state))
for number in range(10_000):
    cell = review.names[number % len(review.names)]
    event = review.act(f"{sys.argv[2]}-{number:06d}", "Ann", lambda state: relabel(state, cell))
    print(event.key, flush=True)
"""


def test_whatever_was_acknowledged_before_a_kill_is_there(folder: Path, db: Database):
    acknowledged: set[str] = set()
    rng = random.Random(5)
    for start in range(3):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder), f"start-{start}", *db.options[1:]],
                                   stdout=subprocess.PIPE, text=True)
        assert process.stdout
        for _ in range(rng.randrange(3, 30)):
            acknowledged.add(process.stdout.readline().strip())
        process.kill()
        acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
        process.wait()
        process.stdout.close()
    review = Review.open(folder, db.shared())
    keys = {event.key for event in review.state().events}
    review.close()
    assert len(acknowledged) > 10
    assert acknowledged <= keys
    assert verify(folder, db.shared()).broken == ""


def test_the_state_is_the_sum_of_its_events_alone(review: Review):
    review.decide("decision-1", "Ann", [0, 1], "type", "basophil", 0)
    review.act("comment-1", "Ann", lambda state: actions.comment(state, "odd", review.names[0]))
    review.act("type-0001", "Ann", lambda state: actions.add_type(state, "plasma cell", review.types(state)))
    anew = State(untouched(review.result))
    for event in review.state().events:
        anew.apply(event)
    assert anew == review.state()


@pytest.mark.parametrize(("name", "says"), [
    ("", "1 to 60"), ("x" * 61, "1 to 60"), ("Neutrophil", "exists already"), ("a\x00b", "printable")])
def test_types_that_cannot_be_added(review: Review, name: str, says: str):
    with pytest.raises(actions.Refused, match=says):
        review.act("type-0001", "Ann", lambda state: actions.add_type(state, name, review.types(state)))


def test_at_most_fifteen_types_are_added(review: Review):
    for number in range(15):
        review.act(f"type-{number:04d}", "Ann", lambda state: actions.add_type(
            state, f"type {len(state.types)}", review.types(state)))
    with pytest.raises(actions.Refused, match="already has 15 added types"):
        review.act("type-0015", "Ann", lambda state: actions.add_type(state, "one more", review.types(state)))


def test_a_folder_that_may_not_be_written_says_so(folder: Path):
    review = Review.open(folder)
    shutil.rmtree(folder / "review.sqlite", ignore_errors=True)
    (folder / "review.sqlite").mkdir()
    with pytest.raises(NotSaved, match=r"review\.sqlite: cannot be written"):
        review.decide("decision-1", "Ann", [0], "confirm", "", 0)
    review.close()


# What leukoscope wrote before records held the smear in their key.
VERSION_0001 = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, PRIMARY KEY (version_num));
INSERT INTO alembic_version VALUES ('0001');
CREATE TABLE events (seq INTEGER NOT NULL, key VARCHAR(64) NOT NULL, at VARCHAR(32) NOT NULL, who VARCHAR(200) NOT NULL,
    kind VARCHAR(32) NOT NULL, body TEXT NOT NULL, previous VARCHAR(64) NOT NULL, hash VARCHAR(64) NOT NULL,
    PRIMARY KEY (seq), UNIQUE (key), UNIQUE (hash));
CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;
"""


def test_a_record_of_the_first_version_is_brought_up_to_date(folder: Path):
    result = read_result(folder)
    first = next_event(None, "import", "Ann", "imported", {"digest": result.digest, "cells": [], "found": 3})
    events = [first, next_event(first, "decision-1", "Ann", "commented", {"cell": None, "text": "kept"})]
    with closing(sqlite3.connect(folder / "review.sqlite")) as file, file:
        file.executescript(VERSION_0001)
        for event in events:
            row = event.__dict__ | {"body": json.dumps(event.body, sort_keys=True, separators=(",", ":"))}
            file.execute(f"INSERT INTO events VALUES ({', '.join('?' * len(row))})", list(row.values()))
    assert verify(folder).broken == ""
    review = Review.open(folder)
    assert review.state().events == events
    review.decide("decision-2", "Bob", [0], "reject", "", 0)
    review.close()
    assert verify(folder).events == 3
    with closing(sqlite3.connect(folder / "review.sqlite")) as file:
        assert file.execute("SELECT version_num FROM alembic_version").fetchone() == (HEAD,)
        with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
            file.execute("DELETE FROM events")


def test_several_smears_in_one_database_do_not_mix(counted: Path, tmp_path: Path, db: Database):
    reviews = []
    for name in ("A", "B"):
        folder = Path(shutil.copytree(counted, tmp_path / name))
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps(summary | {"subject": name}))
        reviews.append(Review.open(folder, db.shared()))
    for number in range(3):
        reviews[0].decide(f"decision-{number}", "Ann", [number], "reject", "", 0)
    reviews[1].decide("decision-0", "Bob", [5], "reject", "", 0)
    assert [len(review.state().events) for review in reviews] == [4, 2]
    assert {event.who for event in reviews[1].state().events} == {"Bob"}
    for review in reviews:
        assert verify(review.result.folder, db.shared()).broken == ""
        review.close()


@pytest.mark.parametrize(("address", "says"), [
    ("mysql://x/y", "--db: mysql is not supported"), ("nonsense", "--db: not the address of a database"),
    ("postgresql+psycopg://ann:secret@127.0.0.1:9/none", "postgresql+psycopg://ann@127.0.0.1:9/none: cannot be read")])
def test_addresses_of_databases_that_do_not_work(folder: Path, address: str, says: str):
    line = refusal("review", "verify", folder, "--db", address)
    assert says in line
    assert "secret" not in line


def test_without_psycopg_the_extra_is_named(folder: Path):
    with mock.patch.dict(sys.modules, {"psycopg": None}):
        line = refusal("review", "verify", folder, "--db", "postgresql+psycopg://ann@127.0.0.1/none")
    assert "pip install 'leukoscope[postgres]'" in line
