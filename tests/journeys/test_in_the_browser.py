"""A visitor's whole way in Chromium, against a running server with the outbox mailer, on both databases."""

import re
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from nurture.mailers.outbox import Outbox, Stored
from tests.journeys.conftest import ZONE
from tests.processes import NURTURE, environment, free_port, nurture, running


class Service:
    """A running service and its outbox."""

    def __init__(self, folder: Path, url: str, log: Path, env: dict[str, str]) -> None:
        self.url, self.log, self.env, self.box = url, log, env, Outbox(folder / "outbox")

    def login_link(self) -> str:
        return nurture("users", "login-link", "--first", env=self.env).stdout.split()[-1]

    def mails(self) -> list[Stored]:
        return list(reversed(self.box.index()))

    def wait_for(self, count: int, within: float = 60) -> list[Stored]:
        until = time.monotonic() + within
        while len(self.mails()) < count:
            assert time.monotonic() < until, (
                f"{[str(m.message['Subject']) for m in self.mails()]}\n{self.log.read_text()[-2000:]}"
            )
            time.sleep(0.1)
        return self.mails()


@pytest.fixture
def service(request: pytest.FixtureRequest, database_url: str, tmp_path: Path):  # type: ignore[no-untyped-def]
    """`nurture serve` at the speed a test asks for."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = environment(
        tmp_path, database_url=database_url, listen=f"127.0.0.1:{port}", base_url=url, tick_seconds=0.1,
        clock_speed=getattr(request, "param", 1), from_name="Dana from Oak Street",
    )  # fmt: skip
    assert nurture("init", env=env).returncode == 0
    with running([*NURTURE, "serve"], env, tmp_path / "log", url + "/healthz"):
        yield Service(tmp_path, url, tmp_path / "log", env)


def sign_up(page: Page, service: Service, email: str = "robin.quill@example.org", name: str = "Robin") -> None:
    page.goto(service.url + "/")
    page.get_by_label("address", exact=False).first.fill(email)
    page.get_by_label("First name", exact=False).fill(name)
    page.locator("input[name=consent]").check()
    page.locator("form[action='/subscribe'] button").click()
    expect(page).to_have_url(re.compile("/check-your-inbox$"))


def link(mail: Stored, part: str) -> str:
    found = re.search(rf"https?://[^\s\"'<>]*{part}[^\s\"'<>]*", mail.part("plain"))
    assert found, f"no {part} in {mail.part('plain')}"
    return found[0].rstrip(".,)")


def confirm(page: Page, service: Service) -> None:
    (mail,) = service.wait_for(1)
    page.goto(service.url + "/outbox")
    page.get_by_role("link", name=str(mail.message["Subject"])).click()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", level=1)).to_be_visible()
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Yes, send me the letters").click()
    beside = opened.value
    expect(beside).to_have_url(link(mail, "/confirm/"))
    beside.get_by_role("button").click()
    expect(beside.get_by_role("heading", level=1)).to_have_text("Welcome")
    beside.close()


@pytest.mark.parametrize("service", [200_000], indirect=True)
def test_from_the_form_to_the_last_letter_and_a_request_for_a_call(page: Page, service: Service) -> None:
    sign_up(page, service)
    confirm(page, service)
    mails = service.wait_for(7)
    time.sleep(2)  # half a year of the fast clock
    mails = service.mails()
    assert len(mails) == 7, [str(mail.message["Subject"]) for mail in mails]
    at = [parsedate_to_datetime(str(mail.message["Date"])).astimezone(ZoneInfo(ZONE)) for mail in mails]
    letters = at[2:]
    assert all(9 <= each.hour < 18 and each.weekday() < 6 for each in letters), letters
    assert all((later - earlier).days >= 2 for earlier, later in zip(at[1:], letters, strict=False)), at
    assert all("Robin" in mail.part("html") and "Robin" in mail.part("plain") for mail in mails[1:])

    page.goto(link(mails[-1], "/consultation"))
    expect(page.get_by_text("r•••@e•••.org").first).to_be_visible()
    page.locator("input[name=name]").fill("Robin Quill")
    page.locator("input[name=region]").fill("Oregon")
    page.locator("input[name=contact_way][value=email]").check()
    page.locator("textarea[name=times]").fill("Tuesdays after four")
    page.locator("form[action='/consultation'] button").click()
    expect(page).to_have_url(re.compile("/consultation/sent$"))
    notice = service.wait_for(8)[-1]
    page.goto(service.login_link())
    page.get_by_role("button").click()
    expect(page).to_have_url(re.compile("/desk/$"))
    page.goto(link(notice, "/desk/consultations/"))
    expect(page.get_by_text("Tuesdays after four")).to_be_visible()


@pytest.mark.parametrize("service", [43_200], indirect=True)
def test_leaving_in_mid_sequence_stops_the_letters_and_an_undo_goes_on(page: Page, service: Service) -> None:
    sign_up(page, service)
    confirm(page, service)
    letter = service.wait_for(3)[-1]  # confirmation, welcome, first letter
    page.goto(link(letter, "/unsubscribe/"))
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    left_with = len(service.mails())
    time.sleep(10)  # five days of the fast clock: the next letter would have come
    assert len(service.mails()) == left_with
    page.get_by_role("button").click()
    service.wait_for(left_with + 1)
    subjects = [str(mail.message["Subject"]) for mail in service.mails()]
    assert len(subjects) == len(set(subjects))


def test_a_wrong_form_is_shown_again_with_what_was_typed(page: Page, service: Service) -> None:
    page.goto(service.url + "/")
    page.locator("input[name=email]").fill("robin@nowhere")
    page.locator("input[name=first_name]").fill("Robin")
    page.locator("form[action='/subscribe'] button").click()
    box = page.locator("input[name=email]")
    expect(box).to_have_value("robin@nowhere")
    expect(box).to_have_attribute("aria-invalid", "true")
    described = page.locator("#" + (box.get_attribute("aria-describedby") or "").split()[-1])
    expect(described).to_contain_text("does not look like an e-mail address")


def test_the_page_fills_in_the_zone_of_the_visitor(page: Page, service: Service) -> None:
    page.goto(service.url + "/")
    expect(page.locator("input[name=time_zone]")).to_have_value(ZONE)
