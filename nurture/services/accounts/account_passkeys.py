"""The passkeys of one's own account: listed, added, renamed, removed, or all that an account begins with."""

from dataclasses import dataclass
from datetime import datetime

from nurture.domain.passkey import PasskeyUse, Site
from nurture.domain.user import AccountChange
from nurture.ids import UserId, new_id
from nurture.runtime import Runtime
from nurture.services.accounts import passkey_protocol
from nurture.services.accounts.account_changes import tell
from nurture.services.accounts.accounts import Account, AccountRefused, check_name, end_ways_in, known, set_up
from nurture.services.accounts.passkey_protocol import NewCredential, NotProven
from nurture.services.accounts.passkeys import LATE, handle_of, new_challenge, site, take_challenge
from nurture.services.accounts.security_events import note
from nurture.services.addresses import Address
from nurture.store.accounts import passkeys, users
from nurture.store.accounts.passkeys import Passkey

MOST = 20
"""Passkeys of one account."""
MOST_NAME = 60


@dataclass(frozen=True)
class ListedPasskey:
    """A passkey as its owner sees it."""

    id: str
    name: str
    added: datetime
    used: datetime | None
    backed_up: bool

    def __repr__(self) -> str:
        """Never its name."""
        return f"Listed({self.id})"


def of_account(rt: Runtime, user_id: UserId) -> list[ListedPasskey]:
    """The passkeys of an account, oldest first."""
    with rt.database.read() as db:
        found = passkeys.of_account(db, user_id)
    return [
        ListedPasskey(
            each.id, rt.cipher.decrypt(each.name, passkeys.name_field(each.id)), each.added, each.used, each.backed_up
        )
        for each in found
    ]


def ask_new(rt: Runtime, at: Site, account: Account, session: str, email: str = "") -> str:
    """What a browser is to make a new passkey from, as JSON. `email`: as it is about to be, of an account without proofs."""
    with rt.database.begin() as db:
        there = [each.credential for each in passkeys.of_account(db, account.id)]
        challenge = new_challenge(rt, db, session, PasskeyUse.NEW)
    name = email or account.email or "desk"
    return passkey_protocol.creation_options(
        at, challenge, rt.settings.from_name or "Letters", handle_of(rt, account.id), name, account.name or name, there
    )


def _made(rt: Runtime, session: str, sent: str) -> NewCredential:
    """The passkey that a browser has made for this session. Raises AccountRefused. What it was asked for is used up."""
    with rt.database.begin() as db:
        at, challenge = site(rt), take_challenge(rt, db, session, PasskeyUse.NEW)
    if at is None or challenge is None:
        raise AccountRefused(LATE, "passkey")
    try:
        return passkey_protocol.check_new(at, challenge, sent)
    except NotProven as error:
        raise AccountRefused(
            "This passkey could not be checked. Please try once more, or use another device.", "passkey"
        ) from error


def _encrypted(rt: Runtime, user_id: UserId, made: NewCredential, name: str) -> Passkey:
    passkey = new_id()
    sealed = rt.cipher.encrypt(_name(name), passkeys.name_field(passkey))
    return Passkey(passkey, user_id, made.id, made.public_key, made.sign_count, made.backed_up, sealed, rt.clock.real_now())


def _name(given: str) -> str:
    """What to call a passkey. Raises AccountRefused."""
    name = " ".join(given.split()) or "Passkey"
    if len(name) > MOST_NAME:
        raise AccountRefused(f"Please use at most {MOST_NAME} characters.", "name")
    return name


def add(rt: Runtime, user_id: UserId, session: str, name: str, sent: str) -> None:
    """Add the passkey that a browser has made; its owner is told by mail. Raises AccountRefused."""
    new = _encrypted(rt, user_id, _made(rt, session, sent), name)
    with rt.database.begin() as db:
        users.lock_accounts(db)
        before = known(db, user_id)
        if passkeys.count(db, user_id) >= MOST:
            raise AccountRefused(f"An account has at most {MOST} passkeys. Please remove one first.", "passkey")
        if passkeys.by_credential(db, new.credential):
            raise AccountRefused("This passkey was added already.", "passkey")
        passkeys.add(db, new)
        tell(rt, db, before, AccountChange.PASSKEY_ADDED)
        note(rt, db, user_id, "passkey_added")


def protect(rt: Runtime, user_id: UserId, session: str, name: str, address: Address, device: str, sent: str) -> list[str]:
    """Give an account its address and a passkey, and no password; returns the recovery codes, shown this once. `device`: what
    to call the passkey. Raises AccountRefused; nothing is kept then.
    """
    check_name(name)
    new = _encrypted(rt, user_id, _made(rt, session, sent), device)
    with rt.database.begin() as db:
        codes = set_up(rt, db, user_id, session, name, address)
        if passkeys.by_credential(db, new.credential):
            raise AccountRefused("This passkey was added already.", "passkey")
        passkeys.add(db, new)
        note(rt, db, user_id, "passkey_added")
    return codes


def rename(rt: Runtime, user_id: UserId, passkey: str, name: str) -> None:
    """Call a passkey something else. Raises AccountRefused."""
    with rt.database.begin() as db:
        if not passkeys.rename(db, user_id, passkey, rt.cipher.encrypt(_name(name), passkeys.name_field(passkey))):
            raise AccountRefused("This passkey has been removed already.", "passkey")


def remove(rt: Runtime, user_id: UserId, session: str, passkey: str) -> None:
    """Remove a passkey; other sessions end, and its owner is told by mail. Raises AccountRefused, also if nothing else would
    let them in.
    """
    with rt.database.begin() as db:
        users.lock_accounts(db)
        before = known(db, user_id)
        if not before.has_app and passkeys.count(db, user_id) <= 1:
            raise AccountRefused(
                "This is your only way to log in. Add another passkey first, or a password and an app.", "passkey"
            )
        if not passkeys.remove(db, user_id, passkey):
            raise AccountRefused("This passkey has been removed already.", "passkey")
        end_ways_in(rt, db, user_id, but=session)
        tell(rt, db, before, AccountChange.PASSKEY_REMOVED)
        note(rt, db, user_id, "passkey_removed")
