"""The editions of a letter are numbered, and earlier plans are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add; editions are numbered in the order of the clock they were published by."""
    op.add_column("schedules", sa.Column("version", sa.Integer(), nullable=True))
    op.add_column("editions", sa.Column("number", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE editions SET number = (SELECT count(*) FROM editions AS earlier "
        "WHERE earlier.sequence_id = editions.sequence_id AND earlier.step_key = editions.step_key "
        "AND (earlier.published_at, earlier.id) <= (editions.published_at, editions.id))"
    )


def downgrade() -> None:
    """Back to what was before."""
    op.drop_column("editions", "number")
    op.execute("DELETE FROM schedules WHERE version IS NOT NULL")
    op.drop_column("schedules", "version")
