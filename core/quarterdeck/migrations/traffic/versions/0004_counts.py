"""What became of requests is counted by the minute: those that were answered too."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

MERGED = """
    INSERT INTO unanswered (deployment, at, revision, reason, count)
    SELECT deployment, substr(at, 1, 16) || ':00.000000Z' AS minute, revision, reason, sum(count)
    FROM unanswered_before GROUP BY deployment, minute, revision, reason
"""


def upgrade() -> None:
    op.create_table(
        "answered",
        sa.Column("deployment", sa.String(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("within_us", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("deployment", "at", "within_us"),
        sqlite_with_rowid=False,
    )
    op.rename_table("unanswered", "unanswered_before")
    op.create_table(
        "unanswered",
        sa.Column("deployment", sa.String(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("deployment", "at", "revision", "reason"),
        sqlite_with_rowid=False,
    )
    op.get_bind().exec_driver_sql(MERGED)
    op.drop_table("unanswered_before")
