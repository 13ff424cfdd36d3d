"""Predictions that were moved to Parquet files, and labels by their age."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "segment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("deployment", sa.String(), nullable=False),
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("first_event", sa.String(length=27), nullable=False),
        sa.Column("last_event", sa.String(length=27), nullable=False),
        sa.Column("first_received", sa.String(length=27), nullable=False),
        sa.Column("last_received", sa.String(length=27), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("revisions", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("file"),
    )
    op.create_index("ix_segment_last_event", "segment", ["deployment", "last_event"], unique=False)
    op.create_index("ix_segment_last_received", "segment", ["deployment", "last_received"], unique=False)
    op.create_index("ix_label_received_at", "label", ["received_at"], unique=False)
