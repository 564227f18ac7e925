"""A picture's way in a real browser: chosen, said in words, put in, seen as readers see it, published, and read in the mail."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.runtime import Runtime
from nurture.services.accounts import login
from nurture.services.letters import publishing
from tests.journeys.axe import violations
from tests.journeys.test_letter_page import KEY, saved
from tests.journeys.test_letter_page import desk as desk
from tests.journeys.test_letter_page import site as site
from tests.people import a_subscriber, inbox, run_tick
from tests.pictures import ALT, drawing, photograph

WELCOME = f"/desk/letters/{KEY}/welcome"
LINE = f"![{ALT}](picture:two-nerve-cells-and-the-narrow-gap.jpg)"


@pytest.fixture
def photo(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "IMG_2041.jpeg"
    path.write_bytes(photograph(1600, 1200))
    yield path


def cursor_before(page: Page, words: str) -> None:
    page.locator("#body").evaluate(
        "(area, words) => { const at = area.value.indexOf(words); area.focus(); area.setSelectionRange(at, at); }", words
    )


def is_shown(page: Page, frame: str) -> bool:
    """Whether the picture in a frame has come, and is not wider than its place."""
    picture = page.frame_locator(frame).get_by_alt_text(ALT)
    for _ in range(100):  # a preview that is drawn anew has its picture a moment later
        expect(picture).to_be_visible()
        expect(picture).to_have_js_property("complete", True)
        if picture.evaluate("one => one.naturalWidth > 1 && one.getBoundingClientRect().right <= innerWidth"):
            return True
        page.wait_for_timeout(100)
    return False


def test_from_a_telephone_s_photograph_to_the_mail(desk: Page, site: tuple[Runtime, str], photo: Path) -> None:
    rt, _ = site
    desk.goto(WELCOME)
    cursor_before(desk, "\n\n{{ button(")
    desk.get_by_role("button", name="Picture").click()
    dialog = desk.get_by_role("dialog", name="Put in a picture")
    dialog.get_by_label("Picture", exact=True).set_input_files(str(photo))
    expect(dialog.locator(".chosen img")).to_be_visible()
    dialog.get_by_role("button", name="Put it in").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Please say what it shows")
    assert desk.evaluate("document.activeElement.id") == "picture-alt"
    dialog.get_by_label("What it shows").fill("photo")
    dialog.get_by_role("button", name="Put it in").click()
    expect(dialog.get_by_role("alert")).to_contain_text("does not say what it shows")
    dialog.get_by_label("What it shows").fill(ALT)
    dialog.get_by_role("button", name="Put it in").click()
    expect(dialog).to_be_hidden(timeout=15_000)
    saved(desk)
    assert f"\n\n{LINE}\n\n" in desk.locator("#body").input_value()
    assert desk.locator("#body").input_value().index(LINE) < desk.locator("#body").input_value().index("{{ button(")
    assert is_shown(desk, "#preview")
    for view in ("Phone", "Dark"):
        desk.get_by_role("link", name=view, exact=True).click()
        assert is_shown(desk, "#preview")
    desk.get_by_role("link", name="Pictures off", exact=True).click()
    hidden = desk.frame_locator("#preview").get_by_alt_text(ALT)
    expect(hidden).to_have_js_property("naturalWidth", 0)
    desk.get_by_role("link", name="Plain text", exact=True).click()
    expect(desk.frame_locator("#preview").locator("body")).to_contain_text(f"[Picture: {ALT}]")
    desk.get_by_role("link", name="Publish").click()
    desk.get_by_role("button", name="Publish it now").click()
    assert publishing.work(rt)
    expect(desk.get_by_role("heading", name="Published")).to_be_visible(timeout=10_000)
    reader = a_subscriber(rt)
    run_tick(rt)
    mail = inbox(rt, reader)[-1]
    desk.goto(f"/outbox/{mail.id}")
    assert is_shown(desk, "iframe")
    assert desk.locator("body").inner_text().count("a picture, left out here") <= 1
    desk.goto(f"/read/{KEY}/welcome")
    picture = desk.get_by_alt_text(ALT)
    expect(picture).to_be_visible()
    assert picture.evaluate("one => one.naturalWidth > 1")


def test_a_picture_is_put_in_with_the_keyboard_alone_and_the_dialog_can_be_left(desk: Page, photo: Path) -> None:
    desk.goto(WELCOME)
    before = desk.locator("#body").input_value()
    desk.locator("[data-picture]").focus()
    desk.keyboard.press("Enter")
    dialog = desk.get_by_role("dialog", name="Put in a picture")
    expect(dialog).to_be_visible()
    desk.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert desk.evaluate("document.activeElement.id") == "body"
    assert desk.locator("#body").input_value() == before
    desk.locator("[data-picture]").focus()
    desk.keyboard.press("Enter")
    assert desk.evaluate("document.activeElement.id") == "picture-file", "one begins with the file"
    desk.locator("#picture-file").set_input_files(str(photo))  # the file chooser is the browser's own
    desk.keyboard.press("Tab")
    desk.keyboard.press("Tab")
    desk.keyboard.press("Space")
    assert desk.locator("#picture-decorative").is_checked()
    desk.keyboard.press("Enter")
    expect(dialog).to_be_hidden(timeout=15_000)
    saved(desk)
    assert "![decorative](picture:decorative.jpg)" in desk.locator("#body").input_value()


def test_a_picture_from_elsewhere_is_marked_at_its_line_and_taken_out_by_one_click(desk: Page) -> None:
    desk.goto(WELCOME)
    cursor_before(desk, "\n\n{{ button(")
    desk.keyboard.type("\n\n![A cell](https://example.org/cell.png)")
    saved(desk)
    remark = desk.locator(".remark.bad", has_text="example.org")
    expect(remark).to_contain_text("tell somebody that the letter was opened")
    remark.get_by_role("button", name="Take this picture out").click()
    expect(desk.locator(".remark.bad", has_text="example.org")).to_have_count(0, timeout=10_000)
    assert "example.org" not in desk.locator("#body").input_value()


def test_a_picture_comes_once_however_often_the_preview_is_drawn(desk: Page, photo: Path) -> None:
    came: list[str] = []
    desk.on("response", lambda answer: came.append(answer.url) if "/pictures/" in answer.url else None)
    desk.goto(WELCOME)
    desk.get_by_role("button", name="Picture").click()
    desk.locator("#picture-file").set_input_files(str(photo))
    desk.get_by_label("What it shows").fill(ALT)
    desk.get_by_role("button", name="Put it in").click()
    assert is_shown(desk, "#preview")
    for word in ("one", "two"):
        desk.locator("#body").press("Control+End")
        desk.keyboard.type(f" {word}")
        saved(desk)
        expect(desk.frame_locator("#preview").locator("body")).to_contain_text(word)
        assert is_shown(desk, "#preview")
    sizes = desk.evaluate("performance.getEntriesByType('resource').filter(one => one.name.includes('/pictures/')).length")
    assert sizes <= 1
    assert len(set(came)) == 1


def test_dialog_and_page_are_accessible_and_fit_a_small_phone(desk: Page, photo: Path) -> None:
    found = {}
    for width in (1280, 320):
        desk.set_viewport_size({"width": width, "height": 800})
        for path in (f"{WELCOME}/picture", WELCOME):
            desk.goto(path)
            if path == WELCOME:
                desk.get_by_role("button", name="Picture").click()
                desk.locator("#picture-file").set_input_files(str(photo))
                expect(desk.locator(".chosen img")).to_be_visible()
            found[path, width] = [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in violations(desk)]
            if desk.evaluate("document.documentElement.scrollWidth") > width:
                found[path, width].append("wider than the screen")
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_without_a_script_a_picture_is_put_at_the_end(browser: Browser, site: tuple[Runtime, str], tmp_path: Path) -> None:
    rt, url = site
    context = browser.new_context(base_url=url, java_script_enabled=False)
    page = context.new_page()
    page.goto(re.sub(r"^https?://[^/]+", "", login.login_link(rt)))
    page.get_by_role("button").click()
    page.goto(WELCOME)
    page.get_by_role("link", name="Put in a picture").click()
    page.get_by_label("What it shows").fill(ALT)
    page.get_by_role("button", name="Put it in").click()
    expect(page.locator(".error")).to_contain_text("Please choose a picture first.")
    (tmp_path / "cells.png").write_bytes(drawing())
    page.get_by_label("Picture", exact=True).set_input_files(str(tmp_path / "cells.png"))
    page.get_by_role("button", name="Put it in").click()
    expect(page.locator("#body")).to_have_value(re.compile(re.escape(LINE.replace(".jpg", ".png")) + r"\s*$"))
    context.close()
