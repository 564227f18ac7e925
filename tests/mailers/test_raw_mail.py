"""Mails as bytes: off the wire, out of the outbox, and from every Python that is here, read by rules and not by a library."""

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nurture.domain.delivery import Accepted, DeliveryKind
from nurture.ids import DeliveryId, new_id
from nurture.mailers import mime
from nurture.mailers.base import InlineImage, Mail, MailRefused, SenderIdentity, as_bytes, check_bytes, headers
from nurture.mailers.outbox import Outbox
from nurture.mailers.sendgrid.mailer import written
from nurture.mailers.smtp import Smtp
from nurture.services.addresses import parse_address
from nurture.settings import load
from tests.mailers import raw_reader, strange
from tests.mailers.strange import Drawn
from tests.mailers.test_outbox import SENDER, a_mail
from tests.pictures import drawing
from tests.servers.raw_smtp import RawSmtp

ROOT = Path(__file__).parents[2]
FREE_TEXT = {"From", "Subject"}
"""The only fields in which an encoded word may stand (RFC 2047 section 5)."""


def check(raw: bytes, mail: Mail) -> raw_reader.Part:
    """That a finished mail is exactly what was meant."""
    read = raw_reader.read(raw)
    exact = {
        "To": mail.to, "Reply-To": mail.sender.reply_to, "Date": "Mon, 02 Mar 2026 15:00:00 +0000", **mail.headers,
        "X-Nurture-Delivery": mail.delivery, "MIME-Version": "1.0",
    }  # fmt: skip
    assert sorted(field.name for field in read.fields) == sorted([*exact, "From", "Subject", "Content-Type"])
    assert {name: read.value(name) for name in exact} == exact
    for field in read.fields:
        raw_reader.check_lines(field)
        assert "=?" not in field.value or field.name in FREE_TEXT
    assert raw_reader.display_name(read.value("From")) == (mail.sender.name, mail.sender.email)
    assert raw_reader.decoded(read.value("Subject")) == mail.subject
    text, html, *pictures = read.leaves()
    assert (text.content_type, html.content_type) == ("text/plain", "text/html")
    assert text.parameter("Content-Type", "charset") == html.parameter("Content-Type", "charset") == "utf-8"
    assert [text.content(), html.content()] == [_crlf(mail.text), _crlf(mail.html)]
    assert [
        (part.content_type, part.value("Content-ID"), part.value("Content-Disposition"), part.content()) for part in pictures
    ] == [(f"image/{one.subtype}", f"<{one.cid}>", f'inline; filename="{one.file_name}"', one.content) for one in mail.enclosed]
    return read


def _crlf(text: str) -> bytes:
    return re.sub(r"\r\n|\r|\n", "\r\n", text).encode()


def settled(drawn: Drawn) -> Drawn:
    """With the site as NURTURE_BASE_URL keeps it."""
    return drawn._replace(site=load(_env_file=None, base_url=drawn.site).base_url)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strange.drawn())
def test_every_mail_is_exactly_what_was_meant(drawn: Drawn) -> None:
    assert parse_address(drawn.to).send_to.lower() == drawn.to.lower(), "an address that people may sign up with"
    drawn = settled(drawn)
    mail = strange.mail_of(drawn)
    read = check(as_bytes(mail), mail)
    host = mail.sender.id_domain
    assert read.value("Message-ID") == f"<{mail.delivery}@{host}>"
    if drawn.unsubscribe is not None:
        assert read.value("List-Unsubscribe") == f"<{drawn.site}{drawn.unsubscribe}>"
        assert read.value("List-Unsubscribe-Post") == "List-Unsubscribe=One-Click"
        found = re.fullmatch(r"<([a-z0-9_-]+(\.[a-z0-9_-]+)+)>", read.value("List-Id"))
        assert found
        assert len(found[1]) <= 255, "RFC 2919 section 6"
        assert found[1].endswith(host) or found[1] == "letters.localhost"


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=strange.drawn())
def test_the_wire_and_the_outbox_get_the_same_bytes(drawn: Drawn, wire: RawSmtp, tmp_path: Path) -> None:
    mail = strange.mail_of(settled(drawn._replace(delivery=new_id())))
    smtp, before = Smtp(wire.url), len(wire.mails)
    assert _post(smtp, mail) == Accepted()
    assert _post(Outbox(tmp_path), mail) == Accepted(mail.delivery)
    got = wire.mails[before]
    assert (got.mail_from, got.recipients) == (mail.sender.email, (mail.to,))
    assert got.raw == (tmp_path / f"{mail.delivery}.eml").read_bytes()
    check(got.raw, mail)


@pytest.fixture
def wire() -> Iterator[RawSmtp]:
    with RawSmtp() as server:
        yield server


def _post(mailer: Smtp | Outbox, mail: Mail) -> object:
    async def post() -> object:
        outcome = await mailer.post([mailer.prepare(mail)], 60)
        await mailer.aclose()
        return outcome

    return asyncio.run(post())


@settings(max_examples=50, deadline=None)
@given(strange.drawn())
def test_sendgrid_gets_the_same_headers_literally(drawn: Drawn) -> None:
    mail = strange.mail_of(settled(drawn))
    body = json.loads(written(mail))
    assert body["headers"] == dict(mail.headers)
    assert [one["to"] for one in body["personalizations"]] == [[{"email": mail.to}]]
    assert (body["from"]["email"], body["reply_to"]["email"]) == (mail.sender.email, mail.sender.reply_to)
    assert body["subject"] == mail.subject
    for value in (*body["headers"].values(), body["subject"], body["from"].get("name", "")):
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", value)
    assert "mailto:" not in json.dumps(body["headers"])


@pytest.mark.parametrize(
    ("host", "message_id", "list_id"),
    [
        ("letters.example.org", "letters.example.org", "letters.letters.example.org"),
        ("LETTERS.example.org.", "letters.example.org", "letters.letters.example.org"),
        ("bücher.example", "xn--bcher-kva.example", "letters.xn--bcher-kva.example"),
        ("localhost", "localhost", "letters.localhost"),
        ("127.0.0.1", "127.0.0.1", "letters.localhost"),
        ("[::1]", "[IPv6:::1]", "letters.localhost"),
        (f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 52}.de", None, None),
        (f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 58}.de", None, "l."),
    ],
)
def test_ids_name_the_host_as_the_rfcs_want_it(host: str, message_id: str | None, list_id: str | None) -> None:
    sender = replace(SENDER, site=load(_env_file=None, base_url=f"https://{host}").base_url)
    found = headers(sender, DeliveryKind.LETTER, DeliveryId("0" * 32), f"{sender.site}/unsubscribe/T")
    bare = host.lower().rstrip(".")
    assert found["Message-ID"] == f"<{'0' * 32}@{message_id or bare}>"
    assert found["List-Id"] == f"<{f'l.{bare}' if list_id == 'l.' else list_id or f'letters.{bare}'}>"
    assert len(found["List-Id"]) <= 257


def test_a_link_longer_than_a_line_stays_whole() -> None:
    """The library has written `List-Unsubscribe: =?utf-8?q?=3Chttps=3A?=`, which no mail app takes for a link."""
    site = f"https://{'a' * 63}.{'b' * 63}.example.org"
    sender = replace(SENDER, site=site)
    delivery = DeliveryId(new_id())
    mail = a_mail(
        delivery=delivery, sender=sender, headers=headers(sender, DeliveryKind.LETTER, delivery, f"{site}/unsubscribe/T0KEN")
    )
    raw = as_bytes(mail)
    assert f"\r\nList-Unsubscribe: <{site}/unsubscribe/T0KEN>\r\n".encode() in raw
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in raw
    assert f"\r\nList-Id: <letters.{'a' * 63}.{'b' * 63}.example.org>\r\n".encode() in raw
    assert b"mailto:" not in raw.partition(b"\r\n\r\n")[0]
    check(raw, mail)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Dana from Oak Street", b"From: Dana from Oak Street <dana@example.org>\r\n"),
        ("Dr. Dana O'Neil, LCSW", b'From: "Dr. Dana O\'Neil, LCSW" <dana@example.org>\r\n'),
        ('Dana "D" \\', b'From: "Dana \\"D\\" \\\\" <dana@example.org>\r\n'),
        ("Dana Ünal", b"From: =?utf-8?q?Dana_=C3=9Cnal?= <dana@example.org>\r\n"),
        ("Дана", b"From: =?utf-8?b?0JTQsNC90LA=?= <dana@example.org>\r\n"),
        ("=?utf-8?q?=0D=0ABcc:_x?=", None),
        ("", b"From: dana@example.org\r\n"),
    ],
)
def test_a_sender_s_name_is_written_as_text(name: str, shown: bytes | None) -> None:
    mail = a_mail(sender=replace(SENDER, name=name))
    raw = as_bytes(mail)
    if shown is not None:
        assert raw.startswith(shown)
    check(raw, mail)


@pytest.mark.parametrize("word", ["=?utf-8?q?=0D=0ABcc:_x?=", "=?utf-8?b?DQpCY2M6IHg=?=", "a =?", "=?x?q?y?= z"])
def test_what_reads_as_an_encoded_word_arrives_as_it_was_typed(word: str) -> None:
    mail = a_mail(subject=word, sender=replace(SENDER, name=word))
    read = check(as_bytes(mail), mail)
    assert raw_reader.decoded(read.value("Subject")) == word
    assert not re.search(r"=\?[^?]+\?[^?]\?[^?]*\?=", raw_reader.decoded(read.value("Subject")).replace(word, ""))


ODD = ["=?utf-8?q?victim=40evil.example=2C?=@example.org", "Dana <dana@example.org>", "a@example.org, b@example.org",
       "nope", "dana@bücher.example", '"a b"@example.org', "a@[127.0.0.1]", "", " a@example.org", "a@example.org>"]  # fmt: skip


@pytest.mark.parametrize("address", ODD)
@pytest.mark.parametrize("place", ["to", "from", "reply to"])
def test_no_address_that_reads_as_another_goes_out(address: str, place: str) -> None:
    sender = {"from": replace(SENDER, email=address), "reply to": replace(SENDER, reply_to=address)}.get(place, SENDER)
    with pytest.raises(MailRefused, match="not one plain e-mail address") as refused:
        a_mail(sender=sender, **({"to": address} if place == "to" else {}))
    assert address.strip() == "" or address.strip() not in str(refused.value), "an error may be logged"


@pytest.mark.parametrize("mark", ["\r\n", "\n", "\r", "\0", "\t", "\x7f", "\x85", "\x92", "\u2028", "\u2029", "\ud800", "\x1b"])
def test_no_subject_and_no_name_can_end_a_header(mark: str) -> None:
    for given_ in ({"subject": f"a{mark}Bcc: x"}, {"sender": replace(SENDER, name=f"a{mark}b")}):
        with pytest.raises(MailRefused, match="smuggle in other headers"):
            a_mail(**given_)


@pytest.mark.parametrize("value", ["<https://x>\r\nBcc: x", "<https://bücher.example>", "=?utf-8?q?=3C?=", "a\tb", "a\x7f"])
def test_no_other_header_holds_anything_but_plain_ascii(value: str) -> None:
    with pytest.raises(MailRefused, match="List-Unsubscribe"):
        a_mail(headers={"List-Unsubscribe": value})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\r\nSubject:", b"\r\nBcc: victim@evil.example\r\nSubject:"),
        (b"\r\nTo: robin@example.org", b"\r\nTo: robin@example.org, victim@evil.example"),
        (b"\r\nTo: robin@example.org", b"\r\nTo: =?utf-8?q?robin?=@example.org"),
        (b"\r\nReply-To: ", b"\r\nReply-To: x"),
        (b"\r\nList-Unsubscribe: <https", b"\r\nList-Unsubscribe: =?utf-8?q?=3Chttps?="),
        (b"\r\nDate: ", b"\r\nDate: Mon, 02 Mar 2026 15:00:00 +0000\r\nDate: "),
        (b"\r\nFeedback-ID: letter:nurture", b""),
        (b"From: ", b"From: <victim@evil.example>, "),
        (b"<dana@example.org>", b"<dana@evil.example>"),
        (b"\r\nSubject: ", b"\nSubject: "),
        (b"\r\nSubject: ", b"\r\nSubject: \xc3\xa4"),
        (b"\r\nSubject: ", b"\r\nSubject: " + b"x" * 998),
        (b"\r\nSubject: ", b"\r\nno colon\r\nSubject: "),
        (b"<p>", b"<p>\r"),
        (b"<p>", b"<p>\0"),
    ],
)
def test_finished_bytes_that_are_not_what_was_meant_are_refused(old: bytes, new: bytes) -> None:
    mail = a_mail()
    raw = as_bytes(mail)
    check_bytes(raw, mail)
    assert raw.count(old) == 1
    with pytest.raises(MailRefused, match="finished mail"):
        check_bytes(raw.replace(old, new), mail)


def test_a_mail_that_cannot_be_written_is_refused_before_anything_is_sent(wire: RawSmtp, tmp_path: Path) -> None:
    for mail in (a_mail(text="half a pair \ud800"), a_mail(html="<p>\udfff</p>")):
        for mailer in (Smtp(wire.url), Outbox(tmp_path / "box")):
            with pytest.raises(MailRefused):
                mailer.prepare(mail)
    assert wire.connections == 0
    assert list(tmp_path.rglob("*.eml")) == []


@example("ä" * 45 + "🙂" * 60, 9)
@settings(max_examples=120, deadline=None)
@given(strange.lines(300), st.integers(0, 40))
def test_encoded_words_are_short_and_whole(text: str, before: int) -> None:
    words = mime.encoded_words(text or "x", before)
    assert all(len(word) <= 75 for word in words)
    assert before + len(words[0]) <= 76
    assert raw_reader.decoded(" ".join(words)) == (text or "x")


_WRITER = """
import base64, json, sys
sys.path[:0] = [sys.argv[1]]
from datetime import UTC, datetime
from nurture.mailers.base import InlineImage, Mail, SenderIdentity, as_bytes, headers
from nurture.domain.delivery import DeliveryKind
for line in sys.stdin:
    one = json.loads(line)
    logo = None if one["logo"] is None else InlineImage(base64.b64decode(one["logo"]), "png")
    sender = SenderIdentity(one["sender_email"], one["sender_name"], one["reply_to"], one["site"], logo)
    kind = DeliveryKind(one["kind"])
    found = headers(sender, kind, one["delivery"], one["unsubscribe"] and one["site"] + one["unsubscribe"])
    pictures = tuple(InlineImage(base64.b64decode(content), subtype, cid) for content, subtype, cid in one["pictures"])
    mail = Mail(one["delivery"], "0" * 32, kind, one["to"], one["subject"], one["html"], one["text"], sender, found,
                datetime(2026, 3, 2, 15, tzinfo=UTC), pictures)
    print(base64.b64encode(as_bytes(mail)).decode(), flush=True)
"""


class OtherPython:
    """The writer of mails on another interpreter, which has nothing installed."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [path, "-I", "-B", "-c", _WRITER, str(ROOT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def write(self, drawn: Drawn) -> bytes:
        logo = None if drawn.logo is None else base64.b64encode(drawn.logo.content).decode()
        pictures = [(base64.b64encode(one.content).decode(), one.subtype, one.cid) for one in drawn.pictures]
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({**drawn._asdict(), "logo": logo, "pictures": pictures}) + "\n")
        self._process.stdin.flush()
        return base64.b64decode(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def pythons() -> dict[str, Path]:
    """Every supported Python that is here, by version: on PATH, or where pyenv keeps them; this one is always among them."""
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = {}
    for minor in (11, 12, 13):
        name = f"python3.{minor}"
        known = [Path(at) for at in (shutil.which(name),) if at] + sorted(versions.glob(f"3.{minor}.*/bin/{name}"))
        for path in known:
            says = subprocess.run([path, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True)
            if says.stdout.strip() == f"(3, {minor})":  # a shim of pyenv may name a version that is not switched on
                found[f"3.{minor}"] = path
                break
    return {**found, f"{sys.version_info[0]}.{sys.version_info[1]}": Path(sys.executable)}


def test_every_python_writes_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    others = {version: OtherPython(path) for version, path in pythons().items()}
    with capsys.disabled():
        print(f" [mails written by Python {', '.join(others)}]", end="")
    assert others

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strange.drawn())
    def same(drawn: Drawn) -> None:
        drawn = settled(drawn)
        mail = strange.mail_of(drawn)
        raw = as_bytes(mail)
        check(raw, mail)
        assert {version: other.write(drawn) for version, other in others.items()} == dict.fromkeys(others, raw)

    try:
        same()
    finally:
        for other in others.values():
            other.close()


def test_pictures_and_logo_come_byte_for_byte(wire: RawSmtp) -> None:
    logo, one = InlineImage(b"\x89PNG\r\n.\r\n", "png"), InlineImage(drawing(), "png", "picture-1")
    mail = a_mail(
        html='<p><img src="cid:logo"><img src="cid:picture-1"></p>\n', sender=replace(SENDER, logo=logo), pictures=(one,)
    )
    assert _post(Smtp(wire.url), mail) == Accepted()
    (got,) = wire.mails
    assert len(check(got.raw, mail).leaves()) == 4
    boundaries = re.findall(rb'boundary="([^"]+)"', got.raw)
    assert all(first != second for first, second in pairwise(boundaries))


def test_a_sender_without_a_name_of_a_host_writes_no_mail() -> None:
    for site in ("https://a..b", f"https://{'ü' * 70}.example"):
        with pytest.raises(MailRefused, match="no host name"):
            headers(SenderIdentity("a@example.org", "", "a@example.org", site), DeliveryKind.NOTICE, DeliveryId("0"), None)
