"""Into the desk and around it, in a real browser: the way in, today, the stop switch, one person’s plan, numbers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.runtime import Runtime
from tests.clocks import ManualClock
from tests.desk import PASSWORD, Colleague, a_colleague, a_session
from tests.journeys.conftest import serving
from tests.people import a_subscriber, run_tick

Site = tuple[Runtime, str, Colleague]


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path) -> Iterator[Site]:
    """A desk with an owner who has a password and an app, and two readers."""
    clock = ManualClock()
    with serving(tmp_path, sqlite_template, clock) as (rt, url):
        dana = a_colleague(rt)
        for name in ("Ada", "Bo"):
            a_subscriber(rt, first_name=name)
        run_tick(rt)
        clock.advance(minutes=1)  # the code that set the app up works no more
        yield rt, url, dana


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """Nobody yet; an error in the console, or anything from elsewhere, fails the test."""
    _, url, _ = site
    context = browser.new_context(base_url=url)
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: None if request.url.startswith((url, "data:")) else errors.append(request.url))
    yield page
    context.close()
    assert [error for error in errors if not re.search("401|422", error)] == []


def enter(page: Page, site: Site) -> Runtime:
    """As an owner, now."""
    rt, url, _ = site
    page.context.add_cookies([{"name": "desk", "value": a_session(rt), "url": url}])
    return rt


def test_the_way_in_and_what_is_said_when_a_proof_is_wrong(page: Page, site: Site) -> None:
    rt, _, dana = site
    page.goto("/desk/people/")
    page.get_by_label("E-mail address").fill(dana.email)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.locator("#password-error")).to_contain_text("Address and password do not fit together")
    page.get_by_label("E-mail address").fill(dana.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The code of your app")
    code = page.get_by_label("Six digits, or a recovery code")
    wrong = f"{(int(dana.code(rt)) + 1) % 1_000_000:06}"
    code.fill(wrong)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#code-error")).to_contain_text("This code does not fit")
    page.goto("/desk/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in to the desk")  # half a log-in opens nothing
    page.goto("/desk/login/code")
    code.fill(dana.codes[0])
    page.get_by_role("button", name="Go on").click()
    page.goto("/desk/people/")
    expect(page.get_by_role("heading", level=1)).to_have_text("People")
    page.get_by_role("button", name="Log out").click()
    page.goto("/desk/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in to the desk")


def test_home_tells_who_gets_a_letter_and_the_stop_switch_has_an_undo(page: Page, site: Site) -> None:
    clock = site[0].clock
    assert isinstance(clock, ManualClock)
    clock.advance(days=2)
    rt = enter(page, site)
    run_tick(rt)
    page.goto("/desk/")
    tomorrow = page.get_by_role("region", name="Tomorrow")
    expect(tomorrow).to_contain_text("2")
    assert not tomorrow.get_by_text("Letter 1").first.is_visible()
    tomorrow.get_by_text("To whom").click()
    expect(tomorrow.get_by_role("link", name="A.", exact=True)).to_be_visible()
    page.get_by_role("button", name="Stop all sending").click()
    expect(page.get_by_role("status")).to_contain_text("All sending is stopped")
    clock.advance(days=1)
    assert run_tick(rt).claimed == 0
    enter(page, site)  # the old session has ended meanwhile, and its forms with it
    page.reload()
    page.get_by_role("button", name="Undo: start again").click()
    expect(page.get_by_role("button", name="Stop all sending")).to_be_visible()
    assert run_tick(rt).claimed == 2


def test_the_plan_for_one_person_shows_each_letter_on_their_clock_and_says_what_is_wrong(page: Page, site: Site) -> None:
    enter(page, site)
    page.goto("/desk/simulator")
    page.get_by_label("Signs up on").fill("2026-10-22")
    page.get_by_label("At, on their clock").fill("10:00")
    page.get_by_label("Where they live").fill("Europe/Berlin")
    page.get_by_role("button", name="Show the letters").click()
    expect(page.get_by_role("main")).to_contain_text("26 October")
    expect(page.get_by_role("link", name="Letter 5: the last one, and an open door")).to_be_visible()
    page.get_by_label("Where they live").fill("Berlin")
    page.get_by_role("button", name="Show the letters").click()
    expect(page.get_by_role("heading", name="Please look at this once more")).to_be_visible()


def test_numbers_are_drawn_and_their_tables_say_the_same(page: Page, site: Site) -> None:
    rt = enter(page, site)
    for _ in range(12):
        a_subscriber(rt)
    page.goto("/desk/numbers")
    page.get_by_role("link", name="A year").click()
    expect(page.get_by_role("link", name="A year")).to_have_attribute("aria-current", "page")
    came = page.get_by_role("region", name="Sign-ups and confirmations")
    expect(came.get_by_role("img")).to_be_visible()
    came.get_by_text("As a table").click()
    expect(came.get_by_role("columnheader", name="Confirmed")).to_be_visible()
