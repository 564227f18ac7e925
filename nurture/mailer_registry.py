"""Which mailers there are, the settings of each, and what it cannot do without. The rest a mailer says of itself
(nurture.mailers.description).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel

from nurture import setting_checks as checks
from nurture.setting_limits import setting


@dataclass(frozen=True)
class RegisteredMailer:
    """What the settings must know of a mailer whose module or package is nurture/mailers/<its name>."""

    needs: tuple[str, ...] = ()
    """Its own settings without which it carries nothing."""
    origins: tuple[str, ...] = ()
    """Those of its settings that are addresses it sends keys to: outside this machine they must be https."""
    stays_here: bool = False
    """Whether no mail it carries leaves this machine."""


MAILERS: Mapping[str, RegisteredMailer] = {
    "outbox": RegisteredMailer(stays_here=True),
    "sendgrid": RegisteredMailer(("sendgrid_api_key",), origins=("sendgrid_host",)),
    "smtp": RegisteredMailer(("smtp_url",)),
}
"""Every mailer by its name in NURTURE_MAILER, in the order in which the desk offers them."""

_NAMES = " or ".join((", ".join([*MAILERS][:-1]), [*MAILERS][-1]))


def _registered(name: str) -> str:
    if name not in MAILERS:
        raise ValueError("is no mailer of this service")
    return name


class MailerValues(BaseModel):
    """The settings of all mailers."""

    mailer: Annotated[str, AfterValidator(_registered)] = setting(
        "outbox", f"what carries mail: {_NAMES}", f"Set it to {_NAMES}.", page="mail"
    )
    sendgrid_api_key: checks.Key | None = setting(
        None,
        "v3 API key with the rights to send mail and to the suppression lists",
        "Make one at SendGrid under Settings, API Keys.",
        page="mail",
    )
    sendgrid_host: checks.Origin = setting(
        "https://api.sendgrid.com", "origin of the v3 API", "Set it to https://api.sendgrid.com."
    )
    sendgrid_webhook_key: checks.Line | None = setting(
        None,
        "public key that verifies SendGrid's signed events; several, separated by commas, while one replaces another",
        "Copy it from SendGrid, Settings, Mail Settings, Event Webhook, Signed Event Webhook.",
        page="mail",
    )
    smtp_url: checks.SmtpUrl | None = setting(
        None,
        "where the smtp mailer delivers; a % in user or password is written %25",
        "Set it to smtp://user:password@host:587 or smtps://user:password@host.",
        page="mail",
    )
