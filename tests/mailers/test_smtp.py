"""SMTP over real sockets."""

import ssl
from collections.abc import Iterator

import pytest

from nurture.domain.delivery import Accepted, Ambiguous, Outcome, Refused, Rejected
from nurture.letters.imaging import develop
from nurture.mailers.base import Picture
from nurture.mailers.smtp import Smtp
from nurture.settings import SettingRefused
from tests.mailers.posting import Posting
from tests.mailers.test_outbox import a_mail
from tests.pictures import drawing, photograph
from tests.servers.smtp import Mode, SmtpFault, SmtpServer, disconnect, hang, refuse

USER = ("dana", "pass:word@example")


_open: list[Posting] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _open:
        _open.pop().__exit__(None, None, None)


def opened(smtp: Smtp, within: float = 20) -> Posting:
    _open.append(Posting(smtp, within))
    return _open[-1]


def mailer(server: SmtpServer, within: float = 20) -> Posting:
    context = ssl.create_default_context(cafile=str(server.ca_file)) if server.ca_file else None
    return opened(Smtp(server.url, context), within)


@pytest.mark.parametrize("mode", ["plain", "starttls", "smtps"])
def test_a_mail_arrives_as_it_was_written(mode: Mode) -> None:
    with SmtpServer(mode, auth=None if mode == "plain" else USER) as server:
        mail = a_mail(text=".a dot first\n..two\nGrüße\n")
        assert mailer(server).post(mail) == Accepted()
        (got,) = server.mails
    assert got.message["Message-ID"] == mail.message_id
    assert got.part("plain").replace("\r\n", "\n") == mail.text
    assert got.part("html").replace("\r\n", "\n") == mail.html
    assert got.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert got.message["Subject"] == mail.subject


@pytest.mark.parametrize("mode", ["plain", "starttls", "smtps"])
def test_pictures_arrive_byte_for_byte_under_the_names_the_letter_shows_them_by(mode: Mode) -> None:
    photo = develop(photograph(900, 700)).content
    pictures = (Picture(drawing(), "png", "picture-1"), Picture(photo, "jpeg", "picture-2"))
    html = '<p><img src="cid:picture-1" alt="One"><img src="cid:picture-2" alt="Two"></p>\n'
    with SmtpServer(mode, auth=None if mode == "plain" else USER) as server:
        assert mailer(server).post(a_mail(html=html, pictures=pictures)) == Accepted()
        (got,) = server.mails
    arrived = {str(part["Content-ID"]): part for part in got.message.walk() if part["Content-ID"]}
    assert list(arrived) == ["<picture-1>", "<picture-2>"]
    assert [part.get_payload(decode=True) for part in arrived.values()] == [drawing(), photo]
    assert [part.get_content_type() for part in arrived.values()] == ["image/png", "image/jpeg"]
    assert got.part("html").replace("\r\n", "\n") == html


def test_a_connection_is_kept_from_mail_to_mail() -> None:
    with SmtpServer() as server:
        posted = mailer(server)
        assert all(posted.post(a_mail()) == Accepted() for _ in range(10))
        assert server.connections == 1
        assert len(server.mails) == 10


@pytest.mark.parametrize(
    ("fault", "meant", "arrives"),
    [
        (refuse("connect", 421), Refused, False),
        (refuse("mail", 451), Refused, False),
        (refuse("mail", 550), Refused, False),
        (refuse("rcpt", 450), Refused, False),
        (refuse("rcpt", 550), Rejected, False),
        (refuse("data", 451), Refused, False),
        (refuse("data", 554), Rejected, False),
        (disconnect("connect"), Refused, False),
        (disconnect("mail"), Refused, False),
        (disconnect("rcpt"), Refused, False),
        (hang("rcpt"), Refused, False),
        (disconnect("data"), Ambiguous, False),
        (disconnect("data", keeps=True), Ambiguous, True),
        (disconnect("data", keeps=True, reset=True), Ambiguous, True),
        (hang("data", keeps=True), Ambiguous, True),
    ],
    ids=str,
)
def test_every_reply_has_its_meaning_and_nothing_is_tried_twice(fault: SmtpFault, meant: type[Outcome], arrives: bool) -> None:
    with SmtpServer() as server:
        server.plan(fault)
        posted = mailer(server, within=3 if fault.does == "hang" else 20)
        assert isinstance(posted.post(a_mail()), meant)
        assert len(server.mails) == arrives
        assert posted.post(a_mail()) == Accepted(), "the next mail finds a sound connection"


def test_a_wrong_password_or_an_untrusted_server_is_a_refusal() -> None:
    with SmtpServer("starttls", auth=USER) as server:
        context = ssl.create_default_context(cafile=str(server.ca_file))
        wrong = opened(Smtp(server.url.replace("dana", "nobody"), context))
        assert isinstance(wrong.post(a_mail()), Refused)
        assert isinstance(opened(Smtp(server.url, ssl.create_default_context())).post(a_mail()), Refused)
        assert server.mails == []
    assert isinstance(opened(Smtp("smtp://127.0.0.1:1")).post(a_mail()), Refused)


@pytest.mark.parametrize("url", ["http://x", "smtp://", "mail.example.org:25"])
def test_a_url_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingRefused, match="NURTURE_SMTP_URL"):
        Smtp(url)
