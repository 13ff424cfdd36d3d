"""Notices: what webhooks are to be told, apart from the messages that tell it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# A job told of one alert or event, and its key said which: `notify:alert/7:page-1-resolved:WEBHOOK`,
# `notify:event/12:WEBHOOK`. What has not been told goes on under the same keys.
CARRIED = r"""
    INSERT INTO notice (key, webhook, subject, severity, ended, noted_at, message, joined_at)
    SELECT substr(key, 8), json_extract(payload, '$.webhook'), subject,
           CASE WHEN key LIKE 'notify:alert/%\:warning%' THEN 'warning' ELSE 'page' END,
           key LIKE '%-resolved:%', created_at, key, created_at
    FROM job WHERE kind = 'notify' AND key LIKE 'notify:%' AND json_extract(payload, '$.webhook') IS NOT NULL
"""
PAYLOADS = """
    UPDATE job SET payload = json_object('webhook', json_extract(payload, '$.webhook'))
    WHERE key IN (SELECT message FROM notice)
"""


def upgrade() -> None:
    op.create_table(
        "notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("webhook", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("noted_at", sa.String(length=27), nullable=False),
        sa.Column("message", sa.String(), nullable=True),
        sa.Column("joined_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint("severity IN ('informational', 'warning', 'page')"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("ix_notice_waiting", "notice", ["webhook", "joined_at"])
    op.create_index("ix_notice_message", "notice", ["message"])
    op.execute(CARRIED)
    op.execute(PAYLOADS)
