"""Evidence: events, the history of a delivery, gates, what the provider is still to be told."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import Id, Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("request_id", Id()),
    ("owner", sa.String(length=120)),
    ("claimed_at", Instant()),
    ("sent_at", Instant()),
)
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add, and change nothing that is there."""
    for name, kind in _COLUMNS:
        op.add_column("deliveries", sa.Column(name, kind))
    op.add_column("steps", sa.Column("if_late", sa.String(length=40)))
    op.create_table(
        "delivery_history",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("delivery_id", Id(), nullable=False),
        sa.Column("subscriber_id", Id()),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("by", sa.String(length=120), nullable=False),
        sa.Column("why", sa.String(length=200)),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("request_id", Id()),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_delivery_history_delivery_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_history")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_delivery_history_delivery_id", "delivery_history", ["delivery_id"])
    op.create_table(
        "events",
        sa.Column("id", _SERIAL, nullable=False),
        sa.Column("provider_id", sa.String(length=100)),
        sa.Column("twin", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("delivery_id", Id()),
        sa.Column("request_id", Id()),
        sa.Column("subscriber_id", Id()),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("detail", sa.String(length=80)),
        sa.CheckConstraint(
            "kind IN ('processed', 'deferred', 'delivered', 'bounced', 'blocked', 'dropped', 'complained', 'unsubscribed', "
            "'opened', 'other')",
            name=op.f("ck_events_kind_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("provider_id", name=op.f("uq_events_provider_id")),
        sa.UniqueConstraint("twin", name=op.f("uq_events_twin")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_delivery_id", "events", ["delivery_id"])
    op.create_index("ix_events_received_at", "events", ["received_at"])
    op.create_table(
        "suppression_pushes",
        sa.Column("id", Id(), nullable=False),
        sa.Column("subscriber_id", Id(), nullable=False),
        sa.Column("act", sa.String(length=8), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("act IN ('add', 'remove')", name=op.f("ck_suppression_pushes_act_known")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name=op.f("fk_suppression_pushes_subscriber_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppression_pushes")),
        sa.UniqueConstraint("subscriber_id", name=op.f("uq_suppression_pushes_subscriber_id")),
    )
    op.create_index("ix_suppression_pushes_due_at", "suppression_pushes", ["due_at"])
    op.create_table(
        "gates",
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("shut_at", Instant()),
        sa.Column("until", Instant()),
        sa.Column("why", sa.String(length=200)),
        sa.Column("by", sa.String(length=120)),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_gates")),
    )
    op.execute("INSERT INTO gates (name) VALUES ('stop'), ('provider'), ('clock'), ('epoch')")


def downgrade() -> None:
    """Take away what was added."""
    for table in ("gates", "suppression_pushes", "events", "delivery_history"):
        op.drop_table(table)
    op.drop_column("steps", "if_late")
    for name, _ in reversed(_COLUMNS):
        op.drop_column("deliveries", name)
