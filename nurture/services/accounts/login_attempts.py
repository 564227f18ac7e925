"""Every check of a password or a code is counted before it is judged, and slowed after a few that were wrong.

Tries on a device on which the account has logged in before are counted for that device alone (OWASP, "Device cookies"): a
stranger who types wrong passwords all day makes every other device wait, and not this one. All other tries fall into two
buckets: one of the account, known or not, and one of the client's network, which catches whoever tries many accounts.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection

from nurture.domain.client import Client
from nurture.domain.user import FREE_TRIES, FREE_TRIES_OF_NETWORK, wait_after
from nurture.errors import NurtureError
from nurture.ids import UserId, new_id
from nurture.runtime import Runtime
from nurture.services.accounts.security_events import note
from nurture.store.accounts import login_attempts
from nurture.store.accounts.login_attempts import DEVICES_KEPT as DEVICES_KEPT
from nurture.tokens import Purpose, TokenRefused


class TooManyAttempts(NurtureError):
    """A try was not judged, because of those before it; the message says how long to wait."""


class Check(StrEnum):
    """What is tried; each is counted for itself."""

    LOG_IN = "log-in"
    CODE = "second proof"
    AGAIN = "password again"
    PASSKEY = "passkey"


_LINK_HELPS = " You can also ask for a log-in link by e-mail."


class Attempts:
    """The tries that one more by `client` belongs to. `whose`: an account's id, or the blind index of an address in hex."""

    def __init__(self, rt: Runtime, db: Connection, check: Check, whose: str, user_id: UserId | None, client: Client) -> None:
        """Find out which buckets count; `user_id`: the account, if there is one."""
        device = device_hash(rt, client.device) if client.device else None
        self.check, self.who = check, user_id
        self.is_known = bool(device and user_id and login_attempts.is_known(db, device, user_id))
        name = f"{check}|{whose}|{client.device}" if self.is_known else f"{check}|{whose}"
        self.own = rt.cipher.keyed_hash("tries of device" if self.is_known else "tries of account", name)
        of_network = rt.cipher.keyed_hash("tries of network", client.network)
        self.network = of_network if client.network and not self.is_known else None

    @property
    def buckets(self) -> dict[bytes, int]:
        """Each with how many tries are free."""
        network = {self.network: FREE_TRIES_OF_NETWORK} if self.network else {}
        return {self.own: FREE_TRIES, **network}


def count(rt: Runtime, check: Check, whose: str, user_id: UserId | None, client: Client) -> Attempts:
    """Count a try that is about to be judged. Raises TooManyAttempts while earlier ones make it wait; which is not counted."""
    real_now = rt.clock.real_now()
    with rt.database.read() as db:
        found = Attempts(rt, db, check, whose, user_id, client)
        until = login_attempts.waits_until(db, found.buckets, real_now)
    until = until or _count(rt, found, real_now)
    if until is not None:
        helps = _LINK_HELPS if check in (Check.LOG_IN, Check.PASSKEY) else ""
        raise TooManyAttempts(f"There were too many tries. Please wait {_in_words(until - real_now)} before the next.{helps}")
    return found


def _count(rt: Runtime, found: Attempts, real_now: datetime) -> datetime | None:
    """Count it in every bucket; returns until when one of them waits, if somebody has made it wait at the same moment."""
    waits = [real_now]
    with rt.database.begin() as db:
        for bucket, free in sorted(found.buckets.items()):
            failures, until = login_attempts.count(db, bucket, real_now)
            waits.append(until or real_now)
            pause = wait_after(failures, free)
            if pause and max(waits) <= real_now:
                login_attempts.wait(db, bucket, real_now + pause)
                note(rt, db, found.who, "log_in_slowed")
    return max(waits) if max(waits) > real_now else None


def note_success(db: Connection, found: Attempts) -> None:
    """The try was right, and completes what it was for: forget those before it. Those of a network stay, but for this one."""
    forgive(db, found)
    give_back(db, found)


def forgive(db: Connection, found: Attempts) -> None:
    """Forget the tries of this account, or of this known device."""
    login_attempts.forgive(db, found.own)


def give_back(db: Connection, found: Attempts) -> None:
    """The try was right, but more is to come: only the network's count is as if it had not been."""
    if found.network:
        login_attempts.give_back(db, found.network)


def _in_words(wait: timedelta) -> str:
    minutes = -(-int(wait.total_seconds()) // 60)
    return "a minute" if minutes <= 1 else f"{minutes} minutes"


def device_hash(rt: Runtime, device: str) -> bytes:
    """What is stored instead of a device's id."""
    return rt.cipher.keyed_hash("desk device", device)


def device_of(rt: Runtime, cookie: str) -> str:
    """The id in a device's cookie; empty if it is none of ours, or too old."""
    try:
        return rt.tokens.read(Purpose.DESK_DEVICE, cookie, rt.clock.real_now())
    except TokenRefused:
        return ""


def remember_device(rt: Runtime, user_id: UserId, device: str) -> str:
    """Note that an account has logged in completely on a device (empty: a new one); returns the cookie by which it is known."""
    real_now, device = rt.clock.real_now(), device or new_id()
    with rt.database.begin() as db:
        login_attempts.remember_device(db, device_hash(rt, device), user_id, real_now)
    return rt.tokens.mint(Purpose.DESK_DEVICE, device, real_now + DEVICES_KEPT)
