"""SpamAssassin, with the rules it comes with and nothing from the network, finds next to nothing in a shipped letter."""

import re
import subprocess
from datetime import UTC, datetime
from email.utils import format_datetime

from nurture.domain.delivery import DeliveryKind
from nurture.ids import DeliveryId, RequestId, new_id
from nurture.letters.compiler import compile_letter
from nurture.letters.source import read_folder
from nurture.mailers.base import Mail, SenderIdentity, as_bytes, headers
from nurture.resources import pack
from tests.letters.samples import BASE, a_sample

MOST = 1.0
LETTERS = read_folder(pack().letters / "ketamine-and-talk-therapy")[1]
SENDER = SenderIdentity("dana@letters.example.org", "Dana from Oak Street", "dana@letters.example.org", BASE)
_SCORE = re.compile(r"^X-Spam-Status: \w+, score=(-?[\d.]+)", re.MULTILINE)
_REASON = re.compile(r"^ ?(-?\d+\.\d) (\w+) +(.*)$", re.MULTILINE)


def as_sent(subject: str, html: str, text: str) -> bytes:
    """A mail as a server takes it from another."""
    delivery = DeliveryId(new_id())
    mail = Mail(
        delivery, RequestId(new_id()), DeliveryKind.LETTER, "robin@example.net", subject, html, text, SENDER,
        headers(SENDER, DeliveryKind.LETTER, delivery, f"{BASE}/unsubscribe/TOKEN"), datetime.now(UTC),
    )  # fmt: skip
    received = (
        "Received: from mail.letters.example.org (mail.letters.example.org [167.89.12.34])\r\n"
        f"\tby mx.example.net with ESMTPS; {format_datetime(mail.at)}\r\n"
    )
    return received.encode() + as_bytes(mail)


def judged(mail: bytes) -> tuple[float, list[str]]:
    """The score, and each reason that adds to it."""
    said = subprocess.run(["spamassassin", "--local", "-t"], input=mail, capture_output=True, check=True, timeout=120)
    page = said.stdout.decode("utf-8", "replace")
    score = _SCORE.search(page)
    assert score is not None, page[:2000]
    return float(score[1]), [" ".join(reason) for reason in _REASON.findall(page) if float(reason[0]) > 0]


def test_every_shipped_letter_scores_below_one() -> None:
    scores = {}
    for letter in LETTERS:
        content = a_sample(compile_letter(letter))
        scores[letter.key] = judged(as_sent(content.subject, content.html, content.text))
    assert all(score < MOST for score, _ in scores.values()), scores


def test_what_looks_like_spam_is_found() -> None:
    html = "<html><body><h1>BUY VIAGRA NOW!!!</h1><p>100% FREE money, Dear Friend. Act now, no risk!</p></body></html>"
    score, reasons = judged(as_sent("$$$ MAKE MONEY FAST $$$", html, "BUY VIAGRA NOW!!! 100% FREE"))
    assert score > MOST
    assert reasons
