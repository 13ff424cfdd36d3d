"""Reactions to alerts, and the backtests that they wait for."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NARROW = "'replay', 'housekeeping', 'rollback', 'probe', 'score')"
WIDE = "'replay', 'housekeeping', 'rollback', 'probe', 'score', 'backtest')"


def upgrade() -> None:
    # As in 0003: a wider CHECK changes the text of the definition, and nothing else.
    op.execute("PRAGMA writable_schema=ON")
    change = sa.text("UPDATE sqlite_schema SET sql = replace(sql, :narrow, :wide) WHERE name = 'job'")
    op.get_bind().execute(change, {"narrow": NARROW, "wide": WIDE})
    op.execute("PRAGMA writable_schema=RESET")
    op.create_table(
        "backtest",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("deployment_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("alert", sa.Integer(), nullable=True),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("requested_at", sa.String(length=27), nullable=False),
        sa.Column("finished_at", sa.String(length=27), nullable=True),
        sa.Column("verdict", sa.String(length=32), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.CheckConstraint("verdict IN ('retrain', 'roll back', 'keep', 'not enough evidence')"),
        sa.ForeignKeyConstraint(["deployment_id"], ["deployment.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_backtest_deployment_id"), "backtest", ["deployment_id"], unique=False)
    op.create_table(
        "reaction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("deployment", sa.String(), nullable=False),
        sa.Column("alert", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("again_at", sa.String(length=27), nullable=True),
        sa.Column("backtest", sa.Integer(), nullable=True),
        sa.Column("result", sa.String(), nullable=True),
        sa.Column("considered_at", sa.String(length=27), nullable=False),
        sa.Column("fired_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'held', 'fired', 'over')"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("policy", "alert"),
    )
    op.create_index(op.f("ix_reaction_deployment"), "reaction", ["deployment"], unique=False)
