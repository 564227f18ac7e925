"""Runtime: the parts of one running process, and the only place that builds them."""

import errno
import json
import math
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from sqlalchemy import Connection

from nurture import key_ring, log, resources
from nurture.clock import Clock, FastClock, Origin, SystemClock
from nurture.config import AskSignedDomains, Config, OpenLists, check_webhook_key, create_config, practice_of
from nurture.domain.delivery import FrequencyCaps
from nurture.domain.restore_evidence import Identity, Position
from nurture.encryption import FieldCipher, derive, derive_index_key
from nurture.ids import DeliveryId, ImageId
from nurture.key_ring import SECRET_FILE as SECRET_FILE
from nurture.letters.practice import Practice
from nurture.mailers.base import InlineImage, Mailer, SenderIdentity
from nurture.mailers.dns_client import DnsClient
from nurture.settings import PREFIX, SettingRefused, Settings
from nurture.store.core import schema_version
from nurture.store.core.database import Database, DatabaseRefused
from nurture.store.state import app_state, database_record, setting_overrides
from nurture.store.state.generation_file import GenerationFiles
from nurture.store.subscribers.departures import JOURNAL_FILE, DepartureJournal
from nurture.tokens import Purpose, Tokens

_log = log.get(__name__)


@dataclass(frozen=True)
class Timeouts:
    """How long the ledger's protocol waits, in real time."""

    lease: timedelta
    """After this, rows whose owner is silent are reconciled (NURTURE_LEASE_SECONDS)."""
    evidence: timedelta = timedelta(minutes=30)
    """A mail in doubt may be sent again after so long without any evidence, and only while evidence of later ones comes."""
    give_up: timedelta = timedelta(hours=26)
    """After this nobody waits for evidence any more (SendGrid repeats a report for 24 h): a person decides."""


@dataclass(frozen=True)
class LastCheck:
    """What a process saw at its last check of the clock and the database (delivery.safety_checks)."""

    real_now: datetime | None = None
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
class ProcessState:
    """What one process remembers between two looks, and no other can know for it."""

    last_check: LastCheck = LastCheck()
    last_mark: Position = field(default_factory=Position)
    """Where the database stood when this process last marked mail in it."""
    generation_files: GenerationFiles | None = None
    """Where that is recorded outside it; None: not checked yet."""
    generation_recorded: bool = True
    """Whether its position could be recorded outside it when that was last tried."""
    check_lock: threading.Lock = field(default_factory=threading.Lock)
    """One thread at a time looks, so that what it compares with is what the last one saw."""
    last_write: float = -math.inf
    """When, in boot seconds, a test write last succeeded (services.operations.health)."""
    kept_up_at: float = -math.inf
    """When, by the monotonic clock, it last looked whether the desk's settings have changed (`keep_up`)."""
    in_doubt_since: dict[DeliveryId, float] = field(default_factory=dict)
    """Since when, in boot seconds, it has seen each mail in doubt (delivery.reconcile)."""
    in_doubt_checked_at: float = -math.inf
    """When, in boot seconds, it last looked at them."""
    image_cache: OrderedDict[ImageId, InlineImage] = field(default_factory=OrderedDict)
    """Pictures it has sent lately, the last ones at its end (delivery.image_cache)."""
    image_cache_lock: threading.Lock = field(default_factory=threading.Lock)
    """Guards the image cache."""


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

    That of a process follows the desk's settings (`keep_up`); each act (a request, a job, a sender) works on a `snapshot`.
    """

    env_settings: Settings
    """What the environment says."""
    config: Config
    """Everything that follows the desk's settings. Replaced whole, by one assignment."""
    clock: Clock
    database: Database
    cipher: FieldCipher
    tokens: Tokens
    timeouts: Timeouts
    frequency_caps: FrequencyCaps
    dns: DnsClient
    """The name service, for what the sender's domain says."""
    process_state: ProcessState = field(default_factory=ProcessState)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the process is asked to stop: what is in flight is finished, the rest is given back."""
    process: "Runtime | None" = field(default=None, repr=False)
    """Of a snapshot: the runtime of the process it was taken from."""
    config_lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """One thread at a time replaces the Config of the process, so that the newest stays."""

    settings = _ConfigPart[Settings]()
    version = _ConfigPart[int]()
    mailer = _ConfigPart[Mailer]()
    sender = _ConfigPart[SenderIdentity]()
    plain_sender = _ConfigPart[SenderIdentity]()
    practice = _ConfigPart[Practice]()
    template_globals = _ConfigPart[Mapping[str, dict[str, str]]]()
    requires_launch = _ConfigPart[bool]()
    suppression_api = _ConfigPart[OpenLists]()
    signed_domains = _ConfigPart[AskSignedDomains]()

    def snapshot(self) -> "Runtime":
        """The same runtime with the settings of this moment, for one act."""
        return replace(self, process=self.process or self)

    def close(self) -> None:
        """Give back connections, and close files."""
        if self.process_state.generation_files is not None:
            self.process_state.generation_files.close()
        self.database.close()


def stored_secret(settings: Settings) -> bytes | None:
    """The installation's secret: NURTURE_SECRET_KEY, or what its key file holds; None without either. Raises SettingRefused."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value().encode()
    path = settings.instance_dir.resolve() / SECRET_FILE
    try:
        secret = path.read_text("ascii").strip().encode()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = (error.strerror or "unknown error").lower() if isinstance(error, OSError) else "it is not text"
        raise SettingRefused(f"{path} cannot be read ({why}). Restore it from its copy, or set {PREFIX}SECRET_KEY.") from None
    if len(secret) < 32:
        raise SettingRefused(f"{path} holds less than 32 characters. Restore it from its copy, or set {PREFIX}SECRET_KEY.")
    return secret


def secret(settings: Settings) -> bytes:
    """The installation's secret: NURTURE_SECRET_KEY, or the generated file, made now (mode 0600) if it is missing."""
    path = settings.instance_dir / SECRET_FILE
    found = stored_secret(settings)
    if found is not None:
        return found
    draft = path.with_name(f".{SECRET_FILE}.{secrets.token_hex(4)}")
    _make_instance_dir(settings)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # of several processes that start at once, one wins and all read its key
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text("ascii").strip().encode()


def _make_instance_dir(settings: Settings) -> None:
    path = settings.instance_dir.resolve()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise SettingRefused(
            f"The instance folder {path} cannot be used ({(error.strerror or 'unknown error').lower()}). Set "
            f"{PREFIX}INSTANCE_DIR to a folder that this user may write.",
            "instance_dir",
        ) from None


_STILL_RUNS_SECONDS = 60.0
"""A process whose last tick is no older may still run."""
_ELSEWHERE = (
    f"Change to the folder of your installation, or set {PREFIX}INSTANCE_DIR to its instance folder. Run `nurture init` only "
    "to make a new installation."
)


def _check_installed(settings: Settings) -> None:
    """Raise SettingRefused, with the places that were looked at, unless `nurture init` has been here. Makes nothing.

    An absolute folder may be missing where database and secret are somewhere else, as on a machine that joins others.
    """
    folder, has_key = settings.instance_dir.resolve(), stored_secret(settings) is not None
    if not folder.is_dir():
        nothing = not has_key or not settings.instance_dir.is_absolute()
    else:
        nothing = not has_key and not any(folder.iterdir())  # as a first `init` leaves it that could not reach the database
    if nothing:
        raise SettingRefused(
            f"There is no installation here: looked for the instance folder {folder}. {_ELSEWHERE}", "instance_dir"
        )
    if not has_key:
        raise SettingRefused(
            f"There is no key here: {PREFIX}SECRET_KEY is not set, and {folder / SECRET_FILE} is not there. Restore it "
            f"from its copy. {_ELSEWHERE}",
            "secret_key",
        )


def _check_new_key(settings: Settings, database: Database) -> None:
    """Raise SettingRefused before a new key is made for a database that was made with another one."""
    with database.read() as db:
        used = key_ring.stored_fingerprint(db) is not None
    if used:
        raise SettingRefused(
            f"This database holds data that was encrypted with a key which is not here: {PREFIX}SECRET_KEY is not set, and "
            f"{settings.instance_dir.resolve() / SECRET_FILE} is not there. No new key was made, since it could not read that "
            f"data. Put the key file back, or set {PREFIX}SECRET_KEY to what it held. Where the instance folder is gone after "
            f"each deploy, always set {PREFIX}SECRET_KEY (docs/operations.md, Keys).",
            "secret_key",
        )


def _check_stopped(settings: Settings, database: Database) -> None:
    """Raise DatabaseRefused before an upgrade that a running process of the version before would not survive."""
    with database.read() as db:
        last = database_record.last_tick_since_stop(db) if schema_version.needs_stop(db) else None
    if last is None:
        return
    silent = (SystemClock().real_now() - last).total_seconds()
    longest = max(_STILL_RUNS_SECONDS, 3 * settings.tick_seconds)
    if silent < longest:
        raise DatabaseRefused(
            f"This upgrade renames tables, and a process of the version before still uses them: it last looked for due mail "
            f"{max(0, round(silent))} seconds ago. Stop every `nurture serve`, `nurture worker` and `nurture tick` of this "
            f"installation, on all machines, then run this again. Nothing was changed. (If one was killed, wait {longest:.0f} "
            "seconds after that.)"
        )


def _clock(db: Connection, speed: float) -> Clock:
    """The clock all processes of this database share; a changed speed goes on from where the timeline is."""
    system = SystemClock()
    real = system.real_now()
    fresh = {"real": real.isoformat(), "timeline": real.isoformat(), "speed": speed}
    if speed == 1:
        return system
    kept = json.loads(app_state.get_or_set(db, "fast_clock", json.dumps(fresh)))
    origin = Origin(datetime.fromisoformat(kept["real"]), datetime.fromisoformat(kept["timeline"]), kept["speed"])
    if origin.speed != speed:
        origin = Origin(real, FastClock(origin).now(), speed)
        kept = {"real": real.isoformat(), "timeline": origin.timeline.isoformat(), "speed": speed}
        app_state.replace(db, "fast_clock", json.dumps(kept))
    return FastClock(origin)


def _said_at_the_desk(db: Connection, cipher: FieldCipher) -> dict[str, str]:
    return {
        name: cipher.decrypt(fact.encrypted, setting_overrides.field_of(name)) if fact.encrypted is not None else fact.value
        for name, fact in setting_overrides.all_overrides(db).items()
    }


def keep_up(rt: Runtime, max_age: float = 0.0) -> None:
    """Take over what the desk's settings say, if they have changed: into the process, and into the snapshot that asks.

    `max_age`: seconds for which the process need not look again. Settings that cannot be used leave the old ones in force.
    """
    process = rt.process or rt
    now = time.monotonic()
    if now - process.process_state.kept_up_at >= max_age:
        with process.database.read_once() as db:
            version = setting_overrides.version(db)
        if version != process.config.version:
            _replace_config(process)
        process.process_state.kept_up_at = now
    if rt is not process and rt.config.version != process.config.version:
        rt.config = process.config


def _replace_config(process: Runtime) -> None:
    with process.config_lock:
        with process.database.read() as db:
            version, said = setting_overrides.version(db), _said_at_the_desk(db, process.cipher)
        if version == process.config.version:
            return
        try:
            process.config = create_config(process.env_settings, said, version, process.clock, process.stopping)
        except SettingRefused as refused:  # saved by a newer version of the service, or beside a changed environment
            _log.error("settings_refused", setting=",".join(sorted(refused.names)))
            process.config = replace(process.config, version=version)


def build(settings: Settings, migrate: bool = False) -> Runtime:
    """Build every part. Raises SettingRefused, DatabaseRefused or ResourcesMissing with a remedy.

    `migrate`: first make what is missing (instance folder, key file, database) and bring the schema up.
    """
    log.configure()
    resources.check()
    check_webhook_key(settings)
    practice_of(settings)
    if migrate:
        _make_instance_dir(settings)
    else:
        _check_installed(settings)
    database = Database(settings.database, pool_size=max(8, settings.send_concurrency // 4), create=migrate)
    has_key = stored_secret(settings) is not None
    with database.refusals():
        if not has_key:
            _check_new_key(settings, database)
        if migrate:
            _check_stopped(settings, database)
            database.migrate()
        database.check()
        with database.begin() as db:
            try:
                rt = assemble(settings, secret(settings), database, db)
            except SettingRefused:
                if not has_key:  # another machine has made one in this moment
                    (settings.instance_dir / SECRET_FILE).unlink(missing_ok=True)
                raise
    database.departures = DepartureJournal(settings.instance_dir / JOURNAL_FILE, rt.cipher.fingerprint())
    return rt


def cipher_of(settings: Settings, key: bytes) -> FieldCipher:
    """What encrypts personal values of a new database, with the keys the settings give. `key`: the secret."""
    ring = key_ring.ring_of(settings, key)
    return FieldCipher(ring, derive_index_key((ring[:-1] or ring)[-1]))


def assemble(settings: Settings, key: bytes, database: Database, db: Connection) -> Runtime:
    """A runtime over a database whose schema is this version's, as it is in the transaction `db`; `key`: the secret.
    Raises SettingRefused.
    """
    cipher = key_ring.open_cipher(db, settings, key)
    clock = _clock(db, settings.clock_speed)
    said, version = _said_at_the_desk(db, cipher), setting_overrides.version(db)
    stopping = threading.Event()
    return Runtime(
        env_settings=settings,
        config=create_config(settings, said, version, clock, stopping),
        clock=clock,
        database=database,
        cipher=cipher,
        tokens=Tokens({purpose: derive(key, f"token|{purpose.name}") for purpose in Purpose}),
        timeouts=Timeouts(timedelta(seconds=settings.lease_seconds)),
        frequency_caps=FrequencyCaps(
            timedelta(hours=settings.min_gap_hours), settings.max_letters_per_day, settings.max_other_mails_per_day
        ),
        dns=DnsClient(),
        stopping=stopping,
    )


def shipped(folder: str) -> Path:
    """A folder of the templates that come with the service."""
    return resources.TEMPLATES / folder
