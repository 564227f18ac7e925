"""Whom not to mail, kept the same here and at SendGrid. Ours is what counts; theirs is a second fence, and a second memory.

`push` tells SendGrid who left and who came back, so that what it still holds is dropped and no other sender of the account
mails them. `pull` reads what reports we may have missed: while our address was down, or before a backup was restored.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.safety_checks import check
from nurture.delivery.suppress import suppress
from nurture.domain.delivery import backoff
from nurture.domain.subscriber import SubscriberState, Suppression, outweighs
from nurture.encryption import DecryptionFailed
from nurture.ids import SubscriberId
from nurture.mailers.sendgrid.lists import ListName, ListRequestRejected, ListsFailed, SuppressionApi, SuppressionEntry
from nurture.runtime import Runtime
from nurture.services.addresses import InputRefused, parse_address
from nurture.store.deliveries import send_blocks
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.state import heartbeats
from nurture.store.subscribers import subscribers, suppression_pushes
from nurture.store.subscribers.suppression_pushes import Push, PushAction

_log = log.get(__name__)

PUSH_SECONDS, PULL_SECONDS = 15, 600
"""How often it is looked whether there is something to tell, and whether it is time to read."""
_AT_ONCE = 100
_LEASE = timedelta(minutes=5)
_UNTELLABLE = timedelta(days=1)
_TOLD_BY_THEN = timedelta(minutes=1)
"""How long after coming back SendGrid may still drop a reader's mail: one round of `push`, and some."""

_EVERY, _AGAIN = timedelta(days=1), timedelta(hours=1)
_OVERLAP, _FIRST = timedelta(hours=48), timedelta(days=30)
_MEANS = {
    ListName.BOUNCES: Suppression.BOUNCED,
    ListName.INVALID_EMAILS: Suppression.BOUNCED,
    ListName.UNSUBSCRIBES: Suppression.UNSUBSCRIBED,
    ListName.SPAM_REPORTS: Suppression.COMPLAINED,
}
_ON_THE_LIST = (SubscriberState.PENDING, SubscriberState.ACTIVE, SubscriberState.PAUSED)


def tell_left(rt: Runtime, db: Connection, subscriber_id: SubscriberId) -> None:
    """Have SendGrid know that a reader left, in the transaction in which they leave."""
    if rt.suppression_api is not None:
        suppression_pushes.enqueue(db, subscriber_id, PushAction.ADD, rt.clock.real_now())


def tell_back(rt: Runtime, db: Connection, subscriber_id: SubscriberId) -> datetime:
    """Have SendGrid know that a reader came back, in the transaction in which they do.

    Returns the instant (timeline) before which nothing should go to them: SendGrid would take the mail and drop it.
    """
    if rt.suppression_api is None:
        return rt.clock.now()
    suppression_pushes.enqueue(db, subscriber_id, PushAction.REMOVE, rt.clock.real_now())
    return rt.clock.now() + rt.clock.stretch(_TOLD_BY_THEN)


@dataclass
class _Telling:
    """What became of some words."""

    told: list[Push] = field(default_factory=list)
    untellable: list[Push] = field(default_factory=list)
    """SendGrid will not take these, whenever they are told."""
    left: list[Push] = field(default_factory=list)
    """Not told, because of `failure` or because this process stops."""
    failure: ListsFailed | None = None


def push(rt: Runtime) -> int:
    """Tell SendGrid what it has not been told yet; returns how many words it took. Safe in many processes at once: a word
    may be told twice, which changes nothing, and is kept until SendGrid has it.

    While the database is under suspicion of having been set back nothing is told: its words may be old ones.
    """
    if rt.suppression_api is None or not check(rt):
        return 0
    count = 0
    while not rt.stopping.is_set():
        real_now = rt.clock.real_now()
        with rt.database.begin() as db:
            words = suppression_pushes.claim(db, real_now, real_now + _LEASE, _AT_ONCE)
        if not words:
            break
        with rt.suppression_api() as lists:
            telling = _tell(rt, lists, words)
        _write_down(rt, telling)
        count += len(telling.told)
        if telling.failure is not None:
            break
    if count:
        _log.info("suppressions_pushed", count=count)
    return count


def _tell(rt: Runtime, lists: SuppressionApi, words: Sequence[Push]) -> _Telling:
    """Who left goes in one request, halved when SendGrid refuses it as a whole; who came back goes one by one."""
    found, addresses = _Telling(), dict[str, str]()
    for word in words:
        try:
            addresses[word.id] = rt.cipher.decrypt(word.email, subscribers.email_field(word.subscriber))
        except DecryptionFailed:
            found.untellable.append(word)
    readable = [word for word in words if word.id in addresses]
    groups = deque([[word] for word in readable if word.act is PushAction.REMOVE])
    groups.appendleft([word for word in readable if word.act is PushAction.ADD])
    while groups:
        group = groups.popleft()
        if found.failure is not None or rt.stopping.is_set():
            found.left += group
            continue
        try:
            if group and group[0].act is PushAction.ADD:
                lists.add([addresses[word.id] for word in group])
            elif group:
                lists.remove(addresses[group[0].id])
            found.told += group
        except ListRequestRejected:
            middle = len(group) // 2
            if middle:
                groups.extendleft((group[middle:], group[:middle]))
            else:
                found.untellable += group
        except ListsFailed as failure:
            found.failure = failure
            found.left += group
    return found


def _write_down(rt: Runtime, telling: _Telling) -> None:
    real_now, failure, wait = rt.clock.real_now(), telling.failure, timedelta()
    if failure is not None:
        chance = random.random()  # noqa: S311 - jitter, not a secret
        wait = max(failure.wait, backoff(max(word.attempt for word in telling.left), chance))
    with rt.database.begin() as db:
        newest = suppression_pushes.done(db, {word.id for word in telling.told})
        suppression_pushes.later(db, {word.id for word in telling.untellable}, real_now + _UNTELLABLE)
        suppression_pushes.later(db, {word.id for word in telling.left}, real_now)
        if failure is not None:  # it would answer the others no better
            suppression_pushes.put_off(db, real_now, real_now + wait)
    for word in telling.told:
        if word.id not in newest:
            _tell_anew(rt, word.subscriber)
    if telling.untellable:
        _log.error(
            "suppression_push_failed",
            reason="SendGrid does not take the address, or it cannot be read",
            count=len(telling.untellable),
            seconds=_UNTELLABLE.total_seconds(),
        )
    if failure is not None:
        _log.warning("suppression_push_failed", reason=failure.why, count=len(telling.left), seconds=wait.total_seconds())


def _tell_anew(rt: Runtime, subscriber_id: SubscriberId) -> None:
    """A newer word about this reader came up while an older one was told. Which of them SendGrid heard last is unknown, so
    the truth is told once more.
    """
    with rt.database.begin() as db:
        person = subscribers.get(db, subscriber_id)
        if person is not None and person.state is not SubscriberState.ERASED:
            gone = subscribers.suppression(db, person.email_index) is not None
            suppression_pushes.enqueue(db, subscriber_id, PushAction.ADD if gone else PushAction.REMOVE, rt.clock.real_now())


@dataclass
class _Reading:
    """What reading the lists came to."""

    entries: int = 0
    stopped: int = 0
    """Readers taken off our list."""
    unreadable: int = 0
    """Entries whose address could not be one of ours."""


def pull(rt: Runtime) -> bool:
    """Once a day over the whole fleet, read SendGrid's lists since the last time and 48 hours before, and stop mail to whom
    they name. Nobody is ever put back on our list by it. A failure is logged; the same span is read again in an hour.

    When the database has been set back it is read at once: SendGrid remembers who left since. Returns whether it was read.
    """
    if rt.suppression_api is None:
        return False
    check(rt)  # nobody may have noticed yet that the database was set back
    span = _turn(rt)
    if span is None:
        return False
    reading = _Reading()
    try:
        with rt.suppression_api() as lists:
            for name, reason in _MEANS.items():
                for entry in lists.suppressed(name, *span):
                    _take(rt, entry, reason, reading)
    except ListsFailed as failed:
        _log.warning("suppression_pull_failed", reason=failed.why, entries=reading.entries, stopped=reading.stopped)
        return False
    with rt.database.begin() as db:
        heartbeats.beat(db, heartbeats.LISTS, span[1])
    _log.info("suppressions_pulled", entries=reading.entries, stopped=reading.stopped, unreadable=reading.unreadable)
    return True


def _turn(rt: Runtime) -> tuple[datetime, datetime] | None:
    """The span to read, if it is time to and this process is to do it."""
    real_now = rt.clock.real_now()
    with rt.database.begin() as db:
        blocks = {block.kind for block in send_blocks.active_blocks(db)}
        mark = heartbeats.last_beat(db, heartbeats.LISTS)
        fresh = mark is not None and timedelta() <= real_now - mark < _EVERY
        if BlockKind.CLOCK in blocks or (fresh and BlockKind.DATABASE_RESTORED not in blocks):
            return None
        if not heartbeats.take_turn(db, heartbeats.LISTS_TURN, real_now, _AGAIN):
            return None
    return real_now - _FIRST if mark is None else min(mark, real_now) - _OVERLAP, real_now


def _take(rt: Runtime, entry: SuppressionEntry, reason: Suppression, reading: _Reading) -> None:
    if rt.stopping.is_set():
        raise ListsFailed("this process stops")
    reading.entries += 1
    try:
        address = parse_address(entry.address, test_names=True)
    except InputRefused:
        reading.unreadable += 1
        return
    email_index = rt.cipher.blind_index(address.canonical)
    with rt.database.begin() as db:
        reading.stopped += _merge(rt, db, email_index, entry.created, reason)


def _merge(rt: Runtime, db: Connection, email_index: bytes, created: datetime, reason: Suppression) -> bool:
    """Note what a list has said of an address since `created`; returns whether that took a reader off ours."""
    person = subscribers.find(db, email_index)
    news = outweighs(reason, subscribers.suppression(db, email_index))
    if person is None or (reason is Suppression.UNSUBSCRIBED and _asked_since(db, person.id, created)):
        if person is not None and person.state in (SubscriberState.ACTIVE, SubscriberState.PAUSED):
            tell_back(rt, db, person.id)  # they came back, and SendGrid does not know
        elif news:
            subscribers.suppress(db, email_index, reason, rt.clock.now())  # lifted when they confirm, and then SendGrid is told
        return False
    if not news and person.state not in _ON_THE_LIST:
        return False
    suppression_pushes.forget(db, person.id)  # this comes from SendGrid
    return suppress(rt, db, person, reason)


def _asked_since(db: Connection, subscriber_id: SubscriberId, created: datetime) -> bool:
    asked = subscribers.last_yes(db, subscriber_id)
    return asked is not None and asked > created
