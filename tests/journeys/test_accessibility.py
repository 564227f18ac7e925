"""axe-core finds nothing on any page, in both schemes; nothing is wider than a small phone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from nurture.letters.compiler import compile_letter
from nurture.letters.source import read_folder
from nurture.resources import pack
from nurture.runtime import Runtime
from nurture.services.accounts import login
from nurture.services.addresses import parse_address
from nurture.services.subscribers import consultations
from nurture.tokens import Purpose
from tests.journeys.axe import violations
from tests.journeys.conftest import serving
from tests.letters.samples import a_sample
from tests.people import a_subscriber, inbox, run_tick, sign_up

KEY = "ketamine-and-talk-therapy"
LETTERS = read_folder(pack().letters / KEY)[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[tuple[Runtime, str]]:
    with serving(tmp_path_factory.mktemp("site"), sqlite_template) as found:
        yield found


def addresses(rt: Runtime) -> dict[str, str]:
    reader = a_subscriber(rt)
    asked = consultations.ConsultationRequest(
        "Robin Quill", reader.email, "Oregon", "phone", "+1 503 555 0100", True, "Tuesdays"
    )
    consultation = consultations.request_consultation(rt, asked, parse_address(reader.email), None)
    sign_up(rt)
    again = a_subscriber(rt)
    sign_up(rt, again.email)
    run_tick(rt)
    mail = inbox(rt, again)[-1]
    unsubscribe = rt.tokens.mint(Purpose.UNSUBSCRIBE, reader.id)
    by_letter = rt.tokens.mint(Purpose.LETTER_CONSULTATION, mail.id)
    was_it_you = rt.tokens.mint(Purpose.CONFIRM_CONSULTATION, consultation)
    return {
        "home": "/", "inbox": "/check-your-inbox", "confirm": f"/confirm/{rt.tokens.mint(Purpose.CONFIRM, reader.id)}",
        "unsubscribe": f"/unsubscribe/{unsubscribe}", "consultation": "/consultation", "sent": "/consultation/sent",
        "consultation by a letter": f"/consultation?t={by_letter}", "was it you": f"/consultation/confirm/{was_it_you}",
        "dead": "/confirm/x", "outbox": "/outbox", "mail": f"/outbox/{mail.id}",
        "desk": "/desk/", "request": f"/desk/consultations/{consultation}",
        "protect": "/desk/account/protect", "account": "/desk/account/", "access": "/desk/access/", "log in": "/desk/login",
        "mails": "/desk/mails", "what to do": "/desk/help/silent", "plan": "/desk/sequence/",
        "sources": "/pages/sources",
        "picture": "/pages/picture", "questions": "/pages/questions", "list": "/pages/list",
        "letters": f"/read/{KEY}", **{letter.key: f"/read/{KEY}/{letter.key}" for letter in LETTERS},
    }  # fmt: skip


def test_every_page_is_accessible_and_fits_a_small_phone(browser: Browser, site: tuple[Runtime, str]) -> None:
    rt, url = site
    context = browser.new_context(viewport={"width": 320, "height": 700})
    page = context.new_page()
    page.goto(url + re.sub(r"^https?://[^/]+", "", login.login_link(rt)))
    page.get_by_role("button").click()
    found = {}
    for name, path in addresses(rt).items():
        page.goto(url + path)
        result = violations(page)
        found[name] = [f"{each['id']}: {each['nodes'][0]['html'][:120]}" for each in result]
        if page.evaluate("document.documentElement.scrollWidth") > 320:
            found[name].append("wider than 320 px")
    blank = context.new_page()
    for kind in {str(mail.message["Feedback-ID"]): mail for mail in inbox(rt)}.values():
        blank.set_content(kind.part("html"))  # on its own page no script may run, so axe could not either
        found[str(kind.message["Subject"])] = [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in violations(blank)]
    for letter in LETTERS:
        blank.set_content(a_sample(compile_letter(letter)).html)
        found[letter.subject] = [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in violations(blank)]
    page.goto(url + "/")
    page.locator("form[action='/subscribe'] button").click()
    found["errors"] = [each["id"] for each in violations(page)]
    context.close()
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_no_page_loads_anything_from_elsewhere_or_holds_inline_code(site: tuple[Runtime, str]) -> None:
    import nurture.app

    for path in (Path(nurture.app.__file__).parents[1] / "templates").rglob("*.html"):
        if path.parent.name != "mail":
            text = path.read_text("utf-8")
            assert not re.search(r"""style=|<style|<script(?![^>]*src=)|\bon\w+=["']|(src|href)=["']https?://""", text), path


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_what_is_to_be_printed_fits_one_page(browser: Browser, site: tuple[Runtime, str], paper: str) -> None:
    _, url = site
    page = browser.new_page()
    pages = {}
    for name in ("picture", "questions", "list"):
        page.goto(f"{url}/pages/{name}")
        printed = page.pdf(format=paper, margin={"top": "14mm", "right": "14mm", "bottom": "14mm", "left": "14mm"})
        pages[name] = len(re.findall(rb"/Type\s*/Page\b(?!s)", printed))
    page.close()
    assert pages == {"picture": 1, "questions": 1, "list": 1}
