"""What was served against what the data for training says of it: results and alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

WIDER = (
    ("monitor_result", "'fairness', 'across', 'traffic')", "'fairness', 'across', 'traffic', 'skew')"),
    ("alert", "'traffic', 'unseen', 'slo')", "'traffic', 'unseen', 'slo', 'skew')"),
)


def upgrade() -> None:
    # As in 0003: a wider CHECK changes the text of the definition, and nothing else.
    op.execute("PRAGMA writable_schema=ON")
    for table, narrow, wide in WIDER:
        change = sa.text("UPDATE sqlite_schema SET sql = replace(sql, :narrow, :wide) WHERE name = :table")
        op.get_bind().execute(change, {"table": table, "narrow": narrow, "wide": wide})
    op.execute("PRAGMA writable_schema=RESET")
