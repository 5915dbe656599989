"""Migrations of the database, one file each, in their order; `database.migrate` runs them with Alembic."""
