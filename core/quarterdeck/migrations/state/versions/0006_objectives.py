"""Alerts about objectives."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NARROW, WIDE = "'estimate', 'predictions')", "'estimate', 'predictions', 'slo')"


def upgrade() -> None:
    # As in 0003: a wider CHECK changes the text of the definition, and nothing else.
    op.execute("PRAGMA writable_schema=ON")
    change = sa.text("UPDATE sqlite_schema SET sql = replace(sql, :narrow, :wide) WHERE name = 'alert'")
    op.get_bind().execute(change, {"narrow": NARROW, "wide": WIDE})
    op.execute("PRAGMA writable_schema=RESET")
