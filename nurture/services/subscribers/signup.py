"""Sign-up and confirmation. The visitor gets the same answer, in the same time, whether or not an address is known."""

from dataclasses import dataclass

from sqlalchemy import Connection

from nurture import failpoints, log
from nurture.delivery.plan import plan_first
from nurture.domain.limits import CONFIRMATION, Suspicion, sign_ups_of_network
from nurture.domain.subscriber import SubscriberState
from nurture.encryption import Encrypted
from nurture.errors import NurtureError
from nurture.ids import SequenceId, SignUpId, SubscriberId, new_id
from nurture.runtime import Runtime
from nurture.services import limits
from nurture.services.addresses import Address, parse_address
from nurture.services.settings import consent_texts
from nurture.services.subscribers import suppressions
from nurture.store.sequences import sequences
from nurture.store.subscribers import sign_ups, subscribers
from nurture.store.subscribers.sign_ups import StoredSignUp
from nurture.tokens import Purpose, TokenRefused

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
    """The version of the wording that the form showed (services.settings.consent_texts)."""
    suspicion: Suspicion = Suspicion.NONE
    network: str | None = None
    """From which network of visitors it came; None where nobody can tell."""


def subscribe(rt: Runtime, request: SignUp) -> bool:
    """Store a sign-up: one row, whoever it is from. Whether a confirmation goes out is decided later
    (services.subscribers.sign_up_queue), so that neither the answer nor its time says whether an address is known.

    Returns False, and stores nothing, if too many came from the same network.
    """
    sign_up = SignUpId(new_id())
    name = rt.cipher.encrypt(request.first_name, sign_ups.first_name_field(sign_up)) if request.first_name else None
    network = sign_ups_of_network(rt.settings.sign_ups_per_network_hour, rt.settings.sign_ups_per_network_day)
    email_index = rt.cipher.blind_index(request.address.canonical)
    email = rt.cipher.encrypt(request.address.send_to, sign_ups.email_field(sign_up))
    with rt.database.begin() as db:
        if not limits.count_all(rt, db, [(network, request.network)], rt.clock.real_now()):
            _log.info("sign_up", outcome="network")
            return False
        said = consent_texts.text_shown(rt, db, request.wording)
        new = StoredSignUp(
            sign_up,
            email_index,
            email,
            name,
            request.time_zone,
            request.plain_sender,
            said.text,
            said.version,
            request.source,
            request.suspicion,
            rt.clock.now(),
        )
        sign_ups.add(db, new)
    return True


def confirm(rt: Runtime, token: str) -> None:
    """Confirm the sign-up a token was mailed for, with what was typed in that one, and start the sequence. Confirming twice is
    fine. Raises TokenRefused.
    """
    named = rt.tokens.read(Purpose.CONFIRM, token, rt.clock.real_now())
    with rt.database.begin() as db:
        asked = sign_ups.get(db, SignUpId(named))
        # An older version's token names the reader, and so does one mailed for a confirmation that it has planned.
        who = sign_ups.reader_of(db, SignUpId(named)) or SubscriberId(named)
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
        if asked is not None:
            said = (asked.wording, asked.wording_version)
            name = _reencrypt_name(rt, asked, who)
            subscribers.take_values(db, who, name, asked.time_zone, asked.plain_sender)
            sign_ups.note_confirmed(db, asked.id, now)
        subscribers.record_consent(db, who, "confirmed", *said, "/confirm", now)
        lifted = subscribers.lift_suppression(db, person.email_index, now)
        begins = suppressions.tell_back(rt, db, who) if lifted else now
        enrollment = sequences.enroll(db, who, first_sequence(db), begins)
        plan_first(db, enrollment, person.email_index, now)
        mailbox = limits.mailbox(parse_address(rt.cipher.decrypt(person.email, subscribers.email_field(who)), test_names=True))
    failpoints.point("plan.after_commit")
    with rt.database.begin() as db:  # by itself: whoever decides on sign-ups locks these after the reader
        limits.forget(rt, db, CONFIRMATION, mailbox)
    _log.info("confirmed", enrollment=enrollment)


def _reencrypt_name(rt: Runtime, asked: StoredSignUp, subscriber_id: SubscriberId) -> Encrypted | None:
    """The first name of a sign-up, sealed for its reader."""
    if asked.first_name is None:
        return None
    name = rt.cipher.decrypt(asked.first_name, sign_ups.first_name_field(asked.id))
    return rt.cipher.encrypt(name, subscribers.first_name_field(subscriber_id))


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
    """The sequence that whoever joins begins (`store.sequences.sequences.sign_up_key`). Raises NothingToSend."""
    key = sequences.sign_up_key(db)
    stored = sequences.load(db, key) if key else None
    if stored is None:
        raise NothingToSend("There is no sequence to send. Run `nurture init`, or import one with `nurture letters import`.")
    return stored.id
