"""Settings in a browser: the sender's domain checked anew, its lines copied; a key made, copied and taken back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from nurture.domain.user import Role, Scope
from nurture.ids import UserId, new_id
from nurture.mailers.dns_client import DnsClient
from nurture.runtime import Runtime
from nurture.services.accounts import api_keys
from nurture.store.accounts import users
from nurture.store.accounts.users import User
from tests.desk import a_session
from tests.journeys.axe import violations
from tests.journeys.conftest import ZONE, serving
from tests.servers.dns import NameServer

DOMAIN, KEYS = "/desk/settings/domain", "/desk/settings/keys"


@pytest.fixture
def names() -> Iterator[NameServer]:
    with NameServer({("practice.test", "MX"): ["mx.practice.test"], ("practice.test", "TXT"): ["v=spf1 mx -all"]}) as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path, names: NameServer) -> Iterator[tuple[Runtime, str]]:
    """A desk whose letters go by Fastmail."""
    with serving(
        tmp_path, sqlite_template, from_email="letters@practice.test", postal_address="1 Oak Street", mailer="smtp",
        smtp_url="smtp://u:p@smtp.fastmail.com:587",
    ) as (rt, url):  # fmt: skip
        rt.dns = DnsClient([names.address])
        yield rt, url


def entered(context: BrowserContext, site: tuple[Runtime, str]) -> None:
    rt, url = site
    context.add_cookies([{"name": "desk", "value": a_session(rt), "url": url}])


def pasted(page: Page) -> str:
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_the_domain_is_checked_mended_and_checked_again(page: Page, site: tuple[Runtime, str], names: NameServer) -> None:
    entered(page.context, site)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(site[1] + DOMAIN)
    expect(page.get_by_text("has not been checked yet")).to_be_visible()
    page.get_by_role("button", name="Check now").click()
    servers = page.get_by_role("listitem").filter(has_text="Who may send for you")
    expect(servers).to_contain_text("To do")
    servers.get_by_role("button", name="Copy the value").click()
    expect(servers.get_by_role("button", name="Copied")).to_be_visible()
    names.zone["practice.test", "TXT"] = [pasted(page)]
    names.zone["spf.messagingengine.com", "TXT"] = ["v=spf1 ip4:192.0.2.0/24 ?all"]
    for number in (1, 2, 3):
        page.get_by_role("button", name=f"Copy the value for fm{number}._domainkey.practice.test").click()
        names.zone[f"fm{number}._domainkey.practice.test", "CNAME"] = [pasted(page)]
        names.zone[pasted(page), "TXT"] = ["v=DKIM1; k=rsa; p=AAAA"]
    policy = page.get_by_role("listitem").filter(has_text="only pretend to be yours")
    policy.get_by_role("button", name="Copy the name").click()
    name = pasted(page)
    policy.get_by_role("button", name="Copy the value").click()
    names.zone[name, "TXT"] = [pasted(page)]
    page.get_by_role("button", name="Check again").click()
    expect(page.locator(".level", has_text="Good")).to_have_count(5)


def test_a_name_server_that_never_answers_is_said_and_soon(page: Page, site: tuple[Runtime, str], names: NameServer) -> None:
    entered(page.context, site)
    names.deeds["*"] = "silence"
    page.goto(site[1] + DOMAIN)
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("Nobody answered when we asked about practice.test")).to_be_visible(timeout=8000)
    expect(page.locator(".level")).to_contain_text(["Cannot tell"])


def test_without_script_everything_is_there_but_the_buttons_to_copy(browser: Browser, site: tuple[Runtime, str]) -> None:
    context = browser.new_context(java_script_enabled=False)
    entered(context, site)
    page = context.new_page()
    page.goto(site[1] + DOMAIN)
    page.get_by_role("button", name="Check now").click()
    expect(page.locator("code", has_text="v=DMARC1; p=none")).to_be_visible()
    assert page.get_by_role("button", name="Copy").count() == 0
    context.close()


def test_a_key_is_made_copied_and_taken_back(page: Page, site: tuple[Runtime, str]) -> None:
    entered(page.context, site)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(site[1] + KEYS)
    page.get_by_label("What is it for?").fill("our website")
    page.get_by_role("button", name="Make a key").click()
    page.get_by_role("button", name="Copy the key").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    secret = pasted(page)
    assert api_keys.who(site[0], secret) is not None
    page.get_by_role("link", name="I have copied it").click()
    assert secret not in page.content()
    page.get_by_text("Take back").click()
    page.get_by_role("button", name="Take it back for good").click()
    expect(page.get_by_text("Keys taken back")).to_be_visible()
    assert api_keys.who(site[0], secret) is None


def test_the_pages_are_accessible_and_fit_a_small_phone(browser: Browser, site: tuple[Runtime, str]) -> None:
    rt, url = site
    who = UserId(new_id())
    with rt.database.begin() as db:
        users.add(db, User(who, Role.OWNER), rt.clock.real_now())
    api_keys.make(rt, who, "our website, which somebody else looks after", Scope.ALL)
    api_keys.revoke(rt, who, api_keys.make(rt, who, "the old website", Scope.READ).key.id)
    context = browser.new_context(viewport={"width": 320, "height": 700}, timezone_id=ZONE)
    entered(context, site)
    page = context.new_page()
    found = {}

    def look(name: str) -> None:
        result = violations(page)
        found[name] = [f"{each['id']}: {each['nodes'][0]['html'][:120]}" for each in result]
        if page.evaluate("document.documentElement.scrollWidth") > 320:
            found[name].append("wider than 320 px")

    page.goto(url + DOMAIN)
    look("not checked yet")
    page.get_by_role("button", name="Check now").click()
    look("checked")
    page.goto(url + KEYS)
    look("keys")
    page.get_by_text("Take back").click()
    look("about to take one back")
    page.get_by_role("button", name="Make a key").click()
    look("something is missing")
    page.get_by_label("What is it for?").fill("our website")
    page.get_by_role("button", name="Make a key").click()
    look("made")
    context.close()
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
