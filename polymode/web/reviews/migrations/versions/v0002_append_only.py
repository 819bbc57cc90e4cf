"""The audit trail only grows: the database itself refuses to change or delete a line of it."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Put a trigger before every change."""
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER review_events_no_{act.lower()} BEFORE {act} ON review_events "
                "BEGIN SELECT RAISE(ABORT, 'review_events only grows'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION review_events_only_grow() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'review_events only grows'; END $$"
    )
    op.execute(
        "CREATE TRIGGER review_events_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON review_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION review_events_only_grow()"
    )
