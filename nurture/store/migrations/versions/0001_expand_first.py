"""The first schema: people, consents, sequences, the ledger."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import EncryptedColumn, Id, Instant

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "desk_sessions",
        sa.Column("id", Id(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk_sessions")),
    )
    op.create_table(
        "heartbeats",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_heartbeats")),
    )
    op.create_table(
        "instance",
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_instance")),
    )
    op.create_table(
        "login_links",
        sa.Column("id", Id(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("used_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_links")),
    )
    op.create_table(
        "pace",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("next_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pace")),
    )
    op.create_table(
        "send_requests",
        sa.Column("id", Id(), nullable=False),
        sa.Column("batch_id", Id(), nullable=False),
        sa.Column("owner", sa.String(length=120), nullable=False),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.Column("sending_at", Instant(), nullable=False),
        sa.Column("deadline_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_send_requests")),
    )
    op.create_index("ix_send_requests_sending_at", "send_requests", ["sending_at"], unique=False)
    op.create_table(
        "sequences",
        sa.Column("id", Id(), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sequences")),
        sa.UniqueConstraint("key", name=op.f("uq_sequences_key")),
    )
    op.create_table(
        "subscribers",
        sa.Column("id", Id(), nullable=False),
        sa.Column("email_bidx", sa.LargeBinary(length=32), nullable=False),
        sa.Column("email_sealed", EncryptedColumn(), nullable=False),
        sa.Column("first_name_sealed", EncryptedColumn(), nullable=True),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("confirmed_at", Instant(), nullable=True),
        sa.Column("left_at", Instant(), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'active', 'paused', 'unsubscribed', 'bounced', 'complained', 'erased')",
            name=op.f("ck_subscribers_state_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscribers")),
        sa.UniqueConstraint("email_bidx", name=op.f("uq_subscribers_email_bidx")),
    )
    op.create_index(
        "ix_subscribers_unconfirmed",
        "subscribers",
        ["created_at"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "suppressions",
        sa.Column("email_bidx", sa.LargeBinary(length=32), nullable=False),
        sa.Column("reason", sa.String(length=24), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.CheckConstraint(
            "reason IN ('unsubscribed', 'bounced', 'complained', 'erased')", name=op.f("ck_suppressions_reason_known")
        ),
        sa.PrimaryKeyConstraint("email_bidx", name=op.f("pk_suppressions")),
    )
    op.create_table(
        "consents",
        sa.Column("id", Id(), nullable=False),
        sa.Column("subscriber_id", Id(), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("wording", sa.Text(), nullable=False),
        sa.Column("wording_version", sa.String(length=20), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.CheckConstraint("act IN ('given', 'confirmed', 'withdrawn', 'restored')", name=op.f("ck_consents_act_known")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name=op.f("fk_consents_subscriber_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
    )
    op.create_index("ix_consents_subscriber_id", "consents", ["subscriber_id"], unique=False)
    op.create_table(
        "consultations",
        sa.Column("id", Id(), nullable=False),
        sa.Column("subscriber_id", Id(), nullable=True),
        sa.Column("details_sealed", EncryptedColumn(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.CheckConstraint("state IN ('new', 'answered')", name=op.f("ck_consultations_state_known")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name=op.f("fk_consultations_subscriber_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consultations")),
    )
    op.create_index("ix_consultations_created_at", "consultations", ["created_at"], unique=False)
    op.create_index("ix_consultations_subscriber_id", "consultations", ["subscriber_id"], unique=False)
    op.create_table(
        "editions",
        sa.Column("id", Id(), nullable=False),
        sa.Column("sequence_id", Id(), nullable=False),
        sa.Column("step_key", sa.String(length=80), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("published_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["sequence_id"], ["sequences.id"], name=op.f("fk_editions_sequence_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_editions")),
    )
    op.create_index("ix_editions_sequence_id_step_key", "editions", ["sequence_id", "step_key"], unique=False)
    op.create_table(
        "enrollments",
        sa.Column("id", Id(), nullable=False),
        sa.Column("subscriber_id", Id(), nullable=False),
        sa.Column("sequence_id", Id(), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("why", sa.String(length=40), nullable=True),
        sa.Column("anchor_at", Instant(), nullable=False),
        sa.Column("last_step", sa.String(length=80), nullable=True),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.CheckConstraint("state IN ('active', 'paused', 'completed', 'exited')", name=op.f("ck_enrollments_state_known")),
        sa.ForeignKeyConstraint(["sequence_id"], ["sequences.id"], name=op.f("fk_enrollments_sequence_id")),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name=op.f("fk_enrollments_subscriber_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrollments")),
    )
    op.create_index(
        "ix_enrollments_active",
        "enrollments",
        ["sequence_id"],
        unique=False,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.create_index("ix_enrollments_subscriber_id", "enrollments", ["subscriber_id"], unique=False)
    op.create_index(
        "uq_enrollments_running",
        "enrollments",
        ["subscriber_id", "sequence_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('active', 'paused')"),
        postgresql_where=sa.text("state IN ('active', 'paused')"),
    )
    op.create_table(
        "steps",
        sa.Column("sequence_id", Id(), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("file_name", sa.String(length=120), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("wait", sa.String(length=40), nullable=False),
        sa.Column("edition_id", Id(), nullable=False),
        sa.ForeignKeyConstraint(["sequence_id"], ["sequences.id"], name=op.f("fk_steps_sequence_id")),
        sa.PrimaryKeyConstraint("sequence_id", "key", name=op.f("pk_steps")),
        sa.UniqueConstraint("sequence_id", "position", name=op.f("uq_steps_sequence_id_position")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", Id(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("subscriber_id", Id(), nullable=True),
        sa.Column("email_bidx", sa.LargeBinary(length=32), nullable=True),
        sa.Column("enrollment_id", Id(), nullable=True),
        sa.Column("step_key", sa.String(length=80), nullable=True),
        sa.Column("edition_id", Id(), nullable=True),
        sa.Column("about_id", Id(), nullable=True),
        sa.Column("planned_at", Instant(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("batch_id", Id(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("sending_at", Instant(), nullable=True),
        sa.Column("accepted_at", Instant(), nullable=True),
        sa.Column("unknown_since", Instant(), nullable=True),
        sa.Column("provider_message", sa.String(length=120), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.CheckConstraint(
            "(kind = 'letter') = (enrollment_id IS NOT NULL AND step_key IS NOT NULL)",
            name=op.f("ck_deliveries_letter_has_step"),
        ),
        sa.CheckConstraint("(kind = 'notice') = (subscriber_id IS NULL)", name=op.f("ck_deliveries_notice_has_no_reader")),
        sa.CheckConstraint(
            "kind IN ('letter', 'confirmation', 'already_subscribed', 'notice')", name=op.f("ck_deliveries_kind_known")
        ),
        sa.CheckConstraint(
            "state IN ('scheduled', 'claimed', 'sending', 'accepted', 'delivered', 'bounced', 'dropped', 'complained', 'unknown', 'held', 'failed', 'cancelled')",
            name=op.f("ck_deliveries_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["enrollment_id"], ["enrollments.id"], name=op.f("fk_deliveries_enrollment_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["subscriber_id"], ["subscribers.id"], name=op.f("fk_deliveries_subscriber_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        postgresql_with={"fillfactor": 80, "autovacuum_vacuum_scale_factor": 0.01},
    )
    op.create_index(
        "ix_deliveries_attention",
        "deliveries",
        ["state"],
        unique=False,
        sqlite_where=sa.text("state IN ('unknown', 'held', 'failed')"),
        postgresql_where=sa.text("state IN ('unknown', 'held', 'failed')"),
    )
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["due_at", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'scheduled'"),
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.create_index(
        "ix_deliveries_in_flight",
        "deliveries",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state IN ('claimed', 'sending')"),
        postgresql_where=sa.text("state IN ('claimed', 'sending')"),
    )
    op.create_index("ix_deliveries_subscriber_id", "deliveries", ["subscriber_id"], unique=False)
    op.create_index(
        "uq_deliveries_step",
        "deliveries",
        ["enrollment_id", "step_key"],
        unique=True,
        sqlite_where=sa.text("enrollment_id IS NOT NULL"),
        postgresql_where=sa.text("enrollment_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Drop every table."""
    op.drop_index(
        "uq_deliveries_step",
        table_name="deliveries",
        sqlite_where=sa.text("enrollment_id IS NOT NULL"),
        postgresql_where=sa.text("enrollment_id IS NOT NULL"),
    )
    op.drop_index("ix_deliveries_subscriber_id", table_name="deliveries")
    op.drop_index(
        "ix_deliveries_in_flight",
        table_name="deliveries",
        sqlite_where=sa.text("state IN ('claimed', 'sending')"),
        postgresql_where=sa.text("state IN ('claimed', 'sending')"),
    )
    op.drop_index(
        "ix_deliveries_due",
        table_name="deliveries",
        sqlite_where=sa.text("state = 'scheduled'"),
        postgresql_where=sa.text("state = 'scheduled'"),
    )
    op.drop_index(
        "ix_deliveries_attention",
        table_name="deliveries",
        sqlite_where=sa.text("state IN ('unknown', 'held', 'failed')"),
        postgresql_where=sa.text("state IN ('unknown', 'held', 'failed')"),
    )
    op.drop_table("deliveries")
    op.drop_table("steps")
    op.drop_index(
        "uq_enrollments_running",
        table_name="enrollments",
        sqlite_where=sa.text("state IN ('active', 'paused')"),
        postgresql_where=sa.text("state IN ('active', 'paused')"),
    )
    op.drop_index("ix_enrollments_subscriber_id", table_name="enrollments")
    op.drop_index(
        "ix_enrollments_active",
        table_name="enrollments",
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )
    op.drop_table("enrollments")
    op.drop_index("ix_editions_sequence_id_step_key", table_name="editions")
    op.drop_table("editions")
    op.drop_index("ix_consultations_subscriber_id", table_name="consultations")
    op.drop_index("ix_consultations_created_at", table_name="consultations")
    op.drop_table("consultations")
    op.drop_index("ix_consents_subscriber_id", table_name="consents")
    op.drop_table("consents")
    op.drop_table("suppressions")
    op.drop_index(
        "ix_subscribers_unconfirmed",
        table_name="subscribers",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_table("subscribers")
    op.drop_table("sequences")
    op.drop_index("ix_send_requests_sending_at", table_name="send_requests")
    op.drop_table("send_requests")
    op.drop_table("pace")
    op.drop_table("login_links")
    op.drop_table("instance")
    op.drop_table("heartbeats")
    op.drop_table("desk_sessions")
