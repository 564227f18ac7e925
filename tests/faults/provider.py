"""A provider inside this process, for histories that a machine thinks up: it answers as told and keeps the judge's ledger."""

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from nurture.clock import Clock
from nurture.domain.delivery import Accepted, Ambiguous, DeliveryKind, Outcome, Refused, Rejected
from nurture.domain.event import Event, EventKind
from nurture.ids import DeliveryId, RequestId
from nurture.mailers.base import Mail, PreparedMail, SenderIdentity
from tests.faults.points import Killed


class Answer(Enum):
    """What one request comes to."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    REFUSED_EVERYONE = "refused, as all others would be"
    REJECTED = "rejected"
    AMBIGUOUS_BUT_ACCEPTED = "accepted, and the answer lost"
    AMBIGUOUS_AND_LOST = "not accepted, and no answer"
    KILLED_BEFORE = "its sender dies before it leaves"
    KILLED_AFTER = "its sender dies when it has been accepted"


_TAKEN = {Answer.ACCEPTED, Answer.AMBIGUOUS_BUT_ACCEPTED, Answer.KILLED_AFTER}
_OUTCOMES: dict[Answer, Outcome] = {
    Answer.ACCEPTED: Accepted("m"),
    Answer.REFUSED: Refused("busy", timedelta(seconds=30), everyone=False),
    Answer.REFUSED_EVERYONE: Refused("429", timedelta(seconds=30)),
    Answer.REJECTED: Rejected("400"),
    Answer.AMBIGUOUS_BUT_ACCEPTED: Ambiguous("500"),
    Answer.AMBIGUOUS_AND_LOST: Ambiguous("500"),
}


@dataclass(frozen=True)
class Taken:
    """One mail in the provider's ledger."""

    delivery: DeliveryId
    request: RequestId
    kind: DeliveryKind
    address: str
    subject: str


class Provider:
    """A mailer, its provider and the judge in one."""

    name = "provider"
    repeats_safely = False
    gives_evidence = True
    per_request = 1

    def __init__(self, clock: Clock) -> None:
        """`clock`: stamps events."""
        self._clock = clock
        self._lock = threading.Lock()
        self.script: deque[Answer] = deque()
        """What the coming requests meet; ACCEPTED when it is used up."""
        self.ledger: list[Taken] = []
        self.events: list[Event] = []
        """Reports that have not been delivered."""

    def prepare(self, mail: Mail) -> PreparedMail:
        """Nothing of it can go wrong."""
        return PreparedMail(mail, ())

    async def post(self, mails: Sequence[PreparedMail], within: float) -> Outcome:
        """Take the next answer of the script."""
        with self._lock:
            answer = self.script.popleft() if self.script else Answer.ACCEPTED
            if answer in _TAKEN:
                for each in mails:
                    self._take(each.mail)
        if answer not in _OUTCOMES:
            raise Killed
        return _OUTCOMES[answer]

    def _take(self, mail: Mail) -> None:
        self.ledger.append(Taken(mail.delivery, mail.request, mail.kind, mail.to, mail.subject))
        for kind in (EventKind.PROCESSED, EventKind.DELIVERED):
            name = f"{mail.delivery} {mail.request} {kind}"
            dedup_key = hashlib.blake2b(name.encode(), digest_size=16).digest()
            self.events.append(Event(kind, self._clock.real_now(), dedup_key, name[:100], mail.delivery, mail.request))

    async def check(self, sender: SenderIdentity, within: float) -> Outcome:
        """Mail can always leave."""
        return Accepted()

    async def aclose(self) -> None:
        """Nothing is held open."""

    def duplicates(self) -> list[str]:
        """Deliveries taken twice, and letters that one address got twice, under whatever id."""
        ids = Counter(mail.delivery for mail in self.ledger)
        letters = Counter((mail.address, mail.subject) for mail in self.ledger if mail.kind is DeliveryKind.LETTER)
        return [str(what) for what, times in (*ids.items(), *letters.items()) if times > 1]

    def sent_to(self, address: str) -> int:
        """How many mails an address got."""
        return sum(mail.address == address for mail in self.ledger)
