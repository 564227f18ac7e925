"""How a setting is declared, and the settings that limit what strangers can cause."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from nurture import setting_checks as checks

Page = Literal["", "practice", "sender", "look", "hours", "mail"]
"""The page of the desk's settings that shows a setting; empty for none."""


@dataclass(frozen=True)
class DeskField:
    """How a page of the desk asks for a setting."""

    label: str
    hint: str = ""
    optional: bool = False
    group: str = ""
    """The heading above it, where a group of fields begins."""
    kind: Literal["text", "email", "lines"] = "text"
    max_length: int = 120
    """Characters that can be typed."""
    autocomplete: str = "off"
    """What a browser may fill in (HTML, "Autofill")."""


def setting(
    default: Any,
    meaning: str,
    remedy: str,
    page: Page = "",
    field: DeskField | None = None,
    letters: str = "",
    called: str = "",
    **limits: Any,
) -> Any:
    """One setting.

    `page`: which page of the desk shows it, by `field`, or by its meaning and its remedy where that is left out.
    `letters`: the name by which letters ask for it, as in `practice.fee`; the desk says `called` of it where it is missing, or
    its meaning.
    """
    shown = field or DeskField(f"{meaning[:1].upper()}{meaning[1:]}", remedy, optional=True)
    extra: dict[str, Any] = {
        "remedy": remedy,
        "page": page,
        "field": shown,
        "letters": letters,
        "called": called or meaning,
    }
    return Field(default=default, description=meaning, json_schema_extra=extra, **limits)


class LimitValues(BaseModel):
    """Limits, and whose word is taken for where a request comes from."""

    trusted_proxies: checks.Networks = setting(
        "",
        "addresses or networks of the proxies whose X-Forwarded-For counts, separated by commas (default: none)",
        "Set it to the address your proxy connects from, for example 127.0.0.1, or 10.0.0.0/8,fd00::/8.",
    )
    sign_ups_per_network_hour: int = setting(
        10,
        "most sign-ups in an hour from one network of visitors (IPv4 /24, IPv6 /56)",
        "Set it to 1–1000000.",
        ge=1,
        le=1_000_000,
    )
    sign_ups_per_network_day: int = setting(
        30, "most sign-ups in a day from one network of visitors", "Set it to 1–1000000.", ge=1, le=1_000_000
    )
    confirmations_per_hour: int = setting(
        60,
        "most confirmation mails in an hour; beyond it they wait until somebody at the desk lets them go on",
        "Set it to 1–1000000.",
        ge=1,
        le=1_000_000,
    )
