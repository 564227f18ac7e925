"""SendGrid over real sockets, against a server of our own that enforces the documented limits and judges by its ledger."""

import json
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.characters import BREAKS_HEADERS
from nurture.domain.delivery import Accepted, Ambiguous, Outcome, Refused, Rejected
from nurture.ids import DeliveryId, new_id
from nurture.letters.image_processing import develop
from nurture.mailers import http_connection
from nurture.mailers.base import InlineImage, headers
from nurture.mailers.sendgrid.mailer import SendGrid, body, rate_limit_wait, written
from tests.mailers.posting import Posting
from tests.mailers.test_outbox import SENDER, a_mail
from tests.pictures import drawing, photograph
from tests.servers import self_signed
from tests.servers.sendgrid import (
    KEY,
    READ_ONLY_KEY,
    Fault,
    SendGridServer,
    close_after,
    half_body,
    hang,
    junk_body,
    refuse_429,
    reset,
    reset_unread,
    slow,
    status,
)

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[SendGridServer]:
    with SendGridServer() as running:
        yield running


_open: list[Posting] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _open:
        _open.pop().__exit__(None, None, None)


def mailer(server: SendGridServer, key: str = KEY, within: float = 20) -> Posting:
    return opened(SendGrid(key, server.url, lambda: datetime.now(UTC)), within)


def opened(sendgrid: SendGrid, within: float = 20) -> Posting:
    _open.append(Posting(sendgrid, within))
    return _open[-1]


def test_a_mail_arrives_as_it_was_written_with_every_header_and_all_tracking_off(server: SendGridServer) -> None:
    mail = a_mail()
    outcome = mailer(server).post(mail)
    (got,) = server.accepted
    assert outcome == Accepted(got.message_id)
    assert (got.address, got.subject, got.text, got.html) == (mail.to, mail.subject, mail.text, mail.html)
    assert got.sender == {"email": "dana@example.org", "name": "Dana Ünal"}
    assert got.reply_to == {"email": "replies@example.org"}
    assert got.headers == dict(mail.headers)
    assert got.custom_args == {
        "delivery_id": mail.delivery, "nurture_delivery_id": mail.delivery, "nurture_request_id": mail.request,
    }  # fmt: skip
    settings = got.tracking_settings
    assert {name: part["enable"] for name, part in settings.items()} == dict.fromkeys(
        ("click_tracking", "open_tracking", "subscription_tracking", "ganalytics"), False
    )
    assert settings["click_tracking"]["enable_text"] is False
    assert got.categories == []


def test_pictures_go_inline_and_arrive_byte_for_byte_each_mail_with_its_own(server: SendGridServer) -> None:
    one, two = (
        InlineImage(drawing(), "png", "picture-1"),
        InlineImage(develop(photograph(900, 700)).content, "jpeg", "picture-2"),
    )
    posted = mailer(server)
    for pictures in ((one,), (one, two), (), (two,)):
        html = "".join(f'<img src="cid:{picture.cid}" alt="A cell">' for picture in pictures) or "<p>None</p>"
        assert isinstance(posted.post(a_mail(delivery=DeliveryId(new_id()), html=html, pictures=pictures)), Accepted)
        got = server.accepted[-1].attachments
        assert [each["content_id"] for each in got] == [picture.cid for picture in pictures]
        assert [b64decode(each["content"]) for each in got] == [picture.content for picture in pictures]
        assert [(each["type"], each["disposition"]) for each in got] == [
            (f"image/{picture.subtype}", "inline") for picture in pictures
        ]


@pytest.mark.parametrize(
    ("fault", "meant", "arrives"),
    [
        (refuse_429(30), Refused, False),
        (status(401), Refused, False),
        (status(403), Refused, False),
        (status(400), Rejected, False),
        (status(413), Rejected, False),
        (status(500), Ambiguous, False),
        (status(502), Ambiguous, False),
        (status(503), Ambiguous, False),
        (status(504), Ambiguous, False),
        (status(500, accepted=True), Ambiguous, True),
        (reset_unread(), Ambiguous, False),
        (reset(accepted=False), Ambiguous, False),
        (reset(accepted=True), Ambiguous, True),
        (hang(accepted=False), Ambiguous, False),
        (hang(accepted=True), Ambiguous, True),
        (half_body(202), Ambiguous, True),
        (half_body(500), Ambiguous, False),
        (junk_body(), Accepted, True),
        (close_after(), Accepted, True),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_every_answer_has_its_meaning_and_nothing_is_tried_twice(
    server: SendGridServer, fault: Fault, meant: type[Outcome], arrives: bool
) -> None:
    server.plan(fault)
    assert isinstance(mailer(server, within=2 if fault.label.startswith("hang") else 20).post(a_mail()), meant)
    assert server.requests == 1
    assert len(server.accepted) == arrives


def test_a_429_says_how_long_to_wait(server: SendGridServer) -> None:
    server.plan(refuse_429(30), refuse_429(None))
    posted = mailer(server)
    first, second = posted.post(a_mail()), posted.post(a_mail())
    assert isinstance(first, Refused)
    assert first.wait is not None
    assert timedelta(seconds=25) < first.wait <= timedelta(seconds=31)
    assert isinstance(second, Refused)
    assert second.wait == timedelta(seconds=60)


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        (None, 60), ("", 60), ("soon", 60), ("-5", 60), ("9" * 12, 60), (str(int(NOW.timestamp()) + 42), 42),
        (str(int(NOW.timestamp()) - 5), 1), (str(int(NOW.timestamp()) + 86400), 3600),
    ],
)  # fmt: skip
def test_the_wait_after_a_429_stays_within_a_second_and_an_hour(said: str | None, wait: int) -> None:
    headers = {} if said is None else {"x-ratelimit-reset": said}
    assert rate_limit_wait(headers, NOW) == timedelta(seconds=wait)


def test_a_refused_key_concerns_everyone_and_a_bad_address_only_itself(server: SendGridServer) -> None:
    for key in ("SG.wrong", READ_ONLY_KEY):
        refused = mailer(server, key).post(a_mail())
        assert isinstance(refused, Refused)
        assert refused.everyone
    rejected = mailer(server).post(a_mail(to="robin@nowhere"))
    assert isinstance(rejected, Rejected)
    assert "robin" not in rejected.why, "SendGrid's message may quote the address; the field is enough"


def test_without_a_connection_nothing_has_left(server: SendGridServer, tmp_path: Path) -> None:
    for host in ("http://127.0.0.1:1", "http://no-such-host.invalid", server.url.replace("http:", "https:")):
        outcome = opened(SendGrid(KEY, host, lambda: NOW)).post(a_mail())
        assert isinstance(outcome, Refused), host
    with SendGridServer(tls=_pair(tmp_path)) as untrusted:
        assert isinstance(mailer(untrusted).post(a_mail()), Refused)
        assert untrusted.requests == 0


def _pair(folder: Path) -> tuple[Path, Path]:
    made = self_signed(folder)
    return made.cert, made.key


def test_over_tls_connections_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = _pair(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
    with SendGridServer(tls=pair) as server:
        posted = mailer(server)
        assert all(isinstance(posted.post(a_mail()), Accepted) for _ in range(20))
        assert server.connections == 1


def test_connections_are_kept_while_busy_and_never_reused_after_a_rest(
    server: SendGridServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = mailer(server)
    for _ in range(20):
        posted.post(a_mail())
    assert server.connections == 1
    monkeypatch.setattr(http_connection, "IDLE_SECONDS", 0.0)
    posted.post(a_mail())
    assert server.connections == 2


def test_many_lanes_share_few_connections_and_mix_nothing_up(server: SendGridServer) -> None:
    mails = [a_mail(delivery=DeliveryId(new_id()), to=f"reader{n}@example.org", text=f"for {n}\n") for n in range(80)]
    outcomes = mailer(server).post_each(mails, at_once=4)
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert {(got.address, got.text, got.delivery_id) for got in server.accepted} == {(m.to, m.text, m.delivery) for m in mails}
    assert server.connections <= 4


def test_an_answer_that_drips_is_over_when_the_request_may_take_no_longer(server: SendGridServer) -> None:
    server.plan(slow(0.2))
    began = time.monotonic()
    assert isinstance(mailer(server, within=3).post(a_mail()), Ambiguous)
    assert time.monotonic() - began < 15


TEXTS = st.text(max_size=60) | st.sampled_from(['"quoted"', "nurture", "\\", "line\u2028end", "Grüße 🙂", "to@example.org"])


ENCLOSED = st.builds(InlineImage, st.binary(), st.sampled_from(["png", "jpeg"]), st.sampled_from(["one", "two"]))


ADDRESSES = st.from_regex(r"[A-Za-z0-9!#$%&'*+/^_`{|}~-]{1,64}@[a-z0-9-]{1,63}\.example", fullmatch=True)


@given(
    to=ADDRESSES, subject=TEXTS, text=TEXTS, html=TEXTS, logo=st.none() | st.builds(InlineImage, st.binary(), st.just("png")),
    pictures=st.lists(ENCLOSED, max_size=2),
)  # fmt: skip
def test_the_quick_body_is_the_one_the_sdk_builds(
    to: str, subject: str, text: str, html: str, logo: InlineImage | None, pictures: list[InlineImage]
) -> None:
    def one_line(value: str) -> str:
        return BREAKS_HEADERS.sub("", " ".join(value.split()))

    sender = replace(SENDER, logo=logo)
    mail = a_mail(
        to="robin@example.org", subject=one_line(subject) or "x", text=text or "x", html=html or "x", sender=sender,
        pictures=tuple(pictures),
    )  # fmt: skip
    assert json.loads(written(mail)) == json.loads(json.dumps(body(mail).get()))
    assert [each["content_id"] for each in json.loads(written(mail)).get("attachments", [])] == [
        *(["logo"] if logo else []), *(picture.cid for picture in pictures),
    ]  # fmt: skip
    odd = a_mail(to=to, headers=headers(mail.sender, mail.kind, mail.delivery, None))
    assert json.loads(written(odd))["personalizations"][0]["to"] == [{"email": odd.to}]
