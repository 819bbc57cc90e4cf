"""Tables of live calibration, in the database of the review queue (layer L6).

What can be a person's words (the question, the answers) stands in a table of its own, whose rows are deleted when their
time is over; the numbers that the tests and pages need remain.
"""

from __future__ import annotations

import sqlalchemy as sa

from polymode.web.reviews.tables import UtcTime, metadata, numbered_table

live_answers = numbered_table(
    "live_answers",
    sa.Column("request_id", sa.Text, nullable=True),  # None once it is deleted
    sa.Column("deployment", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("risk", sa.Text, nullable=False),
    sa.Column("group", sa.Text, nullable=False),
    sa.Column("is_repeat", sa.Boolean, nullable=False),
    sa.Column("is_covered", sa.Boolean, nullable=False),
    sa.Column("is_random", sa.Boolean, nullable=False),
    sa.Column("item_id", sa.Integer, nullable=True),
    sa.Column("n_shown", sa.Integer, nullable=False),
    sa.Column("confidences", sa.JSON, nullable=False),
    sa.Column("measures", sa.JSON, nullable=False),
    sa.UniqueConstraint("request_id"),
    sa.Index("ix_live_answers_deployment", "deployment", "id"),
    sa.Index("ix_live_answers_fingerprint", "fingerprint"),
)
"""Answers, in numbers; ``confidences`` of the distinct answers as decided on, the highest first."""

live_texts = sa.Table(
    "live_texts",
    metadata,
    sa.Column("answer_id", sa.ForeignKey("live_answers.id"), primary_key=True, autoincrement=False),
    sa.Column("at", UtcTime, nullable=False, index=True),
    sa.Column("question", sa.Text, nullable=False),
    sa.Column("answers", sa.JSON, nullable=False),
)
"""The words of an answer, for a time; ``answers`` in the order of the confidences."""

live_outcomes = sa.Table(
    "live_outcomes",
    metadata,
    sa.Column("answer_id", sa.ForeignKey("live_answers.id"), primary_key=True, autoincrement=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("verdicts", sa.JSON, nullable=False),
)
"""What was accepted: whether each distinct answer is right, in the order of the confidences."""

live_events = numbered_table(
    "live_events",
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
)
"""The audit trail, which only grows: outcome_accepted, outcome_refused, deleted."""
