"""What ends a sequence well: a request for a consultation."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection

from nurture import log
from nurture.domain.consultation import RequestOrigin, RequestState
from nurture.domain.delivery import DeliveryKind
from nurture.encryption import FieldRef
from nurture.errors import NurtureError
from nurture.ids import ConsultationId, SubscriberId, new_id
from nurture.runtime import Runtime
from nurture.services import limits
from nurture.services.addresses import Address
from nurture.store.deliveries import ledger
from nurture.store.deliveries.ledger import NewDelivery
from nurture.store.sequences import sequences
from nurture.store.subscribers import consultations, subscribers

_log = log.get(__name__)

CONSULTATION, BOOKED = "consultation", "booked"
"""Why a reader's letters ended: they asked for a call; it has led to a booking."""


@dataclass(frozen=True)
class ConsultationRequest:
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
class ReceivedRequest:
    """A stored request, opened."""

    id: ConsultationId
    received: datetime
    state: RequestState
    details: ConsultationRequest
    who: SubscriberId | None = None
    """The person on the list who made it, where that is proven."""
    origin: RequestOrigin | None = None
    """None: a version that did not note it stored the request."""
    listed: SubscriberId | None = None
    """The person on the list who has the address that was typed."""
    is_asked: bool = False
    """Whether that person is asked by mail if it was theirs; only of a request that was read alone."""


def details_field(consultation: str) -> FieldRef:
    """Where the details of a request are sealed."""
    return FieldRef("consultations", "details", consultation)


def request_consultation(
    rt: Runtime, request: ConsultationRequest, address: Address, subscriber_id: SubscriberId | None
) -> ConsultationId:
    """Store a request for a call, and plan a notice to the therapist that holds only a link.

    `subscriber_id`: the reader whose letter's link it came by; their letters end. Without one it changes no reader,
    whoever's `address` was typed (see services.subscribers.consultation_links).
    """
    consultation = ConsultationId(new_id())
    details = rt.cipher.encrypt(json.dumps(asdict(request)), details_field(consultation))
    typed = rt.cipher.blind_index(address.canonical)
    with rt.database.begin() as db:
        now = rt.clock.now()
        person = subscribers.get(db, subscriber_id) if subscriber_id else None
        origin = RequestOrigin.LETTER if person else RequestOrigin.FORM
        consultations.add(db, consultation, person.id if person else None, details, now, origin, typed)
        if person:
            end_letters(rt, db, person.id, CONSULTATION)
        ledger.plan(db, [NewDelivery(DeliveryKind.NOTICE, now, consultation=consultation)], now)
    _log.info("consultation_requested", request=consultation, kind=origin.value)
    return consultation


def may_ask_by_form(rt: Runtime, address: Address, network: str | None) -> bool:
    """Count a request by the open form, from `network` if that is known. False: too many came, and this one is not taken."""
    with rt.database.begin() as db:
        return limits.count_consultation(rt, db, address, network)


def end_letters(rt: Runtime, db: Connection, subscriber_id: SubscriberId, why: str) -> None:
    """End every sequence that runs for a person."""
    for place in sequences.enrollments_of(db, subscriber_id):
        if place.state in sequences.RUNNING:
            sequences.end(db, place.id, why, rt.clock.now())
            ledger.cancel_open(db, why, subscriber_id, rt.clock.real_now(), place.id)


def list_requests(rt: Runtime, limit: int = 200, states: Collection[RequestState] = ()) -> list[ReceivedRequest]:
    """Requests for a call of some states, or of all, newest first."""
    with rt.database.read() as db:
        return [_open(rt, row) for row in consultations.newest(db, limit, states)]


def count_requests(rt: Runtime) -> dict[RequestState, int]:
    """How many requests for a call there are of each state."""
    with rt.database.read() as db:
        return consultations.counts(db)


class RequestChanged(NurtureError):
    """A request is somewhere else by now than whoever takes a move back saw it. The message says so."""


def move_request(
    rt: Runtime, consultation: ConsultationId, to: RequestState, only_from: RequestState | None = None
) -> RequestState | None:
    """Note how far a request has come; returns where it was, or None if it is gone.

    A booking is the goal: the letters of its reader then ended because of it, and no longer only because they asked.
    `only_from`: where it has to be, for a move that takes another back. Raises RequestChanged if it is not there any more.
    """
    with rt.database.begin() as db:
        row = consultations.get(db, consultation, lock=True)
        if row is None:
            return None
        if only_from is not None and row.state is not only_from:
            raise RequestChanged("Somebody has moved this request since. It stays where it is now.")
        if row.state is not to:
            consultations.set_state(db, consultation, to, rt.clock.real_now())
            if row.who and RequestState.BOOKED in (row.state, to):
                was, now = (CONSULTATION, BOOKED) if to is RequestState.BOOKED else (BOOKED, CONSULTATION)
                consultations.change_why(db, row.who, was, now)
    _log.info("consultation_state_changed", request=consultation, status=to.value)
    return row.state


def read_request(rt: Runtime, consultation: ConsultationId) -> ReceivedRequest | None:
    """One request for a call."""
    with rt.database.read() as db:
        row = consultations.get(db, consultation)
        is_asked = row is not None and consultations.is_asked(db, consultation)
    return _open(rt, row, is_asked) if row else None


def _open(rt: Runtime, row: consultations.ConsultationRow, is_asked: bool = False) -> ReceivedRequest:
    details = ConsultationRequest(**json.loads(rt.cipher.decrypt(row.details, details_field(row.id))))
    return ReceivedRequest(row.id, row.created, row.state, details, row.who, row.origin, row.listed, is_asked)
