"""Edits of a running sequence: who is pinned to an earlier schedule, who is paused since when, which steps are taken out."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import Id, Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only columns that may be empty, or have a constant: no row is rewritten."""
    op.create_table(
        "schedules",
        sa.Column("id", Id(), nullable=False),
        sa.Column("sequence_id", Id(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("made_by", sa.String(length=120), nullable=False),
        sa.ForeignKeyConstraint(["sequence_id"], ["sequences.id"], name=op.f("fk_schedules_sequence_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    op.add_column("sequences", sa.Column("version", sa.Integer(), server_default="0", nullable=False))
    op.add_column("steps", sa.Column("removed", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("drafts", sa.Column("after_step", sa.String(length=80)))
    op.add_column("enrollments", sa.Column("paused_at", Instant()))
    op.add_column("enrollments", sa.Column("schedule_id", Id()))
    op.add_column("enrollments", sa.Column("next_step", sa.String(length=80)))
    paused = sa.text("state = 'paused'")
    op.create_index("ix_enrollments_paused", "enrollments", ["sequence_id"], sqlite_where=paused, postgresql_where=paused)


def downgrade() -> None:
    """Back to 0004: everybody goes by the sequence as it is now, and steps taken out are gone."""
    op.drop_index("ix_enrollments_paused", "enrollments")
    for column in ("next_step", "schedule_id", "paused_at"):
        op.drop_column("enrollments", column)
    op.drop_column("drafts", "after_step")
    op.execute("DELETE FROM steps WHERE removed")
    op.drop_column("steps", "removed")
    op.drop_column("sequences", "version")
    op.drop_table("schedules")
