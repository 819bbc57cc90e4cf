"""Versions of the review queue's tables, for alembic; `migration.upgrade` runs them."""
