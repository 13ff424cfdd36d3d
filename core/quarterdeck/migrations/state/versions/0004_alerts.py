"""What people do with an alert: a silence with its end, a ticket; and how often it came back."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NARROW = "state IN ('open', 'acknowledged', 'resolved')"
WIDE = "state IN ('open', 'acknowledged', 'silenced', 'resolved')"


def upgrade() -> None:
    # As in 0003: a wider CHECK changes the text of the definition, and nothing else.
    op.execute("PRAGMA writable_schema=ON")
    change = sa.text("UPDATE sqlite_schema SET sql = replace(sql, :narrow, :wide) WHERE name = 'alert'")
    op.get_bind().execute(change, {"narrow": NARROW, "wide": WIDE})
    op.execute("PRAGMA writable_schema=RESET")
    op.add_column("alert", sa.Column("silenced_until", sa.String(length=27), nullable=True))
    op.add_column("alert", sa.Column("ticket", sa.String(), nullable=True))
    op.add_column("alert", sa.Column("reopened", sa.Integer(), nullable=False, server_default="0"))
