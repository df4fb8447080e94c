"""Alembic migrations: expand, backfill, contract. Run by the owner role, never by the processes."""
