"""The same way over real HTTP, the mail carried by SendGrid (a server of our own) and by SMTP, on both databases.

What may not be found afterwards: an address, a name or a token in any log line; an address or a name in the database.
"""

import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.processes import NURTURE, environment, free_port, nurture, running
from tests.servers.sendgrid import KEY, SendGridServer
from tests.servers.smtp import SmtpServer

FIRST, LAST, EMAIL = "Wilhelmine", "Quackenbush", "Wilhelmine.Q+letters@example.org"
GONE = "zebedee.leaves@example.org"
OURS = {"from_email": "dana@oak-street.example", "postal_address": "PO Box 12, Portland", "from_name": "Dana from Oak Street"}


@dataclass(frozen=True)
class Arrived:
    """A mail as its receiver has it."""

    to: str
    subject: str
    text: str
    html: str
    headers: dict[str, str]


@contextmanager
def by_sendgrid() -> Iterator[tuple[dict[str, str], Callable[[], list[Arrived]]]]:
    with SendGridServer() as server:

        def arrived() -> list[Arrived]:
            return [Arrived(mail.address, mail.subject, mail.text, mail.html, mail.headers) for mail in server.accepted]

        yield {"mailer": "sendgrid", "sendgrid_api_key": KEY, "sendgrid_host": server.url}, arrived


@contextmanager
def by_smtp() -> Iterator[tuple[dict[str, str], Callable[[], list[Arrived]]]]:
    with SmtpServer() as server:

        def arrived() -> list[Arrived]:
            return [
                Arrived(
                    parseaddr(str(mail.message["To"]))[1], mail.subject, mail.part("plain"), mail.part("html"),
                    {name: str(value) for name, value in mail.message.items()},
                )
                for mail in server.mails
            ]  # fmt: skip

        yield {"mailer": "smtp", "smtp_url": server.url}, arrived


def post(url: str, **form: str) -> int:
    with urllib.request.urlopen(urllib.request.Request(url, urlencode(form).encode()), timeout=20) as answer:
        return int(answer.status)


def until(found: Callable[[], bool], within: float = 90) -> None:
    end = time.monotonic() + within
    while not found():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.mark.parametrize("carrier", [by_sendgrid, by_smtp], ids=["sendgrid", "smtp"])
def test_the_whole_way(carrier, database_url: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    with carrier() as (settings, arrived):
        env = environment(
            tmp_path, database_url=database_url, listen=f"127.0.0.1:{port}", base_url=url, tick_seconds=0.1,
            clock_speed=100_000, **OURS, **settings,
        )  # fmt: skip
        assert nurture("init", env=env).returncode == 0

        def mails(to: str) -> list[Arrived]:
            return [mail for mail in arrived() if mail.to.lower() == to.lower()]

        def link(mail: Arrived, part: str) -> str:
            return re.search(rf"{url}[^\s\"'<>]*{part}[^\s\"'<>]*", mail.text)[0].rstrip(".,)")  # type: ignore[index]

        with running([*NURTURE, "serve", "--workers", "2"], env, log, url + "/healthz"):
            for email, name in ((EMAIL, FIRST), (GONE, "Zebedee")):
                assert post(f"{url}/subscribe", email=email, first_name=name, time_zone="Asia/Tokyo", consent="on") == 200
                until(lambda email=email: len(mails(email)) == 1)  # type: ignore[misc]
                assert name not in mails(email)[0].text + mails(email)[0].html
                assert post(link(mails(email)[0], "/confirm/")) == 200
            until(lambda: len(mails(GONE)) >= 3)
            one_click = mails(GONE)[-1].headers
            assert one_click["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
            leave = one_click["List-Unsubscribe"].split(">")[0].lstrip("<")
            assert post(leave, **{"List-Unsubscribe": "One-Click"}) == 200
            left_with = len(mails(GONE))
            until(lambda: len(mails(EMAIL)) == 7)
            assert len({mail.subject for mail in mails(EMAIL)}) == 7
            assert len(mails(GONE)) == left_with
            last = mails(EMAIL)[-1]
            assert FIRST in last.text
            assert OURS["postal_address"] in last.text + last.html
            asked = {
                "name": f"{FIRST} {LAST}", "email": EMAIL, "region": "Oregon", "contact_way": "email", "times": "Tuesdays",
                "t": link(last, "/consultation").split("t=")[1],
            }  # fmt: skip
            assert post(f"{url}/consultation", **asked) == 200
            until(lambda: len(mails(OURS["from_email"])) == 1)
            notice = mails(OURS["from_email"])[0]
            assert FIRST not in notice.text + notice.html + notice.subject
            for mail in arrived():
                assert not re.search(r"ketamine|depress|therap|treatment", mail.subject, re.IGNORECASE)
            tokens = {part for mail in arrived() for part in re.findall(r"[\w-]{48,}", mail.text)}
            addresses = [mail.to for mail in arrived()]

    said = log.read_text()
    secrets = [FIRST, LAST, "zebedee", "wilhelmine.q", *addresses, *tokens, KEY]
    assert '"event": "batch_sent"' in said
    assert len(tokens) > 5
    for secret in secrets:
        assert secret.lower() not in said.lower(), f"a log line holds {secret!r}"
    if database_url.startswith("sqlite"):
        path = Path(urlsplit(database_url).path)
        stored = b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*")).lower()
        assert b"asia/tokyo" in stored, "the file was really read"
        for secret in (FIRST, LAST, "zebedee", "wilhelmine.q", *addresses):
            assert secret.lower().encode() not in stored, f"the database holds {secret!r}"
