"""A therapist's ways through the desk: find somebody, pause, note, erase; add people from a file; answer a request."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from nurture.ids import UserId, new_id
from nurture.runtime import Runtime
from nurture.services.addresses import parse_address
from nurture.services.subscribers import consultations, csv_import, detail
from nurture.store.subscribers import subscribers
from tests.clocks import ManualClock
from tests.desk import a_session
from tests.journeys.axe import violations
from tests.journeys.conftest import serving
from tests.people import a_subscriber, due, inbox, run_tick, sign_up


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path) -> Iterator[tuple[Runtime, str]]:
    """A running desk with people at several places."""
    with serving(tmp_path, sqlite_template, ManualClock()) as (rt, url):
        for number in range(6):
            a_subscriber(rt, f"reader{number}@example.org", first_name=("Ada", "Bo", "Cleo", "Dev", "Esme", "Finn")[number])
        run_tick(rt)
        sign_up(rt, "waiting@example.org", first_name="Gil")
        yield rt, url


def enter(page: Page, site: tuple[Runtime, str]) -> None:
    rt, url = site
    page.context.add_cookies([{"name": "desk", "value": a_session(rt), "url": url}])


def test_somebody_is_found_paused_let_go_on_noted_and_erased(page: Page, site: tuple[Runtime, str]) -> None:
    rt, url = site
    enter(page, site)
    page.goto(f"{url}/desk/people/")
    page.get_by_role("textbox", name="Find one person").fill("reader2@example.org")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cleo")
    assert "reader2" not in page.url

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status").first).to_contain_text("Paused. Nothing goes out")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("goes out Thursday 5 March, 10:00 on their clock")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Let them go on").click()
    expect(page.get_by_role("status").first).to_contain_text("They go on where they were.")

    page.get_by_label("Write a note").fill("Prefers calls after five.")
    page.get_by_role("button", name="Keep the note").click()
    expect(page.get_by_text("Prefers calls after five.")).to_be_visible()
    page.get_by_label("Add a tag").fill("Spring")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("button", name="spring")).to_be_visible()

    page.get_by_role("link", name=re.compile("Open it as they read it.*The welcome")).click()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_text("Cleo").first).to_be_visible()
    page.get_by_role("link", name="Back to this person").click()

    page.get_by_role("link", name="Erase them").click()
    page.get_by_role("button", name="Erase for good").click()
    expect(page.locator(".summary")).to_contain_text("Nothing was erased.")
    page.get_by_label("Type ERASE").fill("ERASE")
    page.get_by_role("button", name="Erase for good").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("They are erased")
    page.get_by_role("link", name="Back to the list").click()
    expect(page.get_by_text("6 people", exact=True)).to_be_visible()
    assert "Cleo" not in page.content()
    assert all("reader2@" not in str(mail.message["To"]) for mail in inbox(rt))


def test_several_people_are_paused_at_once_and_put_back(page: Page, site: tuple[Runtime, str]) -> None:
    _, url = site
    enter(page, site)
    page.goto(f"{url}/desk/people/")
    page.get_by_label("For all 7 people").check()
    page.get_by_label("Choose Ada").check()
    expect(page.get_by_label("For those ticked above")).to_be_checked()  # ticking a row says that it is about rows
    page.get_by_label("Choose Bo").check()
    page.get_by_role("button", name="See how many first").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This pauses the letters of 2 people")
    page.get_by_role("button", name="Pause them").click()
    expect(page.get_by_role("status")).to_have_text("The letters of 2 people are paused.")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("2 people put back")
    page.goto(f"{url}/desk/people/?standing=paused")
    expect(page.get_by_text("Nobody fits this choice.")).to_be_visible()


def test_people_are_added_from_a_file_with_errors_in_it(page: Page, site: tuple[Runtime, str], tmp_path: Path) -> None:
    rt, url = site
    enter(page, site)
    broken, right = tmp_path / "old.csv", tmp_path / "people.csv"
    broken.write_bytes("Name;E-Mail\nJosé;jose@example.org\n".encode("latin-1"))
    right.write_text("Name;E-Mail\nJosé;jose@example.org\nAda;reader0@example.org\nLee;lee at example\n=1+1;kim@example.org\n")
    page.goto(f"{url}/desk/people/")
    page.get_by_role("link", name="Add people from a file").click()
    page.get_by_label("The file").set_input_files(broken)
    page.get_by_role("button", name="Look at it").click()
    expect(page.locator(".summary")).to_contain_text("Line 2 holds letters that are not UTF-8")
    page.get_by_label("The file").set_input_files(right)
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What would happen")
    expect(page.get_by_role("row", name=re.compile("lee at example"))).to_contain_text("not added: not an address")
    page.get_by_role("button", name="Add 2 people").click()
    expect(page.locator(".summary")).to_contain_text("Without it nobody may be added.")
    page.get_by_label("Where and when did they agree?").fill("paper form at the open evening")
    page.get_by_label("What I have chosen above is true").check()
    page.get_by_role("button", name="Add 2 people").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("2 people were added")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save what happened").click()
    text = saved.value.path().read_text("utf-8-sig")
    assert "3,reader0@example.org,,already there" in text
    assert "4,lee at example,,not added: not an address" in text
    run_tick(rt)
    assert sorted(str(mail.message["To"]) for mail in inbox(rt))[:2] == ["jose@example.org", "kim@example.org"]


def test_a_request_is_answered_and_booked(page: Page, site: tuple[Runtime, str]) -> None:
    rt, url = site
    asked = consultations.ConsultationRequest(
        "Ada Quill", "reader0@example.org", "Oregon", "phone", "+1 503 555 0100", True, "Tuesdays"
    )
    with rt.database.read() as db:
        reader = subscribers.find(db, rt.cipher.blind_index(asked.email))
    assert reader is not None
    consultations.request_consultation(rt, asked, parse_address(asked.email), reader.id)
    enter(page, site)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{url}/desk/requests")
    page.get_by_role("link", name="Ada Quill").click()
    page.get_by_role("button", name="Copy the text").click()
    expect(page.locator("#reply-said")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("Dear Ada Quill,")
    assert "Tuesdays" not in copied
    page.get_by_role("button", name="A call is booked").click()
    expect(page.get_by_role("status").first).to_contain_text("It counts as booked now.")
    page.get_by_role("link", name="what they were sent").click()
    expect(page.get_by_text("After the welcome: a call is booked.")).to_be_visible()


def test_every_page_is_accessible_and_fits_a_small_phone(browser: Browser, site: tuple[Runtime, str]) -> None:
    rt, url = site
    reader = a_subscriber(rt, "ready@example.org")
    run_tick(rt)
    at = due(rt, reader)
    assert at
    rt.clock.at = at  # type: ignore[attr-defined]
    run_tick(rt)
    detail.add_note(rt, reader.id, "A note.", UserId(new_id()))
    detail.add_tag(rt, reader.id, "spring")
    asked = consultations.ConsultationRequest(
        "Ada Quill", "reader0@example.org", "Oregon", "phone", "+1 503 555 0100", True, "Tuesdays"
    )
    consultation = consultations.request_consultation(rt, asked, parse_address(asked.email), None)
    key = csv_import.keep(rt, b"Name,E-Mail\nKim,kim@example.org\nLee,nonsense\n", UserId(new_id()))
    mail = next(each.id for each in detail.load(rt, reader.id).sent if each.readable)
    one = f"/desk/people/{reader.id}"
    context = browser.new_context(viewport={"width": 320, "height": 700})
    context.add_cookies([{"name": "desk", "value": a_session(rt), "url": url}])
    page = context.new_page()
    found: dict[str, list[str]] = {}

    def look(name: str) -> None:
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        result = violations(page)
        found[name] = [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in result]
        if page.evaluate("document.documentElement.scrollWidth") > 320:
            found[name].append("wider than 320 px")

    for path in (
        "/desk/people/", "/desk/people/?standing=paused", "/desk/people/?since=soon", f"{one}/", f"{one}/?did=pause",
        f"{one}/mails/{mail}", f"{one}/erase", "/desk/people/import/", f"/desk/people/import/{key}", "/desk/requests",
        "/desk/requests?show=closed", f"/desk/consultations/{consultation}?was=closed", "/desk/numbers",
        "/desk/numbers?back=all",
    ):  # fmt: skip
        page.goto(url + path)
        look(path)
    page.goto(f"{url}/desk/people/")
    page.get_by_label("For all").check()
    page.get_by_role("button", name="See how many first").click()
    look("many")
    page.get_by_role("button", name="Pause them").click()
    look("done")
    context.close()
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
