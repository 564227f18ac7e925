"""Letters: the sender's name a reader chose, and letters that are tried on every reader before they are published."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add, and change nothing that is there."""
    op.add_column("subscribers", sa.Column("plain_sender", sa.Boolean()))
    op.create_table(
        "publications",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sequence_key", sa.String(length=80), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("asked_by", sa.String(length=120), nullable=False),
        sa.Column("done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("total", sa.Integer(), server_default="0", nullable=False),
        sa.Column("troubles", sa.Text(), server_default="[]", nullable=False),
        sa.Column("owner", sa.String(length=120)),
        sa.Column("lease_until", Instant()),
        sa.Column("finished_at", Instant()),
        sa.CheckConstraint("state IN ('checking', 'published', 'refused')", name=op.f("ck_publications_state_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publications")),
    )
    op.create_index(
        "ix_publications_waiting",
        "publications",
        ["id"],
        sqlite_where=sa.text("state = 'checking'"),
        postgresql_where=sa.text("state = 'checking'"),
    )


def downgrade() -> None:
    """Back to 0002."""
    op.drop_table("publications")
    op.drop_column("subscribers", "plain_sender")
