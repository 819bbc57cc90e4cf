"""Versions of the review queue's tables, for alembic; `migrating.upgrade` runs them."""
