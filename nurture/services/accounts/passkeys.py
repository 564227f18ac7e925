"""Passkeys as a proof of who somebody is: a challenge of ours, signed once, within minutes, by the browser that was asked."""

import secrets
from datetime import timedelta

from sqlalchemy import Connection

from nurture.domain.limits import PASSKEY_NETWORK
from nurture.domain.passkey import PasskeyUse, Site, site_of
from nurture.errors import NurtureError
from nurture.ids import UserId
from nurture.runtime import Runtime
from nurture.services import limits
from nurture.services.accounts import passkey_protocol
from nurture.services.accounts.passkey_protocol import Assertion, NotProven
from nurture.services.accounts.security_events import note
from nurture.store.accounts import passkeys

LASTS = timedelta(minutes=5)
"""How long a challenge waits for its answer."""
_CHALLENGE_BYTES = 32

LATE = "Too much time went by, or the page was open twice. Please press the button once more."
_REFUSED = (
    "This passkey does not work here. It may have been removed from the account, or it belongs to another one. Please log in "
    "another way."
)
_COPIED = (
    "This passkey was not accepted: it was used elsewhere, and may have been copied. Please log in another way, remove it from "
    "your account, and add a new one."
)


class TooManyAsked(NurtureError):
    """One network has asked for more challenges than people need; the message says what to do."""


def site(rt: Runtime) -> Site | None:
    """The site that passkeys of this installation are bound to; None where there can be none."""
    return site_of(rt.settings.base_url)


def handle_of(rt: Runtime, user_id: UserId) -> bytes:
    """By which devices know an account. It says nothing of anybody (WebAuthn section 14.6.1)."""
    return rt.cipher.keyed_hash("passkey account", user_id)


def new_challenge(rt: Runtime, db: Connection, holder: str, use: PasskeyUse) -> bytes:
    """A new challenge for a holder, instead of any before: a session, or a browser at the log-in."""
    challenge, real_now = secrets.token_bytes(_CHALLENGE_BYTES), rt.clock.real_now()
    passkeys.forget_challenges(db, real_now - LASTS)
    passkeys.put_challenge(db, holder, use, challenge, real_now)
    return challenge


def take_challenge(rt: Runtime, db: Connection, holder: str, use: PasskeyUse) -> bytes | None:
    """Use up what a holder was asked to sign; None if they were not asked for this, or too long ago."""
    return passkeys.take_challenge(db, holder, use, rt.clock.real_now() - LASTS)


def ask(rt: Runtime, at: Site, holder: str, use: PasskeyUse, user_id: UserId | None, network: str | None = None) -> str:
    """What a browser is to sign, as JSON. `user_id`: whose passkeys may; None: any that the device has, of
    whoever is about to log in from `network`. Raises TooManyAsked.
    """
    with rt.database.begin() as db:
        allowed = limits.count_all(rt, db, [(PASSKEY_NETWORK, network)], rt.clock.real_now())
        known = [each.credential for each in passkeys.of_account(db, user_id)] if user_id else []
        challenge = new_challenge(rt, db, holder, use) if allowed else b""
    if not allowed:
        raise TooManyAsked("Passkeys were asked for very often from your network. Please log in another way, or in an hour.")
    return passkey_protocol.request_options(at, challenge, known)


def owner_of(rt: Runtime, shown: Assertion | None) -> UserId | None:
    """Whose passkey a browser names; nothing is proved by that."""
    if shown is None:
        return None
    with rt.database.read() as db:
        found = passkeys.by_credential(db, shown.credential)
    return found.user if found else None


def refusal(
    rt: Runtime, db: Connection, holder: str, use: PasskeyUse, user_id: UserId | None, shown: Assertion | None
) -> str | None:
    """Why what a browser sent does not prove that `user_id` is there, in words; None if it does. The challenge is used up."""
    at, challenge = site(rt), take_challenge(rt, db, holder, use)
    found = passkeys.by_credential(db, shown.credential) if shown else None
    if challenge is None:
        return LATE
    if at is None or shown is None or found is None or user_id is None or found.user != user_id:
        return _REFUSED
    if shown.user_handle != handle_of(rt, user_id) and (shown.user_handle is not None or use is PasskeyUse.LOG_IN):
        return _REFUSED
    try:
        proven = passkey_protocol.check_assertion(at, challenge, shown, found.public_key)
    except NotProven:
        return _REFUSED
    if not passkeys.note_use(db, found.id, proven.sign_count, proven.backed_up, rt.clock.real_now()):
        note(rt, db, user_id, "passkey_count_back")
        return _COPIED
    return None
