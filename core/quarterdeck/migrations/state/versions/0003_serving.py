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
