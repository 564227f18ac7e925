"""Runtime: the parts of one running process, and the only place that builds them."""

import json
import math
import os
import secrets
import threading
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection

from nurture import log, resources
from nurture.clock import Clock, FastClock, Origin, SystemClock
from nurture.domain.delivery import Guards
from nurture.domain.restore_evidence import Identity, Position
from nurture.letters import practice
from nurture.letters.practice import Facts, Practice, PracticeRefused
from nurture.mailers.base import Mailer, Picture, Sender
from nurture.mailers.names import Names
from nurture.mailers.outbox import Outbox
from nurture.mailers.sendgrid import SendGrid
from nurture.mailers.sendgrid.domains import SignedDomain, read_domains
from nurture.mailers.sendgrid.events import KeyRefused, read_keys
from nurture.mailers.sendgrid.lists import Lists
from nurture.mailers.smtp import Smtp
from nurture.sealing import Sealer, derive
from nurture.settings import PREFIX, SettingRefused, Settings, chooses_mailer, is_loopback, with_facts
from nurture.store import facts, instance
from nurture.store.database import Database
from nurture.store.departures import JOURNAL_FILE, DepartureJournal
from nurture.store.generation_file import GenerationFiles
from nurture.tokens import Purpose, Tokens
from nurture.words import DeliveryId, PictureId

_log = log.get(__name__)

SECRET_FILE = "secret.key"  # noqa: S105 - a file name
LOGO_FACT = "logo"
"""Under which the desk keeps the logo's bytes as Base64; the environment names a file instead."""


@dataclass(frozen=True)
class Patience:
    """How long the ledger's protocol waits, in real time."""

    lease: timedelta
    """After this, rows whose owner is silent are reconciled (NURTURE_LEASE_SECONDS)."""
    evidence: timedelta = timedelta(minutes=30)
    """A mail in doubt may be sent again after so long without any evidence, and only while evidence of later ones comes."""
    give_up: timedelta = timedelta(hours=26)
    """After this nobody waits for evidence any more (SendGrid repeats a report for 24 h): a person decides."""


@dataclass(frozen=True)
class Seen:
    """What a process saw at its last check of the clock and the database (delivery.safety_checks)."""

    wall: datetime | None = None
    """None: it has not looked yet."""
    boot: float = 0.0
    """Boot seconds of that look, or of the last good one."""
    alarmed: bool = False
    """Whether the clock had jumped."""
    database: str = ""
    """Id of the database."""
    position: Position = field(default_factory=Position)
    identity: Identity = field(default_factory=dict)
    counted: float | None = None
    """When, in boot seconds, this process last raised the generation."""


@dataclass
class Memory:
    """What one process remembers between two looks, and no other can know for it."""

    seen: Seen = Seen()
    marked: Position = field(default_factory=Position)
    """Where the database stood when this process last marked mail in it."""
    generation_files: GenerationFiles | None = None
    """Where that is recorded outside it; None: not checked yet."""
    witnessed: bool = True
    """Whether its position could be recorded outside it when that was last tried."""
    looking: threading.Lock = field(default_factory=threading.Lock)
    """One thread at a time looks, so that what it compares with is what the last one saw."""
    written: float = -math.inf
    """When, in boot seconds, a trial write last succeeded (services.health)."""
    doubts: dict[DeliveryId, float] = field(default_factory=dict)
    """Since when, in boot seconds, it has seen each mail in doubt (delivery.reconcile)."""
    doubts_looked_at: float = -math.inf
    """When, in boot seconds, it last looked at them."""
    album: OrderedDict[PictureId, Picture] = field(default_factory=OrderedDict)
    """Pictures it has sent lately, the last ones at its end (delivery.album)."""
    leafing: threading.Lock = field(default_factory=threading.Lock)
    """One thread at a time looks into the album."""


@dataclass
class Runtime:
    """What an act needs to run: handed to every service and stage, never global."""

    given: Settings
    """What the environment says."""
    settings: Settings
    """The same, with what the desk says over it."""
    clock: Clock
    database: Database
    mailer: Mailer
    sealer: Sealer
    tokens: Tokens
    version: int
    """Of the desk's settings, as this process knows them."""
    sender: Sender
    plain_sender: Sender
    """For readers who chose a plainer name in their inbox."""
    practice: Practice
    constant: Mapping[str, dict[str, str]]
    """What letters are filled with and is the same for every reader."""
    needs_live: bool
    """Whether mail to readers waits until somebody at the desk has said that it may leave (services.setup)."""
    patience: Patience
    guards: Guards
    lists: Callable[[], Lists] | None
    """Begins a conversation about SendGrid's own suppression lists; None with any other mailer."""
    signed_domains: Callable[[], list[SignedDomain] | None] | None
    """Asks SendGrid for which domains it may sign; None with any other mailer."""
    names: Names
    """The name service, for what the sender's domain says."""
    memory: Memory = field(default_factory=Memory)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the process is asked to stop: what is in flight is finished, the rest is given back."""

    def close(self) -> None:
        """Give back connections, and close files."""
        if self.memory.generation_files is not None:
            self.memory.generation_files.close()
        self.database.close()


def secret(settings: Settings) -> bytes:
    """The installation's secret: NURTURE_SECRET_KEY, or the generated file, made now (mode 0600) if it is missing."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value().encode()
    path = settings.instance_dir / SECRET_FILE
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{SECRET_FILE}.{secrets.token_hex(4)}")
    if not path.exists():
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(draft, path)  # of several processes that start at once, one wins and all read its key
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text("ascii").strip().encode()


def _ring(settings: Settings, key: bytes) -> list[bytes]:
    if settings.field_keys is None:
        return [derive(key, "field-keys")]
    ring = [part.strip().encode() for part in settings.field_keys.get_secret_value().split(",")]
    if any(len(part) < 32 for part in ring):
        raise SettingRefused(
            f"A key in {PREFIX}FIELD_KEYS is shorter than 32 characters. Set it to one or more keys of at least 32 characters, "
            "separated by commas, newest first."
        )
    return ring


def mailer_of(settings: Settings, clock: Clock) -> Mailer:
    """What carries mail, as the settings say. Raises SettingRefused."""
    match settings.mailer:
        case "outbox":
            return Outbox(settings.instance_dir / "outbox")
        case "sendgrid":
            return SendGrid(_revealed(settings.sendgrid_api_key), settings.sendgrid_host, clock.wall)
        case "smtp":
            return Smtp(_revealed(settings.smtp_url))


def _check_webhook_key(settings: Settings) -> None:
    if settings.sendgrid_webhook_key is not None:
        try:
            read_keys(settings.sendgrid_webhook_key)
        except KeyRefused as refused:
            raise SettingRefused(
                f"{PREFIX}SENDGRID_WEBHOOK_KEY {refused}. Copy it from SendGrid, Settings, Mail Settings, Event Webhook, "
                "Signed Event Webhook (docs/reference.md, Environment)."
            ) from None


def practice_of(settings: Settings, logo_at_the_desk: str | None = None) -> Practice:
    """What letters may say of the practice, and how they look. Raises SettingRefused.

    `logo_at_the_desk`: the picture as Base64, empty for none; None: as the environment says.
    """
    try:
        practice.check_colour(settings.colour)
    except PracticeRefused as refused:
        raise SettingRefused(
            f"{PREFIX}COLOUR is {settings.colour!r}, which {refused}. Set it to a darker one, such as #1f5f5b."
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
    known = Facts(
        settings.practice_name or settings.from_name, settings.practice_credential, settings.practice_licence,
        settings.practice_state, settings.practice_fee, settings.practice_call_length, settings.practice_prescriber,
        str(settings.reply_days or ""), settings.postal_address,
    )  # fmt: skip
    return Practice(known, settings.colour, logo)


def _lists(settings: Settings, clock: Clock, stopping: threading.Event) -> Callable[[], Lists] | None:
    if settings.mailer != "sendgrid" or settings.sendgrid_api_key is None:
        return None
    return partial(Lists, settings.sendgrid_api_key.get_secret_value(), settings.sendgrid_host, clock.wall, stopping.wait)


def _signed_domains(settings: Settings) -> Callable[[], list[SignedDomain] | None] | None:
    if settings.mailer != "sendgrid" or settings.sendgrid_api_key is None:
        return None
    return partial(read_domains, settings.sendgrid_api_key.get_secret_value(), settings.sendgrid_host, 5.0)


def _check_key(db: Connection, sealer: Sealer) -> None:
    if instance.agree(db, "key_fingerprint", sealer.fingerprint()) != sealer.fingerprint():
        raise SettingRefused(
            "The keys of this installation do not fit its database: addresses in it cannot be read or found. Restore the "
            f"{PREFIX}SECRET_KEY (or {SECRET_FILE} in {PREFIX}INSTANCE_DIR), or the oldest key of {PREFIX}FIELD_KEYS."
        )


def _clock(db: Connection, speed: float) -> Clock:
    """The clock all processes of this database share; a changed speed goes on from where the timeline is."""
    system = SystemClock()
    real = system.wall()
    fresh = {"real": real.isoformat(), "timeline": real.isoformat(), "speed": speed}
    if speed == 1:
        return system
    kept = json.loads(instance.agree(db, "fast_clock", json.dumps(fresh)))
    origin = Origin(datetime.fromisoformat(kept["real"]), datetime.fromisoformat(kept["timeline"]), kept["speed"])
    if origin.speed != speed:
        origin = Origin(real, FastClock(origin).now(), speed)
        kept = {"real": real.isoformat(), "timeline": origin.timeline.isoformat(), "speed": speed}
        instance.replace(db, "fast_clock", json.dumps(kept))
    return FastClock(origin)


def _said_at_the_desk(db: Connection, sealer: Sealer) -> dict[str, str]:
    return {
        name: sealer.open(fact.sealed, facts.place(name)) if fact.sealed is not None else fact.value
        for name, fact in facts.everything(db).items()
    }


def waits_for_the_desk(given: Settings, settings: Settings) -> bool:
    """Whether mail to readers waits for the desk's word that everything is ready.

    Not with the outbox, from which nothing leaves; nor with a provider on this very machine that the environment names: that
    is a try, or a relay whose host has chosen it.
    """
    return settings.mailer != "outbox" and not (chooses_mailer(given) and is_loopback(settings.carrier_host))


def _revealed(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def _changing(
    given: Settings, said: Mapping[str, str], version: int, clock: Clock, stopping: threading.Event
) -> dict[str, Any]:
    """The parts that follow the desk's settings. Raises SettingRefused."""
    settings = with_facts(given, said)
    whose = practice_of(settings, said.get(LOGO_FACT))
    logo = Picture(whose.logo.content, whose.logo.subtype) if whose.logo else None
    sender = Sender(settings.sender, settings.from_name, settings.notices_to, settings.base_url, logo)
    return {
        "settings": settings, "version": version, "mailer": mailer_of(settings, clock), "sender": sender,
        "plain_sender": replace(sender, name=settings.plain_from_name), "practice": whose, "constant": whose.values(),
        "needs_live": waits_for_the_desk(given, settings), "lists": _lists(settings, clock, stopping),
        "signed_domains": _signed_domains(settings),
    }  # fmt: skip


def keep_up(rt: Runtime) -> None:
    """Take over what the desk's settings say, if they have changed. Whatever is cut short goes on with the old ones."""
    with rt.database.read() as db:
        version = facts.version(db)
        if version == rt.version:
            return
        said = _said_at_the_desk(db, rt.sealer)
    try:
        changed = _changing(rt.given, said, version, rt.clock, rt.stopping)
    except SettingRefused as refused:  # saved by a newer version of the service, or beside a changed environment
        _log.error("settings_refused", reason=str(refused))
        changed = {"version": version}
    for name, value in changed.items():
        setattr(rt, name, value)


def build(settings: Settings, migrate: bool = False) -> Runtime:
    """Build every part. `migrate`: bring the schema up first. Raises SettingRefused, DatabaseRefused
    or ResourcesMissing with a remedy.
    """
    log.configure()
    resources.check()
    _check_webhook_key(settings)
    practice_of(settings)
    key = secret(settings)
    sealer = sealer_of(settings, key)
    database = Database(settings.database, pool_size=max(8, settings.send_concurrency // 4))
    if migrate:
        database.migrate()
    database.check()
    database.departures = DepartureJournal(settings.instance_dir / JOURNAL_FILE, sealer.fingerprint())
    with database.begin() as db:
        return assemble(settings, key, database, db)


def sealer_of(settings: Settings, key: bytes) -> Sealer:
    """What encrypts personal values, with the ring of keys the settings give. `key`: the secret. Raises SettingRefused."""
    return Sealer(_ring(settings, key))


def assemble(settings: Settings, key: bytes, database: Database, db: Connection) -> Runtime:
    """A runtime over a database whose schema is this version's, as it is in the transaction `db`; `key`: the secret.
    Raises SettingRefused.
    """
    sealer = sealer_of(settings, key)
    _check_key(db, sealer)
    clock = _clock(db, settings.clock_speed)
    said, version = _said_at_the_desk(db, sealer), facts.version(db)
    stopping = threading.Event()
    return Runtime(
        given=settings,
        clock=clock,
        database=database,
        sealer=sealer,
        tokens=Tokens({purpose: derive(key, f"token|{purpose.name}") for purpose in Purpose}),
        patience=Patience(timedelta(seconds=settings.lease_seconds)),
        guards=Guards(timedelta(hours=settings.min_gap_hours), settings.max_letters_per_day, settings.max_other_mails_per_day),
        names=Names(),
        stopping=stopping,
        **_changing(settings, said, version, clock, stopping),
    )


def shipped(folder: str) -> Path:
    """A folder of the templates that come with the service."""
    return resources.TEMPLATES / folder
