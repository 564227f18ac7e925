"""Mail that is ready to be sent in one process: claimed rows, the mails built from them, and what is left of each batch."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from nurture import failpoints, log
from nurture.characters import storable
from nurture.delivery import image_cache
from nurture.delivery.lateness import handle_lateness
from nurture.delivery.outcomes import SendRequest
from nurture.delivery.render import UNFIT, mail_of, page_of
from nurture.domain.delivery import DeliveryKind
from nurture.ids import BatchId, DeliveryId, EditionId, ImageId, RequestId, SubscriberId, new_id
from nurture.mailers.base import InlineImage, Mail, PreparedMail, headers
from nurture.runtime import Runtime
from nurture.store.deliveries import claims, subjects
from nurture.store.deliveries.claims import Claimed
from nurture.store.sequences import sequences
from nurture.store.sequences.sequences import StoredEdition

_log = log.get(__name__)


@dataclass
class Batch:
    """What is left of one claim."""

    id: BatchId
    leased: float
    """Boot seconds when its lease was last written."""
    editions: dict[EditionId, StoredEdition] = field(default_factory=dict)
    pictures: dict[ImageId, InlineImage] = field(default_factory=dict)
    """Those its letters show."""
    rows: deque[Claimed] = field(default_factory=deque)
    left: int = 0
    """Rows of which the end is not known yet."""
    outcomes: Counter[str] = field(default_factory=Counter)
    to_return: bool = False
    """Some of it is claimed that is in nobody's hands: it stays here until it has been given back."""


@dataclass
class SendWindow:
    """What one cycle may mark: requests, at most one a person; and rows of which no mail can be built, with the reason."""

    requests: list[SendRequest] = field(default_factory=list)
    unfit: dict[BatchId, dict[DeliveryId, str]] = field(default_factory=dict)
    sender_fault: str | None = None
    """Why no mail at all can be built: something of the sender itself is wrong."""


def load_batch(rt: Runtime, batch: BatchId) -> Batch:
    """Read what is claimed under a batch, without the letters that have missed their moment."""
    with rt.database.read() as db:
        rows, lease = claims.read_batch(db, batch), claims.lease_of(db, batch)
        editions = sequences.read_editions(db, {row.edition for row in rows if row.edition})
        rows = claims.with_subjects(db, rows, rt.clock.real_now())
        pages = [*(one.html for one in editions.values()), *(page_of(rt, row.test) for row in rows if row.test)]
        pictures = image_cache.load_images(rt, db, pages)
    left = (lease - rt.clock.real_now()) if lease else rt.timeouts.lease
    leased = rt.clock.boot_seconds() - (rt.timeouts.lease - left).total_seconds()
    kept = deque(handle_lateness(rt, batch, rows))
    return Batch(batch, leased, editions, pictures, kept, len(kept))


class SendBuffer:
    """The batches of one sender. Used by the sender's own thread only."""

    def __init__(self, rt: Runtime) -> None:
        """Empty at first."""
        self._rt = rt
        self.batches: dict[BatchId, Batch] = {}
        self._filled: deque[SendRequest] = deque()
        self._unfit: dict[BatchId, dict[DeliveryId, str]] = {}
        self._sender_fault: str | None = None

    def add(self, batch: Batch) -> None:
        """Take a loaded batch. One that is here already (its message came twice) brings nothing new: a claim never grows."""
        self.batches.setdefault(batch.id, batch)
        self._drop_finished()

    def has_any(self) -> bool:
        """Whether anything waits to be marked."""
        return bool(self._filled or self._unfit) or any(batch.rows for batch in self.batches.values())

    def waiting(self) -> int:
        """Rows not marked yet."""
        return len(self._filled) + sum(len(batch.rows) for batch in self.batches.values())

    def fill(self, up_to: int) -> None:
        """Build mails, outside any transaction, until `up_to` requests are ready."""
        for batch in self.batches.values():
            while batch.rows and len(self._filled) < up_to and self._sender_fault is None:
                self._build_request(batch)

    def _build_request(self, batch: Batch) -> None:
        """One request of as many mails as the mailer takes in one, each to somebody else, up to the last byte.

        Whatever goes wrong here is certain: nothing of that mail has left. Its row is set apart, and the others go on.
        """
        request, rows, mails, people = RequestId(new_id()), list[Claimed](), list[PreparedMail](), set[SubscriberId]()
        while batch.rows and len(rows) < self._rt.mailer.per_request and batch.rows[0].subscriber not in people:
            row = batch.rows.popleft()
            try:
                ZoneInfo(row.time_zone or "UTC")  # the transactions to come need it, and must not fail over one reader
                mails.append(self._rt.mailer.prepare(mail_of(self._rt, row, batch.editions, batch.pictures, request)))
            except Exception as error:
                self._sender_fault = self._find_sender_fault(row)
                if self._sender_fault is not None:
                    batch.rows.appendleft(row)
                    break
                self._unfit.setdefault(batch.id, {})[row.id] = _reason(error)
                if str(error) != subjects.GONE:
                    _log.error("delivery_cannot_be_rendered", delivery=row.id, kind=row.kind.value, error=type(error).__name__)
                continue
            rows.append(row)
            people |= {row.subscriber} if row.subscriber else set()
            failpoints.point("render")
        if rows:
            self._filled.append(SendRequest(request, batch.id, tuple(rows), tuple(mails)))

    def _find_sender_fault(self, row: Claimed) -> str | None:
        """Whether the cause is not this row, of which no mail could be built, but the sender: then a mail with nothing of
        anybody in it cannot be built either. Returns the reason, or None.
        """
        sender, nobody = self._rt.plain_sender if row.plain_sender else self._rt.sender, DeliveryId("0" * 32)
        try:
            self._rt.mailer.prepare(
                Mail(
                    nobody,
                    RequestId(nobody),
                    DeliveryKind.NOTICE,
                    "nobody@example.org",
                    "-",
                    "<p>-</p>",
                    "-",
                    sender,
                    headers(sender, DeliveryKind.NOTICE, nobody, None),
                    self._rt.clock.real_now(),
                )
            )
        except Exception as error:
            return f"no mail can be built with this sender's name and address ({type(error).__name__})"
        return None

    def window(self, room: int) -> SendWindow:
        """As many of the built requests as there is room for."""
        self.fill(room)
        window = SendWindow(unfit=self._unfit, sender_fault=self._sender_fault)
        people, later = set[SubscriberId | None](), list[SendRequest]()
        self._unfit, self._sender_fault = {}, None
        while self._filled and len(window.requests) < room:
            request = self._filled.popleft()
            whose = {row.subscriber for row in request.rows if row.subscriber}
            (later if whose & people else window.requests).append(request)
            people |= whose
        self.put_back(later)
        return window

    def put_back(self, requests: Iterable[SendRequest]) -> None:
        """These were not marked after all: they are first in line next time."""
        self._filled.extendleft(reversed(list(requests)))

    def clear(self, batches: Iterable[Batch]) -> None:
        """What was not marked of these batches has been given back."""
        for batch in batches:
            batch.left -= len(batch.rows) + len(self._unfit.pop(batch.id, {}))
            batch.rows.clear()
            batch.to_return = False
            mine = [request for request in self._filled if request.batch == batch.id]
            batch.left -= sum(len(request.rows) for request in mine)
            self._filled = deque(request for request in self._filled if request.batch != batch.id)
        self._drop_finished()

    def keep(self, window: SendWindow) -> None:
        """Nobody knows what was written of these: their batches are to be given back, whatever is left of them."""
        for batch in {request.batch for request in window.requests} | window.unfit.keys():
            self.batches[batch].to_return = True

    def end(self, batch: BatchId, rows: int, how: str) -> None:
        """The end of so many rows is known."""
        found = self.batches[batch]
        found.left -= rows
        if rows:
            found.outcomes[how] += rows
        self._drop_finished()

    def _drop_finished(self) -> None:
        for batch in [batch for batch in self.batches.values() if batch.left <= 0 and not batch.to_return]:
            del self.batches[batch.id]
            _log.info("batch_sent", batch=batch.id, sent=batch.outcomes["accepted"], outcome=dict(batch.outcomes))


def _reason(error: Exception) -> str:
    """Why no mail could be built. A foreign error's own words may quote an address, so its type has to do."""
    return storable(str(error)) if isinstance(error, UNFIT) else f"the mail could not be built ({type(error).__name__})"
