"""Indexes in the order in which the numbers page groups what it counts."""

from alembic import op

revision = "0011"
down_revision = "0007"
branch_labels = None
depends_on = None

_BEFORE = {
    "ix_enrollments_started_at": ("enrollments", ["started_at", "sequence_id", "last_step", "state", "why"]),
    "ix_consents_act": ("consents", ["act", "at", "source"]),
    "ix_consents_source": ("consents", ["act", "source", "subscriber_id"]),
}
_AFTER = {
    "ix_enrollments_funnel": ("enrollments", ["sequence_id", "last_step", "state", "why", "started_at"]),
    "ix_consents_act": ("consents", ["act", "at"]),
    "ix_consents_source": ("consents", ["act", "source", "subscriber_id", "at"]),
}


def upgrade() -> None:
    """Other columns, or another order; an older version is served by these, too."""
    _change(_BEFORE, _AFTER)


def downgrade() -> None:
    """Back to the indexes before."""
    _change(_AFTER, _BEFORE)


def _change(now: dict[str, tuple[str, list[str]]], to: dict[str, tuple[str, list[str]]]) -> None:
    for index, (table, _) in now.items():
        op.drop_index(index, table_name=table)
    for index, (table, columns) in to.items():
        op.create_index(index, table, columns)
