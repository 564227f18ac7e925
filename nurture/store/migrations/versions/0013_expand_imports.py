"""How people of another program's list agreed, sealed; and which sequence a sign-up begins, as the first one was until now."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import EncryptedColumn

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_KEY = "sign_up_sequence"


def upgrade() -> None:
    """Until now sign-ups began the sequence whose key comes first in the alphabet; that one they go on to begin."""
    op.add_column("consents", sa.Column("evidence_sealed", EncryptedColumn))
    instance = sa.table("instance", sa.column("key"), sa.column("value"))
    sequences = sa.table("sequences", sa.column("key"))
    first = op.get_bind().scalar(sa.select(sequences.c.key).order_by(sequences.c.key).limit(1))
    if first is not None:
        op.execute(instance.insert().values(key=_KEY, value=first))


def downgrade() -> None:
    """An older version begins the first one by the alphabet again."""
    instance = sa.table("instance", sa.column("key"), sa.column("value"))
    op.execute(instance.delete().where(instance.c.key == _KEY))
    op.drop_column("consents", "evidence_sealed")
