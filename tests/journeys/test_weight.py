"""What the desk's pages weigh, how fast they come, and that nothing of them comes from elsewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from nurture.services.accounts import login
from tests.journeys.conftest import serving
from tests.people import a_subscriber, run_tick

KEY = "ketamine-and-talk-therapy"
MOST_BYTES = 200_000
PAGES = (
    "/desk/", "/desk/letters/", f"/desk/letters/{KEY}/history", f"/desk/letters/{KEY}/history/editions",
    f"/desk/letters/{KEY}/history/publish", f"/desk/letters/{KEY}/history/picture", "/desk/sequence/", "/desk/simulator",
    "/desk/people/", "/desk/requests", "/desk/numbers", "/desk/access/", "/desk/account/", "/desk/account/protect",
    "/desk/mails", "/desk/help/silent", "/desk/settings/", "/desk/settings/practice", "/desk/settings/look",
    "/desk/settings/domain", "/desk/settings/keys", "/desk/start/", "/desk/start/letters", "/desk/start/series",
)  # fmt: skip


@pytest.fixture
def desk(browser: Browser, tmp_path: Path, sqlite_template: Path) -> Iterator[Page]:
    with serving(tmp_path, sqlite_template) as (rt, url):
        for _ in range(60):
            a_subscriber(rt)
        run_tick(rt)
        context = browser.new_context(base_url=url)
        page = context.new_page()
        page.goto(re.sub(r"^https?://[^/]+", "", login.login_link(rt)))
        page.get_by_role("button").click()
        page.wait_for_url("**/desk/")
        yield page
        context.close()


def test_each_page_of_the_desk_is_light_and_all_of_it_is_ours(browser: Browser, desk: Page) -> None:
    origin = "/".join(desk.url.split("/")[:3])
    wrong = {path: found for path in PAGES if (found := problems_of(browser, desk, origin, path))}
    assert wrong == {}


def problems_of(browser: Browser, desk: Page, origin: str, path: str) -> list[str]:
    """What is wrong with a page that is opened with nothing in the cache."""
    fresh = browser.new_context(storage_state=desk.context.storage_state())
    page = fresh.new_page()
    came: list[tuple[str, int]] = []
    page.on("requestfinished", lambda request: came.append((request.url, request.sizes()["responseBodySize"])))
    answer = page.goto(origin + path)
    assert answer is not None
    page.wait_for_load_state("networkidle")
    policy = answer.headers["content-security-policy"]
    fresh.close()
    found = [] if answer.status == 200 else [f"status {answer.status}"]
    found += ["its policy allows inline code"] if "unsafe" in policy else []
    found += [f"loads {url}" for url, _ in came if not url.startswith((origin, "data:"))]
    size = sum(size for _, size in came)
    return found + ([f"{size:,} bytes: {sorted(came, key=lambda each: -each[1])[:5]}"] if size > MOST_BYTES else [])
