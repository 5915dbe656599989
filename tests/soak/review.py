"""Eight people relabel one smear at once, over two servers, and servers are killed while somebody relabels: no decision
that was acknowledged may be lost, none may be there twice, and the chain must hold.

`make soak` does so for a minute and with 100 kills, on SQLite and, where LEUKOSCOPE_POSTGRES names one, on PostgreSQL;
the tests of the workbench use the same functions for a few seconds. All traffic stays on this computer."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from leukoscope.commands.smear import smear_fields
from leukoscope.phantom import write_smears
from leukoscope.review.database import open_engine, reading
from leukoscope.review.folders import DATABASE
from leukoscope.review.journal import read_events
from leukoscope.review.result import digest_of
from leukoscope.review.smear import verify

PEOPLE = 8
REPEATED = 0.1
"""Share of the decisions that are sent again, as a browser does whose connection broke."""
COMMAND = "import sys; sys.argv[0] = 'leukoscope'; from leukoscope.cli.main import main; main()"


@contextmanager
def server(folder: Path, options: Sequence[str] = ()) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The real command on a folder: its process and the address that it prints. Killed at the end."""
    words = ["review", str(folder), "--no-browser", "--json", *options]
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    assert process.stdout
    assert process.stderr
    try:
        said = ""
        while not said.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said += line
        yield process, json.loads(said)["address"]
    finally:
        process.kill()
        process.communicate()


class Browser:
    """Somebody at the page of the only smear of a server."""

    def __init__(self, address: str, name: str) -> None:
        self.client = httpx.Client(base_url=address.partition("/?")[0], follow_redirects=True, timeout=120)
        page = self.client.get(address).text
        self.client.headers["x-leukoscope"] = page.partition('name="csrf" content="')[2].partition('"')[0]
        assert self.client.post("/api/v1/me", json={"name": name}).status_code == 200
        self.path = f"/api/v1/smears/{self.client.get('/api/v1/smears').json()[0]['key']}"
        smear = self.client.get(self.path).json()
        self.types = [kind["name"] for kind in smear["types"]]
        self.cells, self.seq = len(smear["cells"]["number"]), smear["seq"]

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def relabel(self, key: str, cell: int, kind: str) -> int:
        """Give a cell a type; the status of the answer."""
        answer = self.client.post(f"{self.path}/decisions", json={
            "key": key, "since": self.seq, "cells": [cell], "did": "type", "type": kind})
        if answer.status_code == 409:  # somebody else was faster, or the cell has that type already
            self.seq = self.client.get(f"{self.path}/news", params={"since": self.seq}).json()["seq"]
        else:
            assert answer.status_code == 200, answer.text
            self.seq = answer.json()["seq"]
        return answer.status_code


@dataclass
class Sent:
    """Keys of decisions. stored: acknowledged; refused: with status 409; faults: what went wrong otherwise."""

    stored: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def relabel_together(addresses: Sequence[str], seconds: float, people: int = PEOPLE) -> Sent:
    """Several people relabel random cells for a time, each at one of the servers."""
    sent, ready = Sent(), threading.Barrier(people)

    def work(number: int) -> None:
        try:
            with Browser(addresses[number % len(addresses)], f"P{number}") as browser:
                ready.wait(120)
                relabel(browser, random.Random(number), time.monotonic() + seconds)
        except Exception as error:
            sent.faults.append(f"P{number}: {type(error).__name__}: {error}")

    def relabel(browser: Browser, rng: random.Random, ends: float) -> None:
        while time.monotonic() < ends:
            key, cell, kind = str(uuid.uuid4()), rng.randrange(browser.cells), rng.choice(browser.types)
            stored = browser.relabel(key, cell, kind) == 200
            (sent.stored if stored else sent.refused).append(key)
            if stored and rng.random() < REPEATED and browser.relabel(key, cell, kind) != 200:
                sent.faults.append("a decision was refused when it was sent again")

    workers = [threading.Thread(target=work, args=(number,)) for number in range(people)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sent


def kill_while_relabelling(folder: Path, options: Sequence[str], kills: int, rng: random.Random) -> Sent:
    """Start a server, relabel, kill it with SIGKILL at a random moment, and again."""
    sent = Sent()

    def work(address: str) -> None:
        try:
            with Browser(address, "Ann") as browser:
                while True:
                    key = str(uuid.uuid4())
                    stored = browser.relabel(key, rng.randrange(browser.cells), rng.choice(browser.types)) == 200
                    (sent.stored if stored else sent.refused).append(key)
        except httpx.TransportError:
            return

    for _ in range(kills):
        before = len(sent.stored)
        with server(folder, options) as (process, address):
            worker = threading.Thread(target=work, args=(address,))
            worker.start()
            while len(sent.stored) == before and worker.is_alive():
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.3))
            os.kill(process.pid, signal.SIGKILL)
            worker.join()
    return sent


def check(folder: Path, url: str | None, sent: Sent, unanswered: int = 0) -> str:
    """Hold what was acknowledged against the record. unanswered: decisions that may be stored although nobody heard so.
    A line of figures; raises AssertionError."""
    engine = open_engine(url if url else folder / DATABASE)
    with reading(engine) as connection:
        keys = [event.key for event in read_events(connection, digest_of(folder))]
    engine.dispose()
    assert sent.faults == []
    assert len(keys) == len(set(keys))
    assert set(sent.stored) <= set(keys)
    assert not set(sent.refused) & set(keys)
    assert len(set(sent.stored)) + 1 <= len(keys) <= len(set(sent.stored)) + 1 + unanswered
    proved = verify(folder, open_engine(url) if url else None)
    assert proved.broken == ""
    return f"{len(sent.stored):,} stored, {len(sent.refused):,} refused, none lost, none twice, the chain holds"


def main() -> None:
    """Both on each database; a line for each."""
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("--seconds", type=float, default=60)
    wanted.add_argument("--kills", type=int, default=100)
    wanted.add_argument("--only", choices=["together", "killed"])
    given = wanted.parse_args()
    postgres = os.environ.get("LEUKOSCOPE_POSTGRES")
    print("PostgreSQL: left out, LEUKOSCOPE_POSTGRES names none" if not postgres else "PostgreSQL: beside SQLite")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        truth = write_smears(folder / "fields", subjects=1, fields_per_subject=1, size=(1200, 900), types={
            "neutrophil": 9, "lymphocyte": 5, "monocyte": 2})
        databases: list[str | None] = [None, *([postgres] if postgres else [])]
        for number, url in enumerate(databases):
            options = ["--db", url] if url else []
            for what in [given.only] if given.only else ["together", "killed"]:
                count = folder / f"{what}-{number}"
                smear_fields(truth["image"].to_list(), count, subject=f"{what} {uuid.uuid4()}")
                if what == "together":
                    with server(count, options) as (_, one), server(count, options) as (_, other):
                        sent = relabel_together([one, other], given.seconds)
                    said = check(count, url, sent)
                else:
                    sent = kill_while_relabelling(count, options, given.kills, random.Random(1))
                    said = f"{given.kills} kills: {check(count, url, sent, unanswered=given.kills)}"
                print(f"{'PostgreSQL' if url else 'SQLite'}, {what}: {said}", flush=True)
                shutil.rmtree(count)


if __name__ == "__main__":
    main()
