"""The page about the sender's domain: a GET shows, a POST asks; for owners."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from nurture import runtime
from nurture.app import create_app
from nurture.domain.user import Role
from nurture.mailers.dns_client import DnsClient
from nurture.runtime import Runtime
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.desk import enter, post
from tests.servers.dns import NameServer

PATH = "/desk/settings/domain"


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer({("practice.test", "MX"): ["mx.practice.test"]}) as running:
        yield running


@pytest.fixture
def mailing(tmp_path: Path, database_url: str, clock: ManualClock, server: NameServer) -> Iterator[Runtime]:
    rt = runtime.build(
        settings_for(
            tmp_path, database_url, from_email="letters@practice.test", postal_address="1 Oak Street", mailer="smtp",
            smtp_url="smtp://u:p@smtp.fastmail.com:587",
        )
    )  # fmt: skip
    rt.clock, rt.dns = clock, DnsClient([server.address])
    yield rt
    rt.close()


def test_a_get_asks_nobody_and_a_post_asks_anew(mailing: Runtime, server: NameServer) -> None:
    client = create_app(mailing).test_client()
    enter(client, mailing)
    before = client.get(PATH).text
    assert "has not been checked yet" in before
    assert "letters@practice.test" in before
    assert not server.asked
    assert post(client, PATH).location == PATH
    page = client.get(PATH).text
    asked = server.asked.total()
    assert asked
    assert "v=DMARC1; p=none" in page
    assert "fm2.practice.test.dkim.fmhosted.com" in page
    assert "Checked on 2026-03-02 at 15:00 UTC" in page
    assert server.asked.total() == asked
    assert "do not trust the address" in client.get("/desk/").text


def test_what_a_domain_says_cannot_break_out_of_the_page(mailing: Runtime, server: NameServer) -> None:
    server.zone["practice.test", "TXT"] = ["v=spf1 <script>alert(1)</script> ~all"]
    client = create_app(mailing).test_client()
    enter(client, mailing)
    post(client, PATH)
    page = client.get(PATH).text
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize("role", [Role.EDITOR, Role.VIEWER])
def test_it_is_for_owners(client: FlaskClient, rt: Runtime, role: Role) -> None:
    enter(client, rt, role)
    assert client.get(PATH).status_code == 403
    assert post(client, PATH).status_code == 403


def test_without_an_address_one_is_asked_for(client: FlaskClient, rt: Runtime) -> None:
    enter(client, rt)
    assert client.post(PATH).status_code == 403
    post(client, PATH)
    assert "There is no address yet" in client.get(PATH).text
