"""One alert may stand for those of other deployments."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alert", sa.Column("cause", sa.Integer(), nullable=True))
    op.create_index("ix_alert_cause", "alert", ["cause"])
