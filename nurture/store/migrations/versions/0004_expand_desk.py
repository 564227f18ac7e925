"""The desk: accounts with a second factor, drafts of letters, settings kept here, notes and tags of people."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import EncryptedColumn, Id, Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add; whoever is logged in logs in again, and a request that was `answered` is `contacted`."""
    op.create_table(
        "users",
        sa.Column("id", Id(), nullable=False),
        sa.Column("email_bidx", sa.LargeBinary(length=32)),
        sa.Column("email_sealed", EncryptedColumn()),
        sa.Column("name_sealed", EncryptedColumn()),
        sa.Column("role", sa.String(length=24), nullable=False),
        sa.Column("password", sa.String(length=200)),
        sa.Column("totp_sealed", EncryptedColumn()),
        sa.Column("totp_step", sa.BigInteger()),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant()),
        sa.CheckConstraint("role IN ('owner', 'editor', 'viewer')", name=op.f("ck_users_role_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email_bidx", name=op.f("uq_users_email_bidx")),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", Id(), nullable=False),
        sa.Column("code", sa.LargeBinary(length=32), nullable=False),
        sa.Column("used_at", Instant()),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_recovery_codes_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "code", name=op.f("pk_recovery_codes")),
    )
    op.create_table(
        "login_attempts",
        sa.Column("email_bidx", sa.LargeBinary(length=32), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("wait_until", Instant()),
        sa.PrimaryKeyConstraint("email_bidx", name=op.f("pk_login_attempts")),
    )
    op.create_table(
        "security_events",
        sa.Column("id", _Serial, nullable=False),
        sa.Column("user_id", Id()),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_security_events_at", "security_events", ["at"])
    op.create_table(
        "facts",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("set_at", Instant(), nullable=False),
        sa.Column("set_by", Id()),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_facts")),
    )
    op.create_table(
        "wordings",
        sa.Column("version", sa.String(length=20), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("written_at", Instant(), nullable=False),
        sa.Column("written_by", Id()),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_wordings")),
    )
    op.create_table(
        "notes",
        sa.Column("id", Id(), nullable=False),
        sa.Column("subscriber_id", Id(), nullable=False),
        sa.Column("text_sealed", EncryptedColumn(), nullable=False),
        sa.Column("written_at", Instant(), nullable=False),
        sa.Column("written_by", Id()),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscribers.id"], name=op.f("fk_notes_subscriber_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notes")),
    )
    op.create_index("ix_notes_subscriber_id", "notes", ["subscriber_id"])
    op.create_table(
        "tags",
        sa.Column("subscriber_id", Id(), nullable=False),
        sa.Column("tag", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscribers.id"], name=op.f("fk_tags_subscriber_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("subscriber_id", "tag", name=op.f("pk_tags")),
    )
    op.create_index("ix_tags_tag", "tags", ["tag"])
    op.create_table(
        "drafts",
        sa.Column("sequence_id", Id(), nullable=False),
        sa.Column("step_key", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("saved_at", Instant(), nullable=False),
        sa.Column("saved_by", Id()),
        sa.ForeignKeyConstraint(["sequence_id"], ["sequences.id"], name=op.f("fk_drafts_sequence_id")),
        sa.PrimaryKeyConstraint("sequence_id", "step_key", name=op.f("pk_drafts")),
    )
    op.add_column("editions", sa.Column("source", sa.Text()))
    op.add_column("editions", sa.Column("published_by", sa.String(length=120)))
    op.add_column("publications", sa.Column("partial", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    _change_consultations("'new', 'contacted', 'booked', 'closed'", "answered", "contacted", sa.Column("changed_at", Instant()))
    _sessions_of_users()


def _sessions_of_users() -> None:
    op.drop_table("desk_sessions")
    op.create_table(
        "desk_sessions",
        sa.Column("id", Id(), nullable=False),
        sa.Column("user_id", Id()),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("proved_at", Instant()),
        sa.Column("half", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_desk_sessions_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk_sessions")),
    )
    op.create_index("ix_desk_sessions_user_id", "desk_sessions", ["user_id"])
    op.drop_table("login_links")
    op.create_table(
        "login_links",
        sa.Column("id", Id(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("used_at", Instant()),
        sa.Column("user_id", Id()),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_login_links_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_links")),
    )


def _change_consultations(known: str, old: str, new: str, column: "sa.Column[object] | None") -> None:
    """SQLite cannot change a constraint: it copies the table, which holds one row per request for a call."""
    with op.batch_alter_table("consultations") as table:
        table.drop_constraint(op.f("ck_consultations_state_known"), type_="check")
        if column is not None:
            table.add_column(column)
        else:
            table.drop_column("changed_at")
    op.execute(sa.text("UPDATE consultations SET state = :new WHERE state = :old").bindparams(new=new, old=old))
    with op.batch_alter_table("consultations") as table:
        table.create_check_constraint(op.f("ck_consultations_state_known"), f"state IN ({known})")


def downgrade() -> None:
    """Back to 0003; accounts, drafts, notes and tags are lost, and every request that is not new counts as answered."""
    op.drop_table("login_links")
    op.drop_table("desk_sessions")
    op.create_table(
        "login_links",
        sa.Column("id", Id(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("used_at", Instant()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_links")),
    )
    op.create_table(
        "desk_sessions",
        sa.Column("id", Id(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk_sessions")),
    )
    op.execute(sa.text("UPDATE consultations SET state = 'contacted' WHERE state <> 'new'"))
    _change_consultations("'new', 'answered'", "contacted", "answered", None)
    op.drop_column("publications", "partial")
    op.drop_column("editions", "published_by")
    op.drop_column("editions", "source")
    for table in ("drafts", "tags", "notes", "wordings", "facts", "security_events", "login_attempts"):
        op.drop_table(table)
    op.drop_table("recovery_codes")
    op.drop_table("users")
