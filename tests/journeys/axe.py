"""What axe-core finds wrong with a page."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def violations(page: Page) -> list[dict[str, Any]]:
    """Every violation in light colors, and those of contrast in dark ones: nothing else differs between the schemes."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")  # no color is measured on its way to another
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    in_dark: list[dict[str, Any]] = Axe().run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
    page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    return found + [{**each, "id": f"{each['id']} in dark colors"} for each in in_dark]
