"""Labels that contradict one another are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("label", sa.Column("contradictions", sa.Integer(), nullable=False, server_default="0"))
