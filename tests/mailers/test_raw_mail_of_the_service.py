"""Every kind of mail that the service sends, made by the service itself, read as bytes off the wire and out of the outbox."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nurture import runtime
from nurture.domain.user import AccountChange, Role
from nurture.ids import StepKey, UserId, new_id
from nurture.letters.authoring import Parts
from nurture.runtime import Runtime
from nurture.services.accounts import account_changes, accounts, login
from nurture.services.addresses import parse_address
from nurture.services.letters import drafts, publishing
from nurture.services.settings import desk_settings, mailer_check
from nurture.services.subscribers import consultation_links, consultations, sign_up_queue, signup
from nurture.store.accounts import users
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.mailers import raw_reader
from tests.people import NEW_YORK, a_subscriber, confirm, run_tick, sign_up
from tests.pictures import a_picture, drawing
from tests.servers.raw_smtp import RawSmtp

KEY, WELCOME = "ketamine-and-talk-therapy", StepKey("welcome")
OURS = {
    "from_email": "dana@oak-street.example", "reply_to": "replies@oak-street.example", "postal_address": "PO Box 12",
    "from_name": "Dana Ünal, “Oak Street”", "plain_from_name": "Léttres, in „plain“",
}  # fmt: skip
LONGEST_LOCAL = "r" * 64
LONGEST = f"{LONGEST_LOCAL}@{'a' * 63}.{'b' * 63}.{'c' * 53}.example"
LONG_HOST = f"{'l' * 63}.{'m' * 63}.{'n' * 63}.{'o' * 53}.example"

Mails = Callable[[], list[bytes]]


@contextmanager
def by_smtp(folder: Path) -> Iterator[tuple[dict[str, str], Mails]]:
    with RawSmtp() as server:
        yield {"mailer": "smtp", "smtp_url": server.url}, lambda: [mail.raw for mail in server.mails]


@contextmanager
def by_outbox(folder: Path) -> Iterator[tuple[dict[str, str], Mails]]:
    def mails() -> list[bytes]:
        return [path.read_bytes() for path in (folder / "outbox").glob("*.eml")]

    yield {"mailer": "outbox"}, mails


@pytest.mark.parametrize(
    "site", ["https://letters.example.org", "http://[::1]:8000", "http://localhost", f"https://{LONG_HOST}"]
)
@pytest.mark.parametrize("carried", [by_smtp, by_outbox])
def test_every_kind_of_mail(carried, site: str, tmp_path: Path, sqlite_template: Path) -> None:  # type: ignore[no-untyped-def]
    assert len(LONGEST) == 254
    shutil.copy(sqlite_template, tmp_path / "nurture.db")
    with carried(tmp_path) as (settings, mails):
        rt = runtime.build(settings_for(tmp_path, base_url=site, **OURS, **settings))
        rt.clock = ManualClock()
        send_all_kinds(rt)
        rt.close()
        found = [raw_reader.read(raw) for raw in mails()]
    kinds = dict[str, list[raw_reader.Part]]()
    for mail in found:
        check(mail, site)
        name = mail.values("Feedback-ID") or ["notice"]
        kinds.setdefault(name[0].partition(":")[0], []).append(mail)
    assert {kind: len(each) for kind, each in kinds.items()} == {
        "letter": 3, "confirmation": 2, "already-subscribed": 1, "consultation-question": 1, "notice": 3 + len(AccountChange),
    }  # fmt: skip
    assert {mail.value("To") for mail in found} == {
        LONGEST, LONGEST[1:], "robin+tag@example.org", "robin@example.net", "plain@example.org", OURS["reply_to"],
        "owner@example.org",
    }  # fmt: skip
    assert sorted(len(mail.leaves()) for mail in kinds["letter"]) == [4, 4, 4], "text, HTML, a logo and a picture"
    assert {
        len(mail.leaves()) for mail in kinds["confirmation"] + kinds["already-subscribed"] + kinds["consultation-question"]
    } == {2}
    names = {raw_reader.display_name(mail.value("From"))[0] for mail in kinds["letter"]}
    assert names == {OURS["from_name"], OURS["plain_from_name"]}


def send_all_kinds(rt: Runtime) -> None:
    """A letter with logo and picture, confirmations, already subscribed, a notice, a log-in link and a test mail."""
    owner = accounts.add(rt, parse_address("owner@example.org"), "Owner", Role.OWNER)
    me = next(one for one in accounts.everyone(rt) if one.id == owner)
    desk_settings.save_logo(rt, drawing(200, 48), UserId(new_id()))
    picture = a_picture(rt)
    now = drafts.open_letter(rt, KEY, WELCOME)
    body = now.letter.body.replace("\n\n", f"\n\n![Two cells](picture:{picture.name})\n\n", 1)
    subject = "Grüße =?utf-8?q?=0D=0ABcc:_x?="
    saved = drafts.save(rt, KEY, WELCOME, Parts(subject, now.letter.preheader, body), now.version, me.id)
    drafts.publish(rt, KEY, WELCOME, saved.version, me)
    publishing.work(rt)
    assert publishing.under_way(rt)[0].troubles == ()
    for email in (LONGEST, "robin+tag@example.org"):
        a_subscriber(rt, email)
    signup.subscribe(rt, signup.SignUp(parse_address("plain@example.org"), "", NEW_YORK, "/", plain_sender=True))
    sign_up_queue.decide_on_sign_ups(rt)
    confirm(rt, sign_up(rt, "plain@example.org"))
    run_tick(rt)
    sign_up(rt, "robin+tag@example.org")
    for email in (LONGEST[1:], "robin@example.net"):
        sign_up(rt, email)
    login.mail_link(rt, parse_address("owner@example.org"))
    mailer_check.send(rt, me)
    with rt.database.begin() as db:
        before = users.get(db, owner)
        assert before
        for change in AccountChange:
            account_changes.tell(rt, db, before, change)
    asked = consultations.ConsultationRequest("Robin Quill", LONGEST, "Oregon", "phone", "+1 503 555 0100", True, "Tuesdays")
    consultations.request_consultation(rt, asked, parse_address(LONGEST), None)
    consultation_links.ask_readers(rt)
    run_tick(rt)


def check(mail: raw_reader.Part, site: str) -> None:
    """What holds of every mail."""
    host = re.sub(r"^https?://|:8000$", "", site).strip("[]")
    delivery = mail.value("X-Nurture-Delivery")
    assert mail.value("Message-ID") == f"<{delivery}@{'[IPv6:::1]' if host == '::1' else host}>"
    assert raw_reader.display_name(mail.value("From"))[1] == OURS["from_email"]
    assert mail.value("Reply-To") == OURS["reply_to"]
    assert mail.value("Auto-Submitted") == "auto-generated"
    for field in mail.fields:
        raw_reader.check_lines(field)
        assert len(mail.values(field.name)) == 1
        assert "=?" not in field.value or field.name in ("From", "Subject"), field.name
    assert raw_reader.decoded(mail.value("Subject")).isprintable()
    if mail.values("List-Unsubscribe"):
        assert re.fullmatch(rf"<{re.escape(site)}/unsubscribe/[A-Za-z0-9_-]{{50,}}>", mail.value("List-Unsubscribe"))
        assert mail.value("List-Unsubscribe-Post") == "List-Unsubscribe=One-Click"
        label = "letters" if len(host) < 200 else "l"
        assert mail.value("List-Id") == f"<{label}.{'localhost' if host == '::1' else host}>"
    else:
        assert not mail.values("List-Id") + mail.values("List-Unsubscribe-Post")
    for part in mail.leaves():
        part.content()
