"""Who has which smear open, where several servers share a PostgreSQL. Worth nothing after a minute, so it is neither
logged nor in a backup."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """An empty table; none in a file of SQLite, which the pages of one computer share."""
    if op.get_bind().dialect.name == "postgresql":
        op.create_table(
            "presence",
            sa.Column("smear", sa.String(100), primary_key=True),
            sa.Column("session", sa.String(64), primary_key=True),
            sa.Column("name", sa.String(200), nullable=False),
            sa.Column("at", sa.Float(53), nullable=False, index=True),
            prefixes=["UNLOGGED"])
