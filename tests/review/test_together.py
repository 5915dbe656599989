"""Several people, several servers, and servers that are killed. `make soak` does the same for longer."""

from __future__ import annotations

import random
from pathlib import Path

from review_databases import Database
from soak.review import check, kill_while_relabelling, relabel_together, server


def test_eight_people_at_two_servers_lose_nothing_and_do_nothing_twice(folder: Path, db: Database):
    with server(folder, db.options) as (_, one), server(folder, db.options) as (_, other):
        sent = relabel_together([one, other], seconds=2)
    check(folder, db.url, sent)
    assert len(sent.stored) > 30


def test_kill_of_the_server_during_relabelling_loses_no_acknowledged_decision(folder: Path, db: Database):
    sent = kill_while_relabelling(folder, db.options, 2, random.Random(5))
    check(folder, db.url, sent, unanswered=2)
    assert len(sent.stored) > 2
