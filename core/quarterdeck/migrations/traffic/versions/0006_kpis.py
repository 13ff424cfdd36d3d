"""Business KPIs: a figure for each time, beside the traffic."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "kpi_point",
        sa.Column("deployment", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.Column("corrections", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("deployment", "name", "at"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_kpi_point_received_at", "kpi_point", ["received_at"])
