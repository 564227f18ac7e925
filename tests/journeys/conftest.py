"""A real Chromium, and a real server with a clock that runs fast."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from werkzeug.serving import make_server

from nurture import runtime
from nurture.app import create_app
from nurture.clock import Clock
from nurture.runtime import Runtime
from tests.conftest import settings_for

FLAGS = [
    "--disable-background-networking", "--no-first-run", "--disable-quic", "--disable-component-update", "--disable-sync",
]  # fmt: skip
ZONE = "America/New_York"
expect.set_options(timeout=20_000)  # milliseconds: a busy machine is no fault of a page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a screen. Ended with its module: while Playwright lives, its event loop counts as running in
    this thread, and nothing else that starts a loop can run.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "Chromium is missing; `make test` installs it or says how"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A visitor in New York; any error in the console, a blocked style or script too, fails the test."""
    context = browser.new_context(timezone_id=ZONE, locale="en-US")
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: None if "127.0.0.1" in request.url else errors.append(f"third party: {request.url}"))
    yield page
    context.close()
    assert [error for error in errors if "422" not in error and "409 (CONFLICT)" not in error] == []


@contextmanager
def serving(
    folder: Path, template: Path, clock: Clock | None = None, port: int = 0, **settings: Any
) -> Iterator[tuple[Runtime, str]]:
    """Our pages in this process, over a copy of `template`, which has the shipped letters; and their address. `port`: 0 for any
    that is free.
    """
    shutil.copy(template, folder / "nurture.db")
    rt = runtime.build(settings_for(folder, **{"from_name": "Dana from Oak Street"} | settings))
    rt.clock = clock or rt.clock
    server = make_server("127.0.0.1", port, create_app(rt), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield rt, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
    rt.close()
