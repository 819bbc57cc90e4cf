"""Versions of the review queue's tables, for alembic; `Store.open` runs them."""
