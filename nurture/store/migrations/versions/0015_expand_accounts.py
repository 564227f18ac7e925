"""Known devices, changes of accounts that are told by mail, the device of a session, and how often something happened."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import EncryptedColumn, Id, Instant

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add."""
    op.create_table(
        "known_devices",
        sa.Column("device", sa.LargeBinary(32), nullable=False),
        sa.Column("user_id", Id(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_known_devices_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("device", "user_id", name=op.f("pk_known_devices")),
    )
    op.create_index("ix_known_devices_user_id", "known_devices", ["user_id"])
    op.create_index("ix_known_devices_seen_at", "known_devices", ["seen_at"])
    op.create_table(
        "account_changes",
        sa.Column("id", Id(), nullable=False),
        sa.Column("what", sa.String(24), nullable=False),
        sa.Column("email_sealed", EncryptedColumn(), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_changes")),
    )
    op.create_index("ix_account_changes_made_at", "account_changes", ["made_at"])
    op.add_column("desk_sessions", sa.Column("device", sa.String(60)))
    op.add_column("security_events", sa.Column("times", sa.Integer(), nullable=False, server_default=sa.text("1")))


def downgrade() -> None:
    """Back to what was before."""
    op.drop_column("security_events", "times")
    op.drop_column("desk_sessions", "device")
    op.drop_table("account_changes")
    op.drop_table("known_devices")
