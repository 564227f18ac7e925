"""A notice says what kind of thing it is about."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_KINDS = {"consultations": "consultation", "login_links": "login_link", "trials": "test_email"}


def upgrade() -> None:
    """Add the column, and say of each notice whose subject is there what kind it is. The others stay without: those that
    were to be sent are cancelled when their turn comes.
    """
    op.add_column("deliveries", sa.Column("about_kind", sa.String(24), nullable=True))
    deliveries = sa.table("deliveries", sa.column("about_id"), sa.column("about_kind"))
    for name, kind in _KINDS.items():
        ids = sa.select(sa.table(name, sa.column("id")).c.id)
        op.execute(sa.update(deliveries).where(deliveries.c.about_id.in_(ids)).values(about_kind=kind))


def downgrade() -> None:
    """Drop it: what a notice is about is again found by its id alone."""
    op.drop_column("deliveries", "about_kind")
