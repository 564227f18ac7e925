"""Keys with which programs prove who they are: made, shown once, recognised, taken back."""

import re
import secrets
from dataclasses import dataclass
from datetime import timedelta

from nurture.domain.user import Permission, Scope, allows, covers
from nurture.errors import NurtureError
from nurture.ids import KeyId, UserId, new_id
from nurture.runtime import Runtime
from nurture.services.accounts.security_events import note
from nurture.store.accounts import api_keys, users
from nurture.store.accounts.api_keys import Key

MOST_LABEL, MOST_KEYS = 80, 20
_SECRET = re.compile(r"nurture_[0-9a-f]{6}_[A-Za-z0-9_-]{43}")
"""A beginning by which scanners of published code know it, one by which people tell keys apart, and 256 random bits."""
_SHOWN = len("nurture_123456")
_USED_TO = timedelta(minutes=5)
"""How exactly it is noted when a key was last used, so that a busy program does not write with every request."""


class ApiKeyRefused(NurtureError):
    """A key cannot be made like that. `field`: the form's field it is about."""

    def __init__(self, said: str, field: str = "") -> None:
        """`said`: what is wrong, and what to do."""
        super().__init__(said)
        self.field = field


@dataclass(frozen=True)
class Made:
    """A new key, and its secret, which is nowhere else."""

    key: Key
    secret: str

    def __repr__(self) -> str:
        """Never the secret."""
        return f"Made({self.key.id})"


def make(rt: Runtime, user_id: UserId, label: str, scope: Scope) -> Made:
    """Make a key; its secret is in the answer and nowhere else. Raises ApiKeyRefused."""
    label = " ".join(label.split())
    if not label or len(label) > MOST_LABEL:
        raise ApiKeyRefused(f"Please say in 1 to {MOST_LABEL} characters what the key is for.", "label")
    secret = f"nurture_{secrets.token_hex(3)}_{secrets.token_urlsafe(32)}"
    key = Key(KeyId(new_id()), label, secret[:_SHOWN], scope, rt.clock.real_now(), user_id)
    with rt.database.begin() as db:
        users.lock_accounts(db)  # whoever takes the right to make keys away takes their keys too: not one is made behind that
        account = users.get(db, user_id)
        if account is None or not allows(account.role, Permission.OWN):
            raise ApiKeyRefused("You may not make keys any more.")
        if sum(each.revoked is None for each in api_keys.everything(db)) >= MOST_KEYS:
            raise ApiKeyRefused(f"There are {MOST_KEYS} keys already. Take one back that is not used any more.")
        api_keys.add(db, key, _hash(rt, secret))
        note(rt, db, user_id, "api_key_made")
    return Made(key, secret)


def _hash(rt: Runtime, secret: str) -> bytes:
    return rt.cipher.keyed_hash("api key", secret)


def everything(rt: Runtime) -> list[Key]:
    """All keys, newest first; those that were taken back too, for a year."""
    with rt.database.read() as db:
        return api_keys.everything(db)


def revoke(rt: Runtime, user_id: UserId, key: KeyId) -> bool:
    """Take a key back, at once and for good; False if there is no such living one. `user_id` does it."""
    with rt.database.begin() as db:
        done = api_keys.revoke(db, key, rt.clock.real_now())
        if done:
            note(rt, db, user_id, "api_key_revoked")
    return done


def who(rt: Runtime, bearer: str, scope: Scope = Scope.READ) -> KeyId | None:
    """Whose secret this is, if that key lives and may do what asks for `scope`; None for anything else.

    `bearer`: what stands after `Bearer` in a request (RFC 6750 section 2.1). It is looked up by a keyed hash: how long that
    takes tells nothing about any secret, for nobody without our key can choose what is compared.
    """
    if not _SECRET.fullmatch(bearer):
        return None
    with rt.database.read() as db:
        key = api_keys.living(db, _hash(rt, bearer))
    if key is None or not covers(key.scope, scope):
        return None
    real_now = rt.clock.real_now()
    if key.used is None or real_now - key.used > _USED_TO:
        with rt.database.begin() as db:
            api_keys.touch(db, key.id, real_now)
    return key.id
