"""What the runner needs to work unwatched: terms and use of jobs, overlap and misfires, pauses and freezes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_JOB = """
    id, kind, "key", subject, payload, state, attempt, max_attempts, not_before, created_at, started_at, finished_at,
    cancel_requested_by, process_group, process_started, boot_id, log, error
"""
_SCHEDULE = """
    id, name, target_kind, target, cron, every_seconds, on_data, timezone, parameters, paused, anchor, last_tick,
    next_tick
"""


def upgrade() -> None:
    _rebuild_jobs()
    _rebuild_schedules()
    for name in ("cpu_seconds", "memory_bytes"):
        kind = sa.Float() if name == "cpu_seconds" else sa.Integer()
        op.add_column("runner_lease", sa.Column(name, kind, nullable=False, server_default="0"))
    op.create_table(
        "pause",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
    )
    op.create_table(
        "freeze",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("until", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _rebuild_jobs() -> None:
    # SQLite cannot change a CHECK: the table is made anew, and the rows move.
    op.drop_index("ix_job_state", "job")
    op.rename_table("job", "job_0001")
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("pool", sa.String(), nullable=True),
        sa.Column("pipeline", sa.String(), nullable=True),
        sa.Column("schedule", sa.String(), nullable=True),
        sa.Column("tick", sa.String(length=27), nullable=True),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("timeout_seconds", sa.Float(), nullable=True),
        sa.Column("memory_limit_bytes", sa.Integer(), nullable=True),
        sa.Column("not_before", sa.String(length=27), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("started_at", sa.String(length=27), nullable=True),
        sa.Column("finished_at", sa.String(length=27), nullable=True),
        sa.Column("cancel_requested_by", sa.String(), nullable=True),
        sa.Column("process_group", sa.Integer(), nullable=True),
        sa.Column("process_started", sa.Float(), nullable=True),
        sa.Column("boot_id", sa.String(), nullable=True),
        sa.Column("log", sa.String(), nullable=True),
        sa.Column("cpu_seconds", sa.Float(), nullable=True),
        sa.Column("memory_bytes", sa.Integer(), nullable=True),
        sa.Column("peak_memory_bytes", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.CheckConstraint("kind IN ('run', 'monitor', 'report', 'notify', 'replay', 'housekeeping')"),
        sa.CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'lost', 'dead')"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
    )
    op.execute(
        f"INSERT INTO job ({_JOB}, failures, retries, priority, automatic) SELECT {_JOB}, 0, 0, 0, 0 FROM job_0001"
    )
    op.drop_table("job_0001")
    op.create_index("ix_job_state", "job", ["state", "id"], unique=False)
    op.create_index("ix_job_schedule", "job", ["schedule", "id"], unique=False)


def _rebuild_schedules() -> None:
    op.rename_table("schedule", "schedule_0001")
    op.create_table(
        "schedule",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("target_kind", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("cron", sa.String(), nullable=True),
        sa.Column("every_seconds", sa.Float(), nullable=True),
        sa.Column("on_data", sa.String(), nullable=True),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("overlap", sa.String(length=32), nullable=False),
        sa.Column("misfire", sa.String(length=32), nullable=False),
        sa.Column("grace_seconds", sa.Float(), nullable=False),
        sa.Column("anchor", sa.String(length=27), nullable=False),
        sa.Column("last_tick", sa.String(length=27), nullable=True),
        sa.Column("next_tick", sa.String(length=27), nullable=True),
        sa.CheckConstraint("target_kind IN ('pipeline', 'monitor', 'housekeeping')"),
        sa.CheckConstraint("overlap IN ('skip', 'queue', 'replace')"),
        sa.CheckConstraint("misfire IN ('once', 'skip', 'each')"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.execute(
        f"INSERT INTO schedule ({_SCHEDULE}, overlap, misfire, grace_seconds) "
        f"SELECT {_SCHEDULE}, 'skip', 'once', 3600.0 FROM schedule_0001"
    )
    op.drop_table("schedule_0001")
