"""Several smears in one database: each event belongs to one, by the digest of its result. A file of version 0001 holds
one smear, whose first event says the digest."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Move the events into a table with the smear in its key."""
    smears = op.create_table(
        "smears",
        sa.Column("smear", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("folder", sa.Text, nullable=False, index=True))
    op.rename_table("events", "events_0001")
    op.create_table(
        "events",
        sa.Column("smear", sa.String(64), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("smear", "seq", name="events_smear_seq"),
        sa.UniqueConstraint("smear", "key", name="events_smear_key"))
    first = op.get_bind().exec_driver_sql("SELECT body FROM events_0001 WHERE seq = 1").scalar()
    if first is not None:
        digest = json.loads(first)["digest"]
        op.bulk_insert(smears, [{"smear": digest, "name": "", "folder": ""}])
        op.get_bind().execute(sa.text(
            "INSERT INTO events SELECT :digest, seq, key, at, who, kind, body, previous, hash FROM events_0001"),
            {"digest": digest})
    op.drop_table("events_0001")
    _protect_sqlite() if op.get_bind().dialect.name == "sqlite" else _protect_postgres()


def _protect_sqlite() -> None:
    for what in ("UPDATE", "DELETE"):
        op.execute(f"CREATE TRIGGER events_no_{what.lower()} BEFORE {what} ON events "
                   "BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END")


def _protect_postgres() -> None:
    op.execute("CREATE FUNCTION events_only_added() RETURNS trigger LANGUAGE plpgsql AS "
               "$$ BEGIN RAISE EXCEPTION 'events are only ever added'; END $$")
    op.execute("CREATE TRIGGER events_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events "
               "FOR EACH STATEMENT EXECUTE FUNCTION events_only_added()")
