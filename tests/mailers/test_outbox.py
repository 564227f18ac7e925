"""The embedded mailer."""

import asyncio
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nurture.domain.delivery import Accepted, DeliveryKind, Outcome, Refused
from nurture.ids import DeliveryId, RequestId, new_id
from nurture.mailers.base import InlineImage, Mail, MailRefused, SenderIdentity, as_bytes, headers
from nurture.mailers.outbox import Outbox
from tests.pictures import drawing

SENDER = SenderIdentity("dana@example.org", "Dana Ünal", "replies@example.org", "https://letters.example.org")


def post(outbox: Outbox, mail: Mail) -> Outcome:
    return asyncio.run(outbox.post([outbox.prepare(mail)], 1))


def a_mail(**given: object) -> Mail:
    delivery = DeliveryId(new_id())
    values: dict[str, object] = {
        "delivery": delivery, "request": RequestId(new_id()), "kind": DeliveryKind.LETTER, "to": "robin@example.org",
        "subject": "Letter 1: where it came from", "html": "<p>Grüße</p>\n", "text": "Grüße\n", "sender": SENDER,
        "headers": headers(SENDER, DeliveryKind.LETTER, delivery, "https://letters.example.org/unsubscribe/TOKEN"),
        "at": datetime(2026, 3, 2, 15, tzinfo=UTC),
    }  # fmt: skip
    return Mail(**values | given)  # type: ignore[arg-type]


def test_a_mail_is_stored_once_however_often_it_is_posted(tmp_path: Path) -> None:
    outbox, mail = Outbox(tmp_path / "box"), a_mail()
    assert post(outbox, mail) == Accepted(mail.delivery)
    again = a_mail(delivery=mail.delivery, subject="Another subject", headers=mail.headers)
    assert post(outbox, again) == Accepted(mail.delivery)
    (stored,) = outbox.index()
    assert stored.message["Subject"] == "Letter 1: where it came from"
    assert [path.name for path in (tmp_path / "box").iterdir()] == [f"{mail.delivery}.eml"]
    assert (tmp_path / "box" / f"{mail.delivery}.eml").stat().st_mode & 0o077 == 0


def test_what_was_sent_is_what_is_read(tmp_path: Path) -> None:
    outbox, mail = Outbox(tmp_path), a_mail()
    post(outbox, mail)
    stored = outbox.get(mail.delivery)
    assert stored is not None
    assert (stored.part("plain"), stored.part("html")) == ("Grüße\n", "<p>Grüße</p>\n")
    assert stored.message["From"].addresses[0].display_name == "Dana Ünal"
    assert stored.message["Message-ID"] == f"<{mail.delivery}@letters.example.org>"
    assert stored.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert stored.message["List-Unsubscribe"] == "<https://letters.example.org/unsubscribe/TOKEN>"
    assert stored.message["List-Id"] == "<letters.letters.example.org>"
    assert stored.message["Auto-Submitted"] == "auto-generated"


def test_a_folder_that_cannot_be_written_is_a_refusal_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "box").write_text("a file is in the way")
    assert isinstance(post(Outbox(tmp_path / "box"), a_mail()), Refused)


@pytest.mark.parametrize("bad", ["a\r\nBcc: x@example.org", "a\nb", "a\0b", "a\rb"])
@pytest.mark.parametrize("where", ["to", "subject", "sender", "headers"])
def test_nothing_can_smuggle_a_header_in(where: str, bad: str) -> None:
    given: dict[str, object] = {where: bad}
    if where == "sender":
        given = {"sender": SenderIdentity("dana@example.org", bad, "r@example.org", "https://letters.example.org")}
    if where == "headers":
        given = {"headers": {"List-Id": bad}}
    with pytest.raises(MailRefused, match=r"smuggle in other headers|line break, NUL|one plain e-mail address"):
        a_mail(**given)


def test_no_line_of_a_mail_is_longer_than_the_standard_allows() -> None:
    mail = a_mail(text="wört " * 2000 + "\n", html="<p>" + "wört " * 2000 + "</p>\n", subject="ä" * 400)
    assert max(len(line) for line in as_bytes(mail).split(b"\r\n")) <= 998


def test_a_notice_to_the_therapist_has_no_list_headers() -> None:
    found = headers(SENDER, DeliveryKind.NOTICE, DeliveryId(new_id()), None)
    assert set(found) == {"Message-ID", "Auto-Submitted"}


def test_a_mail_carries_the_pictures_it_shows_and_its_page_shows_them(tmp_path: Path) -> None:
    one, two = InlineImage(drawing(), "png", "picture-1"), InlineImage(b"\xff\xd8\xff\r\n.\r\n\0", "jpeg", "picture-2")
    html = '<p><img src="cid:picture-1" alt="One"> <img src="cid:picture-2" alt="Two"> <img src="cid:none" alt=""></p>\n'
    mail = a_mail(html=html, sender=replace(SENDER, logo=InlineImage(b"\x89PNG", "png")), pictures=(one, two))
    post(Outbox(tmp_path), mail)
    stored = Outbox(tmp_path).get(mail.delivery)
    assert stored is not None
    assert [part.get_content_type() for part in stored.message.walk()] == [
        "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png", "image/png", "image/jpeg",
    ]  # fmt: skip
    parts = {str(part["Content-ID"]): part for part in stored.message.walk() if part["Content-ID"]}
    assert [part.get_filename() for part in parts.values()] == ["logo.png", "picture-1.png", "picture-2.jpeg"]
    assert {part.get_content_disposition() for part in parts.values()} == {"inline"}
    assert parts["<picture-1>"].get_payload(decode=True) == one.content
    assert parts["<picture-2>"].get_payload(decode=True) == two.content
    assert stored.part("html") == html
    shown = f'src="data:image/png;base64,{b64encode(one.content).decode()}"'
    assert stored.page() == html.replace('src="cid:picture-1"', shown).replace(
        'src="cid:picture-2"', f'src="data:image/jpeg;base64,{b64encode(two.content).decode()}"'
    )


def test_a_letter_carries_its_logo_and_shows_it_without_asking_anybody(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    sender = replace(SENDER, logo=InlineImage(b"\x89PNG picture", "png"))
    letter = a_mail(html='<p>Grüße <img src="cid:logo" alt="Dana"></p>\n', sender=sender)
    post(outbox, letter)
    stored = outbox.get(letter.delivery)
    assert stored is not None
    assert [part.get_content_type() for part in stored.message.walk()] == [
        "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
    ]  # fmt: skip
    assert (stored.part("plain"), stored.part("html")) == (letter.text, letter.html)
    assert stored.pictures()["logo"] == "data:image/png;base64,iVBORyBwaWN0dXJl"
    confirmation = a_mail(kind=DeliveryKind.CONFIRMATION, sender=sender)
    post(outbox, confirmation)
    bare = outbox.get(confirmation.delivery)
    assert bare is not None
    assert bare.pictures() == {}
