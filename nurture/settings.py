"""Every NURTURE_ variable once: name, type, default, meaning, remedy. Read from the environment and from `.env`."""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import idna
from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from nurture.setting_values import header_value, parse_smtp_url
from nurture.words import NurtureError

PREFIX = "NURTURE_"
DOCUMENTED = "docs/reference.md"


class SettingRefused(NurtureError):
    """A setting is missing or cannot be used; the message names the variable, its value and the remedy."""


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address stays on this machine (RFC 5735 section 3, RFC 4291 section 2.5.3)."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?")


def _origin(value: str) -> str:
    """Scheme, host and port of a web address, the host as A-labels (RFC 5890). Raises ValueError on anything more or less."""
    text = value.strip()
    if re.search(r"[\s\x00-\x1f\x7f\\]", text):  # urlsplit would drop some of them
        raise ValueError("is not a web address: it holds a space or another character that no address has")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is not a web address: its host or port cannot be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("is not a web address")
    if "@" in parts.netloc:
        raise ValueError("is not a plain web address: it names a user")
    if parts.path.strip("/") or parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("is not the address of a whole host: leave out what follows the host and port")
    return f"{parts.scheme}://{_ascii_host(host)}{'' if port is None else f':{port}'}"


def _ascii_host(host: str) -> str:
    try:
        return f"[{ip_address(host)}]" if ":" in host else _a_labels(host)
    except ValueError:
        raise ValueError("is not a web address: its host is no host name") from None


def _a_labels(host: str) -> str:
    name = host if host.isascii() else idna.encode(host, uts46=True).decode()
    if len(name) > 253 or not _HOST.fullmatch(name):
        raise ValueError
    return name


def _zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("is not a time zone")
    return value


def _listen(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("is not an address with a port")
    return value


def _database(value: str) -> str:
    if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("is not a database this service can use")
    return value


def _header_value(value: SecretStr) -> SecretStr:
    return SecretStr(header_value(value.get_secret_value()))


def _smtp_url(value: SecretStr) -> SecretStr:
    parse_smtp_url(value.get_secret_value())
    return SecretStr(value.get_secret_value().strip())


_BROKERS = ("redis://", "rediss://", "redis+socket://", "amqp://", "amqps://")


def _broker(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(_BROKERS):
        raise ValueError("is not a broker this service can use")
    return value


_VISIBLE = re.compile(r"[!-~]+")


def _ping(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    parts = urlsplit(url)
    if not (_VISIBLE.fullmatch(url) and parts.hostname) or parts.username or parts.fragment:
        raise ValueError("is not a web address")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("is not an https address")
    return value


def _setting(default: Any, meaning: str, remedy: str, **limits: Any) -> Any:
    return Field(default=default, description=meaning, json_schema_extra={"remedy": remedy}, **limits)


class Settings(BaseSettings):
    """All settings of one installation. Objects below the entry points get values, not this object."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    base_url: Annotated[str, AfterValidator(_origin)] = _setting(
        "http://127.0.0.1:8000",
        "public origin used in links",
        "Set it to an address such as https://letters.example.org.",
    )
    listen: Annotated[str, AfterValidator(_listen)] = _setting(
        "127.0.0.1:8000", "address and port of `nurture serve`", "Set it to HOST:PORT, for example 127.0.0.1:8000."
    )
    instance_dir: Path = _setting(
        Path("instance"), "where the embedded database, generated keys and the outbox live", "Set it to a folder."
    )
    secret_key: SecretStr | None = _setting(
        None,
        "signs links and sessions; encryption keys derive from it unless FIELD_KEYS is set "
        "(default: generated on first run, kept in the instance folder with mode 0600)",
        "Set it to at least 32 random characters, for example from `openssl rand -hex 32`.",
        min_length=32,
    )
    field_keys: SecretStr | None = _setting(
        None,
        "comma-separated key ring for personal fields, newest first (default: derived from SECRET_KEY)",
        "Set it to one or more keys of at least 32 characters, separated by commas, newest first.",
    )
    database_url: Annotated[str, AfterValidator(_database)] | None = _setting(
        None,
        "SQLite or PostgreSQL (default: sqlite:///<INSTANCE_DIR>/nurture.db)",
        "Set it to sqlite:///path/to/file.db or postgresql+psycopg://user:password@host/name.",
        repr=False,
    )
    mailer: Literal["outbox", "sendgrid", "smtp"] = _setting(
        "outbox", "what carries mail: outbox, sendgrid or smtp", "Set it to outbox, sendgrid or smtp."
    )
    sendgrid_api_key: Annotated[SecretStr, AfterValidator(_header_value)] | None = _setting(
        None,
        "v3 API key with the rights to send mail and to the suppression lists",
        "Make one at SendGrid under Settings, API Keys.",
    )
    sendgrid_host: Annotated[str, AfterValidator(_origin)] = _setting(
        "https://api.sendgrid.com", "origin of the v3 API", "Set it to https://api.sendgrid.com."
    )
    sendgrid_webhook_key: str | None = _setting(
        None,
        "public key that verifies SendGrid's signed events; several, separated by commas, while one replaces another",
        "Copy it from SendGrid, Settings, Mail Settings, Event Webhook, Signed Event Webhook.",
    )
    smtp_url: Annotated[SecretStr, AfterValidator(_smtp_url)] | None = _setting(
        None,
        "where the smtp mailer delivers; a % in user or password is written %25",
        "Set it to smtp://user:password@host:587 or smtps://user:password@host.",
    )
    from_email: str | None = _setting(
        None, "address letters come from", "Set it to an address at a domain you have authenticated."
    )
    from_name: str = _setting("", "name letters come from, and who writes them; keep it discreet", "Set it to a name.")
    reply_to: str | None = _setting(
        None, "where replies and notices go (default: FROM_EMAIL)", "Set it to an address that a person reads."
    )
    postal_address: str = _setting(
        "", "postal address shown in every mail; the law wants it", "Set it to a street address or PO box."
    )
    plain_from_name: str = _setting(
        "Letters",
        "the plainer name that readers can choose at sign-up to see as the sender; it must be true, and say nothing",
        "Set it to a neutral name.",
    )
    practice_name: str = _setting("", "who signs the letters (default: FROM_NAME)", "Set it to your full name.")
    practice_credential: str = _setting("", "your credential, as letters name it", "Set it to one such as LCSW.")
    practice_licence: str = _setting("", "the number of your license", "Set it to a number such as 123456.")
    practice_state: str = _setting("", "where you are licensed", "Set it to a state or country, such as Oregon.")
    practice_fee: str = _setting("", "what a first call costs", "Set it to words such as: free, or 20 dollars.")
    practice_call_length: str = _setting("", "how long a first call is", "Set it to words such as: 20 minutes.")
    practice_prescriber: str = _setting(
        "", "the licensed prescriber you work with, if letters should name one", "Set it to a name, or leave it out."
    )
    reply_days: int | None = _setting(
        None, "within how many working days you read replies", "Set it to 1–60, or leave it out.", ge=1, le=60
    )
    colour: str = _setting("#1f5f5b", "colour of links and buttons in letters", "Set it to a darker one, such as #1f5f5b.")
    logo: Path | None = _setting(
        None, "picture at the head of each letter (PNG or JPEG, at most 40 kB)", "Set it to the path of a small picture."
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = _setting(
        "UTC", "zone of subscribers who gave none", "Set it to a name such as Europe/Berlin or America/New_York."
    )
    tick_seconds: float = _setting(
        5, "how often the scheduler looks for due mail, in seconds", "Set it to 0.1–3600.", ge=0.1, le=3600
    )
    batch_size: int = _setting(
        500,
        "how many due mails one claim takes",
        "Set it to 1–1000: SendGrid takes at most 1,000 in a request.",
        ge=1,
        le=1000,
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
    broker_url: Annotated[SecretStr, AfterValidator(_broker)] | None = _setting(
        None,
        "Redis or RabbitMQ, by which claimed batches travel to `nurture worker` on any machine (default: none)",
        "Set it to redis://host:6379/0, rediss://…, redis+socket:///path, amqp://user:password@host/name or amqps://….",
    )
    ping_url: Annotated[SecretStr, AfterValidator(_ping)] | None = _setting(
        None,
        "called once a minute while sending is healthy, and not otherwise: a monitor raises the alarm when it stays away",
        "Set it to the https address that your monitor gave you.",
    )
    backup_passphrase: SecretStr | None = _setting(
        None,
        "passphrase of encrypted backups, where `nurture backup` and `nurture restore` cannot ask for one",
        "Set it to at least 12 characters, or leave it out.",
    )
    clock_speed: float = _setting(
        1,
        "development only: 86400 makes a day a second",
        "Set it to 1, or up to 1000000 for a try.",
        ge=1,
        le=1_000_000,
    )

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.broker_url is not None and self.database.startswith("sqlite:"):
            raise SettingRefused(
                f"{PREFIX}BROKER_URL is set, but the database is SQLite, a file on one machine: workers on others cannot read "
                f"what a message names. Set {PREFIX}DATABASE_URL to postgresql+psycopg://user:password@host/name, or leave "
                f"{PREFIX}BROKER_URL out (docs/scaling.md)."
            )
        if self.mailer == "outbox":
            return self
        needed = {
            "sendgrid": ("sendgrid_api_key", "from_email", "postal_address"),
            "smtp": ("smtp_url", "from_email", "postal_address"),
        }[self.mailer]
        missing = [PREFIX + name.upper() for name in needed if not getattr(self, name)]
        if missing:
            raise SettingRefused(
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: the {self.mailer} mailer needs "
                f"{'it' if len(missing) == 1 else 'them'}. Set {'it' if len(missing) == 1 else 'them'} in the "
                f"environment or in .env ({DOCUMENTED}, Environment)."
            )
        for name in ("base_url", "sendgrid_host"):
            parts = urlsplit(getattr(self, name))
            if parts.scheme != "https" and not is_loopback(parts.hostname):
                raise SettingRefused(
                    f"{PREFIX}{name.upper()} is {getattr(self, name)!r}, but outside this machine it must be https: "
                    f"links and keys must not travel in clear text, and RFC 8058 wants it. Set it to an https address."
                )
        return self

    @property
    def database(self) -> str:
        """The database URL, with the embedded default resolved against the instance folder."""
        return self.database_url or f"sqlite:///{self.instance_dir.resolve() / 'nurture.db'}"

    @property
    def carrier_host(self) -> str:
        """The host that mail is handed to; empty with the outbox, which hands it to nobody."""
        match self.mailer:
            case "sendgrid":
                return urlsplit(self.sendgrid_host).hostname or ""
            case "smtp" if self.smtp_url is not None:
                return parse_smtp_url(self.smtp_url.get_secret_value()).host
            case _:
                return ""

    @property
    def notices_to(self) -> str:
        """Where notices to the therapist go."""
        return self.reply_to or self.sender

    @property
    def sender(self) -> str:
        """The address mail comes from; a local stand-in serves the outbox mailer when none is set."""
        return self.from_email or "letters@localhost.localdomain"


_SECRET = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation) or not field.repr}


def _explain(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    remedy = (Settings.model_fields[name].json_schema_extra or {}).get("remedy", "")  # type: ignore[union-attr]
    said = "set" if name in _SECRET else repr(problem["input"])
    why = problem["msg"].removeprefix("Value error, ")
    why = why if why.startswith("is not") else f"is refused ({why[:1].lower()}{why[1:]})"
    return f"{PREFIX}{name.upper()} is {said}, which {why}. {remedy} ({DOCUMENTED}, Environment)"


def load(**given: Any) -> Settings:
    """Read all settings; `given` values win over the environment. Raises SettingRefused naming every wrong one."""
    try:
        return Settings(**given)
    except ValidationError as refused:
        raise SettingRefused("\n".join(_explain(problem) for problem in refused.errors())) from None


AT_THE_DESK = frozenset({
    "from_email", "from_name", "reply_to", "postal_address", "plain_from_name", "practice_name", "practice_credential",
    "practice_licence", "practice_state", "practice_fee", "practice_call_length", "practice_prescriber", "reply_days", "colour",
    "time_zone",
})  # fmt: skip
"""Settings whose last word is the desk's."""
MAIL_AT_THE_DESK = frozenset({"mailer", "sendgrid_api_key", "sendgrid_webhook_key", "smtp_url"})
"""Settings that are the desk's unless whoever hosts the service has chosen a mailer in the environment."""


def chooses_mailer(settings: Settings) -> bool:
    """Whether the environment says what carries mail, rather than leave it to the desk."""
    return "mailer" in settings.model_fields_set


def with_facts(settings: Settings, facts: Mapping[str, str]) -> Settings:
    """The settings of the environment, with what the desk says over them; an empty fact is none. Raises SettingRefused."""
    desk = AT_THE_DESK if chooses_mailer(settings) else AT_THE_DESK | MAIL_AT_THE_DESK
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    for name in facts.keys() & desk:
        values[name] = facts[name] or Settings.model_fields[name].default
    return load(_env_file=None, **values)


def unknown_variables() -> list[str]:
    """NURTURE_ variables in the environment that are no setting: most likely misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def state_folder() -> Path | None:
    """Where the user this runs as keeps state between two runs, ours in a folder of its own (XDG Base Directory Specification);
    None: a user without a home.
    """
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        return (given if given.is_absolute() else Path.home() / ".local" / "state") / "nurture"
    except RuntimeError:
        return None
