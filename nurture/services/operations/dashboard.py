"""The desk's first page: what happens around today, and what needs a person, each with one thing to do about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from nurture.domain.consultation import WAITING, RequestState
from nurture.domain.delivery import State
from nurture.domain.timeline import ON_TIME
from nurture.encryption import Encrypted
from nurture.ids import StepKey, SubscriberId
from nurture.letters.source import Letter, read_stored
from nurture.runtime import Runtime
from nurture.services.operations import health
from nurture.services.sequences.enrollments import BY_EDIT
from nurture.services.settings import launch, sender_domain
from nurture.services.subscribers import listing, sign_up_queue
from nurture.settings import is_loopback
from nurture.store.deliveries import send_blocks
from nurture.store.deliveries.send_blocks import ActiveBlock, BlockKind
from nurture.store.operations import dashboard as today
from nurture.store.operations import statistics
from nurture.store.sequences import schedule_migration, sequences
from nurture.store.sequences.sequences import StoredSequence
from nurture.store.subscribers import subscribers

_MOST_NAMED = 60
_MOST_JOINED = 6
_LOOK_BACK = timedelta(days=30)
_FEW = 100
"""With fewer mails than this a share of them says nothing."""
BOUNCES, COMPLAINTS = 0.02, 0.001
"""Shares of mail above which mail services distrust a sender: bounces, and Gmail's wish for complaints."""
_REVIEW_SOON = timedelta(days=30)


class AttentionKind(StrEnum):
    """What may need a person."""

    STOPPED = "stopped"
    REFUSED = "refused"
    CLOCK = "clock"
    SILENT = "silent"
    LATE = "late"
    HELD = "held"
    FAILED = "failed"
    BOUNCES = "bounces"
    COMPLAINTS = "complaints"
    REVIEW = "review"
    WAITING = "waiting"
    DOMAIN = "domain"
    CONFIRMATIONS = "confirmations"
    NETWORKS = "networks"


@dataclass(frozen=True)
class AttentionItem:
    """One thing that needs a person; `count`: of mails, letters or people; `about`: a letter's key, what the mail service
    said, or why confirmations wait; `sequence`: the key of the sequence it is about; `is_probing`: whether single mails already
    try whether the mail service takes mail again.
    """

    kind: AttentionKind
    count: int = 0
    about: str = ""
    is_probing: bool = False
    sequence: str = ""


@dataclass(frozen=True)
class DueLetter:
    """A letter that goes out soon."""

    subscriber: SubscriberId
    initials: str
    step: StepKey
    at: datetime
    title: str
    """The letter's subject, or its key where it is not known."""

    def __repr__(self) -> str:
        """Never initials."""
        return f"Due({self.subscriber}, {self.step})"


@dataclass(frozen=True)
class DayCount:
    """One day's letters: how many, and the first of them."""

    count: int
    first: list[DueLetter]


@dataclass(frozen=True)
class NewSubscriber:
    """Somebody who signed up lately."""

    subscriber: SubscriberId
    called: str
    confirmed: bool

    def __repr__(self) -> str:
        """Never a name."""
        return f"Newcomer({self.subscriber})"


@dataclass(frozen=True)
class Dashboard:
    """Everything on the page."""

    needs: list[AttentionItem]
    requests: int
    today: DayCount
    tomorrow: DayCount
    newcomers: list[NewSubscriber]
    joined: int
    """In the last seven days."""
    stopped: ActiveBlock | None
    """The stop switch, if somebody threw it."""
    titles: dict[tuple[str, StepKey], str]
    """Subjects of letters, by the key of their sequence and their own."""


def load(rt: Runtime, requests_waiting: int, zone: ZoneInfo) -> Dashboard:
    """How things stand now, its days by the clock of `zone`."""
    now, real_now = rt.clock.now(), rt.clock.real_now()
    midnight = datetime.combine(now.astimezone(zone).date() + timedelta(days=1), time(), zone)
    first, second = midnight.astimezone(UTC), (midnight + timedelta(days=1)).astimezone(UTC)
    with rt.database.read() as db:
        blocks = send_blocks.active_blocks(db)
        letters = _letters(sequences.load(db, key) for key in sequences.all_keys(db))
        held = schedule_migration.count_held(db, BY_EDIT)
        day, following = (today.coming(db, since, until, _MOST_NAMED) for since, until in ((None, first), (first, second)))
        came, week = today.joined(db, _MOST_JOINED), today.joined_since(db, now - timedelta(days=7))
        wait = sign_up_queue.on_hold(rt, db)
        oldest, attention = today.oldest_due(db, now), today.attention(db)
        span = (now - _LOOK_BACK, now)
        sent, back = statistics.sent(db, span), statistics.returned(db, span)
    needs = [_block_item(each, real_now) for each in blocks]
    if health.is_scheduler_silent(rt):
        needs.append(AttentionItem(AttentionKind.SILENT))
    elif oldest is not None and not blocks and launch.is_open(rt) and now - oldest > rt.clock.stretch(ON_TIME):
        needs.append(AttentionItem(AttentionKind.LATE))
    if wait is not None:
        needs.append(AttentionItem(AttentionKind.CONFIRMATIONS, wait.count, about=wait.why.value))
    needs += [AttentionItem(trouble, attention[state]) for state, trouble in _ATTENTION.items() if attention.get(state)]
    needs += [AttentionItem(AttentionKind.WAITING, count, sequence=key) for key, count in held.items()]
    for state, limit, trouble in (
        (State.BOUNCED, BOUNCES, AttentionKind.BOUNCES),
        (State.COMPLAINED, COMPLAINTS, AttentionKind.COMPLAINTS),
    ):
        if sent >= _FEW and back.get(state, 0) > limit * sent:
            needs.append(AttentionItem(trouble, back[state]))
    due = now.date() + _REVIEW_SOON
    needs += [
        AttentionItem(AttentionKind.REVIEW, about=letter.key, sequence=key)
        for key, letter in letters
        if letter.review_by is not None and letter.review_by <= due
    ]
    checked = sender_domain.last(rt, rt.sender.email) if sender_domain.carrier(rt) else None
    needs += [AttentionItem(AttentionKind.DOMAIN)] * bool(checked and checked.asks_for_something)
    if not rt.settings.trusted_proxies and not is_loopback(urlsplit(rt.settings.base_url).hostname):
        needs.append(AttentionItem(AttentionKind.NETWORKS))
    titles = {(key, letter.key): letter.subject for key, letter in letters}
    newcomers = [NewSubscriber(each.subscriber, _called(rt, each), each.confirmed is not None) for each in came]
    stopped = next((each for each in blocks if each.kind is BlockKind.STOP), None)
    return Dashboard(
        needs, requests_waiting, _day(rt, titles, *day), _day(rt, titles, *following), newcomers, week, stopped, titles
    )


_ATTENTION = {State.HELD: AttentionKind.HELD, State.FAILED: AttentionKind.FAILED}


def _block_item(blocks: ActiveBlock, real_now: datetime) -> AttentionItem:
    match blocks.kind:
        case BlockKind.STOP:
            return AttentionItem(AttentionKind.STOPPED)
        case BlockKind.PROVIDER:
            return AttentionItem(AttentionKind.REFUSED, about=blocks.why, is_probing=not blocks.stops(real_now))
        case _:
            return AttentionItem(AttentionKind.CLOCK)


def _letters(stored: Iterable[StoredSequence | None]) -> list[tuple[str, Letter]]:
    """Every letter, with the key of its sequence."""
    return [(one.key, read_stored(step.file_name, step.source)) for one in stored if one is not None for step in one.steps]


def _day(rt: Runtime, titles: Mapping[tuple[str, StepKey], str], count: int, rows: list[today.Coming]) -> DayCount:
    first = [
        DueLetter(
            row.subscriber,
            _initials(rt, row.subscriber, row.first_name, row.email),
            row.step,
            row.due,
            titles.get((row.sequence, row.step), row.step),
        )
        for row in rows
    ]
    return DayCount(count, first)


def _initials(rt: Runtime, subscriber_id: SubscriberId, name: Encrypted | None, email: Encrypted) -> str:
    """So little that somebody who looks over a shoulder knows nobody: `R.`."""
    known = listing.decrypt(rt, name, subscribers.first_name_field(subscriber_id)) or listing.decrypt(
        rt, email, subscribers.email_field(subscriber_id)
    )
    return ".".join(part[0].upper() for part in known.split()[:2] if part) + "." if known else "?"


def _called(rt: Runtime, row: today.Joined) -> str:
    who = row.subscriber
    name = listing.decrypt(rt, row.first_name, subscribers.first_name_field(who))
    return name or listing.decrypt(rt, row.email, subscribers.email_field(who))


def requests_waiting(counts: Mapping[RequestState, int]) -> int:
    """How many requests for a call are somebody's turn to act."""
    return sum(counts.get(state, 0) for state in WAITING)


def first_sequence(rt: Runtime) -> str:
    """The key of the sequence that a sign-up starts; empty if there is none."""
    with rt.database.read() as db:
        return sequences.sign_up_key(db) or ""
