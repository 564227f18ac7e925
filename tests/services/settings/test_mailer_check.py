"""Whether mail leaves: found out at real servers, and said in words that help."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nurture import runtime
from nurture.domain.user import Role
from nurture.ids import TestEmailId, UserId, new_id
from nurture.mailers.smtp import url_from_parts
from nurture.runtime import Runtime
from nurture.services.accounts.accounts import Account
from nurture.services.settings import desk_settings, mailer_check
from nurture.services.settings.desk_settings import SettingsRefused
from tests.conftest import settings_for
from tests.desk import a_colleague
from tests.people import run_tick
from tests.processes import free_port
from tests.servers.sendgrid import KEY, READ_ONLY_KEY, SendGridServer
from tests.servers.smtp import SmtpServer
from tests.services.settings.test_desk_settings import SENDER


@pytest.fixture
def sendgrid() -> Iterator[SendGridServer]:
    with SendGridServer() as running:
        yield running


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer("plain", auth=("dana", "s3cret word")) as running:
        yield running


@pytest.fixture
def house(database_url: str, tmp_path: Path, sendgrid: SendGridServer) -> Iterator[Runtime]:
    """An installation whose mailer is the desk's to choose."""
    rt = runtime.build(settings_for(tmp_path, database_url, sendgrid_host=sendgrid.url))
    desk_settings.save(rt, SENDER, UserId(new_id()))
    yield rt
    rt.close()


def by_smtp(port: int, user: str = "dana", password: str = "s3cret word", host: str = "127.0.0.1") -> dict[str, str]:
    return {"mailer": "smtp", "smtp_url": url_from_parts(host, str(port), user, password, False)}


def me(rt: Runtime) -> Account:
    who = a_colleague(rt)
    return Account(who.id, Role.OWNER, "Dana", who.email, True, None)


def test_a_mail_server_is_knocked_at_before_it_is_kept_and_gets_no_mail_by_that(house: Runtime, smtp: SmtpServer) -> None:
    assert mailer_check.check(house, by_smtp(smtp.port)) == ""
    assert "does not accept this user name and password" in mailer_check.check(house, by_smtp(smtp.port, password="wrong"))
    assert "takes no mail at this port" in mailer_check.check(house, by_smtp(free_port()))
    assert smtp.mails == []
    assert house.settings.mailer == "outbox"


def test_a_server_with_a_certificate_nobody_knows_is_not_trusted(house: Runtime) -> None:
    with SmtpServer("starttls") as server:
        elsewhere = by_smtp(server.port, "", "", host="0.0.0.0")
        assert "could not prove who it is" in mailer_check.check(house, elsewhere)
        assert mailer_check.check(house, by_smtp(server.port, "", "")) == "", "a relay on this machine needs no certificate"


def test_sendgrid_is_asked_in_its_sandbox(house: Runtime, sendgrid: SendGridServer) -> None:
    assert mailer_check.check(house, {"mailer": "sendgrid", "sendgrid_api_key": KEY}) == ""
    assert "does not know this key" in mailer_check.check(house, {"mailer": "sendgrid", "sendgrid_api_key": "SG.no"})
    assert "the right “Mail Send”" in mailer_check.check(house, {"mailer": "sendgrid", "sendgrid_api_key": READ_ONLY_KEY})
    assert sendgrid.accepted == []


def test_what_is_missing_is_said_before_anybody_is_asked(house: Runtime) -> None:
    with pytest.raises(SettingsRefused, match="fill in every field"):
        mailer_check.check(house, {"mailer": "sendgrid"})


def test_a_mail_to_oneself_leaves_and_its_fate_is_known(house: Runtime, smtp: SmtpServer) -> None:
    desk_settings.save_mailer(house, by_smtp(smtp.port), UserId(new_id()))
    mine = me(house)
    which = mailer_check.send(house, mine)
    assert mailer_check.load_result(house, which) == mailer_check.DeliveryResult(done=False, arrived=False)
    run_tick(house)
    assert mailer_check.load_result(house, which) == mailer_check.DeliveryResult(done=True, arrived=True)
    (mail,) = smtp.mails
    assert mail.rcpt_tos == ("dana@example.org",)
    assert "went the way your letters will go" in mail.part("plain")
    assert "List-Unsubscribe" not in mail.message
    assert mailer_check.load_result(house, TestEmailId(new_id())) is None


def test_a_mail_that_does_not_leave_says_why_while_it_is_tried_again(house: Runtime, smtp: SmtpServer) -> None:
    desk_settings.save_mailer(house, by_smtp(smtp.port, password="changed since"), UserId(new_id()))
    which = mailer_check.send(house, me(house))
    run_tick(house)
    found = mailer_check.load_result(house, which)
    assert found is not None
    assert (found.done, found.arrived) == (False, False)
    assert "does not accept this user name and password" in found.said


@pytest.mark.parametrize(
    ("mailer", "why", "said"),
    [
        ("sendgrid", "429 rate limit", "asks us to wait"),
        ("sendgrid", "400 from.email", "does not take mail from your sender address"),
        ("smtp", "SMTP 450 at RCPT", "asks us to wait"),
        ("smtp", "SMTP 550", "does not know your sender address"),
        ("smtp", "SMTP 552", "refused this mail"),
        ("smtp", "no SMTP conversation (gaierror)", "no mail server by that name"),
        ("smtp", "no SMTP conversation (TimeoutError)", "did not answer"),
        ("smtp", "no SMTP conversation (SMTPNotSupportedError)", "offers no encryption"),
        ("sendgrid", "no connection to SendGrid (refused)", "cannot be reached"),
        ("sendgrid", "503 from SendGrid", "did not say whether"),
        ("sendgrid", "401: Maximum credits exceeded", "has reached a limit"),
        ("smtp", "SMTP 550 5.4.5 at RCPT: Daily sending quota exceeded", "has reached a limit"),
        ("smtp", "401 something", "The mail service says: 401 something."),
        ("smtp", "something new", "The mail service says: something new."),
        ("gone", "something new", "The mail service says: something new."),
    ],
)
def test_reasons_are_explained(mailer: str, why: str, said: str) -> None:
    assert said in mailer_check.explain_failure(why, mailer)
