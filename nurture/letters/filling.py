"""One reader's subject, HTML and text, from an edition's templates: microseconds, no pipeline."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import TemplateError

from nurture.errors import NurtureError
from nurture.letters import dialect
from nurture.letters.compiler import Edition

_BREAKS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


class Unfillable(NurtureError):
    """An edition could not be filled for one reader; it says which part. Only this reader's mail fails."""


@dataclass(frozen=True)
class Content:
    """What one reader gets."""

    subject: str
    html: str
    text: str


Values = Mapping[str, Mapping[str, str]]
"""Groups of values by name, as `dialect.NAMES` lists them."""


def fill(edition: Edition, values: Values) -> Content:
    """Fill an edition's templates. Values are escaped in HTML and reduced to one line everywhere. Raises Unfillable."""
    plain = {group: _one_line_each(found) for group, found in values.items()}
    parts = []
    for name, source, html in (
        ("subject", edition.subject, False),
        ("page", edition.html, True),
        ("text", edition.text, False),
    ):
        try:
            parts.append(dialect.render(source, html, plain))
        except TemplateError as error:
            raise Unfillable(f"the {name} needs something this reader lacks ({type(error).__name__})") from None
    return Content(" ".join(parts[0].split()), parts[1], parts[2])


def _one_line_each(found: Mapping[str, str]) -> Mapping[str, str]:
    if "".join(found.values()).isprintable():  # nearly always: one look instead of one for each value
        return found
    return {name: _one_line(value) for name, value in found.items()}


def _one_line(value: str) -> str:
    return value if value.isprintable() else _BREAKS.sub(" ", value)
