"""Business KPIs: jobs and schedules that fetch them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

WIDER = (
    ("job", "'probe', 'score', 'backtest')", "'probe', 'score', 'backtest', 'kpi')"),
    (
        "schedule",
        "target_kind IN ('pipeline', 'monitor', 'housekeeping', 'probe', 'score')",
        "target_kind IN ('pipeline', 'monitor', 'housekeeping', 'probe', 'score', 'kpi')",
    ),
)


def upgrade() -> None:
    # As in 0003: a wider CHECK changes the text of the definition, and nothing else.
    op.execute("PRAGMA writable_schema=ON")
    for table, narrow, wide in WIDER:
        change = sa.text("UPDATE sqlite_schema SET sql = replace(sql, :narrow, :wide) WHERE name = :table")
        op.get_bind().execute(change, {"table": table, "narrow": narrow, "wide": wide})
    op.execute("PRAGMA writable_schema=RESET")
