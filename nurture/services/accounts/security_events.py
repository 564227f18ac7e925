"""What happened to accounts: written down, logged, and read by owners, who can leave out what strangers cause at will."""

from datetime import timedelta

from sqlalchemy import Connection

from nurture import log
from nurture.ids import UserId
from nurture.runtime import Runtime
from nurture.store.accounts import security_events
from nurture.store.accounts.security_events import SecurityEvent

_log = log.get(__name__)

KEPT = timedelta(days=400)

REFUSED = frozenset({
    "link_mailed", "link_refused", "link_withheld", "log_in_slowed", "passkey_refused", "password_change_refused",
    "password_refused", "proof_refused", "second_proof_refused",
})  # fmt: skip
"""What somebody without access can cause as often as they like: it is added up by the hour."""
LOG_INS = frozenset({
    "link_made", "logged_in", "logged_in_by_link", "logged_in_by_passkey", "logged_out", "other_sessions_ended",
    "passkey_count_back", "password_right", "proved", "recovery_code_used", "session_ended",
})  # fmt: skip
CHANGES = frozenset({
    "account_added", "account_protected", "account_removed", "account_reset", "api_key_made", "api_key_revoked",
    "mail_settings_changed", "passkey_added", "passkey_removed", "password_changed", "recovery_codes_made", "role_changed",
    "settings_changed", "went_live",
})  # fmt: skip
KINDS = REFUSED | LOG_INS | CHANGES


def note(rt: Runtime, db: Connection, user_id: UserId | None, kind: str) -> None:
    """Write down, and log, what happened to an account. `kind`: one of KINDS."""
    write = security_events.add_up if kind in REFUSED else security_events.add
    write(db, user_id, kind, rt.clock.real_now())
    _log.info("security_event", kind=kind, account=user_id)


def happened(rt: Runtime, kinds: frozenset[str] = KINDS, limit: int = 50, before: int | None = None) -> list[SecurityEvent]:
    """What happened of these kinds, newest first; `before`: only what was written down before the event with this id."""
    with rt.database.read() as db:
        return security_events.newest(db, kinds, limit, before)


def refused_lately(rt: Runtime, days: int) -> int:
    """How many tries were refused in the last `days`."""
    with rt.database.read() as db:
        return security_events.how_often(
            db, REFUSED - {"link_mailed", "link_withheld"}, rt.clock.real_now() - timedelta(days=days)
        )
