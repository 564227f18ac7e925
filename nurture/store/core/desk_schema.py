"""Tables of the desk: accounts, its settings, and what is noted of people. Real time throughout."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from nurture.domain.passkey import PasskeyUse
from nurture.domain.user import AccountChange, Role, Scope
from nurture.store.core.columns import EncryptedColumn, Id, Instant, Word
from nurture.store.core.metadata import SERIAL, metadata, one_of

users = Table(
    "users", metadata,
    Column("id", Id, primary_key=True),
    Column("email_index", LargeBinary(32), unique=True),
    Column("email_encrypted", EncryptedColumn),
    Column("name_encrypted", EncryptedColumn),
    Column("role", Word(Role), nullable=False),
    Column("password", String(200)),
    Column("totp_encrypted", EncryptedColumn),
    Column("totp_step", BigInteger),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant),
    one_of("role", Role),
)  # fmt: skip
"""Who may use the desk. The first owner comes by the link that `nurture serve` prints and has no address yet. `password`:
argon2id; `totp_encrypted`: the secret of their app, empty until it has shown a right code; `totp_step`: the last 30 seconds
whose code was used, so that none works twice. Real time."""

recovery_codes = Table(
    "recovery_codes", metadata,
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("code", LargeBinary(32), primary_key=True),
    Column("used_at", Instant),
)  # fmt: skip
"""Keyed hashes of the codes that stand in for a lost telephone, each once."""

passkeys = Table(
    "passkeys", metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("credential", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("backed_up", Boolean, nullable=False),
    Column("name_encrypted", EncryptedColumn, nullable=False),
    Column("added_at", Instant, nullable=False),
    Column("used_at", Instant),
    Index("ix_passkeys_user_id", "user_id"),  # whether an account has some
)  # fmt: skip
"""Passkeys of accounts. `credential`: the id by which browser and device know it, at most 1,023 bytes; `public_key`: in COSE;
`sign_count`: how often it was used, as the device said last, or 0 if it does not count; `backed_up`: whether it is kept in
more than one place; the name is what its owner calls it. The handle by which a device knows the account is a keyed hash of the
account's id, and is stored nowhere. Real time."""

passkey_challenges = Table(
    "passkey_challenges", metadata,
    Column("holder", Id, primary_key=True),
    Column("use", Word(PasskeyUse), nullable=False),
    Column("challenge", LargeBinary(32), nullable=False),
    Column("made_at", Instant, nullable=False),
    Index("ix_passkey_challenges_made_at", "made_at"),  # retention
)  # fmt: skip
"""What a browser was asked to sign, until it answers: one at a time for each `holder`, a session, or a browser at the log-in by
the random id in its cookie. Real time."""

login_attempts = Table(
    "login_attempts", metadata,
    Column("bucket", LargeBinary(32), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("wait_until", Instant),
)  # fmt: skip
"""Tries of passwords and codes that have not been forgiven. `bucket`: a keyed hash of what is counted: tries for an account, by
a client network, on a device that has logged in before. Real time."""

security_events = Table(
    "security_events", metadata,
    Column("id", SERIAL, primary_key=True),
    Column("user_id", Id),
    Column("kind", String(40), nullable=False),
    Column("at", Instant, nullable=False),
    Column("times", Integer, nullable=False, server_default=text("1")),
    Index("ix_security_events_at", "at"),  # retention, counting again within the hour
    sqlite_autoincrement=True,
)  # fmt: skip
"""What happened to accounts, for their owner to look at. No address. `times`: how often, within an hour of `at`, for what
strangers can cause at will. Real time."""

known_devices = Table(
    "known_devices", metadata,
    Column("device", LargeBinary(32), primary_key=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("seen_at", Instant, nullable=False),
    Index("ix_known_devices_user_id", "user_id"),  # all are forgotten when a password changes
    Index("ix_known_devices_seen_at", "seen_at"),  # retention
)  # fmt: skip
"""Browsers in which an account has logged in completely: keyed hashes of the random id in their cookie. Real time."""

account_changes = Table(
    "account_changes", metadata,
    Column("id", Id, primary_key=True),
    Column("what", Word(AccountChange), nullable=False),
    Column("email_encrypted", EncryptedColumn, nullable=False),
    Column("made_at", Instant, nullable=False),
    Index("ix_account_changes_made_at", "made_at"),  # retention
)  # fmt: skip
"""Changes of how somebody logs in, and the address they had before: a notice of the ledger is about one, and goes there also
when the account has another address by then, or is gone. Real time."""

api_keys = Table(
    "api_keys", metadata,
    Column("id", Id, primary_key=True),
    Column("label", String(80), nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False, unique=True),
    Column("scope", Word(Scope), nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("made_by", Id, nullable=False),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
    one_of("scope", Scope),
)  # fmt: skip
"""Keys with which programs prove who they are. Of the secret only a keyed hash is here, and the beginning that tells keys
apart. Real time."""

setting_overrides = Table(
    "setting_overrides", metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
    Column("value_encrypted", EncryptedColumn),
    Column("set_at", Instant, nullable=False),
    Column("set_by", Id),
)  # fmt: skip
"""What the desk's settings say; a name that is missing is as the environment says. Secrets are sealed. Real time."""

consent_texts = Table(
    "consent_texts", metadata,
    Column("version", String(20), primary_key=True),
    Column("text", Text, nullable=False),
    Column("written_at", Instant, nullable=False),
    Column("written_by", Id),
)  # fmt: skip
"""Every wording of the consent that the form has shown, newest by `written_at`. Append-only. Real time."""

letter_reviews = Table(
    "letter_reviews", metadata,
    Column("edition_id", Id, primary_key=True),
    Column("reviewed_at", Instant, nullable=False),
    Column("reviewed_by", Id),
)  # fmt: skip
"""Editions that somebody at the desk says they have read, before the first go out. Real time."""

notes = Table(
    "notes", metadata,
    Column("id", Id, primary_key=True),
    Column("subscriber_id", Id, ForeignKey("subscribers.id", ondelete="CASCADE"), nullable=False),
    Column("text_encrypted", EncryptedColumn, nullable=False),
    Column("written_at", Instant, nullable=False),
    Column("written_by", Id),
    Index("ix_notes_subscriber_id", "subscriber_id"),  # a person's page, erasure
)  # fmt: skip
"""What the therapist noted of a person. Real time."""

tags = Table(
    "tags", metadata,
    Column("subscriber_id", Id, ForeignKey("subscribers.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", String(40), primary_key=True),
    Index("ix_tags_tag", "tag"),  # the list of people, by tag
)  # fmt: skip
"""Words by which the therapist groups people. They must name nobody and no illness; the desk says so."""

test_emails = Table(
    "test_emails", metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("subject", Text, nullable=False),
    Column("html", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("mailer", String(20)),
    Column("edition_id", Id),
    Column("subscriber_id", Id),
    Column("content_encrypted", EncryptedColumn),
    Index("ix_test_emails_made_at", "made_at"),  # retention
)  # fmt: skip
"""Mails that somebody at the desk sends to themselves, filled for a sample reader, or for the subscriber whom they imitate. A
notice of the ledger is about one. What they say is sealed; `subject`, `html` and `text` hold what an older version wrote.
`mailer`: what carried mail when it was asked for; `edition_id`: the edition it shows, if it is a published one. Real time."""

login_links = Table(
    "login_links", metadata,
    Column("id", Id, primary_key=True),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE")),
)  # fmt: skip

desk_sessions = Table(
    "desk_sessions", metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE")),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("reauthenticated_at", Instant),
    Column("mfa_pending", Boolean, nullable=False, server_default=text("false")),
    Column("device", String(60)),
    Index("ix_desk_sessions_user_id", "user_id"),  # all end when a password changes
)  # fmt: skip
"""Sessions of the desk, kept by the server. `mfa_pending`: the second factor is still to come;
`reauthenticated_at`: when they last showed who they are, for what asks for it again; `device`: browser and system in words,
empty for sessions of before. Real time."""

bulk_actions = Table(
    "bulk_actions", metadata,
    Column("id", Id, primary_key=True),
    Column("action", String(16), nullable=False),
    Column("detail", String(40), nullable=False),
    Column("people", Integer, nullable=False),
    Column("done_at", Instant, nullable=False),
    Column("done_by", Id),
    Column("undone_at", Instant),
    Index("ix_bulk_actions_done_at", "done_at"),  # retention
)  # fmt: skip
"""One thing done to many people at once; `detail` is the tag, if it is about one. Real time."""

bulk_action_targets = Table(
    "bulk_action_targets", metadata,
    Column("bulk_action_id", Id, ForeignKey("bulk_actions.id", ondelete="CASCADE"), primary_key=True),
    Column("target_id", Id, primary_key=True),
)  # fmt: skip
"""To whom exactly, so that undoing touches nobody else: enrollments, or subscribers where the act is about a tag."""

csv_imports = Table(
    "csv_imports", metadata,
    Column("id", Id, primary_key=True),
    Column("made_at", Instant, nullable=False),
    Column("made_by", Id),
    Column("content_encrypted", EncryptedColumn, nullable=False),
    Column("choices", Text, nullable=False),
    Column("counts", Text),
    Column("report_encrypted", EncryptedColumn),
    Index("ix_csv_imports_made_at", "made_at"),  # retention
)  # fmt: skip
"""A file of people to add, on its way: kept for a day. `choices` and `counts` are JSON and hold nothing personal. Real time."""
