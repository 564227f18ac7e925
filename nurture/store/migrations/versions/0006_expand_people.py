"""The desk's lists: acts on many people with their undo, files of people to add, and the indexes that pages of people need."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import EncryptedColumn, Id, Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _partial(condition: str) -> Any:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


_LEFT = _partial("state = 'unsubscribed'")
_ACCEPTED = _partial("accepted_at IS NOT NULL")
_RETURNED = _partial("state IN ('bounced', 'dropped', 'complained')")


def upgrade() -> None:
    """Add, and change nothing that is there."""
    op.create_table(
        "acts",
        sa.Column("id", Id(), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.String(length=40), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("done_at", Instant(), nullable=False),
        sa.Column("done_by", Id()),
        sa.Column("undone_at", Instant()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acts")),
    )
    op.create_index("ix_acts_done_at", "acts", ["done_at"])
    op.create_table(
        "act_people",
        sa.Column("act_id", Id(), nullable=False),
        sa.Column("target_id", Id(), nullable=False),
        sa.ForeignKeyConstraint(["act_id"], ["acts.id"], name=op.f("fk_act_people_act_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("act_id", "target_id", name=op.f("pk_act_people")),
    )
    op.create_table(
        "imports",
        sa.Column("id", Id(), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("made_by", Id()),
        sa.Column("content_sealed", EncryptedColumn(), nullable=False),
        sa.Column("choices", sa.Text(), nullable=False),
        sa.Column("counts", sa.Text()),
        sa.Column("report_sealed", EncryptedColumn()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    op.create_index("ix_imports_made_at", "imports", ["made_at"])
    op.create_index("ix_subscribers_created_at", "subscribers", ["created_at", "id", "state"])
    op.create_index("ix_subscribers_left_at", "subscribers", ["left_at", "confirmed_at"], **_LEFT)
    op.create_index("ix_enrollments_standing", "enrollments", ["subscriber_id", "state"])
    op.create_index("ix_enrollments_place", "enrollments", ["sequence_id", "last_step", "state", "subscriber_id"])
    op.create_index("ix_enrollments_started_at", "enrollments", ["started_at", "sequence_id", "last_step", "state", "why"])
    op.create_index("ix_consents_act", "consents", ["act", "at", "source"])
    op.create_index("ix_consents_source", "consents", ["act", "source", "subscriber_id"])
    op.create_index("ix_deliveries_accepted_at", "deliveries", ["accepted_at"], **_ACCEPTED)
    op.create_index("ix_deliveries_returned", "deliveries", ["accepted_at", "state", "step_key", "enrollment_id"], **_RETURNED)


def downgrade() -> None:
    """Back to 0005; what was done to many at once cannot be undone any more."""
    for table, index in (
        ("deliveries", "returned"), ("deliveries", "accepted_at"), ("consents", "source"), ("consents", "act"), ("enrollments", "started_at"),
        ("enrollments", "place"), ("enrollments", "standing"), ("subscribers", "left_at"), ("subscribers", "created_at"),
    ):  # fmt: skip
        op.drop_index(f"ix_{table}_{index}", table_name=table)
    for table in ("imports", "act_people", "acts"):
        op.drop_table(table)
