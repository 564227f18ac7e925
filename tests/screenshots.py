"""`make screenshots`: every page and a few mails, on a desktop and a phone, light and dark, into docs/screenshots."""

import re
import sys
import tempfile
import threading
from base64 import b64encode
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from werkzeug.serving import make_server

from nurture import runtime
from nurture.app import create_app
from nurture.letters.compiler import compile_letter
from nurture.letters.filling import fill
from nurture.letters.practice import Logo, Practice
from nurture.letters.source import read_folder
from nurture.resources import pack
from nurture.runtime import Runtime
from nurture.services.accounts import login
from nurture.services.letters import publishing
from nurture.tokens import Purpose
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.desk import a_session
from tests.letters.samples import FACTS, VALUES
from tests.letters.test_practice import png
from tests.people import a_subscriber, due, inbox, run_tick

KEY = "ketamine-and-talk-therapy"
LOGO = Logo(png(200, 48), "png", 200, 48)
DESK = {
    "desk": "/desk/", "desk-letters": "/desk/letters/", "desk-letter": f"/desk/letters/{KEY}/history",
    "desk-picture": f"/desk/letters/{KEY}/history/picture",
    "desk-editions": f"/desk/letters/{KEY}/history/editions", "desk-plan": "/desk/sequence/",
    "desk-simulator": "/desk/simulator", "desk-people": "/desk/people/", "desk-requests": "/desk/requests",
    "desk-numbers": "/desk/numbers", "desk-access": "/desk/access/", "desk-protect": "/desk/account/protect",
    "desk-domain": "/desk/settings/domain", "desk-keys": "/desk/settings/keys", "desk-settings": "/desk/settings/",
    "desk-practice": "/desk/settings/practice?step=who", "desk-sender": "/desk/settings/sender",
    "desk-look": "/desk/settings/look", "desk-hours": "/desk/settings/hours", "desk-consent": "/desk/settings/consent",
    "desk-mail": "/desk/settings/mail", "desk-first-run": "/desk/start/", "desk-read": "/desk/start/letters",
    "desk-series": "/desk/start/series", "desk-help": "/desk/help/silent",
}  # fmt: skip
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def main() -> None:
    """Take them all."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        rt = runtime.build(settings_for(Path(place), from_name="Dana from Oak Street"), migrate=True)
        publishing.load_shipped(rt)
        clock = ManualClock()
        rt.clock = clock
        server = make_server("127.0.0.1", 0, create_app(rt), threaded=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
            _take(rt, clock, browser, f"http://127.0.0.1:{server.server_port}", folder)
            _letters(browser, folder)
            browser.close()
        server.shutdown()
        rt.close()


def _letters(browser: Browser, folder: Path) -> None:
    """Every letter as a mail: on a desktop, on a phone, in the dark, and with pictures off."""
    picture = f"data:image/png;base64,{b64encode(LOGO.content).decode()}"
    for letter in read_folder(pack().letters / KEY)[1]:
        html = fill(compile_letter(letter), VALUES | Practice(FACTS, logo=LOGO).values()).html
        for name, size, scheme in (
            ("desktop", "desktop", "light"), ("phone", "phone", "light"), ("dark", "desktop", "dark"),
            ("images-off", "desktop", "light"),
        ):  # fmt: skip
            width, height = SIZES[size]
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
            page.set_content(html if name == "images-off" else html.replace("cid:logo", picture))
            page.screenshot(path=folder / f"letter-{letter.key}-{name}.jpg", full_page=True, type="jpeg", quality=60)
            page.close()


def _take(rt: Runtime, clock: ManualClock, browser: Browser, url: str, folder: Path) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    while (at := due(rt, reader)) is not None:
        clock.at = at
        run_tick(rt)
    for name in ("Ada", "Bo", "Cleo", "Dev", "Esme", "Finn", "Gil", "Hana"):
        a_subscriber(rt, first_name=name)
        clock.advance(hours=5)
        run_tick(rt)
    leaving = a_subscriber(rt)
    run_tick(rt)
    mails = {str(mail.message["Subject"]).split(":")[0].lower().replace(" ", "-"): mail for mail in inbox(rt, reader)}
    token = {purpose: rt.tokens.mint(purpose, leaving.id) for purpose in Purpose}
    pages = {
        "home": "/", "check-your-inbox": "/check-your-inbox", "confirm": f"/confirm/{token[Purpose.CONFIRM]}",
        "unsubscribe": f"/unsubscribe/{token[Purpose.UNSUBSCRIBE]}", "consultation": "/consultation",
        "consultation-sent": "/consultation/sent", "dead-link": "/confirm/x", "outbox": "/outbox",
        "sources": "/pages/sources", "picture": "/pages/picture", "questions": "/pages/questions", "list": "/pages/list",
        "letters": f"/read/{KEY}", "letter": f"/read/{KEY}/what-to-expect",
        "outbox-mail": f"/outbox/{mails['letter-1'].id}", "desk-login": re.sub(r"^https?://[^/]+", "", login.login_link(rt)),
    }  # fmt: skip
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = context.new_page()

            def shot(name: str, page=page, size=size, scheme=scheme) -> None:  # type: ignore[no-untyped-def]
                page.screenshot(path=folder / f"{name}-{size}-{scheme}.jpg", full_page=True, type="jpeg", quality=60)

            for name, path in pages.items():
                page.goto(url + path)
                shot(name)
            page.goto(url + "/")
            page.locator("form[action='/subscribe'] button").click()
            shot("home-errors")
            page.goto(url + pages["unsubscribe"])
            page.get_by_role("button").click()
            shot("unsubscribed")
            page.get_by_role("button").click()
            shot("resubscribed")
            context.add_cookies([{"name": "desk", "value": a_session(rt), "url": url}])
            for name, path in DESK.items():
                page.goto(url + path)
                page.wait_for_load_state("networkidle")
                shot(name)
            page.goto(f"{url}/desk/people/{leaving.id}")
            shot("desk-person")
            context.close()


if __name__ == "__main__":
    main()
