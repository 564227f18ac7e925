"""Tables and columns by the names their subjects have everywhere else, and a foreign key for each thing a mail is about.

Every process of the version before must be stopped: it knows neither.
"""

import re
from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

from nurture.store.core.columns import Id, Instant

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_TABLES = {
    "instance": "app_state", "gates": "send_blocks", "pace": "rate_limit", "events": "provider_events",
    "pictures": "images", "edition_pictures": "edition_images", "facts": "setting_overrides", "wordings": "consent_texts",
    "readings": "letter_reviews", "trials": "test_emails", "acts": "bulk_actions", "act_people": "bulk_action_targets",
    "imports": "csv_imports",
}  # fmt: skip
_COLUMNS = {
    "subscribers": {
        "email_bidx": "email_index", "email_sealed": "email_encrypted", "first_name_sealed": "first_name_encrypted",
    },
    "consents": {"evidence_sealed": "evidence_encrypted"},
    "suppressions": {"email_bidx": "email_index"},
    "sign_ups": {
        "email_bidx": "email_index", "email_sealed": "email_encrypted", "first_name_sealed": "first_name_encrypted",
    },
    "link_requests": {"email_bidx": "email_index"},
    "consultations": {"email_bidx": "email_index", "details_sealed": "details_encrypted"},
    "enrollments": {"why": "reason"},
    "deliveries": {"email_bidx": "email_index", "sent_at": "marked_at"},
    "delivery_history": {"by": "actor", "why": "reason"},
    "provider_events": {"twin": "dedup_key"},
    "send_blocks": {"shut_at": "blocked_at", "why": "reason", "by": "actor"},
    "edition_images": {"picture_id": "image_id"},
    "users": {
        "email_bidx": "email_index", "email_sealed": "email_encrypted", "name_sealed": "name_encrypted",
        "totp_sealed": "totp_encrypted",
    },
    "passkeys": {"name_sealed": "name_encrypted"},
    "login_attempts": {"email_bidx": "bucket"},
    "account_changes": {"email_sealed": "email_encrypted"},
    "desk_sessions": {"half": "mfa_pending", "proved_at": "reauthenticated_at"},
    "setting_overrides": {"sealed": "value_encrypted"},
    "letter_reviews": {"read_at": "reviewed_at", "read_by": "reviewed_by"},
    "notes": {"text_sealed": "text_encrypted"},
    "test_emails": {"content_sealed": "content_encrypted"},
    "bulk_actions": {"act": "action"},
    "bulk_action_targets": {"act_id": "bulk_action_id"},
    "csv_imports": {"content_sealed": "content_encrypted", "report_sealed": "report_encrypted"},
}  # fmt: skip
"""By the new names of their tables."""
_NAMED = {"email_bidx": "email_index", "twin": "dedup_key", "picture_id": "image_id", "act_id": "bulk_action_id"}
"""The columns after which constraints and indexes are named."""
_KEYS = {"live": "launched_at", "facts_version": "setting_overrides_version"}
_SETTINGS = {"colour": "color", "practice_licence": "practice_license"}
_SUBJECTS = (
    ("consultation", "consultation_id", "consultations"),
    ("login_link", "login_link_id", "login_links"),
    ("test_email", "test_email_id", "test_emails"),
    ("account_change", "account_change_id", "account_changes"),
)
"""What a mail may be about: the word of the version before, the foreign key, the table."""
_OLD_CHECKS = {
    "kind_known": "kind IN ('letter', 'confirmation', 'already_subscribed', 'notice')",
    "notice_has_no_reader": "(kind = 'notice') = (subscriber_id IS NULL)",
}
_NEW_CHECKS = {
    "kind_known": "kind IN ('letter', 'confirmation', 'already_subscribed', 'consultation_question', 'notice', 'login_link', "
    "'test_email', 'account_change')",
    "mail_to_desk_has_no_subscriber": "(kind IN ('notice', 'login_link', 'test_email', 'account_change')) = "
    "(subscriber_id IS NULL)",
}
_deliveries = sa.table("deliveries", *(sa.column(name) for name in (
    "id", "kind", "about_id", "about_kind", *(column for _, column, _ in _SUBJECTS),
)))  # fmt: skip
_state = sa.table("app_state", sa.column("key"), sa.column("value"))
_overrides = sa.table("setting_overrides", sa.column("name"))
D = _deliveries.c


def upgrade() -> None:
    """Rename, and say of each mail by a foreign key what it is about. A mail about something that is gone has none, and is
    cancelled when its turn comes.
    """
    _be_patient()
    op.drop_table("send_requests")
    for old, new in _TABLES.items():
        op.rename_table(old, new)
    for table, columns in _COLUMNS.items():
        for old, new in columns.items():
            _rename_column(table, old, new)
    _rename_constraints(_TABLES, _NAMED)
    for old, new in _KEYS.items():
        op.execute(sa.update(_state).where(_state.c.key == old).values(key=new))
    for old, new in _SETTINGS.items():
        op.execute(sa.update(_overrides).where(_overrides.c.name == old).values(name=new))
    for _, column, table in _SUBJECTS:
        _add_foreign_key(column, table)
    _change_checks(_OLD_CHECKS, _NEW_CHECKS, _tell_subjects_apart)
    op.drop_index("ix_deliveries_about_id", "deliveries")
    op.drop_column("deliveries", "about_kind")
    op.drop_column("deliveries", "about_id")


def _tell_subjects_apart() -> None:
    for word, column, table in _SUBJECTS:
        there = sa.select(sa.table(table, sa.column("id")).c.id)
        said = sa.or_(D.about_kind == word, D.about_kind.is_(None))
        op.execute(sa.update(_deliveries).where(said, D.about_id.in_(there)).values({column: D.about_id}))
    for word, column, _ in _SUBJECTS:
        old, new = ("already_subscribed", "consultation_question") if word == "consultation" else ("notice", word)
        its = sa.or_(D.about_kind == word, sa.column(column).is_not(None))
        op.execute(sa.update(_deliveries).where(D.kind == old, its).values(kind=new))


def downgrade() -> None:
    """Rename back. A mail about something that is gone is about an id that nothing has, so that it is cancelled there too."""
    _be_patient()
    op.add_column("deliveries", sa.Column("about_id", Id(), nullable=True))
    op.add_column("deliveries", sa.Column("about_kind", sa.String(24), nullable=True))
    _change_checks(_NEW_CHECKS, _OLD_CHECKS, _tell_subjects_as_before)
    about = sa.text("about_id IS NOT NULL")
    op.create_index("ix_deliveries_about_id", "deliveries", ["about_id"], sqlite_where=about, postgresql_where=about)
    for _, column, table in _SUBJECTS:
        _drop_foreign_key(column, table)
    for old, new in _KEYS.items():
        op.execute(sa.update(_state).where(_state.c.key == new).values(key=old))
    for old, new in _SETTINGS.items():
        op.execute(sa.update(_overrides).where(_overrides.c.name == new).values(name=old))
    for table, columns in _COLUMNS.items():
        for old, new in columns.items():
            _rename_column(table, new, old)
    for old, new in _TABLES.items():
        op.rename_table(new, old)
    _rename_constraints({new: old for old, new in _TABLES.items()}, {new: old for old, new in _NAMED.items()})
    op.create_table(
        "send_requests",
        sa.Column("id", Id(), nullable=False),
        sa.Column("batch_id", Id(), nullable=False),
        sa.Column("owner", sa.String(120), nullable=False),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.Column("sending_at", Instant(), nullable=False),
        sa.Column("deadline_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_send_requests")),
    )
    op.create_index("ix_send_requests_sending_at", "send_requests", ["sending_at"])


def _tell_subjects_as_before() -> None:
    kinds = {"notice": "consultation", "consultation_question": "consultation"} | {word: word for word, _, _ in _SUBJECTS[1:]}
    about: sa.ColumnElement[str] = sa.func.coalesce(*(sa.column(column) for _, column, _ in _SUBJECTS), D.id)
    words = sa.case(*((D.kind == kind, word) for kind, word in kinds.items() if word != "account_change"))
    op.execute(sa.update(_deliveries).where(D.kind.in_(kinds)).values(about_id=about, about_kind=words))
    op.execute(sa.update(_deliveries).where(D.kind == "consultation_question").values(kind="already_subscribed"))
    to_desk = [word for word, _, _ in _SUBJECTS[1:]]
    op.execute(sa.update(_deliveries).where(D.kind.in_(to_desk)).values(kind="notice"))


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _be_patient() -> None:
    if not _is_sqlite():
        op.execute("SET LOCAL statement_timeout TO 0")  # a foreign key is checked against every row of a large ledger


def _rename_column(table: str, old: str, new: str) -> None:
    op.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{old}" TO "{new}"')  # both databases change what names it as well


def _reference(column: str, table: str) -> str:
    return f"CONSTRAINT fk_deliveries_{column} FOREIGN KEY({column}) REFERENCES {table} (id) ON DELETE SET NULL"


def _add_foreign_key(column: str, table: str) -> None:
    op.add_column("deliveries", sa.Column(column, Id(), nullable=True))
    if _is_sqlite():
        _rewrite_tables(lambda sql: f"{sql[:-1]}, {_reference(column, table)})", "deliveries")
    else:
        op.execute(f"ALTER TABLE deliveries ADD {_reference(column, table)}")
    there = sa.text(f"{column} IS NOT NULL")
    op.create_index(f"ix_deliveries_{column}", "deliveries", [column], sqlite_where=there, postgresql_where=there)


def _drop_foreign_key(column: str, table: str) -> None:
    op.drop_index(f"ix_deliveries_{column}", "deliveries")
    if _is_sqlite():  # which drops no column that refers to another table
        _rewrite_tables(lambda sql: sql.replace(f", {_reference(column, table)}", ""), "deliveries")
    op.drop_column("deliveries", column)


def _change_checks(before: dict[str, str], after: dict[str, str], change_rows: Callable[[], None]) -> None:
    """Replace conditions on the rows of deliveries, and change the rows while none is in force."""
    if not _is_sqlite():
        for name in before:
            op.execute(f"ALTER TABLE deliveries DROP CONSTRAINT ck_deliveries_{name}")
        change_rows()
        for name, condition in after.items():
            op.execute(f"ALTER TABLE deliveries ADD CONSTRAINT ck_deliveries_{name} CHECK ({condition})")
        return
    for old, (name, condition) in zip(before, after.items(), strict=True):
        _replace_check(old, before[old], name, f"1 OR {condition}")
    change_rows()
    for name, condition in after.items():
        _replace_check(name, f"1 OR {condition}", name, condition)


def _replace_check(old: str, before: str, name: str, after: str) -> None:
    there = f"CONSTRAINT ck_deliveries_{old} CHECK ({before})"
    if there not in op.get_bind().scalar(sa.text("SELECT sql FROM sqlite_master WHERE name = 'deliveries'")):
        raise RuntimeError(f"the table deliveries has no {there}")
    _rewrite_tables(lambda sql: sql.replace(there, f"CONSTRAINT ck_deliveries_{name} CHECK ({after})"), "deliveries")


def _rewrite_tables(change: Callable[[str], str], only: str = "%") -> None:
    """Change the definitions of SQLite's tables where that changes nothing of how rows are stored: names of constraints, and
    conditions that all rows meet (sqlite.org, "ALTER TABLE", section 7).
    """
    db = op.get_bind()
    version = db.scalar(sa.text("PRAGMA schema_version"))
    db.execute(sa.text("PRAGMA writable_schema = ON"))
    tables = sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql <> '' AND name LIKE :only")
    for name, sql in db.execute(tables, {"only": only}).all():
        if change(sql) != sql:
            db.execute(
                sa.text("UPDATE sqlite_master SET sql = :sql WHERE type = 'table' AND name = :name"),
                {"sql": change(sql), "name": name},
            )
    db.execute(sa.text(f"PRAGMA schema_version = {version + 1}"))  # so that every connection reads them again
    db.execute(sa.text("PRAGMA writable_schema = OFF"))


def _rename_constraints(tables: dict[str, str], columns: dict[str, str]) -> None:
    """Let constraints, indexes and counters have the names that their tables and columns have by now."""

    def renamed(name: str) -> str:
        for old, new in tables.items():
            name = re.sub(rf"^(pk|fk|uq|ck|ix)_{old}(?=_|$)", rf"\1_{new}", name)
        for old, new in columns.items():
            name = re.sub(rf"_{old}$", f"_{new}", name)
        return name

    db = op.get_bind()
    if _is_sqlite():
        _rewrite_tables(lambda sql: re.sub(r"(?<=\bCONSTRAINT )\w+", lambda found: renamed(found[0]), sql))
        for name, sql in db.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''")).all():
            if renamed(name) != name:
                op.execute(f"DROP INDEX {name}")
                op.execute(re.sub(rf"\b{name}\b", renamed(name), sql, count=1))
        return
    of_tables = sa.text(
        "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE connamespace = current_schema()::regnamespace "
        "AND conrelid <> 0 AND contype <> 'n'"
    )
    for table, name in db.execute(of_tables).all():
        if renamed(name) != name:
            op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO {renamed(name)}")
    for name in db.scalars(sa.text("SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()")).all():
        if renamed(name) != name:
            op.execute(f"ALTER INDEX {name} RENAME TO {renamed(name)}")
    for old, new in tables.items():
        op.execute(f"ALTER SEQUENCE IF EXISTS {old}_id_seq RENAME TO {new}_id_seq")
