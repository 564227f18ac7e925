"""What axe-core finds wrong with a page."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def violations(page: Page) -> list[dict[str, Any]]:
    """Every violation; in dark colors of contrast only, since nothing else differs from the light page."""
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    options = {"runOnly": ["color-contrast"]} if is_dark else None
    found: list[dict[str, Any]] = Axe().run(page, options=options).response["violations"]
    return found
