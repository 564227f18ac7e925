"""From an empty desk to the first letter, in a real browser, over a real mail server."""

import re
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.desk import PASSWORD, a_session
from tests.journeys.axe import violations
from tests.journeys.conftest import serving
from tests.processes import NURTURE, environment, free_port, nurture, running
from tests.servers.smtp import SmtpServer


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer("plain", auth=("dana", "s3cret word")) as server:
        yield server


@pytest.fixture
def desk(browser: Browser, database_url: str, tmp_path: Path) -> Iterator[Page]:
    """A service as `make run` starts it, and a therapist who has opened the link it printed."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = environment(tmp_path, database_url=database_url, listen=f"127.0.0.1:{port}", base_url=url, tick_seconds=0.2)
    assert nurture("init", env=env).returncode == 0
    log = tmp_path / "log"
    with running([*NURTURE, "serve"], env, log, url + "/healthz"):
        context = browser.new_context(base_url=url, viewport={"width": 1280, "height": 900})
        page = context.new_page()
        errors: list[str] = []
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith((url, "data:")) else errors.append(request.url))
        link = re.search(r"/desk/login/\S+", nurture("users", "login-link", "--first", env=env).stdout)
        assert link
        page.goto(link[0])
        page.get_by_role("button").click()
        page.wait_for_url("**/desk/")
        yield page
        context.close()
        assert [error for error in errors if "422" not in error] == []


def protect(page: Page) -> None:
    """A password, and a code of the app, typed by hand."""
    secret = page.locator(".secret").inner_text().replace(" ", "")
    page.get_by_label("Your name", exact=False).first.fill("Dana Oak")
    page.get_by_label("E-mail address", exact=False).fill("dana@oak.example")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("input[name=code]").fill(pyotp.TOTP(secret).now())
    page.locator("main form button[type=submit]").first.click()


def test_a_therapist_alone_gets_from_an_empty_desk_to_the_first_letter(desk: Page, smtp: SmtpServer) -> None:
    expect(desk.get_by_text("You are trying things out")).to_be_visible()
    desk.get_by_role("link", name="Begin the first run").click()
    expect(desk.get_by_text("9 lines of the list are still open")).to_be_visible()
    assert desk.get_by_role("button", name="Let letters leave").count() == 0
    desk.get_by_role("link", name="Give the desk a password").click()
    protect(desk)
    desk.goto("/desk/start/")
    desk.get_by_role("link", name="Go on").click()

    # Who you are: a slip is said, and nothing that was typed is lost.
    desk.get_by_label("Your credential").fill("LCSW")
    desk.get_by_role("button", name="Save and go on").click()
    expect(desk.get_by_role("alert")).to_contain_text("readers must know who writes")
    expect(desk.get_by_label("Your credential")).to_have_value("LCSW")
    desk.get_by_label("Your full name").fill("Dana Oak")
    desk.get_by_label("Where you are licensed").fill("Oregon")
    desk.get_by_role("button", name="Save and go on").click()

    # Sender.
    desk.get_by_label("The name inboxes show").fill("Ketamine with Dana")
    desk.get_by_label("The address letters come from").fill("dana@oak.example")
    desk.get_by_label("Your postal address").fill("PO Box 12\nPortland, OR 97201")
    desk.get_by_role("button", name="Save and go on").click()
    expect(desk.get_by_role("alert")).to_contain_text("would see “Ketamine”")
    desk.get_by_label("The name inboxes show").fill("Dana from Oak Street")
    desk.get_by_role("button", name="Save and go on").click()

    # Mail service: the wrong password is found out before anything is kept.
    expect(desk.get_by_role("heading", level=1)).to_have_text("How mail leaves")
    assert not desk.get_by_label("Its name").is_visible()
    desk.get_by_label("A mail server").check()
    desk.get_by_label("Its name").fill("127.0.0.1")
    desk.get_by_label("Port", exact=True).fill(str(smtp.port))
    desk.locator("#smtp_user").fill("dana")
    desk.locator("#smtp_password").fill("wrong")
    desk.get_by_role("button", name="Try it, and save").click()
    expect(desk.get_by_role("alert")).to_contain_text("does not accept this user name and password")
    desk.locator("#smtp_password").fill("s3cret word")
    desk.get_by_role("button", name="Try it, and save").click()
    expect(desk.get_by_role("status")).to_contain_text("the way is open")
    desk.get_by_role("button", name="Send me a mail").click()
    expect(desk.get_by_role("status")).to_contain_text("Your mail service took it", timeout=15_000)
    desk.get_by_role("link", name="Go on").click()

    # Somebody in a hurry finds the door closed, and their address is not kept.
    visitor = desk.context.browser.new_page() if desk.context.browser else desk
    visitor.goto(desk.url.split("/desk")[0] + "/")
    expect(visitor.get_by_role("heading", level=1)).to_have_text("The letters are not open yet")

    # Look, with the letter beside it.
    desk.locator("button[data-color='#2d5a87']").click()
    desk.get_by_role("button", name="Save and look").click()
    expect(desk.get_by_role("status")).to_contain_text("Saved")
    expect(desk.frame_locator("iframe").get_by_role("heading", level=1)).to_be_visible()
    desk.get_by_role("button", name="Save and go on").click()

    # Read each letter.
    for _ in range(6):
        expect(desk.frame_locator("iframe").get_by_role("heading", level=1)).to_be_visible()
        desk.get_by_role("button", name="I have read it").click()
    expect(desk.get_by_role("heading", level=1)).to_have_text("Send yourself the series")

    # The series, in seconds instead of weeks.
    desk.get_by_role("button", name="Send it to dana@oak.example").click()
    expect(desk.get_by_text("sent to you", exact=True)).to_have_count(6, timeout=40_000)
    assert {mail.rcpt_tos for mail in smtp.mails} == {("dana@oak.example",)}
    assert len(smtp.mails) == 7
    desk.get_by_role("link", name="Go on").click()

    # And it begins.
    expect(desk.locator(".checklist .is-open")).to_have_count(0)
    desk.get_by_role("button", name="Let letters leave").click()
    expect(desk.get_by_role("status")).to_contain_text("It has begun")
    visitor.reload()
    visitor.get_by_label("E-mail address").fill("robin@example.org")
    visitor.locator("input[name=consent]").check()
    visitor.get_by_role("button", name="Send me the letters").click()
    visitor.wait_for_url("**/check-your-inbox")
    visitor.close()
    smtp.wait_for(8, timeout=20)
    (mail,) = smtp.to("robin@example.org")
    assert str(mail.message["From"]) == "Dana from Oak Street <dana@oak.example>"
    assert "PO Box 12, Portland, OR 97201" in mail.part("plain")
    desk.goto("/desk/")
    assert desk.get_by_text("first run").count() == 0


@pytest.fixture
def quick(browser: Browser, tmp_path: Path, sqlite_template: Path) -> Iterator[Page]:
    """An owner at a desk in this process, who has just shown who they are."""
    with serving(tmp_path, sqlite_template) as (rt, url):
        context = browser.new_context(base_url=url)
        context.add_cookies([{"name": "desk", "value": a_session(rt), "url": url}])
        yield context.new_page()
        context.close()


STEPS = (
    "settings/", "settings/practice", "settings/practice?step=who", "settings/sender?step=sender", "settings/look?step=look",
    "settings/hours", "settings/consent", "settings/mail?step=mail", "start/", "start/letters", "start/series",
)  # fmt: skip


def test_every_page_of_it_is_accessible_and_fits_a_small_phone(quick: Page) -> None:
    quick.set_viewport_size({"width": 320, "height": 800})
    found = {}
    for path in STEPS:
        quick.goto(f"/desk/{path}")
        wrong = [f"{each['id']}: {each['nodes'][0]['html'][:120]}" for each in violations(quick)]
        for carrier in quick.locator("input[name=mailer]").all():
            carrier.check()
            wrong += [each["id"] for each in violations(quick)]
        if quick.evaluate("document.documentElement.scrollWidth") > 320:
            wrong.append("wider than 320 px")
        found[path] = wrong
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_the_first_run_can_be_walked_with_the_keyboard_alone(quick: Page) -> None:
    quick.goto("/desk/settings/practice?step=who")
    quick.locator("#practice_name").focus()
    quick.keyboard.type("Dana Oak")
    quick.keyboard.press("Tab")
    quick.keyboard.type("LCSW")
    quick.keyboard.press("Tab")
    quick.keyboard.press("Tab")
    quick.keyboard.type("Oregon")
    quick.keyboard.press("Enter")
    quick.wait_for_url("**/desk/settings/sender?step=sender")
    quick.goto("/desk/start/")
    expect(quick.locator(".checklist .is-done")).to_have_count(1)
