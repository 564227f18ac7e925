"""The judge is judged: our SMTP server speaks as the RFCs say, fails as planned, and its ledger never lies."""

import json
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.servers.smtp import Mode, SmtpFault, SmtpServer, disconnect, hang, read_ledger, refuse


def a_message(message_id: str = "<d1@example.org>") -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = "Letters <letters@example.org>"
    message["To"] = "ada@example.com"
    message["Subject"] = "Grüße"
    message["Message-ID"] = message_id
    message.set_content("Hi\n.\n..dots\n")
    message.add_alternative("<p>Hi</p>", subtype="html")
    return message


def client(url: str, ca_file: Path | None = None, timeout: float = 10, log_in: bool = True) -> smtplib.SMTP:
    """A client as the URL asks for."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    context = ssl.create_default_context(cafile=ca_file)
    if parts.scheme == "smtps":
        made: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=timeout, context=context)
    else:
        made = smtplib.SMTP(host, port, timeout=timeout)
    try:
        if ca_file and parts.scheme == "smtp":
            made.starttls(context=context)
        if parts.username and log_in:
            made.login(unquote(parts.username), unquote(parts.password or ""))
    except BaseException:
        made.close()
        raise
    return made


def send(server: SmtpServer, *to: str, timeout: float = 10, message: EmailMessage | None = None) -> None:
    with client(server.url, server.ca_file, timeout) as connection:
        connection.send_message(message or a_message(), "bounce@example.org", to or ["ada@example.com"])


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as running:
        yield running


# --- Accepted


def test_a_mail_is_kept_byte_by_byte_with_its_envelope_and_parsed(server: SmtpServer) -> None:
    send(server, "ada@example.com", "bob@example.com")
    (mail,) = server.mails
    assert (mail.mail_from, mail.rcpt_tos) == ("bounce@example.org", ("ada@example.com", "bob@example.com"))
    assert mail.raw == a_message_as_sent(mail.raw)
    assert (mail.message_id, mail.subject) == ("<d1@example.org>", "Grüße")
    assert mail.part("plain").splitlines() == ["Hi", ".", "..dots"]
    assert mail.part("html").strip() == "<p>Hi</p>"
    assert (mail.connection, mail.tls, mail.user) == (1, False, None)
    assert server.to("BOB@example.com") == [mail]
    assert server.to("eve@example.com") == []


def a_message_as_sent(received: bytes) -> bytes:
    """The test's message with the boundary that was drawn for the one received."""
    message = a_message()
    boundary = received.split(b'boundary="')[1].split(b'"')[0].decode()
    message.set_boundary(boundary)
    return message.as_bytes()


def test_message_ids_taken_twice_are_duplicates(server: SmtpServer) -> None:
    for message_id in ("<a@x>", "<b@x>", "<a@x>"):
        send(server, message=a_message(message_id))
    assert server.by_message_id() == {"<a@x>": 2, "<b@x>": 1}
    assert server.duplicates() == {"<a@x>": 2}


def test_one_connection_can_bring_many_mails(server: SmtpServer) -> None:
    with client(server.url) as connection:
        for n in range(20):
            connection.send_message(a_message(f"<{n}@x>"))
    assert [mail.connection for mail in server.wait_for(20)] == [1] * 20
    assert server.connections == 1


@pytest.mark.parametrize("mode", ["plain", "starttls", "smtps"])
def test_each_mode_takes_mail_from_who_logs_in(mode: Mode) -> None:
    with SmtpServer(mode, auth=("us:er@x", "pa/ss word")) as server:
        assert server.url.startswith("smtps://" if mode == "smtps" else "smtp://")
        assert (server.ca_file is None) == (mode == "plain")
        send(server)
        (mail,) = server.mails
        assert (mail.tls, mail.user, mail.connection) == (mode != "plain", "us:er@x", 1)


@pytest.mark.parametrize("mode", ["plain", "starttls", "smtps"])
def test_who_does_not_log_in_or_wrongly_is_refused(mode: Mode) -> None:
    with SmtpServer(mode, auth=("user", "right")) as server:
        with client(server.url, server.ca_file, log_in=False) as connection:
            with pytest.raises(smtplib.SMTPSenderRefused) as unknown:
                connection.send_message(a_message())
            assert unknown.value.smtp_code == 530  # RFC 4954 section 6
            for user, password in (("user", "wrong"), ("other", "right")):
                with pytest.raises(smtplib.SMTPAuthenticationError) as wrong:
                    connection.login(user, password)
                assert wrong.value.smtp_code == 535
        assert server.mails == []


@pytest.mark.parametrize("auth", [None, ("user", "pass")])
def test_starttls_is_demanded_and_login_not_offered_before_it(auth: tuple[str, str] | None) -> None:
    with SmtpServer("starttls", auth=auth) as server, client(server.url, log_in=False) as connection:
        connection.ehlo()
        assert connection.has_extn("starttls")
        assert not connection.has_extn("auth")
        code, said = connection.mail("a@example.org")
        assert (code, b"STARTTLS" in said) == (530, True)  # RFC 3207 section 4


@pytest.mark.parametrize("mode", ["starttls", "smtps"])
def test_a_client_that_does_not_trust_the_certificate_sends_nothing(mode: Mode, tmp_path: Path) -> None:
    with SmtpServer(mode) as server, SmtpServer(mode) as other:
        with pytest.raises(ssl.SSLCertVerificationError):
            client(server.url, other.ca_file)
        assert server.mails == []


def test_a_line_over_998_octets_is_refused(server: SmtpServer) -> None:
    with client(server.url) as connection:
        connection.ehlo()
        assert connection.sendmail("a@example.org", ["b@example.com"], b"Subject: x\r\n\r\n" + b"y" * 998 + b"\r\n") == {}
        with pytest.raises(smtplib.SMTPDataError) as long:
            connection.sendmail("a@example.org", ["b@example.com"], b"Subject: x\r\n\r\n" + b"y" * 1001 + b"\r\n")
        assert long.value.smtp_code == 500
    assert len(server.mails) == 1


# --- Faults

DISCONNECTED = (smtplib.SMTPServerDisconnected, ConnectionResetError)


@pytest.mark.parametrize("code", [421, 451, 550, 554])
@pytest.mark.parametrize(
    ("stage", "raised"),
    [
        ("connect", smtplib.SMTPConnectError),
        ("mail", smtplib.SMTPSenderRefused),
        ("rcpt", smtplib.SMTPRecipientsRefused),
        ("data", smtplib.SMTPDataError),
    ],
)
def test_a_planned_refusal_happens_once_with_its_code(
    server: SmtpServer, code: int, stage: str, raised: type[smtplib.SMTPException]
) -> None:
    server.plan(refuse(stage, code))  # type: ignore[arg-type]
    with pytest.raises(raised) as refused:
        send(server)
    error = refused.value
    said = error.recipients["ada@example.com"][0] if isinstance(error, smtplib.SMTPRecipientsRefused) else None
    assert (said or getattr(error, "smtp_code", None)) == code
    assert server.mails == []
    assert server.spent == {f"{stage} reply": 1}
    send(server)
    assert len(server.mails) == 1


def test_a_mail_can_be_kept_and_refused_all_the_same(server: SmtpServer) -> None:
    server.plan(refuse("data", 451, keeps=True))
    with pytest.raises(smtplib.SMTPDataError):
        send(server)
    assert len(server.mails) == 1


def test_one_recipient_can_be_refused_among_others(server: SmtpServer) -> None:
    server.plan(refuse("rcpt", 550, recipient="BOB@example.com"))
    with client(server.url) as connection:
        refused = connection.send_message(a_message(), "a@example.org", ["ada@example.com", "bob@example.com"])
    assert {address: answer[0] for address, answer in refused.items()} == {"bob@example.com": 550}
    assert server.mails[0].rcpt_tos == ("ada@example.com",)


@pytest.mark.parametrize("mode", ["plain", "starttls", "smtps"])
@pytest.mark.parametrize("make", [disconnect, lambda at, keeps: disconnect(at, keeps, reset=True)], ids=["by FIN", "by RST"])
@pytest.mark.parametrize("keeps", [True, False])
def test_a_connection_lost_after_the_final_dot_may_or_may_not_have_left_a_mail(
    mode: Mode, make: Callable[[str, bool], SmtpFault], keeps: bool
) -> None:
    with SmtpServer(mode) as server:
        server.plan(make("data", keeps))
        with pytest.raises(DISCONNECTED):
            send(server)
        assert len(server.mails) == keeps
        send(server)
        assert len(server.mails) == keeps + 1


def test_a_disconnection_is_a_fin_or_an_rst_as_planned(server: SmtpServer) -> None:
    server.plan(disconnect("data"), disconnect("data", reset=True))
    for said in (r"closed$", "reset by peer"):
        with pytest.raises(smtplib.SMTPServerDisconnected, match=said):
            send(server)


@pytest.mark.parametrize("stage", ["connect", "mail", "rcpt"])
def test_a_connection_can_be_lost_before_any_mail(server: SmtpServer, stage: str) -> None:
    server.plan(disconnect(stage), disconnect(stage, reset=True))  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(DISCONNECTED):
            send(server)
    assert server.mails == []
    send(server)


@pytest.mark.parametrize("keeps", [True, False])
def test_a_server_that_hangs_after_the_final_dot_may_or_may_not_have_kept_it(server: SmtpServer, keeps: bool) -> None:
    server.plan(hang("data", keeps=keeps))
    with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
        send(server, timeout=0.3)
    assert len(server.mails) == keeps


@pytest.mark.parametrize("stage", ["connect", "mail", "rcpt"])
def test_a_server_can_hang_at_every_stage_or_give_up_by_itself(server: SmtpServer, stage: str) -> None:
    server.plan(hang(stage), hang(stage, seconds=0.01))  # type: ignore[arg-type]
    with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
        send(server, timeout=0.3)
    with pytest.raises(DISCONNECTED):
        send(server)
    assert server.mails == []
    send(server)


def test_a_server_ends_while_clients_hang(server: SmtpServer) -> None:
    with SmtpServer() as ending:
        ending.plan(hang("mail"))
        connection = client(ending.url)
        connection.ehlo()
        connection.putcmd("mail", "FROM:<a@example.org>")
    with pytest.raises((*DISCONNECTED, ConnectionError)):
        connection.getreply()
    connection.close()


@pytest.mark.parametrize(
    "senseless",
    [
        lambda: SmtpFault("greeting", "close"),  # type: ignore[arg-type]
        lambda: SmtpFault("data", "explode"),  # type: ignore[arg-type]
        lambda: refuse("data", 250),
        lambda: disconnect("rcpt", keeps=True),
    ],
)
def test_a_fault_that_cannot_be_is_refused(senseless: Callable[[], SmtpFault]) -> None:
    with pytest.raises(ValueError, match=r"fault|failure|kept"):
        senseless()


# --- The ledger


def test_the_file_holds_the_mail_before_the_final_reply(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with SmtpServer(ledger=path) as server:
        server.plan(hang("data", keeps=True))
        with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
            send(server, timeout=0.3)
        assert read_ledger(path) == server.mails != []
        server.plan(disconnect("data"))
        with pytest.raises(DISCONNECTED):
            send(server)
        assert len(read_ledger(path)) == 1
    path.write_bytes(path.read_bytes() + b'{"mail_from": "x", "rc')
    with SmtpServer(ledger=path) as server:
        send(server)
        assert server.duplicates() == {"<d1@example.org>": 2}
        assert read_ledger(path) == server.mails
        server.reset()
        assert (server.mails, read_ledger(path)) == ([], [])


def test_waiting_in_vain_says_how_many_came(server: SmtpServer) -> None:
    with pytest.raises(TimeoutError, match="0 mails were taken"):
        server.wait_for(1, timeout=0.01)


def test_as_a_program_it_prints_where_it_is_and_survives_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    fault = json.dumps({"at": "data", "does": "close", "keeps": True})
    command = [sys.executable, "-m", "tests.servers.smtp", "--mode", "smtps", "--auth", "me:secret"]
    command += ["--ledger", str(path), "--fault", fault]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            url, ca_file = (process.stdout.readline().strip() for _ in range(2))
            with pytest.raises(DISCONNECTED), client(url, Path(ca_file)) as connection:
                connection.send_message(a_message())
            with client(url, Path(ca_file)) as connection:
                connection.send_message(a_message("<d2@example.org>"))
        finally:
            process.kill()
    assert [mail.message_id for mail in read_ledger(path)] == ["<d1@example.org>", "<d2@example.org>"]
    assert read_ledger(path)[0].user == "me"
