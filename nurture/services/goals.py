"""What ends a sequence well: a request for a consultation."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime

from nurture import log
from nurture.domain.consultation import RequestState
from nurture.domain.delivery import Kind, Subject
from nurture.runtime import Runtime
from nurture.sealing import Place
from nurture.services.addresses import Address
from nurture.store import consultations, ledger, sequences, subscribers
from nurture.store.ledger import NewDelivery
from nurture.words import ConsultationId, NurtureError, SubscriberId, new_id

_log = log.get(__name__)

CONSULTATION, BOOKED = "consultation", "booked"
"""Why a reader's letters ended: they asked for a call; it has led to a booking."""


@dataclass(frozen=True)
class Request:
    """A checked request for a call. Nothing about health is asked."""

    name: str
    email: str
    region: str
    contact_way: str
    contact_detail: str
    voicemail_ok: bool
    times: str

    def __repr__(self) -> str:
        """Never the details: they may end up in an error or a log."""
        return "Request(‹sealed›)"


@dataclass(frozen=True)
class Received:
    """A stored request, opened."""

    id: ConsultationId
    received: datetime
    state: RequestState
    details: Request
    who: SubscriberId | None = None
    """The person on the list who made it."""


def details_place(consultation: str) -> Place:
    """Where the details of a request are sealed."""
    return Place("consultations", "details", consultation)


def request_consultation(rt: Runtime, request: Request, address: Address, who: SubscriberId | None) -> ConsultationId:
    """Store a request for a call, end the reader's sequence, and plan a notice to the therapist that holds only a link.

    The reader is `who`, from their letter's link, or whoever on the list has the address they typed.
    """
    consultation = ConsultationId(new_id())
    details = rt.sealer.seal(json.dumps(asdict(request)), details_place(consultation))
    with rt.database.begin() as db:
        now = rt.clock.now()
        person = subscribers.get(db, who) if who else None
        person = person or subscribers.find(db, rt.sealer.blind_index(address.canonical))
        consultations.add(db, consultation, person.id if person else None, details, now)
        if person:
            for place in sequences.enrollments_of(db, person.id):
                if place.state in sequences.RUNNING:
                    sequences.end(db, place.id, CONSULTATION, now)
                    ledger.cancel_open(db, CONSULTATION, person.id, rt.clock.wall(), place.id)
        ledger.plan(db, [NewDelivery(Kind.NOTICE, now, about=consultation, about_kind=Subject.CONSULTATION)], now)
    _log.info("consultation_requested", request=consultation)
    return consultation


def list_requests(rt: Runtime, most: int = 200, states: Collection[RequestState] = ()) -> list[Received]:
    """Requests for a call of some states, or of all, newest first."""
    with rt.database.read() as db:
        return [_open(rt, row) for row in consultations.newest(db, most, states)]


def count_requests(rt: Runtime) -> dict[RequestState, int]:
    """How many requests for a call there are of each state."""
    with rt.database.read() as db:
        return consultations.counts(db)


class MovedSince(NurtureError):
    """A request is somewhere else by now than whoever takes a move back saw it. The message says so."""


def move_request(
    rt: Runtime, consultation: ConsultationId, to: RequestState, only_from: RequestState | None = None
) -> RequestState | None:
    """Note how far a request has come; returns where it was, or None if it is gone.

    A booking is the goal: the letters of its reader then ended because of it, and no longer only because they asked.
    `only_from`: where it has to be, for a move that takes another back. Raises MovedSince if it is not there any more.
    """
    with rt.database.begin() as db:
        row = consultations.get(db, consultation, lock=True)
        if row is None:
            return None
        if only_from is not None and row.state is not only_from:
            raise MovedSince("Somebody has moved this request since. It stays where it is now.")
        if row.state is not to:
            consultations.set_state(db, consultation, to, rt.clock.wall())
            if row.who and RequestState.BOOKED in (row.state, to):
                was, now = (CONSULTATION, BOOKED) if to is RequestState.BOOKED else (BOOKED, CONSULTATION)
                consultations.change_why(db, row.who, was, now)
    _log.info("consultation_moved", request=consultation, status=to.value)
    return row.state


def read_request(rt: Runtime, consultation: ConsultationId) -> Received | None:
    """One request for a call."""
    with rt.database.read() as db:
        row = consultations.get(db, consultation)
    return _open(rt, row) if row else None


def _open(rt: Runtime, row: consultations.Row) -> Received:
    details = Request(**json.loads(rt.sealer.open(row.details, details_place(row.id))))
    return Received(row.id, row.created, row.state, details, row.who)


def who_asks(rt: Runtime, who: SubscriberId | None) -> tuple[str, str]:
    """First name and address of the reader a letter's link stands for, to fill in the form; empty for anybody else."""
    if who is None:
        return "", ""
    with rt.database.read() as db:
        person = subscribers.peek(db, who)
    if person is None:
        return "", ""
    name = rt.sealer.open(person.first_name, subscribers.first_name_place(who)) if person.first_name else ""
    return name, rt.sealer.open(person.email, subscribers.email_place(who))
