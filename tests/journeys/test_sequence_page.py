"""A therapist changes the plan in a browser: by keyboard, by hand, and against somebody else who does the same."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from nurture.domain.edit import Choice
from nurture.ids import UserId
from nurture.runtime import Runtime
from nurture.services.accounts import login
from nurture.services.sequences import schedule
from tests.clocks import ManualClock
from tests.journeys.axe import violations
from tests.journeys.conftest import serving
from tests.people import a_subscriber, due, run_tick

KEY = "ketamine-and-talk-therapy"


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path) -> Iterator[tuple[Runtime, str]]:
    with serving(tmp_path, sqlite_template, ManualClock()) as found:
        yield found


def enter(page: Page, site: tuple[Runtime, str]) -> None:
    rt, url = site
    page.goto(url + re.sub(r"^https?://[^/]+", "", login.login_link(rt)))
    page.get_by_role("button").click()
    page.goto(f"{url}/desk/sequence/")


def titles(page: Page) -> list[str]:
    return page.locator("[data-cards] h3").all_inner_texts()


def keys(rt: Runtime) -> list[str]:
    return [card.slot.key for card in schedule.load(rt, KEY).cards if not card.slot.removed]


def test_another_order_by_keyboard_alone(page: Page, site: tuple[Runtime, str]) -> None:
    rt, _ = site
    reader = a_subscriber(rt)
    run_tick(rt)
    enter(page, site)
    page.get_by_role("button", name="Earlier Letter 3: why talk at all?").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert titles(page)[1] == "Letter 3: why talk at all?"
    expect(page.get_by_role("status").filter(has_text="is now letter 2")).to_have_count(1)
    assert page.evaluate("document.activeElement.dataset.act") == "earlier", "the focus stays, for one more"
    page.keyboard.press("Enter")
    assert titles(page)[0] == "Letter 3: why talk at all?"
    assert page.evaluate("document.activeElement.dataset.act") == "later", "there is nothing earlier"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="See what this changes").last.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="What this changes")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "impact"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").strip() == "Save the plan"
    page.keyboard.press("Enter")
    expect(page.get_by_text("Saved. Whatever has not been sent yet")).to_be_visible()
    assert keys(rt)[:3] == ["welcome", "why-talk", "history"]
    assert due(rt, reader) is not None


def test_a_wait_is_changed_and_its_effect_seen_before_it_is_saved(page: Page, site: tuple[Runtime, str]) -> None:
    rt, _ = site
    for _number in range(3):
        a_subscriber(rt)
    run_tick(rt)
    enter(page, site)
    page.locator("input[name=days-history]").fill("1")
    expect(page.get_by_text("6 letters in 16 days")).to_be_visible()
    expect(page.get_by_text("You have changes that are not saved.")).to_be_visible()
    page.get_by_role("button", name="See what this changes").last.click()
    everyone = page.locator(".answer").filter(has_text="Everybody, for what they have not got yet")
    expect(everyone).to_contain_text("3 people get “Letter 1: where it came from” 2 days earlier.")
    page.get_by_label("Everybody, but let me look first").check()
    page.get_by_role("button", name="Save the plan").click()
    expect(page.get_by_role("heading", name="3 people wait for you")).to_be_visible()
    page.get_by_role("button", name="Let go on").first.click()
    expect(page.get_by_role("heading", name="2 people wait for you")).to_be_visible()
    page.get_by_role("button", name="Let them all go on").click()
    expect(page.get_by_text("They go on now.")).to_be_visible()
    expect(page.get_by_role("heading", name="for you")).to_have_count(0)


def test_taking_out_and_putting_back_and_dragging(page: Page, site: tuple[Runtime, str]) -> None:
    rt, _ = site
    enter(page, site)
    page.get_by_role("button", name="Take out Letter 4").click()
    expect(page.get_by_text("5 letters in 14 days")).to_be_visible()
    page.get_by_role("button", name="Put back Letter 4").click()
    expect(page.get_by_text("6 letters in 18 days")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 2000})  # both ends in view: the page must not scroll under the pointer
    page.locator("[data-step=invitation] .place").drag_to(page.locator("[data-step=welcome] .place"))
    assert titles(page)[0] == "Letter 5: the last one, and an open door"
    page.get_by_role("button", name="Take out Letter 4").click()
    page.get_by_role("button", name="See what this changes").last.click()
    page.locator("input[name=days-history]").fill("2")
    expect(page.get_by_role("heading", name="What this changes")).to_have_count(0)
    page.get_by_role("button", name="See what this changes").last.click()
    page.get_by_role("button", name="Save the plan").click()
    expect(page.get_by_text("Saved. Whatever")).to_be_visible()
    assert keys(rt) == ["invitation", "welcome", "history", "how-it-may-work", "why-talk"]
    page.get_by_role("button", name="Put back Letter 4").click()
    assert "What to expect".lower() in titles(page)[5].lower()


def test_two_at_once_the_second_is_told_and_loses_nothing(page: Page, site: tuple[Runtime, str]) -> None:
    rt, _ = site
    enter(page, site)
    page.locator("input[name=days-history]").fill("2")
    page.get_by_role("button", name="See what this changes").last.click()
    shown = schedule.load(rt, KEY)
    slots = (*shown.edited.slots[:-2], shown.edited.slots[-1], shown.edited.slots[-2])
    schedule.save(rt, KEY, schedule.Edited(slots, shown.rules), Choice.EVERYONE, UserId("b" * 32), shown.version)
    with page.expect_response(re.compile("/save")) as answer:
        page.get_by_role("button", name="Save the plan").click()
    assert answer.value.status == 409
    expect(page.get_by_text("Somebody else has changed the plan")).to_be_visible()
    assert page.locator("input[name=days-history]").input_value() == "2"
    assert keys(rt)[-1] == "what-to-expect", "theirs is still there"
    page.get_by_role("link", name="Start again from how it is").click()
    assert page.locator("input[name=days-history]").input_value() == "3"


def test_a_letter_is_begun_and_its_page_opens(page: Page, site: tuple[Runtime, str]) -> None:
    enter(page, site)
    page.get_by_label("Its subject line").fill("A question people ask")
    page.get_by_label("Where it goes").select_option("history")
    page.get_by_role("button", name="Begin this letter").click()
    expect(page.get_by_text("The letter is begun.")).to_be_visible()
    assert titles(page)[2] == "A question people ask"
    page.get_by_role("link", name="A question people ask").click()
    expect(page).to_have_url(re.compile("/desk/letters/.*/a-question-people-ask"))


@pytest.mark.parametrize("width", [320, 1280])
def test_both_pages_are_accessible(browser: Browser, site: tuple[Runtime, str], width: int) -> None:
    rt, url = site
    a_subscriber(rt)
    run_tick(rt)
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    enter(page, site)
    found = {"plan": violations(page)}
    page.get_by_role("button", name="Take out Letter 4").click()
    page.locator("input[name=days-history]").fill("2")
    page.get_by_role("button", name="See what this changes").last.click()
    found["looked at"] = violations(page)
    wide = [page.evaluate("document.documentElement.scrollWidth") > width]
    page.get_by_label("Everybody, but let me look first").check()
    page.get_by_role("button", name="Save the plan").click()
    found["held"] = violations(page)
    page.goto(f"{url}/desk/simulator?from=2026-03-20&to=2026-03-25")
    found["simulator"] = violations(page)
    wide.append(page.evaluate("document.documentElement.scrollWidth") > width)
    context.close()
    assert {name: [each["id"] for each in wrong] for name, wrong in found.items() if wrong} == {}
    assert wide == [False, False]


def test_the_page_says_that_it_is_looking_and_does_not_ask_twice(page: Page, site: tuple[Runtime, str]) -> None:
    rt, _ = site
    a_subscriber(rt)
    run_tick(rt)
    enter(page, site)
    asked = list[str]()

    def given_up(route: Route) -> None:  # the answer never comes, so the page stays
        asked.append(route.request.url)
        route.abort("aborted")

    page.route("**/desk/sequence/preview", given_up)
    page.locator("input[name=days-history]").fill("1")
    look = page.get_by_role("button", name="See what this changes").last
    look.click(no_wait_after=True)
    expect(page.get_by_text("Looking at everybody who is reading …")).to_be_visible()
    look.click(no_wait_after=True)
    page.wait_for_timeout(200)
    assert len(asked) == 1
