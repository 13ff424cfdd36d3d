"""What serving needs: more formats, more who answer, and the graph that an estimator was converted to."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_WIDER = (
    (
        "model_version",
        "format IN ('skops', 'onnx', 'external')",
        "format IN ('skops', 'onnx', 'xgboost', 'lightgbm', 'pickle', 'mlflow', 'entry', 'external')",
    ),
    ("alert", "kind IN ('drift', 'missing', 'quality')", "kind IN ('drift', 'missing', 'quality', 'outage')"),
    ("deployment", "served_by IN ('gateway', 'external')", "served_by IN ('gateway', 'process', 'external', 'batch')"),
    (
        "job",
        "kind IN ('run', 'monitor', 'report', 'notify', 'replay', 'housekeeping')",
        "kind IN ('run', 'monitor', 'report', 'notify', 'replay', 'housekeeping', 'rollback', 'probe', 'score')",
    ),
    (
        "schedule",
        "target_kind IN ('pipeline', 'monitor', 'housekeeping')",
        "target_kind IN ('pipeline', 'monitor', 'housekeeping', 'probe', 'score')",
    ),
)


def upgrade() -> None:
    # SQLite cannot change a CHECK, and other tables refer to these two: rows and references stay where they are, and
    # only the text of the definition changes, as SQLite's page on ALTER TABLE has it for wider constraints.
    op.execute("PRAGMA writable_schema=ON")
    for table, narrow, wide in _WIDER:
        change = sa.text("UPDATE sqlite_schema SET sql = replace(sql, :narrow, :wide) WHERE name = :table")
        op.get_bind().execute(change, {"narrow": narrow, "wide": wide, "table": table})
    op.execute("PRAGMA writable_schema=RESET")
    op.add_column("model_version", sa.Column("graph", sa.String(), nullable=True))
    op.create_table(
        "token",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("deployments", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("revoked_at", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("name"),
        sa.UniqueConstraint("digest"),
    )
    op.add_column("model_version", sa.Column("agreement", sa.Text(), nullable=False, server_default="{}"))
    _elsewhere()
    _isolation()


def _elsewhere() -> None:
    """What external and batch deployments leave: where one answers, who was seen there, which tables were written."""
    op.add_column("deployment", sa.Column("url", sa.String(), nullable=True))
    op.create_table(
        "sighting",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("deployment_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("first_seen", sa.String(length=27), nullable=False),
        sa.Column("last_seen", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["deployment_id"], ["deployment.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_sighting_deployment_id"), "sighting", ["deployment_id"], unique=False)
    op.create_table(
        "batch_output",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("deployment_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("input", sa.String(), nullable=False),
        sa.Column("input_digest", sa.String(), nullable=False),
        sa.Column("output", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("ids", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("finished_at", sa.String(length=27), nullable=True),
        sa.ForeignKeyConstraint(["deployment_id"], ["deployment.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_batch_output_deployment_id"), "batch_output", ["deployment_id"], unique=False)


def _isolation() -> None:
    """What a model needs that has a process of its own, what its first loading showed, and what is withheld."""
    for name in ("python", "entry", "trusted"):
        op.add_column("model_version", sa.Column(name, sa.String(), nullable=True))
    op.add_column("revision", sa.Column("withheld", sa.String(), nullable=True))
    op.add_column("gateway_worker", sa.Column("died_at", sa.String(), nullable=True))
    op.create_table(
        "trial",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("artifact", sa.String(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("memory_bytes", sa.Integer(), nullable=False),
        sa.Column("tried_at", sa.String(), nullable=False),
        sa.UniqueConstraint("artifact", "machine"),
    )
