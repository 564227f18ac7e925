"""What becomes of sign-ups: a confirmation, a line that one is on the list already, or nothing. And the breaker: when more
confirmations are asked for than usual, or hardly anybody answers them, they wait until a person lets them go on.
"""

import json
import time
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.plan import plan_requested
from nurture.delivery.safety_checks import check
from nurture.domain.delivery import DeliveryKind
from nurture.domain.limits import (
    ALREADY_SUBSCRIBED,
    CONFIRMATION,
    LOOK_BACK,
    SETTLED_AFTER,
    Suspicion,
    Trip,
    check_share,
    confirmations_in_all,
)
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.encryption import DecryptionFailed
from nurture.ids import DeliveryId, SubscriberId, new_id
from nurture.runtime import Runtime
from nurture.services import limits
from nurture.services.addresses import Address, parse_address
from nurture.store.deliveries.ledger import NewDelivery
from nurture.store.state import app_state
from nurture.store.state import limits as counters
from nurture.store.subscribers import sign_ups, subscribers
from nurture.store.subscribers.sign_ups import StoredSignUp
from nurture.store.subscribers.subscribers import Subscriber

_log = log.get(__name__)

MOST_AT_ONCE = 50
"""Sign-ups decided in one run. Runs are seconds apart, so thousands at once are decided over minutes, and meanwhile neither
pages nor further sign-ups wait for the database."""
_TRIPPED, _WENT_ON = "confirmations_wait", "confirmations_went_on"


@dataclass(frozen=True)
class ConfirmationsOnHold:
    """Confirmations wait for a person."""

    why: Trip
    since: datetime
    count: int
    """Sign-ups that have not been decided on."""


class _Tripped(Exception):
    """Confirmations have to wait; nothing of this sign-up is written."""

    def __init__(self, why: Trip) -> None:
        self.why = why


@dataclass(frozen=True)
class _Breaker:
    """What the breaker goes by, as it is when a run begins: neither changes much within one."""

    went_on: datetime | None
    """When a person last let confirmations go on."""
    too_few: Trip | None
    """Whether too few confirm."""


def decide_on_sign_ups(rt: Runtime, rest: float = 0.0) -> int:
    """Decide on the sign-ups that wait, oldest first; returns how many. In any number of processes, each is decided once.

    `rest`: how many times as long as a decision takes to rest after it, so that visitors wait for none of them.
    """
    with rt.database.read() as db:
        if not sign_ups.has_waiting(db) or app_state.get(db, _TRIPPED) is not None:
            return 0
        breaker = _read_breaker(db, rt.clock.now())
    if not check(rt):  # a clock that jumped has ended every window
        return 0
    decided = 0
    while decided < MOST_AT_ONCE and not rt.stopping.is_set():
        began = time.monotonic()
        try:
            with rt.database.begin() as db:
                if app_state.get(db, _TRIPPED) is not None:
                    break
                waiting = sign_ups.take_waiting(db)
                if waiting is None:
                    break
                outcome = _decide(rt, db, waiting, breaker, rt.clock.now())
        except _Tripped as tripped:
            _trip(rt, tripped.why)
            break
        _log.info("sign_up", outcome=outcome)
        decided += 1
        rt.stopping.wait(rest * (time.monotonic() - began))
    return decided


def _read_breaker(db: Connection, now: datetime) -> _Breaker:
    went_on = _went_on(db)
    since = now - LOOK_BACK if went_on is None else max(went_on, now - LOOK_BACK)
    return _Breaker(went_on, check_share(*sign_ups.count_answers(db, since, now - SETTLED_AFTER)))


def _decide(rt: Runtime, db: Connection, waiting: StoredSignUp, breaker: _Breaker, now: datetime) -> str:
    """Raises _Tripped."""
    try:
        address = parse_address(rt.cipher.decrypt(waiting.email, sign_ups.email_field(waiting.id)), test_names=True)
        fresh = _pending(rt, waiting, address)
    except DecryptionFailed:  # its key is gone
        sign_ups.remove(db, waiting.id)
        return "unreadable"
    known = subscribers.find(db, waiting.email_index)
    if waiting.suspicion is Suspicion.HONEYPOT:
        outcome = "honeypot"
    elif known is not None and known.state in (SubscriberState.ACTIVE, SubscriberState.PAUSED):
        outcome = "known"
        if limits.count_all(rt, db, [(ALREADY_SUBSCRIBED, limits.mailbox(address))], now):
            told = NewDelivery(DeliveryKind.ALREADY_SUBSCRIBED, now, known.id, known.email_index)
            plan_requested(db, told, waiting.at, now, rt.clock.real_now())
    elif subscribers.suppression(db, waiting.email_index) in (Suppression.BOUNCED, Suppression.COMPLAINED):
        outcome = "suppressed"
    elif not limits.count_all(rt, db, [(CONFIRMATION, limits.mailbox(address))], now):
        outcome = "asked before"
    else:
        _ask(rt, db, waiting, fresh, breaker, now)
        return "asked"
    sign_ups.remove(db, waiting.id)
    return outcome


def _pending(rt: Runtime, waiting: StoredSignUp, address: Address) -> Subscriber:
    """Somebody new, as a sign-up describes them."""
    who = SubscriberId(new_id())
    name = None
    if waiting.first_name is not None:
        opened = rt.cipher.decrypt(waiting.first_name, sign_ups.first_name_field(waiting.id))
        name = rt.cipher.encrypt(opened, subscribers.first_name_field(who))
    email = rt.cipher.encrypt(address.send_to, subscribers.email_field(who))
    return Subscriber(
        who,
        waiting.email_index,
        email,
        name,
        waiting.time_zone,
        SubscriberState.PENDING,
        plain_sender=waiting.plain_sender or None,
    )


def _ask(rt: Runtime, db: Connection, waiting: StoredSignUp, fresh: Subscriber, breaker: _Breaker, now: datetime) -> None:
    """Plan a confirmation. Raises _Tripped."""
    person = fresh
    if not subscribers.add(db, fresh, now):
        person = subscribers.find(db, waiting.email_index) or fresh
        subscribers.ask_again(db, person.id, waiting.plain_sender, now)
    subscribers.record_consent(db, person.id, "given", waiting.wording, waiting.wording_version, waiting.source, waiting.at)
    confirmation = NewDelivery(DeliveryKind.CONFIRMATION, now, person.id, person.email_index, id=DeliveryId(waiting.id))
    plan_requested(db, confirmation, waiting.at, now, rt.clock.real_now())
    sign_ups.note_asked(db, waiting.id, now)
    _count(rt, db, waiting, breaker, now)  # last: every process comes to this counter, and keeps it until the transaction ends


def _count(rt: Runtime, db: Connection, waiting: StoredSignUp, breaker: _Breaker, now: datetime) -> None:
    """Count a confirmation toward the breaker; what waited when a person let it go on is not counted. Raises _Tripped."""
    if breaker.went_on is not None and waiting.at <= breaker.went_on:
        return
    if breaker.too_few is not None:
        raise _Tripped(breaker.too_few)
    limit = confirmations_in_all(rt.settings.confirmations_per_hour)
    if not counters.count_all(db, [(limit, limits.key_of(rt, limit, limits.EVERYBODY))], now, waiting.suspicion.weight):
        raise _Tripped(Trip.RATE)


def _went_on(db: Connection) -> datetime | None:
    said = app_state.get(db, _WENT_ON)
    return datetime.fromisoformat(said) if said else None


def _trip(rt: Runtime, why: Trip) -> None:
    now = rt.clock.now()
    mine = json.dumps({"why": why, "since": now.isoformat()})
    with rt.database.begin() as db:
        is_first = app_state.get_or_set(db, _TRIPPED, mine) == mine
    if is_first:
        _log.warning("confirmations_wait", reason=why.value)


def on_hold(rt: Runtime, db: Connection) -> ConfirmationsOnHold | None:
    """Whether confirmations wait for a person."""
    said = app_state.get(db, _TRIPPED)
    if said is None:
        return None
    told = json.loads(said)
    return ConfirmationsOnHold(Trip(told["why"]), datetime.fromisoformat(told["since"]), sign_ups.count_waiting(db))


def are_on_hold(rt: Runtime) -> bool:
    """Whether confirmations wait for a person, for pages that visitors see."""
    with rt.database.read_once() as db:
        return app_state.get(db, _TRIPPED) is not None


def resume(rt: Runtime, drop: bool = False) -> None:
    """Let confirmations go on, and count anew from now. `drop`: without the sign-ups that wait, which are deleted."""
    now = rt.clock.now()
    with rt.database.begin() as db:
        app_state.set_value(db, _WENT_ON, now.isoformat())
        app_state.remove(db, _TRIPPED)
        dropped = sign_ups.remove_waiting(db) if drop else 0
        limits.forget(rt, db, [confirmations_in_all(rt.settings.confirmations_per_hour)], limits.EVERYBODY)
    _log.info("confirmations_went_on", count=dropped)
