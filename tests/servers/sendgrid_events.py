"""The event side of our SendGrid: for every mail the judge accepts it posts signed reports, well or as badly as a test wants.

In a test:       with SendGridServer(events_to=url) as server: … NURTURE_SENDGRID_WEBHOOK_KEY = server.webhook_key
As a program:    python -m tests.servers.sendgrid --events-to URL --events-key FILE; others use RemoteSendGrid's same words
By hand:         server.send_events(url, [entry("bounce", type="bounce", email="ada@example.com")])

Sources: "events" = twilio.com/docs/sendgrid/for-developers/tracking-events/event (2026-07), "overview" =
…/twilio-sendgrid-event-webhook-overview, "signed" = …/getting-started-event-webhook-security-features. Times are shortened:
SendGrid gathers events for up to 30 s, and repeats a bundle for 24 h.
"""

import heapq
import http.client
import itertools
import json
import random
import secrets
import ssl
import threading
import time
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.servers.sendgrid import AcceptedMail

Json = dict[str, Any]
Entry = dict[str, Any]

SIGNATURE_HEADER = "X-Twilio-Email-Event-Webhook-Signature"  # signed; not nurture's constants: a judge has its own
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"
_LANES = 2
"""SendGrid posts from many servers at once, so bundles overtake each other."""


class Signer:
    """A key pair, as SendGrid makes one per webhook: a new one, or one that is known as PEM."""

    def __init__(self, path: Path | None = None, pem: bytes | None = None) -> None:
        """`path`: a PEM file to take it from, or to keep the new one in."""
        from cryptography.hazmat.primitives.asymmetric import ec  # here: a judge without events needs no library
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if path is not None and path.exists():
            pem = path.read_bytes()
        found = ec.generate_private_key(ec.SECP256R1()) if pem is None else load_pem_private_key(pem, None)
        assert isinstance(found, ec.EllipticCurvePrivateKey)
        self._key = found
        if path is not None and not path.exists():
            path.write_text(self.private)

    @property
    def private(self) -> str:
        """PEM, for another process of ours."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def public(self) -> str:
        """What SendGrid's page shows: base64 of the DER public key."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return b64encode(self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()

    def headers(self, raw: bytes, stamp: str) -> dict[str, str]:
        """The two headers of a signed bundle: ECDSA with SHA-256 over stamp and body, DER, base64 (signed)."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        signature = self._key.sign(stamp.encode() + raw, ECDSA(SHA256()))
        return {SIGNATURE_HEADER: b64encode(signature).decode(), TIMESTAMP_HEADER: stamp}


# --- One bundle ------------------------------------------------------------------------------------------------------


def entry(event: str, mail: "AcceptedMail | None" = None, **given: Any) -> Entry:
    """One event with the fields SendGrid gives it, the mail's custom args flattened among them (events).

    Of one mail and kind it always has the same `sg_event_id`, also in a judge that was killed and started anew.
    """
    made: Entry = {"event": event, "timestamp": int(time.time()), "sg_event_id": secrets.token_urlsafe(16)}
    if mail is not None:
        message = f"{mail.message_id}.recvd-5f54b5d587-{zlib.crc32(mail.address.encode()):08x}-1.0"
        made |= {"sg_event_id": urlsafe_b64encode(f"{event}-0-{message}".encode()).decode().rstrip("=")[:100]}
        made |= {"email": mail.address, "sg_message_id": message, "smtp-id": f"<{mail.message_id}@geopod-ismtpd-1>"}
        made |= {"category": mail.categories} if mail.categories else {}
        made |= {"response": "250 2.0.0 OK"} if event == "delivered" else {}
        made = mail.custom_args | made
    return made | given


def body(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """A bundle as SendGrid writes it, with its trailing CRLF."""
    return json.dumps(entries, separators=(",", ":")).encode() + b"\r\n"


@dataclass(frozen=True)
class Reply:
    """What a webhook answered; `status` 0 when nobody did, in time or at all."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def _post(url: str, raw: bytes, headers: Mapping[str, str], timeout: float = 10) -> Reply:
    """POST bytes on a connection of their own. Redirects are not followed (overview)."""
    parts = urlsplit(url)
    assert parts.hostname
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl._create_unverified_context()  # a certificate of its own is no test of ours
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.request("POST", parts.path or "/", raw, {"Content-Type": "application/json"} | dict(headers))
        answer = connection.getresponse()
        return Reply(answer.status, answer.read().decode("utf-8", "replace"), dict(answer.headers))
    except (OSError, http.client.HTTPException):
        return Reply(0)
    finally:
        connection.close()


def send_events(
    url: str,
    entries: Sequence[Mapping[str, Any]],
    key: Signer,
    *,
    tamper: Callable[[bytes], bytes] = bytes,
    age: float = 0,
    timeout: float = 10,
) -> Reply:
    """POST one hand-made bundle, signed by `key` `age` seconds ago. `tamper` changes the bytes after they were signed."""
    raw = body(entries)
    return _post(url, tamper(raw), key.headers(raw, str(int(time.time() - age))), timeout)


# --- Reports of all mail ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chaos:
    """How badly reports come. Shares are of all events; the same seed deals the same to the n-th mail."""

    kinds: tuple[str, ...] = ("processed", "delivered")
    """What is reported of each mail, a second apart by their time stamps."""
    wait: float = 0.0
    """Seconds until a report is sent at the earliest."""
    delay: float = 0.0
    """Up to so many seconds more, for each by chance: beyond the usual gathering, they come in any order."""
    lost: float = 0.0
    """Never sent: as after a day of a webhook that did not answer, or by a fault of SendGrid's own."""
    repeated: float = 0.0
    """Sent again under the same id …"""
    renamed: float = 0.0
    """… or under a new one …"""
    times: int = 4
    """… so often at most."""
    shuffled: bool = False
    """In any order within a bundle."""
    seed: int = 0

    @classmethod
    def read(cls, given: Json) -> "Chaos":
        """From JSON. Raises TypeError for a word it does not know."""
        return cls(**given | ({"kinds": tuple(given["kinds"])} if "kinds" in given else {}))


CALM = Chaos()


@dataclass(order=True)
class _Bundle:
    due: float
    number: int
    since: float = field(compare=False)
    raw: bytes = field(compare=False)
    headers: dict[str, str] = field(compare=False)
    events: int = field(compare=False)
    wait: float = field(compare=False)


class Reporter:
    """Posts what it is told to report, from threads of its own, until closed.

    What is not answered with 2xx is posted again, the same bytes with the same signature, at growing intervals (overview; that
    SendGrid keeps the stamp is not documented, but the harder case).
    """

    def __init__(
        self,
        urls: Sequence[str],
        signer: Signer,
        chaos: Chaos = CALM,
        *,
        gather: float = 0.05,
        limit: int = 1_000,
        first_wait: float = 0.1,
        longest_wait: float = 2.0,
        give_up: float = 120.0,
    ) -> None:
        """`urls`: asked in turn. Seconds: `gather` until a bundle is closed, `first_wait`, doubling to `longest_wait`, until it
        is repeated, `give_up` until it is thrown away. `limit`: events in a bundle; SendGrid's are up to 768 kB (overview)."""
        self.chaos = chaos
        self._signer, self._gather, self._most = signer, gather, limit
        self._first_wait, self._longest_wait, self._give_up = first_wait, longest_wait, give_up
        self._urls = itertools.cycle(urls)
        self._changed = threading.Condition()
        self._numbers, self._mails = itertools.count(), 0
        self._events: list[tuple[float, int, Entry]] = []
        self._bundles: list[_Bundle] = []
        self._in_flight, self._stopped, self._closing = 0, False, False
        self._counts: Counter[str] = Counter()
        self._dice = random.Random(chaos.seed)
        self._threads = [threading.Thread(target=self._run, name="sendgrid-events", daemon=True) for _ in range(_LANES)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Post nothing more; what waits is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    # What a test says and asks

    def report(self, mails: Sequence["AcceptedMail"]) -> None:
        """Plan the reports of mails, in order of their acceptance."""
        with self._changed:
            for mail in mails:
                self._mails += 1
                for number, kind in enumerate(self.chaos.kinds):
                    stamp = int(mail.received_at) + number
                    self._plan(entry(kind, mail, timestamp=stamp), random.Random(f"{self.chaos.seed}|{self._mails}|{kind}"))
            self._changed.notify_all()

    def _plan(self, event: Entry, dice: random.Random) -> None:
        chaos, now = self.chaos, time.monotonic()
        self._counts["planned"] += 1
        lost, repeated, renamed = (dice.random() < share for share in (chaos.lost, chaos.repeated, chaos.renamed))
        if lost:
            self._counts["lost"] += 1
            return
        copies = [event]
        if repeated:
            copies += [event] * dice.randint(1, chaos.times)
        if renamed:
            copies += [event | {"sg_event_id": dice.randbytes(12).hex()} for _ in range(dice.randint(1, chaos.times))]
        self._counts["copies"] += len(copies) - 1
        for copy in copies:
            due = now + self._gather + chaos.wait + dice.random() * chaos.delay
            heapq.heappush(self._events, (due, next(self._numbers), copy))

    def stop(self) -> None:
        """Hold everything back; it piles up."""
        with self._changed:
            self._stopped = True

    def start(self) -> None:
        """Post again, what has piled up first."""
        with self._changed:
            self._stopped = False
            self._changed.notify_all()

    def forget(self) -> None:
        """Begin anew: what waits is lost, counts and numbers are set back."""
        with self._changed:
            self._events.clear()
            self._bundles.clear()
            self._counts.clear()
            self._mails = 0
            self._changed.notify_all()

    def wait(self, timeout: float = 10.0) -> None:
        """Block until nothing is left to be posted. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: not (self._events or self._bundles or self._in_flight), timeout):
                raise TimeoutError(f"Events are still to be posted after {timeout} s: {self.counts()}")

    def counts(self) -> dict[str, int]:
        """`planned`, `lost` and `copies` (besides the first) of events, `posted` (answered with 2xx), `given_up`, `pending`;
        and `status 204` … of requests."""
        with self._changed:
            waiting = sum(bundle.events for bundle in self._bundles)
            return dict(self._counts) | {"pending": len(self._events) + waiting + self._in_flight}

    # The lanes

    def _run(self) -> None:
        while (bundle := self._next()) is not None:
            with self._changed:
                url = next(self._urls)
            status = _post(url, bundle.raw, bundle.headers).status  # 10 s, as SendGrid is said to wait
            with self._changed:
                self._in_flight -= bundle.events
                self._counts[f"status {status}"] += 1
                if 200 <= status < 300:
                    self._counts["posted"] += bundle.events
                elif time.monotonic() - bundle.since > self._give_up:
                    self._counts["given_up"] += bundle.events
                else:
                    bundle.due = time.monotonic() + bundle.wait
                    bundle.wait = min(bundle.wait * 2, self._longest_wait)
                    heapq.heappush(self._bundles, bundle)
                self._changed.notify_all()

    def _next(self) -> _Bundle | None:
        """The next bundle to be posted, when it is time; None when closed."""
        with self._changed:
            while not self._closing:
                now = time.monotonic()
                due = min([event[0] for event in self._events[:1]] + [each.due for each in self._bundles[:1]], default=0.0)
                if self._stopped or not (self._events or self._bundles):
                    self._changed.wait()
                elif due > now:
                    self._changed.wait(due - now)
                else:
                    again = self._bundles and self._bundles[0].due <= now
                    bundle = heapq.heappop(self._bundles) if again else self._gathered(now)
                    self._in_flight += bundle.events
                    return bundle
            return None

    def _gathered(self, now: float) -> _Bundle:
        """A bundle of all events that are due, and of those that nearly are."""
        entries: list[Entry] = []
        while self._events and self._events[0][0] <= now + self._gather and len(entries) < self._most:
            entries.append(heapq.heappop(self._events)[2])
        if self.chaos.shuffled:
            self._dice.shuffle(entries)
        raw = body(entries)
        headers = self._signer.headers(raw, str(int(time.time())))
        return _Bundle(now, next(self._numbers), now, raw, headers, len(entries), self._first_wait)


# --- The words of both kinds of judge --------------------------------------------------------------------------------


class EventSide:
    """What a SendGridServer can be told and asked about events. `Chaos` and counts as above."""

    def __init__(self, events_to: str | Sequence[str] = (), events_key: Path | None = None, chaos: Chaos = CALM) -> None:
        """`events_to`: where to post; empty until `report_to`. `events_key`: PEM file of the key pair, made if missing."""
        self._events_to = [events_to] if isinstance(events_to, str) else list(events_to)
        self._events_key, self._chaos = events_key, chaos
        self._signer: Signer | None = None
        self._reporter: Reporter | None = None

    @property
    def signer(self) -> Signer:
        """The webhook's key pair."""
        self._signer = self._signer or Signer(self._events_key)
        return self._signer

    @property
    def webhook_key(self) -> str:
        """What NURTURE_SENDGRID_WEBHOOK_KEY is set to."""
        return self.signer.public

    def send_events(self, url: str, entries: Sequence[Mapping[str, Any]], key: Signer | None = None, **given: Any) -> Reply:
        """POST one hand-made bundle, signed by `key` or by the webhook's own; see the function of that name."""
        return send_events(url, entries, key or self.signer, **given)

    def report_to(self, *urls: str, chaos: Chaos | None = None) -> None:
        """From now on report accepted mail to these, in turn; to none: no more. What waits for others is lost."""
        self._stop_reporting()
        self._events_to, self._chaos = list(urls), chaos or self._chaos
        self._start_reporting(())

    def stop_events(self) -> None:
        """Hold all reports back; they pile up."""
        if self._reporter:
            self._reporter.stop()

    def start_events(self) -> None:
        """Post reports again, what has piled up first."""
        if self._reporter:
            self._reporter.start()

    def wait_for_events(self, timeout: float = 10.0) -> None:
        """Block until every report has been posted, or given up. Raises TimeoutError."""
        if self._reporter:
            self._reporter.wait(timeout)

    def event_counts(self) -> dict[str, int]:
        """See Reporter.counts; empty while nothing is reported."""
        return self._reporter.counts() if self._reporter else {}

    def _start_reporting(self, known: "Sequence[AcceptedMail]") -> None:
        """`known`: mail of an earlier life; what of it had been reported has died with the process, so all is again."""
        if self._events_to:
            self._reporter = Reporter(self._events_to, self.signer, self._chaos)
            self._reporter.report(known)

    def _stop_reporting(self) -> None:
        if self._reporter:
            self._reporter.close()
            self._reporter = None

    def _forget_events(self) -> None:
        if self._reporter:
            self._reporter.forget()

    def _report(self, mails: "Sequence[AcceptedMail]") -> None:
        if self._reporter:
            self._reporter.report(mails)

    def _control_events(self, told: Json) -> Json:
        """`{"to": [url, …], "chaos": {…}}`, `{"stop": true|false}`, `{"wait": seconds}`; all answer with counts and key.

        Raises TimeoutError, TypeError.
        """
        if "to" in told:
            self.report_to(*told["to"], chaos=Chaos.read(told["chaos"]) if told.get("chaos") else None)
        if "stop" in told:
            (self.stop_events if told["stop"] else self.start_events)()
        if "wait" in told:
            self.wait_for_events(told["wait"])
        return {"counts": self.event_counts(), "key": self.signer.private}


class RemoteEventSide:
    """The same words about a judge in another process."""

    def _ask(self, path: str, body: Json | None = None, timeout: float = 30.0) -> Json:
        raise NotImplementedError

    def _tell(self, timeout: float = 30.0, **told: Any) -> Json:
        return self._ask("/_events", told, timeout)

    @property
    def signer(self) -> Signer:
        """The webhook's key pair."""
        return Signer(pem=self._tell()["key"].encode())

    @property
    def webhook_key(self) -> str:
        """What NURTURE_SENDGRID_WEBHOOK_KEY is set to."""
        return self.signer.public

    def send_events(self, url: str, entries: Sequence[Mapping[str, Any]], key: Signer | None = None, **given: Any) -> Reply:
        """POST one hand-made bundle, signed by `key` or by the webhook's own; see the function of that name."""
        return send_events(url, entries, key or self.signer, **given)

    def report_to(self, *urls: str, chaos: Chaos | None = None) -> None:
        """From now on report accepted mail to these, in turn; to none: no more. What waits for others is lost."""
        self._tell(to=urls, chaos=chaos and asdict(chaos))

    def stop_events(self) -> None:
        """Hold all reports back; they pile up."""
        self._tell(stop=True)

    def start_events(self) -> None:
        """Post reports again, what has piled up first."""
        self._tell(stop=False)

    def wait_for_events(self, timeout: float = 10.0) -> None:
        """Block until every report has been posted, or given up. Raises TimeoutError."""
        try:
            self._tell(timeout + 30, wait=timeout)
        except HTTPError as error:
            with error:
                raise TimeoutError(json.load(error)["errors"][0]["message"]) from None

    def event_counts(self) -> dict[str, int]:
        """See Reporter.counts; empty while nothing is reported."""
        counts: dict[str, int] = self._tell()["counts"]
        return counts
