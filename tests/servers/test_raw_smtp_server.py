"""The server that keeps exact bytes, tried with a client that is nothing but a socket and with smtplib."""

import smtplib
import socket

import pytest

from tests.servers.raw_smtp import Answer, RawSmtp


def test_it_keeps_the_exact_bytes_and_unstuffs_dots() -> None:
    odd = b"Subject: \xff\x00 bare\rreturn\r\n\r\nbare\nline feed\r\n..two dots\r\n"
    with RawSmtp() as server, socket.create_connection(("127.0.0.1", server.port)) as client, client.makefile("rb") as replies:
        assert replies.readline().startswith(b"220 ")
        for line in (b"HELO me", b"MAIL FROM:<a@example.org>", b'RCPT TO:<"odd > one"@example.org>', b"DATA"):
            client.sendall(line + b"\r\n")
            assert replies.readline()[:1] in b"23"
        client.sendall(odd.replace(b"..two", b"...two") + b".\r\n")
        assert replies.readline().startswith(b"250 ")
        (mail,) = server.mails
    assert mail.raw == odd
    assert (mail.mail_from, mail.recipients, mail.connection) == ("a@example.org", ('"odd > one"@example.org',), 1)


def test_scripted_answers_are_given_in_order_and_as_often_as_said() -> None:
    with RawSmtp(extensions=["AUTH PLAIN LOGIN"]) as server:
        server.answer(
            "RCPT:robin@example.org", Answer("550-5.1.1 no\n550 5.1.1 such user", times=1), Answer("450 later", times=1)
        )
        server.answer("END", Answer("552 5.2.2 full", times=1))
        with smtplib.SMTP("127.0.0.1", server.port, timeout=60) as client:
            client.login("dana", "unsafe")
            for code in (550, 450):
                with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                    client.sendmail("a@example.org", ["robin@example.org"], b"Subject: x\r\n\r\nx\r\n")
                assert refused.value.recipients["robin@example.org"][0] == code
            with pytest.raises(smtplib.SMTPDataError):
                client.sendmail("a@example.org", ["robin@example.org"], b"Subject: x\r\n\r\nx\r\n")
            client.sendmail("a@example.org", ["robin@example.org"], b"Subject: y\r\n\r\ny\r\n")
        assert [mail.raw for mail in server.mails] == [b"Subject: y\r\n\r\ny\r\n"]
        assert len(server.refused) == 1
        assert server.logins == [(b"dana", b"unsafe")]


def test_it_closes_where_the_script_says_so_and_refuses_an_unknown_stage() -> None:
    with RawSmtp({"MAIL": [Answer("421 4.7.0 too busy", closes=True, times=1)]}) as server:
        client = smtplib.SMTP("127.0.0.1", server.port, timeout=60)
        assert client.docmd("EHLO me")[0] == 250
        assert client.docmd("MAIL FROM:<a@example.org>")[0] == 421
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.docmd("NOOP")
        client.close()
        with pytest.raises(ValueError, match="no stage"):
            server.answer("BDAT", Answer("250 ok"))
    assert server.connections == 1
