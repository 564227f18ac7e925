"""Sign-up and confirmation. The visitor gets the same answer, in the same time, whether or not an address is known."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from nurture import crash, log
from nurture.delivery.plan import plan_first
from nurture.domain.delivery import Kind
from nurture.domain.subscriber import REMIND_AGAIN_AFTER, SubscriberState, Suppression, may_ask_to_confirm
from nurture.runtime import Runtime
from nurture.services import suppressions, wordings
from nurture.services.addresses import Address
from nurture.store import ledger, sequences, subscribers
from nurture.store.ledger import NewDelivery
from nurture.store.subscribers import Person
from nurture.tokens import Purpose, TokenRefused
from nurture.words import NurtureError, SequenceId, SubscriberId, new_id

_log = log.get(__name__)


class NothingToSend(NurtureError):
    """There is no sequence to enrol a reader in."""


class UnknownSequence(NurtureError):
    """There is no sequence of that key. The message names those there are."""


@dataclass(frozen=True)
class Offer:
    """A sequence, and whether sign-ups begin it."""

    key: str
    title: str
    letters: int
    begins: bool


@dataclass(frozen=True)
class SignUp:
    """A checked sign-up form."""

    address: Address
    first_name: str
    time_zone: str
    source: str
    """Path of the page that showed the form."""
    plain_sender: bool = False
    """Whether their inbox should show the plainer sender's name."""
    wording: str = ""
    """The version of the wording that the form showed (services.wordings)."""


def subscribe(rt: Runtime, request: SignUp) -> None:
    """Take a sign-up: record consent and plan a confirmation mail, unless the address must be left in peace.

    Who is on the list already gets at most a line saying so, once in 30 days; who complained or bounced gets nothing.
    """
    bidx = rt.sealer.blind_index(request.address.canonical)
    with rt.database.begin() as db:
        now = rt.clock.now()
        fresh = _sealed(rt, SubscriberId(new_id()), bidx, request)
        known = None if subscribers.add(db, fresh, now) else subscribers.find(db, bidx)
        person = known or fresh
        if person.state in (SubscriberState.ACTIVE, SubscriberState.PAUSED):
            told = ledger.planned_before(db, person.id, Kind.ALREADY_SUBSCRIBED)
            if all(now - at >= REMIND_AGAIN_AFTER for at in told):
                ledger.plan(db, [NewDelivery(Kind.ALREADY_SUBSCRIBED, now, person.id, bidx)], now)
            outcome = "known"
        elif subscribers.suppression(db, bidx) in (Suppression.BOUNCED, Suppression.COMPLAINED):
            outcome = "suppressed"
        else:
            outcome = _ask(rt, db, person, request, now, known is not None)
    _log.info("sign_up", outcome=outcome)


def _sealed(rt: Runtime, who: SubscriberId, bidx: bytes, request: SignUp) -> Person:
    name = rt.sealer.seal(request.first_name, subscribers.first_name_place(who)) if request.first_name else None
    email = rt.sealer.seal(request.address.send_to, subscribers.email_place(who))
    return Person(who, bidx, email, name, request.time_zone, SubscriberState.PENDING, plain_sender=request.plain_sender or None)


def _ask(rt: Runtime, db: Connection, person: Person, request: SignUp, now: datetime, again: bool) -> str:
    asked = ledger.planned_before(db, person.id, Kind.CONFIRMATION)
    if person.confirmed is not None:
        asked = [at for at in asked if at > person.confirmed]
    if not may_ask_to_confirm(asked, now):
        return "asked before"
    if again:
        subscribers.ask_again(db, _sealed(rt, person.id, person.email_bidx, request), now)
    said = wordings.shown(rt, db, request.wording)
    subscribers.record_consent(db, person.id, "given", said.text, said.version, request.source, now)
    ledger.plan(db, [NewDelivery(Kind.CONFIRMATION, now, person.id, person.email_bidx)], now)
    return "asked"


def confirm(rt: Runtime, token: str) -> None:
    """Confirm the sign-up a token was mailed for, and start the sequence. Confirming twice is fine. Raises TokenRefused."""
    who = SubscriberId(rt.tokens.read(Purpose.CONFIRM, token, rt.clock.wall()))
    with rt.database.begin() as db:
        person = subscribers.get(db, who)
        if person is None or person.state not in (
            SubscriberState.PENDING,
            SubscriberState.ACTIVE,
            SubscriberState.PAUSED,
        ):
            raise TokenRefused("This link is not valid any more.")
        if person.state is not SubscriberState.PENDING:
            return
        now = rt.clock.now()
        subscribers.set_state(db, who, SubscriberState.ACTIVE, confirmed=now)
        said = subscribers.agreed_to(db, who)  # the words they saw, whatever the form shows by now
        subscribers.record_consent(db, who, "confirmed", *said, "/confirm", now)
        lifted = subscribers.lift_suppression(db, person.email_bidx, now)
        begins = suppressions.tell_back(rt, db, who) if lifted else now
        enrollment = sequences.enroll(db, who, first_sequence(db), begins)
        plan_first(db, enrollment, person.email_bidx, now)
    crash.point("T0.after_commit")
    _log.info("confirmed", enrollment=enrollment)


def list_sequences(rt: Runtime) -> list[Offer]:
    """Every sequence, and which of them sign-ups begin."""
    with rt.database.read() as db:
        begins = sequences.sign_up_key(db)
        return [Offer(each.key, each.title, each.letters, each.key == begins) for each in sequences.titles(db)]


def choose_sequence(rt: Runtime, key: str) -> None:
    """Have sign-ups begin another sequence from now on; who has confirmed already goes on as they are.

    Raises UnknownSequence.
    """
    with rt.database.begin() as db:
        known = sequences.all_keys(db)
        if key not in known:
            raise UnknownSequence(f"There is no sequence {key!r}. Known are: {', '.join(known) or 'none'}.")
        sequences.choose_sign_up(db, key)
    _log.info("sign_up_sequence_chosen", sequence=key)


def first_sequence(db: Connection) -> SequenceId:
    """The sequence that whoever joins begins (`store.sequences.sign_up_key`). Raises NothingToSend."""
    key = sequences.sign_up_key(db)
    stored = sequences.load(db, key) if key else None
    if stored is None:
        raise NothingToSend("There is no sequence to send. Run `nurture init`, or import one with `nurture emails import`.")
    return stored.id
