"""Writing a letter at the desk, in a real browser: by mouse, by keyboard, alone, in two tabs, logged out."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.runtime import Runtime
from nurture.services.accounts import login
from nurture.services.letters import publishing
from tests.clocks import ManualClock
from tests.journeys.axe import violations
from tests.journeys.conftest import serving
from tests.people import a_subscriber, inbox, run_tick

KEY = "ketamine-and-talk-therapy"
HISTORY = f"/desk/letters/{KEY}/history"


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path) -> Iterator[tuple[Runtime, str]]:
    with serving(tmp_path, sqlite_template, ManualClock(), reply_to="dana@example.org") as found:
        yield found


@pytest.fixture
def desk(browser: Browser, site: tuple[Runtime, str]) -> Iterator[Page]:
    """Somebody logged in; an error in the console, a blocked style or script too, fails the test."""
    rt, url = site
    context = browser.new_context(base_url=url, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((url, "data:")) else errors.append(request.url))
    page.goto(re.sub(r"^https?://[^/]+", "", login.login_link(rt)))
    page.get_by_role("button").click()
    page.wait_for_url("**/desk/")
    yield page
    context.close()
    # A look of the test's own into the sandboxed frame, while that is drawn anew, is blocked like any script in it.
    own = r"Blocked script execution in '[^']+/preview\?"
    assert [error for error in errors if not re.search(f"40[139]|422|{own}", error)] == []


def saved(page: Page) -> None:
    expect(page.locator("#state")).to_contain_text("Saved", timeout=10_000)


def type_after(page: Page, words: str, new: str) -> None:
    """Put the cursor behind `words` in the letter, and type."""
    page.locator("#body").evaluate(
        "(area, words) => { const at = area.value.indexOf(words) + words.length; area.focus();"
        " area.setSelectionRange(at, at); }",
        words,
    )
    page.keyboard.type(new)


def test_what_is_typed_is_saved_shown_and_judged_beside_its_line(desk: Page, site: tuple[Runtime, str]) -> None:
    desk.goto(HISTORY)
    type_after(desk, "**The lab.**", " It cures depression.")
    saved(desk)
    remark = desk.locator(".remark.bad").first
    expect(remark).to_contain_text("cures")
    expect(desk.locator(".gutter .bad")).to_have_count(1)
    expect(desk.frame_locator("#preview").get_by_text("It cures depression.")).to_be_visible()
    remark.get_by_role("button", name="Line").click()
    assert desk.evaluate("getSelection().toString()").lower().startswith("cure")
    remark.get_by_role("button", name="Write instead").click()
    expect(desk.locator(".remark.bad")).to_have_count(0, timeout=10_000)
    assert "It may ease symptoms for some people." in desk.locator("#body").input_value()
    desk.locator("#body").press("Control+z")
    saved(desk)
    assert "It cures depression." in desk.locator("#body").input_value()


def test_the_toolbar_puts_in_what_the_dialect_knows(desk: Page) -> None:
    desk.goto(HISTORY)
    desk.locator("#body").fill("# A letter\n\nWords")
    desk.locator("#body").press("Control+a")
    desk.locator("#body").press("ArrowRight")
    desk.get_by_role("button", name="Button", exact=True).click()
    desk.get_by_role("button", name="Crisis lines").click()
    desk.get_by_label("A field about").select_option(label="first name, or “there”")
    desk.get_by_label("A source").select_option(index=1)
    text = desk.locator("#body").input_value()
    for part in ('{{ button("Ask for a call", links.consultation) }}', "{{ crisis() }}", 'default("there", true)', "cite("):
        assert part in text
    saved(desk)
    frame = desk.frame_locator("#preview")
    expect(frame.get_by_role("link", name="Ask for a call").first).to_be_visible()


@pytest.mark.parametrize("view", ["Phone", "Dark", "Pictures off", "Plain text"])
def test_the_letter_is_shown_as_readers_may_see_it(desk: Page, view: str) -> None:
    desk.goto(HISTORY)
    desk.get_by_role("link", name=view, exact=True).click()
    shown = desk.frame_locator("#preview").locator("body")
    expect(shown).to_contain_text("Hello Robin")
    if view == "Phone":
        box = desk.locator("#preview").bounding_box()
        assert box is not None
        assert box["width"] <= 391
    if view == "Dark":
        color = shown.evaluate("body => getComputedStyle(body).backgroundColor")
        assert max(int(part) for part in re.findall(r"\d+", color)[:3]) < 60


def test_two_tabs_lose_nothing(desk: Page) -> None:
    desk.goto(HISTORY)
    other = desk.context.new_page()
    other.goto(HISTORY)
    type_after(other, "**The lab.**", " Said in the other tab.")
    saved(other)
    type_after(desk, "Hello", " and good morning")
    both = desk.locator("[data-conflict]")
    expect(both).to_contain_text("Nothing is lost", timeout=10_000)
    expect(both.get_by_label("Theirs")).to_have_value(re.compile("Said in the other tab"))
    expect(both.get_by_label("Yours")).to_have_value(re.compile("and good morning"))
    both.get_by_role("button", name="Keep mine").click()
    saved(desk)
    desk.reload()
    expect(desk.locator("#body")).to_have_value(re.compile("and good morning"))


def test_a_session_that_ends_in_mid_edit_keeps_the_text(desk: Page, site: tuple[Runtime, str]) -> None:
    rt, _ = site
    desk.goto(HISTORY)
    cookies = desk.context.cookies()
    desk.context.clear_cookies()
    type_after(desk, "**The lab.**", " Written while logged out.")
    expect(desk.locator("#trouble")).to_contain_text("Your text is safe", timeout=10_000)
    assert cookies
    other = desk.context.new_page()
    other.goto(re.sub(r"^https?://[^/]+", "", login.login_link(rt)))
    other.get_by_role("button").click()
    other.wait_for_url("**/desk/")
    desk.locator("#trouble").get_by_role("button", name="Save").click()
    saved(desk)
    desk.reload()
    expect(desk.locator("#body")).to_have_value(re.compile("Written while logged out"))


def test_a_letter_is_edited_and_published_with_the_keyboard_alone(desk: Page, site: tuple[Runtime, str]) -> None:
    rt, _ = site
    a_subscriber(rt)
    desk.goto("/desk/letters/")
    for _ in range(30):
        desk.keyboard.press("Tab")
        if desk.evaluate("document.activeElement.getAttribute('href')") == HISTORY:
            break
    desk.keyboard.press("Enter")
    desk.wait_for_url(f"**{HISTORY}")
    for _ in range(40):
        desk.keyboard.press("Tab")
        if desk.evaluate("document.activeElement.id") == "body":
            break
    desk.keyboard.press("Control+End")
    desk.keyboard.type("\n\nTyped without a mouse.")
    desk.keyboard.press("Control+s")
    saved(desk)
    for _ in range(40):
        desk.keyboard.press("Shift+Tab")
        if desk.evaluate("document.activeElement.textContent.trim()").startswith("Publish"):
            break
    desk.keyboard.press("Enter")
    desk.wait_for_url("**/publish")
    expect(desk.locator("ins")).to_contain_text("Typed without a mouse.")
    for _ in range(40):
        desk.keyboard.press("Tab")
        if desk.evaluate("document.activeElement.textContent.trim()") == "Publish it now":
            break
    desk.keyboard.press("Enter")
    desk.wait_for_url("**/published/*")
    assert publishing.work(rt)
    expect(desk.get_by_role("heading", name="Published")).to_be_visible(timeout=10_000)


def test_a_publication_that_fails_for_somebody_says_for_how_many_and_why(desk: Page, site: tuple[Runtime, str]) -> None:
    rt, _ = site
    a_subscriber(rt, first_name="")
    desk.goto(HISTORY)
    type_after(desk, "**The lab.**", " {{ reader.first_name }}, listen.")
    saved(desk)
    desk.get_by_role("link", name="Publish").click()
    desk.get_by_role("button", name="Publish it now").click()
    publishing.work(rt)
    expect(desk.get_by_role("heading", name="Not published")).to_be_visible(timeout=10_000)
    expect(desk.locator("main")).to_contain_text("1 person on your list has no first name, and would see a gap")


def test_a_letter_the_gate_stops_has_no_button_to_publish_it(desk: Page) -> None:
    desk.goto(HISTORY)
    type_after(desk, "**The lab.**", " It cures depression.")
    saved(desk)
    desk.get_by_role("link", name="Publish").click()
    expect(desk.get_by_role("alert")).to_contain_text("cures")
    expect(desk.get_by_role("button", name="Publish it now")).to_have_count(0)


def test_a_letter_is_sent_to_oneself(desk: Page, site: tuple[Runtime, str]) -> None:
    rt, _ = site
    desk.goto(HISTORY)
    desk.get_by_role("button", name="Send it to me").click()
    expect(desk.locator("#sent")).to_contain_text("On its way to dana@example.org")
    run_tick(rt)
    assert [str(mail.message["To"]) for mail in inbox(rt)] == ["dana@example.org"]


def test_every_page_of_the_letters_is_accessible_and_fits_a_small_phone(desk: Page) -> None:
    desk.goto(HISTORY)
    type_after(desk, "**The lab.**", " It cures depression. It is a miracle.")
    saved(desk)
    found = {}
    for width in (1280, 320):
        desk.set_viewport_size({"width": width, "height": 800})
        for path in ("/desk/letters/", HISTORY, f"{HISTORY}/editions", f"{HISTORY}/publish"):
            desk.goto(path)
            found[path, width] = [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in violations(desk)]
            if desk.evaluate("document.documentElement.scrollWidth") > width:
                found[path, width].append("wider than the screen")
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_without_a_script_a_letter_is_saved_and_a_conflict_shown(browser: Browser, site: tuple[Runtime, str]) -> None:
    rt, url = site
    context = browser.new_context(base_url=url, java_script_enabled=False)
    page = context.new_page()
    page.goto(re.sub(r"^https?://[^/]+", "", login.login_link(rt)))
    page.get_by_role("button").click()
    page.goto(HISTORY)
    other = context.new_page()
    other.goto(HISTORY)
    other.locator("#preheader").fill("Another line below the subject, long enough to be read on a phone.")
    other.get_by_role("button", name="Save").click()
    expect(other.locator("#preheader")).to_have_value(re.compile("Another line"))
    page.locator("#preheader").fill("Mine is another one, and as long as a phone has room for it.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("changed this letter meanwhile")
    page.get_by_role("button", name="Save yours").click()
    expect(page.locator("#preheader")).to_have_value(re.compile("Mine is"))
    context.close()
