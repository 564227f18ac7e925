"""Runtime: the parts of one running process, and the only place that builds them."""

import json
import math
import os
import secrets
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from sqlalchemy import Connection

from nurture import log
from nurture.clock import Clock, FastClock, Origin, SystemClock
from nurture.config import Config, check_webhook_key, create_config, practice_of
from nurture.domain.delivery import Guards
from nurture.letters.practice import Practice
from nurture.mailers.base import Mailer, Picture, Sender
from nurture.mailers.names import Names
from nurture.mailers.sendgrid.domains import SignedDomain
from nurture.mailers.sendgrid.lists import Lists
from nurture.sealing import Sealer, derive
from nurture.settings import PREFIX, SettingRefused, Settings
from nurture.store import facts, instance
from nurture.store.database import Database
from nurture.tokens import Purpose, Tokens
from nurture.words import DeliveryId, PictureId

_log = log.get(__name__)

SECRET_FILE = "secret.key"  # noqa: S105 - a file name


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
    """What a process saw at its last look at the clock and the database (delivery.vigil)."""

    wall: datetime | None = None
    """None: it has not looked yet."""
    boot: float = 0.0
    """Boot seconds of that look, or of the last good one."""
    alarmed: bool = False
    """Whether the clock had jumped."""
    database: str = ""
    generation: int = 0
    counted: float | None = None
    """Which database, how far it has counted, and when, in boot seconds, this process last counted on."""


@dataclass
class Memory:
    """What one process remembers between two looks, and no other can know for it."""

    seen: Seen = Seen()
    looking: threading.Lock = field(default_factory=threading.Lock)
    """One thread at a time looks, so that what it compares with is what the last one saw."""
    doubts: dict[DeliveryId, float] = field(default_factory=dict)
    """Since when, in boot seconds, it has seen each mail in doubt (delivery.reconcile)."""
    doubts_looked_at: float = -math.inf
    """When, in boot seconds, it last looked at them."""
    album: OrderedDict[PictureId, Picture] = field(default_factory=OrderedDict)
    """Pictures it has sent lately, the last ones at its end (delivery.album)."""
    leafing: threading.Lock = field(default_factory=threading.Lock)
    """One thread at a time looks into the album."""


T = TypeVar("T")


class _ConfigPart(Generic[T]):
    """A part of `Runtime.config` under its own name. Assigning one replaces the whole Config by a copy with another part."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, rt: None, owner: type) -> "_ConfigPart[T]": ...
    @overload
    def __get__(self, rt: "Runtime", owner: type) -> T: ...
    def __get__(self, rt: "Runtime | None", owner: type) -> "_ConfigPart[T] | T":
        if rt is None:
            return self
        part: T = getattr(rt.config, self._name)
        return part

    def __set__(self, rt: "Runtime", part: T) -> None:
        changes: dict[str, Any] = {self._name: part}
        rt.config = replace(rt.config, **changes)


@dataclass
class Runtime:
    """What an act needs to run: handed to every service and stage, never global.

    The runtime of a process follows the desk's settings (`keep_up`): two looks at it may show two states of them. So every
    act (a request, a run of a job, a sender) works on a `snapshot`, whose settings stay as they are.
    """

    given: Settings
    """What the environment says."""
    config: Config
    """Everything that follows the desk's settings. Replaced whole, by one assignment."""
    clock: Clock
    database: Database
    sealer: Sealer
    tokens: Tokens
    patience: Patience
    guards: Guards
    names: Names
    """The name service, for what the sender's domain says."""
    memory: Memory = field(default_factory=Memory)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the process is asked to stop: what is in flight is finished, the rest is given back."""
    process: "Runtime | None" = field(default=None, repr=False)
    """Of a snapshot: the runtime of the process it was taken from."""
    config_lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """One thread at a time replaces the Config of the process, so that the newest stays."""

    settings = _ConfigPart[Settings]()
    version = _ConfigPart[int]()
    mailer = _ConfigPart[Mailer]()
    sender = _ConfigPart[Sender]()
    plain_sender = _ConfigPart[Sender]()
    practice = _ConfigPart[Practice]()
    constant = _ConfigPart[Mapping[str, dict[str, str]]]()
    needs_live = _ConfigPart[bool]()
    lists = _ConfigPart[Callable[[], Lists] | None]()
    signed_domains = _ConfigPart[Callable[[], list[SignedDomain] | None] | None]()

    def snapshot(self) -> "Runtime":
        """The same runtime with the settings of this moment, for one act."""
        return replace(self, process=self.process or self)

    def close(self) -> None:
        """Give back connections."""
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


def stop_when_told(rt: Runtime) -> None:
    """Let SIGTERM and SIGINT set `rt.stopping`. Called by the main thread before it starts any other.

    A thread waits for them. A handler would run in the middle of whatever the main thread does, and the locks that setting
    an event or writing a log line takes are perhaps held by exactly that: the process would never end.
    """
    told = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, told)

    def wait() -> None:
        while True:
            number = signal.sigwait(told)
            rt.stopping.set()
            _log.info("stopping", signal=signal.Signals(number).name)

    threading.Thread(target=wait, name="signals", daemon=True).start()


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


def keep_up(rt: Runtime) -> None:
    """Take over what the desk's settings say, if they have changed: into the process, and into the snapshot that asks.

    Settings that cannot be used leave the old ones in force.
    """
    process = rt.process or rt
    with process.config_lock:
        with process.database.read() as db:
            version = facts.version(db)
            said = _said_at_the_desk(db, process.sealer) if version != process.config.version else {}
        if version != process.config.version:
            try:
                process.config = create_config(process.given, said, version, process.clock, process.stopping)
            except SettingRefused as refused:  # saved by a newer version of the service, or beside a changed environment
                _log.error("settings_refused", reason=str(refused))
                process.config = replace(process.config, version=version)
    if rt is not process and rt.config.version != process.config.version:
        rt.config = process.config


def build(settings: Settings, migrate: bool = False) -> Runtime:
    """Build every part. `migrate`: bring the schema up first. Raises SettingRefused or DatabaseRefused with a remedy."""
    log.configure()
    check_webhook_key(settings)
    practice_of(settings)
    key = secret(settings)
    sealer = Sealer(_ring(settings, key))
    database = Database(settings.database, pool_size=max(8, settings.send_concurrency // 4))
    if migrate:
        database.migrate()
    database.check()
    with database.begin() as db:
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
        config=create_config(settings, said, version, clock, stopping),
    )


def shipped(folder: str) -> Path:
    """A folder of the templates that come with the service."""
    return Path(__file__).resolve().parents[1] / "templates" / folder
