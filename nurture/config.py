"""Config: every part of a process that follows the desk's settings, as one value that is replaced whole."""

import threading
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from nurture import log
from nurture.clock import Clock
from nurture.letters import practice
from nurture.letters.practice import Practice, PracticeRefused, known_facts
from nurture.mailers.base import InlineImage, Mailer, SenderIdentity
from nurture.mailers.description import describe
from nurture.mailers.sendgrid.events import WebhookKeyRefused, read_keys
from nurture.settings import (
    DEFINITIONS,
    IN_LETTERS,
    PREFIX,
    SettingRefused,
    Settings,
    as_text,
    check_value,
    chooses_mailer,
    is_loopback,
    with_facts,
)

if TYPE_CHECKING:
    from nurture.mailers.sendgrid.domains import SignedDomain
    from nurture.mailers.sendgrid.lists import SuppressionApi

_log = log.get(__name__)

OpenLists: TypeAlias = "Callable[[], SuppressionApi] | None"
"""Begins a conversation about SendGrid's own suppression lists; None with any other mailer."""
AskSignedDomains: TypeAlias = "Callable[[], list[SignedDomain] | None] | None"
"""Asks SendGrid for which domains it may sign, which it may not tell; None with any other mailer."""
LOGO_FACT = "logo"
"""Under which the desk keeps the logo's bytes as Base64; the environment names a file instead."""


@dataclass(frozen=True)
class Config:
    """What the settings of environment and desk together come to. One object says one state of them; none is ever changed."""

    settings: Settings
    """The environment's settings, with the desk's over them."""
    version: int
    """How often the desk's settings had changed when this was read."""
    mailer: Mailer
    sender: SenderIdentity
    plain_sender: SenderIdentity
    """For readers who chose a plainer name in their inbox."""
    practice: Practice
    template_globals: Mapping[str, dict[str, str]]
    """What letters are filled with and is the same for every reader."""
    requires_launch: bool
    """Whether mail to readers waits until somebody at the desk has said that it may leave (services.settings.onboarding)."""
    suppression_api: OpenLists
    signed_domains: AskSignedDomains


def create_config(given: Settings, said: Mapping[str, str], version: int, clock: Clock, stopping: threading.Event) -> Config:
    """Build every part from the environment's settings and what the desk `said`. Raises SettingRefused."""
    settings = with_facts(given, _usable(said))
    whose = practice_of(settings, said.get(LOGO_FACT))
    logo = InlineImage(whose.logo.content, whose.logo.subtype) if whose.logo else None
    sender = SenderIdentity(settings.sender, settings.from_name, settings.notices_to, settings.base_url, logo)
    return Config(
        settings=settings,
        version=version,
        mailer=mailer_of(settings, clock),
        sender=sender,
        plain_sender=replace(sender, name=settings.plain_from_name),
        practice=whose,
        template_globals=whose.values(),
        requires_launch=waits_for_the_desk(given, settings),
        suppression_api=_lists(settings, clock, stopping),
        signed_domains=_signed_domains(settings),
    )


def _usable(said: Mapping[str, str]) -> dict[str, str]:
    """What the desk `said`, without values that were kept by a version with other checks: those leave the environment's."""
    usable = {}
    for name, value in said.items():
        try:
            if value and name in DEFINITIONS:
                check_value(name, value)
            usable[name] = value
        except SettingRefused:
            _log.error("settings_refused", setting=name)
    return usable


def mailer_of(settings: Settings, clock: Clock) -> Mailer:
    """What carries mail, as the settings say. Raises SettingRefused."""
    return describe(settings.mailer).create(settings, clock.real_now)


def check_webhook_key(settings: Settings) -> None:
    """Raise SettingRefused unless the key that verifies SendGrid's events can be read, where there is one."""
    if settings.sendgrid_webhook_key is not None:
        try:
            read_keys(settings.sendgrid_webhook_key)
        except WebhookKeyRefused as refused:
            raise SettingRefused(
                f"{PREFIX}SENDGRID_WEBHOOK_KEY {refused}. Copy it from SendGrid, Settings, Mail Settings, Event Webhook, "
                "Signed Event Webhook (docs/reference.md, Environment)."
            ) from None


def practice_of(settings: Settings, logo_at_the_desk: str | None = None) -> Practice:
    """What letters may say of the practice, and how they look. Raises SettingRefused.

    `logo_at_the_desk`: the picture as Base64, empty for none; None: as the environment says.
    """
    try:
        practice.check_color(settings.color)
    except PracticeRefused as refused:
        raise SettingRefused(
            f"{PREFIX}COLOR is {settings.color!r}, which {refused}. Set it to a darker one, such as #1f5f5b."
        ) from None
    try:
        if logo_at_the_desk is not None:
            logo = practice.as_logo(b64decode(logo_at_the_desk)) if logo_at_the_desk else None
        else:
            logo = practice.read_logo(settings.logo) if settings.logo else None
    except PracticeRefused as refused:
        raise SettingRefused(
            f"{PREFIX}LOGO is {str(settings.logo)!r}, which {refused}. Set it to the path of a small picture, or leave it out."
        ) from None
    said = {asked: as_text(getattr(settings, name)) for asked, name in IN_LETTERS.items()}
    known = known_facts(**said | {"name": settings.practice_name or settings.from_name})
    return Practice(known, settings.color, logo)


def waits_for_the_desk(given: Settings, settings: Settings) -> bool:
    """Whether mail to readers waits for the desk's word that everything is ready.

    Not with the outbox, from which nothing leaves; nor with a provider on this very machine that the environment names: that
    is a try, or a relay whose host has chosen it.
    """
    return not settings.mail_stays_here and not (chooses_mailer(given) and is_on_this_machine(settings))


def is_on_this_machine(settings: Settings) -> bool:
    """Whether what mail is handed to is on this machine, or it is handed to nobody."""
    return settings.mail_stays_here or is_loopback(describe(settings.mailer).host(settings))


def _lists(settings: Settings, clock: Clock, stopping: threading.Event) -> OpenLists:
    if settings.mailer != "sendgrid" or settings.sendgrid_api_key is None:
        return None
    from nurture.mailers.sendgrid.lists import SuppressionApi

    return partial(
        SuppressionApi, settings.sendgrid_api_key.get_secret_value(), settings.sendgrid_host, clock.real_now, stopping.wait
    )


def _signed_domains(settings: Settings) -> AskSignedDomains:
    if settings.mailer != "sendgrid" or settings.sendgrid_api_key is None:
        return None
    from nurture.mailers.sendgrid.domains import read_domains

    return partial(read_domains, settings.sendgrid_api_key.get_secret_value(), settings.sendgrid_host, 5.0)
