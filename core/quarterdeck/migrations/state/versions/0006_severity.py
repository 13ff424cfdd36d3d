"""What a metric's finding weighs stands beside its loss: a slice may weigh where the metric is no worse."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "UPDATE monitor_result SET scores = json_set(scores, '$[0].severity', json_extract(scores, '$[0].loss')) "
        "WHERE aspect IN ('quality', 'estimate')"
    )
