"""Passkeys in a real browser, with the authenticator that Chromium plays by its DevTools protocol."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from nurture.domain.user import Role
from nurture.runtime import Runtime
from nurture.services.accounts import account_passkeys, accounts, login
from nurture.services.addresses import parse_address
from tests.clocks import ManualClock
from tests.desk import PASSWORD, Colleague, a_colleague, path_of
from tests.journeys.axe import violations
from tests.journeys.conftest import serving
from tests.processes import free_port

Site = tuple[Runtime, str, Colleague]


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path) -> Iterator[Site]:
    """A desk at `localhost`, with an owner who has a password and an app."""
    clock, port = ManualClock(), free_port()
    with serving(tmp_path, sqlite_template, clock, port=port, base_url=f"http://localhost:{port}") as (rt, _):
        dana = a_colleague(rt)
        clock.advance(minutes=1)  # the code that set the app up works no more
        yield rt, f"http://localhost:{port}", dana


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """Nobody yet; an error in the console, or anything from elsewhere, fails the test."""
    _, url, _ = site
    context = browser.new_context(base_url=url)
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((url, "data:")) else errors.append(request.url))
    yield page
    context.close()
    assert [error for error in errors if not re.search("401|422", error)] == []


class Device:
    """A device with a screen lock, that Chromium plays for one page."""

    def __init__(self, page: Page) -> None:
        self.session: CDPSession = page.context.new_cdp_session(page)
        self.session.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True,
        }  # fmt: skip
        self.id = self.session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def unlocks(self, does: bool) -> None:
        """Whether its owner unlocks it; else its prompt ends like one that was cancelled."""
        self.session.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": does})

    def passkeys(self) -> int:
        return len(self.session.send("WebAuthn.getCredentials", {"authenticatorId": self.id})["credentials"])


def first_proof(page: Page, who: Colleague) -> None:
    page.goto("/desk/login")
    page.get_by_label("E-mail address").fill(who.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_label("Six digits, or a recovery code")).to_be_visible()


def log_in(page: Page, site: Site) -> None:
    rt, _, dana = site
    first_proof(page, dana)
    page.get_by_label("Six digits, or a recovery code").fill(dana.code(rt))
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def add_passkey(page: Page, name: str) -> None:
    page.goto("/desk/account/")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("What to call it").fill(name)
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("status")).to_contain_text("Your passkey is added")


def log_out(page: Page) -> None:
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)


def advance(site: Site, minutes: float) -> None:
    clock = site[0].clock
    assert isinstance(clock, ManualClock)
    clock.advance(minutes=minutes)


def test_a_passkey_is_added_and_is_each_kind_of_proof_until_it_is_removed(page: Page, site: Site) -> None:
    dana = site[2]
    device = Device(page)
    log_in(page, site)
    add_passkey(page, "My phone")
    assert device.passkeys() == 1
    log_out(page)

    page.goto("/desk/people/")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("People")  # where they wanted to go
    log_out(page)

    first_proof(page, dana)
    page.get_by_role("button", name="Use a passkey instead").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()

    advance(site, 11)
    page.goto("/desk/account/passkeys/new")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your password, please")
    page.get_by_role("button", name="Use a passkey instead").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Add a passkey")

    page.goto("/desk/account/")
    passkeys = page.get_by_role("region", name="Passkeys")
    expect(passkeys).to_contain_text("My phone")
    passkeys.get_by_text("Change").click()
    passkeys.get_by_label("Name").fill("The old phone")
    passkeys.get_by_role("button", name="Rename").click()
    expect(passkeys.get_by_role("strong")).to_have_text("The old phone")
    passkeys.get_by_text("Change").click()
    passkeys.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status")).to_contain_text("The passkey is removed")
    assert account_passkeys.of_account(site[0], dana.id) == []
    log_out(page)
    page.goto("/desk/login")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("This passkey does not work here")


def test_what_is_cancelled_or_cannot_be_is_said_in_plain_words(page: Page, site: Site) -> None:
    device = Device(page)
    log_in(page, site)
    page.goto("/desk/account/passkeys/new")
    device.unlocks(False)
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("No passkey was made. You may have closed the window")
    device.unlocks(True)
    add_passkey(page, "My phone")
    page.goto("/desk/account/passkeys/new")
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("alert")).to_have_text("This device has a passkey for your account already.")
    advance(site, 11)  # the page is open still
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your password, please")
    log_out(page)
    page.goto("/desk/login")
    device.unlocks(False)
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("No passkey was used. You may have closed the window")
    device.unlocks(True)
    page.get_by_role("button", name="Log in with a passkey").click()  # once more, on the same page
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_at_another_address_of_the_same_desk_it_says_where_to_go(browser: Browser, site: Site) -> None:
    context = browser.new_context(base_url=site[1].replace("localhost", "127.0.0.1"))
    page = context.new_page()
    page.goto("/desk/login")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("Passkeys do not work at this address")
    context.close()


def test_whoever_is_invited_chooses_a_passkey_instead_of_password_and_app(page: Page, site: Site) -> None:
    rt = site[0]
    device = Device(page)
    sam = accounts.add(rt, parse_address("sam@example.org"), "Sam", Role.EDITOR)
    page.goto(path_of(login.login_link(rt, sam)))
    page.get_by_role("button", name="Log in").click()
    email = page.get_by_label("E-mail address")
    email.fill("sam")
    page.get_by_role("button", name="Protect the desk with a passkey").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert device.passkeys() == 0
    email.fill("sam@example.org")
    page.get_by_role("button", name="Protect the desk with a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Keep these codes")
    page.get_by_role("link", name="I have kept them").click()
    log_out(page)
    page.goto("/desk/login")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    advance(site, 11)
    page.goto("/desk/account/protect")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your passkey, please")
    page.get_by_role("button", name="Use your passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Protect your desk")


@pytest.mark.parametrize("how", ["without script", "without passkeys"])
def test_where_there_are_none_their_buttons_are_hidden_and_all_else_works(browser: Browser, site: Site, how: str) -> None:
    context = browser.new_context(base_url=site[1], java_script_enabled=how != "without script")
    context.add_init_script("delete window.PublicKeyCredential")
    page = context.new_page()
    page.goto("/desk/login")
    expect(page.get_by_role("button", name="Log in with a passkey")).to_have_count(0)
    log_in(page, site)
    page.goto("/desk/account/")
    passkeys = page.get_by_role("region", name="Passkeys")
    expect(passkeys).to_contain_text("This browser takes no passkeys here")
    expect(passkeys.get_by_role("link")).to_have_count(0)
    context.close()


def test_their_pages_are_accessible_and_fit_a_small_phone(browser: Browser, site: Site, tmp_path: Path) -> None:
    context = browser.new_context(base_url=site[1], viewport={"width": 320, "height": 700})
    page = context.new_page()
    Device(page)
    found: list[tuple[str, str, str]] = []

    def look(path: str) -> None:
        page.goto(path)
        found.extend((path, each["id"], each["nodes"][0]["html"]) for each in violations(page))
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append((path, "too wide", ""))

    look("/desk/login")
    log_in(page, site)
    add_passkey(page, "My phone")
    for path in ("/desk/account/", "/desk/account/passkeys/new", "/desk/prove"):
        look(path)
    log_out(page)
    first_proof(page, site[2])
    look("/desk/login/code")
    context.close()
    assert found == []
