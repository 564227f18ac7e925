"""Writing letters at the desk: trial mails, and the files of the editions that go out now."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import Id, Instant

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add; an edition that goes out now gets the file it was made of."""
    op.create_table(
        "trials",
        sa.Column("id", Id(), nullable=False),
        sa.Column("user_id", Id(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_trials_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
    )
    op.create_index("ix_trials_made_at", "trials", ["made_at"])
    op.execute(
        "UPDATE editions SET source = (SELECT steps.source FROM steps WHERE steps.edition_id = editions.id) "
        "WHERE source IS NULL AND id IN (SELECT edition_id FROM steps)"
    )


def downgrade() -> None:
    """Back to 0006."""
    op.drop_table("trials")
