"""Values that training never saw, columns together, and traffic that does not come as before: alerts of their own."""

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
        "aspect IN ('inputs', 'quality', 'estimate', 'predictions', 'across', 'traffic')",
    ),
    (
        "alert",
        "kind IN ('drift', 'missing', 'quality', 'outage', 'estimate', 'predictions')",
        "kind IN ('drift', 'missing', 'quality', 'outage', 'estimate', 'predictions', 'across', 'traffic', 'unseen')",
    ),
)


def upgrade() -> None:
    # As in 0003: a wider CHECK changes the text of the definition, and nothing else.
    op.execute("PRAGMA writable_schema=ON")
    for table, narrow, wide in WIDER:
        change = sa.text("UPDATE sqlite_schema SET sql = replace(sql, :narrow, :wide) WHERE name = :table")
        op.get_bind().execute(change, {"table": table, "narrow": narrow, "wide": wide})
    op.execute("PRAGMA writable_schema=RESET")
