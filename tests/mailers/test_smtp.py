"""SMTP over real sockets."""

import asyncio
import base64
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import environ

import pytest

from nurture.domain.delivery import Accepted, Ambiguous, Concern, Outcome, Refused, Rejected
from nurture.letters.image_processing import develop
from nurture.mailers.base import InlineImage, MailRefused
from nurture.mailers.smtp import Smtp
from nurture.setting_values import SmtpAddress, write_smtp_url
from nurture.settings import SettingRefused
from tests.mailers.posting import Posting
from tests.mailers.test_outbox import SENDER, a_mail
from tests.pictures import drawing, photograph
from tests.servers.raw_smtp import Answer, RawSmtp
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
    pictures = (InlineImage(drawing(), "png", "picture-1"), InlineImage(photo, "jpeg", "picture-2"))
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
        wrong = opened(Smtp(server.url.replace("dana", "nobody"), context)).post(a_mail())
        assert isinstance(wrong, Refused)
        assert (wrong.everyone, wrong.alarm) == (True, True)
        assert wrong.why.startswith("the SMTP server refused user or password (535")
        assert isinstance(opened(Smtp(server.url, ssl.create_default_context())).post(a_mail()), Refused)
        assert server.mails == []
    assert isinstance(opened(Smtp("smtp://127.0.0.1:1")).post(a_mail()), Refused)


@pytest.mark.parametrize("mode", ["starttls", "smtps"])
def test_a_relay_on_this_machine_may_sign_its_own_certificate(mode: Mode) -> None:
    with SmtpServer(mode, auth=USER) as server:
        assert opened(Smtp(server.url)).post(a_mail()) == Accepted()
        assert [mail.tls for mail in server.mails] == [True]
        elsewhere = server.url.replace("127.0.0.1", "0.0.0.0").replace("localhost", "0.0.0.0")
        refused = opened(Smtp(elsewhere)).post(a_mail())
        assert isinstance(refused, Refused)
        assert "SSLCertVerification" in refused.why


_TRUSTING = """
import asyncio, ssl, sys
from nurture.mailers.smtp import Smtp
from tests.mailers.test_outbox import SENDER
print(asyncio.run(Smtp(sys.argv[1], ssl.create_default_context()).check(SENDER, 60)))
"""


def test_a_ca_file_of_ones_own_is_trusted_by_ssl_cert_file() -> None:
    """As docs/operations.md says, for a relay on another host: here its certificate is checked in full."""
    with SmtpServer("starttls", auth=USER) as server:
        command = [sys.executable, "-c", _TRUSTING, server.url]
        said = [
            subprocess.run(command, env={**environ, "SSL_CERT_FILE": file}, capture_output=True, text=True, check=True).stdout
            for file in (str(server.ca_file), "")
        ]
    assert said[0].startswith("Accepted")
    assert "SSLCertVerification" in said[1]


@pytest.mark.parametrize("url", ["http://x", "smtp://", "mail.example.org:25"])
def test_a_url_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingRefused, match="NURTURE_SMTP_URL"):
        Smtp(url)


PASSWORDS = ["pässwörd", "a#b", "a/b:c@d?e", "100% sure", "日本語", "é" * 60, "p w"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("ways", ["AUTH PLAIN LOGIN", "AUTH LOGIN", "AUTH=LOGIN"])
def test_any_user_and_password_log_in_as_utf_8(password: str, ways: str) -> None:
    with RawSmtp(extensions=[ways]) as server:
        url = write_smtp_url(SmtpAddress("127.0.0.1", server.port, "dänä", password, encrypted=False))
        assert opened(Smtp(url)).post(a_mail()) == Accepted()
        assert server.logins == [("dänä".encode(), password.encode())]


@pytest.mark.parametrize("password", ["a#b", "a/b", "a?b", "a@b", "a:b", "ä#/"])
def test_a_password_typed_into_the_url_as_it_is_works(password: str) -> None:
    with RawSmtp(extensions=["AUTH PLAIN"]) as server:
        assert opened(Smtp(f"smtp://dana:{password}@127.0.0.1:{server.port}")).post(a_mail()) == Accepted()
        assert server.logins == [(b"dana", password.encode())]


def test_a_server_that_quotes_the_password_or_the_reader_is_not_repeated() -> None:
    secret = "pässwort-Zq7"
    basic = base64.b64encode(b"\0dana\0" + secret.encode()).decode()
    with RawSmtp(extensions=["AUTH PLAIN"]) as server:
        server.answer("AUTH", Answer(f"535 5.7.8 {secret} {basic} is wrong for dana", times=1))
        posted = opened(Smtp(write_smtp_url(SmtpAddress("127.0.0.1", server.port, "dana", secret, encrypted=False))))
        first = posted.post(a_mail())
        server.answer("RCPT", Answer("550 5.1.1 <robin.smith@example.org>: robin smith is unknown at example.org"))
        second = posted.post(a_mail(to="robin.smith@example.org"))
    assert isinstance(first, Refused)
    assert isinstance(second, Rejected)
    assert second.concerns is Concern.RECIPIENT
    for private in (secret, basic, "dana"):
        assert private not in first.why
    for private in ("robin", "smith", "example.org"):
        assert private not in second.why


def test_a_log_in_that_the_server_cannot_do_is_said() -> None:
    with RawSmtp(extensions=["AUTH XOAUTH2"]) as server:
        found = opened(Smtp(f"smtp://dana:x@127.0.0.1:{server.port}")).post(a_mail())
    assert isinstance(found, Refused)
    assert "PLAIN, LOGIN or CRAM-MD5" in found.why


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END"])
def test_one_deadline_is_over_the_whole_conversation(stage: str) -> None:
    """Every reply takes a while, and one never comes: the sum counts, not each."""
    with RawSmtp() as server:
        for each in ("CONNECT", "EHLO", "MAIL", "RCPT"):
            server.answer(each, Answer(USUAL[each], delay=0.4))
        server.answer(stage, Answer(USUAL.get(stage, "354 go"), delay=600))
        began = time.monotonic()
        found = opened(Smtp(server.url), within=3).post(a_mail())
        took = time.monotonic() - began
    assert isinstance(found, Ambiguous if stage == "END" else Refused)
    assert took < 60


USUAL = {
    "CONNECT": "220 x", "EHLO": "250 x", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go", "END": "250 ok",
}  # fmt: skip


def test_replies_that_are_each_in_time_do_not_add_up_beyond_the_deadline() -> None:
    with RawSmtp() as server:
        for stage, usual in USUAL.items():
            server.answer(stage, Answer(usual, delay=2.0))
        began = time.monotonic()
        assert isinstance(opened(Smtp(server.url), within=3).post(a_mail()), Refused)
        assert isinstance(asyncio.run(Smtp(server.url).check(SENDER, 3)), Refused)
        assert time.monotonic() - began < 12 - 1, "six replies of two seconds each, twice, were not waited for"


def test_a_server_that_sends_a_byte_now_and_then_ends_too() -> None:
    with dripping() as port:
        began = time.monotonic()
        assert isinstance(opened(Smtp(f"smtp://127.0.0.1:{port}"), within=2).post(a_mail()), Refused)
        assert isinstance(asyncio.run(Smtp(f"smtp://127.0.0.1:{port}").check(SENDER, 2)), Refused)
        assert time.monotonic() - began < 60


@contextmanager
def dripping() -> Iterator[int]:
    """A server whose greeting never ends, a byte every 50 ms; yields its port."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                while not over.wait(0.05):
                    connection.sendall(b"2")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_kept_connection_that_the_server_closed_meanwhile_costs_no_mail_and_stops_nothing() -> None:
    with RawSmtp() as server:
        posted = opened(Smtp(server.url))
        server.answer("END", Answer("250 queued\n421 4.7.0 too many messages in this session", times=1, closes=True))
        assert posted.post(a_mail()) == Accepted()
        assert posted.post(a_mail()) == Accepted()
        server.answer("MAIL", Answer("250 ok", times=1), Answer("421 4.4.2 idle for too long", times=1, closes=True))
        assert posted.post(a_mail()) == Accepted()
        assert posted.post(a_mail()) == Accepted()
        assert len(server.mails) == 4


SMUGGLED = "robin@example.org>\r\nRCPT TO:<victim@example.org"


@pytest.mark.parametrize("to", ["robin@exam ple.org", SMUGGLED, "röbin@example.org", "r"])
def test_an_address_that_smtp_cannot_carry_is_refused_before_the_server_is_asked(to: str) -> None:
    with RawSmtp() as server:
        try:
            mail = a_mail(to=to)
        except MailRefused:
            return
        found = opened(Smtp(server.url)).post(mail)
        assert isinstance(found, Rejected)
        assert server.connections == 0
