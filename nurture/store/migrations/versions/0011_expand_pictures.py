"""Pictures in letters, and which editions show them."""

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import Id, Instant

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add."""
    op.create_table(
        "pictures",
        sa.Column("id", Id(), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("subtype", sa.String(8), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("alt", sa.Text(), nullable=False),
        sa.Column("added_at", Instant(), nullable=False),
        sa.Column("added_by", sa.String(120), nullable=False),
        sa.Column("used_at", Instant(), nullable=False),
        sa.CheckConstraint("subtype IN ('png', 'jpeg')", name=op.f("ck_pictures_subtype_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pictures")),
        sa.UniqueConstraint("name", name=op.f("uq_pictures_name")),
    )
    op.create_table(
        "edition_pictures",
        sa.Column("edition_id", Id(), nullable=False),
        sa.Column("picture_id", Id(), nullable=False),
        sa.ForeignKeyConstraint(
            ["edition_id"], ["editions.id"], name=op.f("fk_edition_pictures_edition_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["picture_id"], ["pictures.id"], name=op.f("fk_edition_pictures_picture_id")),
        sa.PrimaryKeyConstraint("edition_id", "picture_id", name=op.f("pk_edition_pictures")),
    )
    op.create_index("ix_edition_pictures_picture_id", "edition_pictures", ["picture_id"])


def downgrade() -> None:
    """Back to 0010."""
    op.drop_table("edition_pictures")
    op.drop_table("pictures")
