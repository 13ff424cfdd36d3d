"""More kinds of alerts: values never seen before, groups apart, columns together, what does not come, budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

WIDER = (
    (
        "monitor_result",
        "aspect IN ('inputs', 'quality', 'estimate', 'predictions')",
        "aspect IN ('inputs', 'quality', 'estimate', 'predictions', 'fairness', 'across', 'traffic')",
    ),
    (
        "alert",
        "'estimate', 'predictions')",
        "'estimate', 'predictions', 'fairness', 'across', 'traffic', 'unseen', 'slo')",
    ),
)


def upgrade() -> None:
    # As in 0003: a wider CHECK changes the text of the definition, and nothing else.
    op.execute("PRAGMA writable_schema=ON")
    for table, narrow, wide in WIDER:
        change = sa.text("UPDATE sqlite_schema SET sql = replace(sql, :narrow, :wide) WHERE name = :table")
        op.get_bind().execute(change, {"table": table, "narrow": narrow, "wide": wide})
    op.execute("PRAGMA writable_schema=RESET")
