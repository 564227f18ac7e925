"""Every NURTURE_ variable once: type and check, default, meaning, remedy, secrecy, and where the desk shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from nurture import setting_checks as checks
from nurture import setting_sources
from nurture.mailer_registry import MAILERS, MailerValues
from nurture.setting_checks import is_loopback as is_loopback
from nurture.setting_limits import DeskField, LimitValues, Page
from nurture.setting_limits import setting as _setting
from nurture.setting_sources import DOCUMENTED
from nurture.setting_sources import ENV_FILE as ENV_FILE
from nurture.setting_sources import PREFIX as PREFIX
from nurture.setting_sources import SettingRefused as SettingRefused
from nurture.setting_sources import SettingSource as SettingSource
from nurture.setting_sources import state_folder as state_folder


class InstallationValues(BaseModel):
    """Where the service runs, and what it keeps its data with and in."""

    base_url: checks.Origin = _setting(
        "http://127.0.0.1:8000", "public origin used in links", "Set it to an address such as https://letters.example.org."
    )
    listen: checks.Listen = _setting(
        "127.0.0.1:8000", "address and port of `nurture serve`", "Set it to HOST:PORT, for example 127.0.0.1:8000."
    )
    instance_dir: checks.FilePath = _setting(
        Path("instance"), "where the embedded database, generated keys and the outbox live", "Set it to a folder."
    )
    secret_key: checks.SecretKey | None = _setting(
        None,
        "signs links and sessions; encryption keys derive from it unless FIELD_KEYS is set "
        "(default: generated on first run, kept in the instance folder with mode 0600)",
        "Set it to at least 32 random characters, for example from `openssl rand -hex 32`.",
        min_length=32,
    )
    field_keys: checks.KeyRing | None = _setting(
        None,
        "comma-separated key ring for personal fields, newest first (default: derived from SECRET_KEY)",
        "Set it to one or more keys of at least 32 characters, separated by commas, newest first.",
    )
    database_url: checks.DatabaseUrl | None = _setting(
        None,
        "SQLite or PostgreSQL (default: sqlite:///<INSTANCE_DIR>/nurture.db)",
        "Set it to sqlite:///path/to/file.db or postgresql+psycopg://user:password@host/name.",
    )


class GeneralValues(BaseModel):
    """Every setting that is neither of the classes beside this one."""

    from_name: checks.HeaderText = _setting(
        "",
        "name letters come from, and who writes them; keep it discreet",
        "Set it to a name.",
        page="sender",
        field=DeskField("The name inboxes show", "Such as: Dana from Oak Street.", max_length=60),
        max_length=60,
    )
    plain_from_name: checks.HeaderText = _setting(
        "Letters",
        "the plainer name that readers can choose at sign-up to see as the sender; it must be true, and say nothing",
        "Set it to a neutral name.",
        page="sender",
        field=DeskField(
            "A plainer name",
            "Readers can choose it when they sign up. It must be true, and say nothing.",
            max_length=60,
        ),
        max_length=60,
    )
    from_email: checks.Address | None = _setting(
        None,
        "address letters come from",
        "Set it to one address, such as dana@example.org, at a domain you have authenticated.",
        page="sender",
        field=DeskField(
            "The address letters come from",
            "At a domain of your own. Addresses at gmail.com and the like are turned away by other mail services.",
            kind="email",
            max_length=254,
        ),
    )
    reply_to: checks.Address | None = _setting(
        None,
        "where replies and notices go (default: FROM_EMAIL)",
        "Set it to an address that a person reads.",
        page="sender",
        field=DeskField(
            "Where replies go",
            "Leave it empty if replies go to the address above.",
            optional=True,
            kind="email",
            max_length=254,
        ),
    )
    postal_address: checks.PostalAddress = _setting(
        "",
        "postal address shown in every mail; the law wants it",
        "Set it to a street address or PO box.",
        page="sender",
        field=DeskField(
            "Your postal address",
            "It stands at the end of every letter: the law wants it. A PO box is fine.",
            kind="lines",
            max_length=220,
        ),
        letters="postal_address",
        called="your postal address",
        max_length=200,
    )
    practice_name: checks.Line = _setting(
        "",
        "who signs the letters (default: FROM_NAME)",
        "Set it to your full name.",
        page="practice",
        field=DeskField("Your full name", "Whoever signs the letters.", autocomplete="name"),
        letters="name",
        called="the name of your practice",
        max_length=120,
    )
    practice_credential: checks.Line = _setting(
        "",
        "your credential, as letters name it",
        "Set it to one such as LCSW.",
        page="practice",
        field=DeskField("Your credential", "Such as LCSW, LMFT, PsyD."),
        letters="credential",
        called="your credential",
        max_length=120,
    )
    practice_license: checks.Line = _setting(
        "",
        "the number of your license",
        "Set it to a number such as 123456.",
        page="practice",
        field=DeskField("The number of your license", "Some states want it in writing.", optional=True),
        letters="license",
        called="your license number",
        max_length=120,
    )
    practice_state: checks.Line = _setting(
        "",
        "where you are licensed",
        "Set it to a state or country, such as Oregon.",
        page="practice",
        field=DeskField("Where you are licensed", "Such as Oregon. It decides whom you may treat."),
        letters="state",
        called="the state you are licensed in",
        max_length=120,
    )
    practice_fee: checks.Line = _setting(
        "",
        "what a first call costs",
        "Set it to words such as: free, or 20 dollars.",
        page="practice",
        field=DeskField("What it costs", "In words: free, or 20 dollars.", optional=True, group="The first call"),
        letters="fee",
        called="what a call costs",
        max_length=120,
    )
    practice_call_length: checks.Line = _setting(
        "",
        "how long a first call is",
        "Set it to words such as: 20 minutes.",
        page="practice",
        field=DeskField("How long it is", "In words: 20 minutes.", optional=True),
        letters="call_length",
        called="how long a call is",
        max_length=120,
    )
    reply_days: int | None = _setting(
        None,
        "within how many working days you read replies",
        "Set it to 1–60, or leave it out.",
        page="practice",
        field=DeskField("Within how many working days you read replies", "A number from 1 to 60.", optional=True, max_length=3),
        letters="reply_days",
        called="within how many days you answer",
        ge=1,
        le=60,
    )
    practice_prescriber: checks.Line = _setting(
        "",
        "the licensed prescriber you work with, if letters should name one",
        "Set it to a name, or leave it out.",
        page="practice",
        field=DeskField("The licensed prescriber you work with", "Only if letters should name one.", optional=True),
        letters="prescriber",
        called="who prescribes",
        max_length=120,
    )
    color: checks.Line = _setting(
        "#1f5f5b", "color of links and buttons in letters", "Set it to a darker one, such as #1f5f5b.", page="look"
    )
    logo: checks.FilePath | None = _setting(
        None, "picture at the head of each letter (PNG or JPEG, at most 40 kB)", "Set it to the path of a small picture."
    )
    time_zone: checks.Zone = _setting(
        "UTC", "zone of subscribers who gave none", "Set it to a name such as Europe/Berlin or America/New_York.", page="hours"
    )
    tick_seconds: float = _setting(
        5, "how often the scheduler looks for due mail, in seconds", "Set it to 0.1–3600.", ge=0.1, le=3600
    )
    batch_size: int = _setting(
        500, "how many due mails one claim takes", "Set it to 1–1000: SendGrid takes at most 1,000 in a request.", ge=1, le=1000
    )
    send_concurrency: int = _setting(
        4, "parallel requests to the mailer, and mails marked as sending at once", "Set it to 1–256.", ge=1, le=256
    )
    max_sends_per_second: float | None = _setting(
        None, "most mails a second (default: unlimited)", "Set it to a number above 0, or leave it out.", gt=0
    )
    lease_seconds: int = _setting(
        120,
        "after this a claimed batch whose owner is silent is reconciled, in seconds",
        "Set it to 60–3600: it must outlast a send deadline of 10 s and a request of 35 s.",
        ge=60,
        le=3600,
    )
    min_gap_hours: float = _setting(
        20, "least hours between two letters to one person, whatever asks for them", "Set it to 0–720.", ge=0, le=720
    )
    max_letters_per_day: int = _setting(
        1, "most letters to one person on a day of their own calendar", "Set it to 1–20.", ge=1, le=20
    )
    max_other_mails_per_day: int = _setting(
        5, "most other mails, confirmations for example, to one person on such a day", "Set it to 1–100.", ge=1, le=100
    )
    broker_url: checks.BrokerUrl | None = _setting(
        None,
        "Redis or RabbitMQ, by which claimed batches travel to `nurture worker` on any machine (default: none)",
        "Set it to redis://host:6379/0, rediss://…, redis+socket:///path, amqp://user:password@host/name or amqps://….",
    )
    backup_passphrase: checks.SecretKey | None = _setting(
        None,
        "passphrase of encrypted backups, where `nurture backup` and `nurture restore` cannot ask for one",
        "Set it to at least 12 characters, or leave it out.",
    )
    ping_url: checks.PingUrl | None = _setting(
        None,
        "called once a minute while sending is healthy, and not otherwise: a monitor raises the alarm when it stays away",
        "Set it to the https address that your monitor gave you.",
    )
    clock_speed: float = _setting(
        1, "development only: 86400 makes a day a second", "Set it to 1, or up to 1000000 for a try.", ge=1, le=1_000_000
    )


class SettingValues(LimitValues, GeneralValues, MailerValues, InstallationValues):
    """Every setting with what is checked of it alone. A secret is a SecretStr, and so printed and stored nowhere in clear."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Settings(SettingValues):
    """All settings of one installation, which fit one another. Objects below the entry points get values, not this object."""

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.broker_url is not None and self.database.startswith("sqlite:"):
            raise SettingRefused(
                f"{PREFIX}BROKER_URL is set, but the database is SQLite, a file on one machine: workers on others cannot read "
                f"what a message names. Set {PREFIX}DATABASE_URL to postgresql+psycopg://user:password@host/name, or leave "
                f"{PREFIX}BROKER_URL out (docs/scaling.md).",
                "broker_url",
                "database_url",
            )
        if self.mail_stays_here:
            return self
        chosen = MAILERS[self.mailer]
        missing = [name for name in (*chosen.needs, "from_email", "postal_address") if not getattr(self, name)]
        if missing:
            is_, it = ("is", "it") if len(missing) == 1 else ("are", "them")
            raise SettingRefused(
                f"{', '.join(map(variable, missing))} {is_} missing: the {self.mailer} mailer needs {it}. Set {it} in the "
                f"environment or in .env ({DOCUMENTED}, Environment).",
                *missing,
            )
        for name in ("base_url", *chosen.origins):
            parts = urlsplit(getattr(self, name))
            if parts.scheme != "https" and not is_loopback(parts.hostname):
                raise SettingRefused(
                    f"{PREFIX}{name.upper()} is {getattr(self, name)!r}, but outside this machine it must be https: "
                    f"links and keys must not travel in clear text, and RFC 8058 wants it. Set it to an https address.",
                    name,
                )
        return self

    @property
    def database(self) -> str:
        """The database URL, with the embedded default resolved against the instance folder."""
        return (
            self.database_url.get_secret_value()
            if self.database_url
            else f"sqlite:///{self.instance_dir.resolve() / 'nurture.db'}"
        )

    @property
    def mail_stays_here(self) -> bool:
        """Whether no mail leaves this machine."""
        return MAILERS[self.mailer].stays_here

    @property
    def notices_to(self) -> str:
        """Where notices to the therapist go."""
        return self.reply_to or self.sender

    @property
    def sender(self) -> str:
        """The address mail comes from; a local stand-in serves the outbox mailer when none is set."""
        return self.from_email or "letters@localhost.localdomain"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def as_text(value: object) -> str:
    """A setting's value as a form holds it: a secret in clear, nothing as empty."""
    reveal = getattr(value, "get_secret_value", None)
    return "" if value is None else str(reveal() if reveal else value)


@dataclass(frozen=True)
class Definition:
    """What is known of one setting besides its check."""

    meaning: str
    remedy: str
    default: Any
    is_secret: bool
    page: Page
    field: DeskField
    """How that page asks for it, where it is a page of plain fields."""
    letters: str
    called: str
    """What the desk calls what letters say of it."""
    max_length: int | None
    """In characters; None where its type bounds it."""


def _definition(name: str) -> Definition:
    field = SettingValues.model_fields[name]
    extra: dict[str, Any] = dict(field.json_schema_extra or {})  # type: ignore[arg-type]
    longest = next((limit for each in field.metadata if (limit := getattr(each, "max_length", None))), None)
    secret = "SecretStr" in str(field.annotation)
    return Definition(
        meaning=field.description or "",
        remedy=extra["remedy"],
        default=field.default,
        is_secret=secret,
        page=extra["page"],
        field=extra["field"],
        letters=extra["letters"],
        called=extra["called"],
        max_length=longest,
    )


DEFINITIONS = {name: _definition(name) for name in SettingValues.model_fields}
_OLD_IN_LETTERS = {"licence": "practice_license"}
IN_LETTERS = {each.letters: name for name, each in DEFINITIONS.items() if each.letters} | _OLD_IN_LETTERS
"""The setting behind each name that letters ask for, as in `practice.fee`; with names of before, by which published editions
ask.
"""
VARIABLES = {variable(name): name for name in DEFINITIONS}
"""The name of each setting by its environment variable."""
OLD_VARIABLES = {PREFIX + "COLOUR": "color", PREFIX + "PRACTICE_LICENCE": "practice_license"}
"""Names of before, which go on working; the new one wins."""
AT_THE_DESK = frozenset(name for name, each in DEFINITIONS.items() if each.page not in ("", "mail"))
"""Settings whose last word is the desk's."""
MAIL_AT_THE_DESK = frozenset(name for name, each in DEFINITIONS.items() if each.page == "mail")
"""Settings that are the desk's unless whoever hosts the service has chosen a mailer in the environment."""


def _refusal(problem: Any, source: SettingSource | None) -> SettingRefused:
    name = str(problem["loc"][0])
    given = "set" if DEFINITIONS[name].is_secret or checks.may_hold_secret(problem["input"]) else repr(problem["input"])
    why = problem["msg"].removeprefix("Value error, ")
    why = why if why.startswith(checks.PLAIN) else f"is refused ({why[:1].lower()}{why[1:]})"
    where = f"{source.file}:{source.line}: " if source is not None and source.file else ""
    told = f"{where}{variable(name)} is {given}, which {why}. {DEFINITIONS[name].remedy} ({DOCUMENTED}, Environment)"
    return SettingRefused(told, name, reason=why)


def _checked(values: Mapping[str, Any], sources: Mapping[str, SettingSource] | None = None) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as refused:
        found = [_refusal(each, (sources or {}).get(str(each["loc"][0]))) for each in refused.errors()]
        raise SettingRefused("\n".join(map(str, found)), *(name for each in found for name in each.names)) from None


def check_value(name: str, value: str) -> Any:
    """One setting's value as the service uses it, checked alone. Raises SettingRefused, with the reason."""
    try:
        return getattr(SettingValues.model_validate({name: value}), name)
    except ValidationError as refused:
        raise _refusal(refused.errors()[0], None) from None


def read_sources(file: Path | None = ENV_FILE) -> dict[str, SettingSource]:
    """Where each setting that the environment or `file` sets is set, by name. Raises SettingRefused, one line a fault."""
    found = setting_sources.read_sources(VARIABLES | OLD_VARIABLES, file)
    return {name: found[each] for known in (OLD_VARIABLES, VARIABLES) for each, name in known.items() if each in found}


def load(_env_file: Path | None = ENV_FILE, **given: Any) -> Settings:
    """Read all settings; `given` values win over the environment. Raises SettingRefused naming every wrong one."""
    sources = {name: source for name, source in read_sources(_env_file).items() if name not in given}
    values = {name: source.value if DEFINITIONS[name].is_secret else source.value.strip() for name, source in sources.items()}
    return _checked(values | given, sources)


def chooses_mailer(settings: Settings) -> bool:
    """Whether the environment says what carries mail, rather than leave it to the desk."""
    return "mailer" in settings.model_fields_set


def of_the_desk(settings: Settings) -> frozenset[str]:
    """The settings on which the desk has the last word, given those of the environment."""
    return AT_THE_DESK if chooses_mailer(settings) else AT_THE_DESK | MAIL_AT_THE_DESK


def with_facts(settings: Settings, facts: Mapping[str, str]) -> Settings:
    """The settings of the environment, with what the desk says over them; an empty fact is none. Raises SettingRefused."""
    values = {name: getattr(settings, name) for name in DEFINITIONS}
    for name in facts.keys() & of_the_desk(settings):
        values[name] = facts[name] or DEFINITIONS[name].default
    return _checked(values)


def on_page(page: Page) -> tuple[str, ...]:
    """The settings that a page of the desk shows, in its order."""
    return tuple(name for name, each in DEFINITIONS.items() if each.page == page)


def unknown_variables() -> list[str]:
    """What to say of each NURTURE_ variable in the environment that is no setting."""
    return setting_sources.unknown_variables(VARIABLES | OLD_VARIABLES)
