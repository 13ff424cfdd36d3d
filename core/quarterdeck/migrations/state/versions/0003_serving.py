"""What serving needs to know of a version: the graph that an estimator was converted to, and how the two agree."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_version", sa.Column("graph", sa.String(), nullable=True))
    op.add_column("model_version", sa.Column("agreement", sa.Text(), nullable=False, server_default="{}"))
