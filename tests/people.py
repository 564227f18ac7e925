"""Readers with sensible defaults: a test says only what matters to it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import count

from sqlalchemy import select

from nurture.delivery.sender import Sender
from nurture.delivery.tick import TickReport, tick
from nurture.domain.delivery import DeliveryKind, State
from nurture.ids import ConsentId, EnrollmentId, SubscriberId
from nurture.mailers.outbox import Outbox, Stored
from nurture.runtime import Runtime
from nurture.services.accounts.login import mail_links
from nurture.services.addresses import parse_address
from nurture.services.subscribers import sign_up_queue, signup, unsubscribe
from nurture.store.core.schema import consents, deliveries, enrollments, subscribers
from nurture.tokens import Purpose

_numbers = count(1)
NEW_YORK = "America/New_York"


@dataclass(frozen=True)
class Reader:
    """A subscriber a test works with."""

    id: SubscriberId
    email: str


def sign_up(rt: Runtime, email: str | None = None, first_name: str = "Robin", zone: str = NEW_YORK) -> Reader:
    """Somebody who has filled in the form."""
    email = email or f"reader{next(_numbers)}@example.org"
    address = parse_address(email)
    signup.subscribe(rt, signup.SignUp(address, first_name, zone, "/"))
    email_index = rt.cipher.blind_index(address.canonical)
    until = time.monotonic() + 10
    while True:
        sign_up_queue.decide_on_sign_ups(rt)
        with rt.database.read() as db:
            found = db.scalar(select(subscribers.c.id).where(subscribers.c.email_index == email_index))
        if found is not None:
            return Reader(SubscriberId(found), email)
        assert time.monotonic() < until, "nobody decided on a sign-up"
        time.sleep(0.02)  # another process is at it


def a_subscriber(rt: Runtime, email: str | None = None, first_name: str = "Robin", zone: str = NEW_YORK) -> Reader:
    """Somebody who has confirmed, and whose welcome is due."""
    reader = sign_up(rt, email, first_name, zone)
    confirm(rt, reader)
    return reader


def confirm(rt: Runtime, reader: Reader) -> None:
    """Press the button of the latest confirmation mail."""
    d = deliveries.c
    asked = (
        select(d.id)
        .where(d.subscriber_id == reader.id, d.kind == DeliveryKind.CONFIRMATION)
        .order_by(d.planned_at.desc(), d.id.desc())
    )
    with rt.database.read() as db:
        named = db.scalar(asked.limit(1))
    assert named, "no confirmation was planned"
    signup.confirm(rt, rt.tokens.mint(Purpose.CONFIRM, named))


def undo_unsubscribe(rt: Runtime, subscriber_id: SubscriberId) -> bool:
    """Press the undo of the page that followed the last unsubscribe of a reader."""
    with rt.database.read() as db:
        theirs = (consents.c.subscriber_id == subscriber_id, consents.c.act == "withdrawn")
        leaving = db.scalar(select(consents.c.id).where(*theirs).order_by(consents.c.at.desc()).limit(1))
    return leaving is not None and unsubscribe.undo_unsubscribe(rt, ConsentId(leaving))


class Senders:
    """Of a test whose ticks share one sender, as those of a process do."""

    def __init__(self) -> None:
        self._sender: Sender | None = None
        self._made_of: list[object] = []

    def sender(self, rt: Runtime) -> Sender:
        """The one that lives; another only where the parts it was made of have been replaced, as when the desk's settings
        change."""
        parts = [getattr(rt, each.name) for each in fields(rt)]
        if self._sender is None or any(now is not was for now, was in zip(parts, self._made_of, strict=True)):
            self.close()
            self._sender, self._made_of = Sender(rt), parts
        return self._sender

    def close(self) -> None:
        """End it: the test is over, or its process has died."""
        if self._sender is not None:
            with suppress(BaseException):  # what it died of was raised to whoever waited for it
                self._sender.close()
        self._sender = None


_shared: Senders | None = None


@contextmanager
def one_sender() -> Iterator[None]:
    """Within the block every `run_tick` goes by one sender that lives through it all."""
    global _shared
    _shared = Senders()
    try:
        yield
    finally:
        _shared.close()
        _shared = None


def run_tick(rt: Runtime) -> TickReport:
    """Decide on sign-ups, then one tick whose batches are sent at once, to their end: by a fresh sender, or by the one of
    `one_sender`.
    """
    sign_up_queue.decide_on_sign_ups(rt)
    mail_links(rt)
    senders = _shared or Senders()
    sender, lives = senders.sender(rt), False
    try:
        report = tick(rt, sender.submit)
        sender.finish()
        lives = senders is _shared
    finally:
        if not lives:
            senders.close()
    return report


def enrollment_of(rt: Runtime, reader: Reader) -> EnrollmentId:
    """The newest enrollment of a reader."""
    query = select(enrollments.c.id).where(enrollments.c.subscriber_id == reader.id)
    with rt.database.read() as db:
        return EnrollmentId(db.execute(query.order_by(enrollments.c.started_at.desc())).scalars().first() or "")


def rows(
    rt: Runtime, reader: Reader | None = None, kind: DeliveryKind | None = None
) -> list[tuple[DeliveryKind, State, str | None, datetime]]:
    """Deliveries as (kind, state, step, due), in order of their promise."""
    d = deliveries.c
    query = select(d.kind, d.state, d.step_key, d.due_at).order_by(d.planned_at, d.created_at, d.id)
    if reader:
        query = query.where(d.subscriber_id == reader.id)
    if kind:
        query = query.where(d.kind == kind)
    with rt.database.read() as db:
        return [(row[0], row[1], row[2], row[3]) for row in db.execute(query)]


def due(rt: Runtime, reader: Reader) -> datetime | None:
    """When the next letter of a reader is due."""
    found = [at for kind, state, _, at in rows(rt, reader) if kind is DeliveryKind.LETTER and state is State.SCHEDULED]
    return found[0] if found else None


def inbox(rt: Runtime, reader: Reader | None = None) -> list[Stored]:
    """What the outbox holds for a reader, oldest first."""
    assert isinstance(rt.mailer, Outbox)
    return [mail for mail in reversed(rt.mailer.index()) if reader is None or str(mail.message["To"]) == reader.email]


def subjects(rt: Runtime, reader: Reader | None = None) -> list[str]:
    """Subjects of a reader's mail, oldest first."""
    return [str(mail.message["Subject"]) for mail in inbox(rt, reader)]
