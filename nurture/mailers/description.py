"""What a mailer says of itself: how it is built, where its mail goes, how the desk asks for its settings, what its reasons
mean. Whoever wants to know something of a mailer asks its description; nobody compares names.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module

from nurture.errors import NurtureError
from nurture.mailer_registry import MAILERS
from nurture.mailers.base import Mailer
from nurture.settings import SettingRefused, Settings, as_text, check_value

LIMIT_REACHED = (
    r"(?i)^(?!429).*\b(limit|quota|credits)\b",
    "Your account with the mail service has reached a limit. It is tried again by itself.",
)
ASKS_TO_WAIT = (r"^429\b", "Your mail service asks us to wait. It goes on by itself in a few minutes.")


class FieldsRefused(NurtureError):
    """A mailer's fields cannot be taken; `errors`: what is wrong and what to do, by field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        """`errors`: at least one."""
        super().__init__(" ".join(errors.values()))
        self.errors = dict(errors)


@dataclass(frozen=True)
class MailerField:
    """A field of a mailer on the desk's page."""

    name: str
    """That of the setting it is, unless the mailer reads its form by itself."""
    label: str
    hint: str = ""
    """May name {base_url}."""
    hint_if_kept: str = ""
    """Instead, where a secret is kept already."""
    optional: bool = False
    if_empty: str = ""
    """What is said where it is left empty, unless it is optional."""
    max_length: int = 200
    is_secret: bool = False
    """It is never shown, and stays what it is when it is left empty."""
    checked_value: str = ""
    """Makes it a check box that sends this."""


class MailerDescription(ABC):
    """What a mailer says of itself. One object of each is `DESCRIPTION` in nurture/mailers/<name>."""

    title: str
    says: str
    """One sentence under the title, for somebody who has to choose."""
    heading: str = ""
    """Above its fields; without, its title."""
    hint: str = ""
    fields: tuple[MailerField, ...] = ()
    meanings: tuple[tuple[str, str], ...] = ()
    """What its reasons mean and what to do: patterns of reasons, the first that is found decides."""

    @abstractmethod
    def create(self, settings: Settings, real_now: Callable[[], datetime]) -> Mailer:
        """Build it; what it loads is loaded here, so that a process loads only the mailer it uses. Raises SettingRefused."""

    @abstractmethod
    def host(self, settings: Settings) -> str:
        """The host that mail is handed to; empty only where it is handed to nobody."""

    def carrier(self, settings: Settings) -> str:
        """Who signs its mail, as domain.email_auth.mail_services names it; empty only where no mail leaves."""
        return self.host(settings).rstrip(".").lower()

    def form(self, settings: Settings) -> dict[str, str]:
        """Its fields as the desk shows them; never a secret."""
        return {each.name: "" if each.is_secret else as_text(getattr(settings, each.name)) for each in self.fields}

    def keeps(self, field: MailerField, settings: Settings) -> bool:
        """Whether there is a secret that stays when the field is left empty."""
        return field.is_secret and bool(as_text(getattr(settings, field.name)))

    def hint_for(self, field: MailerField, settings: Settings) -> str:
        """The hint under a field."""
        hint = field.hint_if_kept if field.hint_if_kept and self.keeps(field, settings) else field.hint
        return hint.replace("{base_url}", settings.base_url)

    def read_form(self, typed: Mapping[str, str], settings: Settings) -> dict[str, str]:
        """What was typed as settings. `settings`: those in force. Raises FieldsRefused."""
        read = {each.name: typed.get(each.name, "").strip() for each in self.fields}
        kept = {each.name for each in self.fields if not read[each.name] and self.keeps(each, settings)}
        empty = [each for each in self.fields if not (read[each.name] or each.optional or each.name in kept)]
        if empty:
            raise FieldsRefused({each.name: each.if_empty or f"Please fill in “{each.label}”." for each in empty})
        return {name: value for name, value in read.items() if name not in kept}

    def check_values(self, changes: Mapping[str, str]) -> None:
        """Check settings of its own, each alone. Raises FieldsRefused."""
        for name in [each.name for each in self.fields if changes.get(each.name)]:
            try:
                check_value(name, changes[name])
            except SettingRefused as refused:
                raise FieldsRefused({name: f"What you typed {refused.reason}. Please change it."}) from None


def describe(name: str) -> MailerDescription:
    """The description of a registered mailer."""
    if name not in MAILERS:
        raise KeyError(name)
    description: MailerDescription = import_module(f"nurture.mailers.{name}").DESCRIPTION
    return description
