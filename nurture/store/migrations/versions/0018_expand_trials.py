"""Test mails are sealed, and say whom they imitate."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import EncryptedColumn, Id

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_trials = sa.table("trials", sa.column("id"), sa.column("content_sealed"), *map(sa.column, ("subject", "html", "text")))


def upgrade() -> None:
    """Add the columns. What was sent already loses its plain text; what is about to be sent keeps it until it is deleted."""
    op.add_column("trials", sa.Column("subscriber_id", Id(), nullable=True))
    op.add_column("trials", sa.Column("content_sealed", EncryptedColumn, nullable=True))
    deliveries = sa.table("deliveries", sa.column("about_id"), sa.column("state"))
    waiting = sa.select(deliveries.c.about_id).where(
        deliveries.c.about_id.is_not(None), deliveries.c.state.in_(("scheduled", "claimed", "sending"))
    )
    op.execute(sa.update(_trials).where(_trials.c.id.not_in(waiting)).values(subject="", html="", text=""))


def downgrade() -> None:
    """Drop them, with the test mails that only they hold."""
    op.execute(sa.delete(_trials).where(_trials.c.content_sealed.is_not(None)))
    op.drop_column("trials", "content_sealed")
    op.drop_column("trials", "subscriber_id")
