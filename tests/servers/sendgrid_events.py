"""The event side of our SendGrid: signs bundles as SendGrid does, and posts them for every mail the judge has accepted.

Chaos is seeded: repeats under the same or a new id, any order, losses, delays. A bundle that is not answered with 2xx is tried
again, as SendGrid does for a day.
"""

import itertools
import json
import random
import secrets
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nurture.mailers.sendgrid.events import SIGNATURE_HEADER, TIMESTAMP_HEADER
from tests.servers.sendgrid import AcceptedMail, Judge

Entry = dict[str, Any]


class Signer:
    """A key pair as SendGrid makes one per webhook."""

    def __init__(self) -> None:
        self._key: EllipticCurvePrivateKey = generate_private_key(SECP256R1())

    @property
    def public(self) -> str:
        """What SendGrid's page shows: base64 of the DER public key."""
        return b64encode(self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()

    def headers(self, raw: bytes, stamp: str) -> dict[str, str]:
        """The two headers of a signed bundle."""
        signature = self._key.sign(stamp.encode() + raw, ECDSA(SHA256()))
        return {SIGNATURE_HEADER: b64encode(signature).decode(), TIMESTAMP_HEADER: stamp}


def entry(event: str, mail: AcceptedMail | None = None, **given: Any) -> Entry:
    """One event, with the fields SendGrid gives it and the mail's custom args among them."""
    made: Entry = {"event": event, "timestamp": int(time.time()), "sg_event_id": secrets.token_urlsafe(16)}
    if mail is not None:
        made |= {"email": mail.address, "sg_message_id": f"{mail.message_id}.recvd-1.0"} | mail.custom_args
    return made | given


def body(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """A bundle as SendGrid writes it, with its trailing CRLF."""
    return json.dumps(entries, separators=(",", ":")).encode() + b"\r\n"


def post(url: str, entries: Sequence[Mapping[str, Any]], signer: Signer, timeout: float = 10) -> int:
    """POST one signed bundle; returns the status, 0 when nobody answered."""
    raw = body(entries)
    headers = {"Content-Type": "application/json"} | signer.headers(raw, str(int(time.time())))
    try:
        with urllib.request.urlopen(urllib.request.Request(url, raw, headers), timeout=timeout) as answer:
            status: int = answer.status
            return status
    except HTTPError as error:
        error.close()
        return error.code
    except (URLError, OSError):
        return 0


@dataclass(frozen=True)
class Chaos:
    """How unlike a good network the reports come: shares of all events, and the longest delay in seconds."""

    lost: float = 0.0
    repeated: float = 0.0
    renamed: float = 0.0
    delay: float = 0.0
    kinds: tuple[str, ...] = ("processed", "delivered")


class Reporter:
    """Watches the judge's ledger and reports every mail in it, until closed."""

    def __init__(self, judge: Judge, urls: Sequence[str], signer: Signer, chaos: Chaos = Chaos(), seed: int = 0) -> None:
        self._judge, self._urls, self._signer, self._chaos = judge, itertools.cycle(urls), signer, chaos
        self._chance, self._reported, self._closing = random.Random(seed), 0, threading.Event()
        self._pending: list[tuple[float, Entry]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Reporter":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(0.05):
            mails = self._judge.accepted
            for mail in mails[self._reported :]:
                for kind in self._chaos.kinds:
                    self._plan(entry(kind, mail))
            self._reported = len(mails)
            self._send()

    def _plan(self, event: Entry) -> None:
        chance, chaos = self._chance, self._chaos
        if chance.random() < chaos.lost:
            return
        copies = [event]
        if chance.random() < chaos.repeated:
            copies += [dict(event) for _ in range(chance.randint(1, 4))]
        if chance.random() < chaos.renamed:
            copies.append(event | {"sg_event_id": secrets.token_urlsafe(16)})
        self._pending += [(time.monotonic() + chance.random() * chaos.delay, copy) for copy in copies]

    def _send(self) -> None:
        now = time.monotonic()
        due = [event for at, event in self._pending if at <= now]
        if not due:
            return
        self._chance.shuffle(due)
        for start in range(0, len(due), 500):
            part = due[start : start + 500]
            if post(next(self._urls), part, self._signer) // 100 != 2:
                self._pending += [(now + 0.3, event) for event in part]
        ids = {id(event) for event in due}
        self._pending = [(at, event) for at, event in self._pending if at > now or id(event) not in ids]
