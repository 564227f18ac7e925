"""Settings and the first run: secrets among the facts, letters read, and since when letters may leave."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import EncryptedColumn, Id, Instant

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add; an installation that has sent mail before goes on doing so."""
    op.add_column("facts", sa.Column("sealed", EncryptedColumn(), nullable=True))
    op.create_table(
        "readings",
        sa.Column("edition_id", Id(), nullable=False),
        sa.Column("read_at", Instant(), nullable=False),
        sa.Column("read_by", Id(), nullable=True),
        sa.PrimaryKeyConstraint("edition_id", name=op.f("pk_readings")),
    )
    op.add_column("trials", sa.Column("mailer", sa.String(length=20), nullable=True))
    op.add_column("trials", sa.Column("edition_id", Id(), nullable=True))
    present = sa.text("about_id IS NOT NULL")
    op.create_index("ix_deliveries_about_id", "deliveries", ["about_id"], sqlite_where=present, postgresql_where=present)
    op.execute(
        "INSERT INTO instance (key, value) SELECT 'live', 'before there was a first run' "
        "WHERE EXISTS (SELECT 1 FROM deliveries WHERE subscriber_id IS NOT NULL)"
    )


def downgrade() -> None:
    """Back to 0007."""
    op.execute("DELETE FROM instance WHERE key IN ('live', 'facts_version')")
    op.drop_index("ix_deliveries_about_id", "deliveries")
    op.drop_column("trials", "edition_id")
    op.drop_column("trials", "mailer")
    op.drop_table("readings")
    op.execute("DELETE FROM facts WHERE sealed IS NOT NULL")
    op.drop_column("facts", "sealed")
