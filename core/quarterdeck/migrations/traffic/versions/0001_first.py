"""The first schema of traffic.db."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "label",
        sa.Column("deployment", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("labelled_at", sa.String(length=27), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("deployment", "reference"),
    )
    op.create_table(
        "prediction",
        sa.Column("deployment", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.Column("event_time", sa.String(length=27), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("variant", sa.String(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("prediction", sa.Text(), nullable=False),
        sa.Column("probabilities", sa.Text(), nullable=False),
        sa.Column("latency_us", sa.Integer(), nullable=False),
        sa.Column("probe", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("deployment", "id"),
    )
    op.create_index("ix_prediction_event_time", "prediction", ["deployment", "event_time"], unique=False)
    op.create_index("ix_prediction_key", "prediction", ["deployment", "key"], unique=False)
    op.create_index("ix_prediction_received_at", "prediction", ["deployment", "received_at"], unique=False)
    op.create_index(
        "ix_prediction_revision", "prediction", ["deployment", "revision", "received_at", "probe"], unique=False
    )
    op.create_table(
        "unanswered",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("deployment", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_unanswered_deployment"), "unanswered", ["deployment"], unique=False)
    op.create_table(
        "unrecorded",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("deployment", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_unrecorded_deployment"), "unrecorded", ["deployment"], unique=False)
