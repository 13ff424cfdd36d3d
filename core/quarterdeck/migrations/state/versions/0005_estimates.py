"""Quality without labels, and drift of the answers: what they are made from, and what is found."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

WIDER = (
    ("monitor_result", "aspect IN ('inputs', 'quality')", "aspect IN ('inputs', 'quality', 'estimate', 'predictions')"),
    (
        "alert",
        "kind IN ('drift', 'missing', 'quality', 'outage')",
        "kind IN ('drift', 'missing', 'quality', 'outage', 'estimate', 'predictions')",
    ),
)


def upgrade() -> None:
    # As in 0003: a wider CHECK changes the text of the definition, and nothing else.
    op.execute("PRAGMA writable_schema=ON")
    for table, narrow, wide in WIDER:
        change = sa.text("UPDATE sqlite_schema SET sql = replace(sql, :narrow, :wide) WHERE name = :table")
        op.get_bind().execute(change, {"table": table, "narrow": narrow, "wide": wide})
    op.execute("PRAGMA writable_schema=RESET")
    op.add_column("model_version", sa.Column("holdout", sa.String(), nullable=True))
