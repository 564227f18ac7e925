"""How a request for a call came, whose address was typed, and until when links of letters that carry no time are read."""

import sqlalchemy as sa
from alembic import op

from nurture.clock import SystemClock
from nurture.store.core.columns import Instant

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_KEY = "timed_letter_links_since"


def upgrade() -> None:
    """Add the columns; of requests of before nobody knows how they came. Note the moment: letters that go out from now on carry
    links with a time, and those of before are read for as long after it.
    """
    op.add_column("consultations", sa.Column("origin", sa.String(24), nullable=True))
    op.add_column("consultations", sa.Column("email_bidx", sa.LargeBinary(32), nullable=True))
    op.add_column("consultations", sa.Column("looked_up_at", Instant(), nullable=True))
    waiting = sa.text("origin = 'form' AND looked_up_at IS NULL")
    op.create_index(
        "ix_consultations_to_look_up", "consultations", ["created_at"], sqlite_where=waiting, postgresql_where=waiting
    )
    instance = sa.table("instance", sa.column("key"), sa.column("value"))
    op.execute(instance.insert().values(key=_KEY, value=SystemClock().real_now().isoformat()))


def downgrade() -> None:
    """Drop them: a request by the open form ends the letters of whoever has its address again."""
    instance = sa.table("instance", sa.column("key"), sa.column("value"))
    op.execute(instance.delete().where(instance.c.key == _KEY))
    op.drop_index("ix_consultations_to_look_up", "consultations")
    for column in ("looked_up_at", "email_bidx", "origin"):
        op.drop_column("consultations", column)
