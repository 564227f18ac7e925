"""`make lighthouse`: Lighthouse's scores of the desk's pages, and how long each takes to load for the first time.

A real service with 200 readers, Debian's Chromium, and Lighthouse's own slow telephone (its defaults: simulated throttling).
Fails below 95 in any category. Lighthouse comes from npm into .boot; Node.js 18 or later runs it.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from nurture import runtime
from nurture.services.letters import publishing
from tests.conftest import settings_for
from tests.desk import a_session
from tests.journeys.conftest import FLAGS
from tests.people import a_subscriber, run_tick
from tests.processes import NURTURE, ROOT, environment, free_port, nurture, running

VERSION = "12.8.2"
ENOUGH = 95
KEY = "ketamine-and-talk-therapy"
PAGES = {"home": "/desk/", "editor": f"/desk/letters/{KEY}/history", "plan": "/desk/sequence/", "sign-up": "/"}
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")


def lighthouse() -> list[str]:
    """The command; installed when it is not there yet."""
    place = ROOT / ".boot" / "lighthouse"
    program = place / "node_modules" / "lighthouse" / "cli" / "index.js"
    known = place / "node_modules" / "lighthouse" / "package.json"
    if not known.is_file() or json.loads(known.read_text())["version"] != VERSION:
        npm = shutil.which("npm") or sys.exit("lighthouse: npm is missing; run: apt-get install -y nodejs npm")
        wanted = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--silent", "--prefix", str(place)]
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "install", *wanted, f"lighthouse@{VERSION}"], check=True)
    return [shutil.which("node") or "node", str(program)]


def scores(command: list[str], url: str, cookie: str, chromium: str, folder: Path) -> dict[str, int]:
    """What Lighthouse gives a page, of 100."""
    headers, report = folder / "headers.json", folder / "report.json"
    headers.write_text(json.dumps({"Cookie": cookie}))
    flags = " ".join(["--headless=new", "--no-sandbox", *FLAGS])
    asked = [
        *command, url, "--quiet", "--output=json", f"--output-path={report}", f"--extra-headers={headers}",
        f"--chrome-flags={flags}", f"--only-categories={','.join(CATEGORIES)}", "--no-enable-error-reporting",
    ]  # fmt: skip
    for left in (2, 1, 0):  # a trace that was not recorded (NO_NAVSTART) says nothing about the page
        if subprocess.run(asked, check=not left, env={**environment(folder), "CHROME_PATH": chromium}).returncode == 0:
            break
    found = json.loads(report.read_text())
    for name in CATEGORIES:
        for each in found["categories"][name]["auditRefs"]:
            audit = found["audits"][each["id"]]
            if each["weight"] and audit["score"] is not None and audit["score"] < 0.9:
                print(f"    {name}: {audit['title']} ({audit.get('displayValue', '')})")
    return {name: round(100 * found["categories"][name]["score"]) for name in CATEGORIES}


def first_load(url: str, cookie: str, chromium: str) -> float:
    """Milliseconds from asking for a page to its load event, with an empty cache: the median of five."""
    took = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for _ in range(5):
            context = browser.new_context(extra_http_headers={"Cookie": cookie})
            page = context.new_page()
            page.goto(url, wait_until="load")
            took.append(float(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")))
            context.close()
        browser.close()
    return sorted(took)[2]


def main() -> None:
    """Measure every page, print a table, and fail where a page is not good enough."""
    command = lighthouse()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or sys.exit("lighthouse: Chromium is missing")
    with tempfile.TemporaryDirectory() as place:
        folder, port = Path(place), free_port()
        url = f"http://127.0.0.1:{port}"
        env = environment(folder, listen=f"127.0.0.1:{port}", base_url=url, from_name="Dana from Oak Street")
        assert nurture("init", env=env).returncode == 0
        rt = runtime.build(settings_for(folder))
        publishing.load_shipped(rt)
        for _ in range(200):
            a_subscriber(rt)
        run_tick(rt)
        cookie = f"desk={a_session(rt)}"
        rt.close()
        low = []
        with running([*NURTURE, "serve"], env, folder / "log", url + "/healthz"):
            print(f"{'page':<10}" + "".join(f"{name:>16}" for name in CATEGORIES) + f"{'first load, ms':>16}")
            for name, path in PAGES.items():
                given = scores(command, url + path, cookie, chromium, folder)
                took = first_load(url + path, cookie, chromium)
                print(f"{name:<10}" + "".join(f"{given[each]:>16}" for each in CATEGORIES) + f"{took:>16.0f}", flush=True)
                low += [f"{name}: {each} {score}" for each, score in given.items() if score < ENOUGH]
    if low:
        sys.exit("lighthouse: below " + f"{ENOUGH}: {', '.join(low)}")


if __name__ == "__main__":
    main()
