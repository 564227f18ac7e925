"""Indexes in the order in which the numbers page groups what it counts, and in which an edit walks through readers."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ACTIVE, _PAUSED = "state = 'active'", "state = 'paused'"
_Indexes = dict[str, tuple[str, list[str], str | None]]
_BEFORE: _Indexes = {
    "ix_enrollments_started_at": ("enrollments", ["started_at", "sequence_id", "last_step", "state", "why"], None),
    "ix_consents_act": ("consents", ["act", "at", "source"], None),
    "ix_consents_source": ("consents", ["act", "source", "subscriber_id"], None),
    "ix_enrollments_active": ("enrollments", ["sequence_id"], _ACTIVE),
    "ix_enrollments_paused": ("enrollments", ["sequence_id"], _PAUSED),
}
_AFTER: _Indexes = {
    "ix_enrollments_funnel": ("enrollments", ["sequence_id", "last_step", "state", "why", "started_at"], None),
    "ix_consents_act": ("consents", ["act", "at"], None),
    "ix_consents_source": ("consents", ["act", "source", "subscriber_id", "at"], None),
    "ix_enrollments_active": ("enrollments", ["sequence_id", "id"], _ACTIVE),
    "ix_enrollments_paused": ("enrollments", ["sequence_id", "id"], _PAUSED),
}


def upgrade() -> None:
    """Other columns, or another order; an older version is served by these, too."""
    _change(_BEFORE, _AFTER)


def downgrade() -> None:
    """Back to the indexes before."""
    _change(_AFTER, _BEFORE)


def _change(now: _Indexes, to: _Indexes) -> None:
    for index, (table, _, _) in now.items():
        op.drop_index(index, table_name=table)
    for index, (table, columns, of) in to.items():
        where = sa.text(of) if of else None
        op.create_index(index, table, columns, sqlite_where=where, postgresql_where=where)
