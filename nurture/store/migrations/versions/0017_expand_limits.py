"""Counters of limits, and sign-ups and requests for log-in links that wait to be decided on."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import EncryptedColumn, Id, Instant

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables. Processes of the version before plan confirmations without them; their links go on working."""
    op.create_table(
        "limit_counters",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_limit_counters")),
    )
    op.create_index("ix_limit_counters_ends_at", "limit_counters", ["ends_at"])
    op.create_table(
        "sign_ups",
        sa.Column("id", Id(), nullable=False),
        sa.Column("email_bidx", sa.LargeBinary(32), nullable=False),
        sa.Column("email_sealed", EncryptedColumn(), nullable=False),
        sa.Column("first_name_sealed", EncryptedColumn(), nullable=True),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("plain_sender", sa.Boolean(), nullable=False),
        sa.Column("wording", sa.Text(), nullable=False),
        sa.Column("wording_version", sa.String(20), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("suspicion", sa.String(24), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("asked_at", Instant(), nullable=True),
        sa.Column("confirmed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_ups")),
        sa.CheckConstraint("suspicion IN ('none', 'stamp', 'honeypot')", name=op.f("ck_sign_ups_suspicion_known")),
    )
    op.create_index(
        "ix_sign_ups_waiting",
        "sign_ups",
        ["at", "id"],
        sqlite_where=sa.text("asked_at IS NULL"),
        postgresql_where=sa.text("asked_at IS NULL"),
    )
    op.create_index("ix_sign_ups_asked_at", "sign_ups", ["asked_at"])
    op.create_index("ix_sign_ups_email_bidx", "sign_ups", ["email_bidx"])
    op.create_table(
        "link_requests",
        sa.Column("id", Id(), nullable=False),
        sa.Column("email_bidx", sa.LargeBinary(32), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_requests")),
    )


def downgrade() -> None:
    """Drop them: sign-ups that nobody has decided on are gone, and counting begins anew."""
    op.drop_table("link_requests")
    op.drop_table("sign_ups")
    op.drop_table("limit_counters")
