"""Backups: made while the service works, restored into either database, and nothing goes out again."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import Boolean, Column, Connection, Integer, LargeBinary, String, func, insert, inspect, select

from nurture import runtime
from nurture.domain.delivery import Accepted, DeliveryKind, State
from nurture.domain.subscriber import SubscriberState
from nurture.encryption import links_fingerprint
from nurture.ids import new_id
from nurture.runtime import Runtime
from nurture.services.operations import backup as backups
from nurture.services.operations import deliveries as service
from nurture.services.operations import restore as restores
from nurture.services.operations import send_blocks
from nurture.services.operations.archive import Archive, ArchiveRefused, Manifest, write_archive
from nurture.services.operations.archive_encryption import DecryptingReader, DecryptionRefused, EncryptingWriter
from nurture.services.operations.backup import BackupRefused
from nurture.services.operations.restore import FIELD_KEYS_FILE, RestoreRefused
from nurture.services.subscribers import departures, personal_data, unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.settings import Settings, load
from nurture.store.core import schema_version, table_copy
from nurture.store.core.columns import EncryptedColumn, Id, Instant, Word
from nurture.store.core.schema import metadata
from nurture.store.core.table_copy import TableShape
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.subscribers import subscribers
from nurture.store.subscribers.departures import JOURNAL_FILE
from tests.clocks import ManualClock
from tests.conftest import SECRET, settings_for
from tests.effort import examples
from tests.people import a_subscriber, due, inbox, rows, run_tick, sign_up
from tests.scripted import Answering
from tests.servers.postgres import Postgres

PASSPHRASE = "four words of mine"
ODD = "Zoë\t\\N \\ “quoted” \r\n \x0b\x0c\x08 🙂 \\x41"


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of another machine, whose database is empty."""
    folder = tmp_path / "new machine"
    if request.param == "sqlite":
        yield settings_for(folder)
    else:
        server: Postgres = request.getfixturevalue("postgres")
        name = f"target_{new_id()}"
        server.create(name)
        yield settings_for(folder, server.url(name))
        server.drop(name)


def content(rt: Runtime) -> dict[str, set[tuple[Any, ...]]]:
    """Every row of every table, as values of Python."""
    with rt.database.read() as db:
        return {
            name: {tuple(repr(bytes(v)) if isinstance(v, bytes) else repr(v) for v in row) for row in db.execute(select(table))}
            for name, table in metadata.tables.items()
        }


def fill_every_table(rt: Runtime) -> None:
    """One row, at least, in each: odd text, bytes of every value, no value where there need be none."""
    with rt.database.begin() as db:
        t = metadata.tables
        who = db.scalar(select(t["subscribers"].c.id).limit(1))
        user = new_id()
        edition = db.scalar(select(t["editions"].c.id).limit(1))
        picture, act = new_id(), new_id()
        at = datetime(2026, 3, 2, 15, 0, 0, 123456, tzinfo=UTC)
        db.execute(insert(t["users"]).values(id=user, role="owner", created_at=at, totp_step=2**40))
        every_byte = bytes(range(256))
        values: dict[str, dict[str, Any]] = {
            "notes": {"id": new_id(), "subscriber_id": who, "text_encrypted": every_byte, "written_at": at},
            "tags": {"subscriber_id": who, "tag": ODD[:30]},
            "consent_texts": {"version": "odd", "text": ODD, "written_at": datetime(1969, 12, 31, tzinfo=UTC)},
            "images": {
                "id": picture, "name": "leaf", "content": every_byte * 5000, "size": 1, "subtype": "png", "width": 1,
                "height": 1, "alt": "", "added_at": at, "added_by": "dana", "used_at": at,
            },
            "edition_images": {"edition_id": edition, "image_id": picture},
            "setting_overrides": {"name": "odd", "value": ODD, "value_encrypted": None, "set_at": at},
            "provider_events": {
                "dedup_key": b"\x00" * 16, "kind": "other", "at": at, "received_at": at.replace(microsecond=0), "detail": None,
            },
            "security_events": {"kind": "login", "at": at},
            "recovery_codes": {"user_id": user, "code": b"\xff" * 32},
            "passkeys": {
                "id": new_id(), "user_id": user, "credential": every_byte, "public_key": every_byte, "sign_count": 2**32 - 1,
                "backed_up": True, "name_encrypted": every_byte, "added_at": at,
            },
            "passkey_challenges": {"holder": new_id(), "use": "log-in", "challenge": b"\x0c" * 32, "made_at": at},
            "login_attempts": {"bucket": b"\x09" * 32, "failures": 3, "at": at},
            "known_devices": {"device": b"\x0b" * 32, "user_id": user, "seen_at": at},
            "account_changes": {"id": new_id(), "what": "reset", "email_encrypted": every_byte, "made_at": at},
            "api_keys": {
                "id": new_id(), "label": "a", "prefix": "b", "secret_hash": b"\x0a" * 32, "scope": "read", "made_at": at,
                "made_by": user,
            },
            "bulk_actions": {"id": act, "action": "tag", "detail": "a", "people": 1, "done_at": at},
            "bulk_action_targets": {"bulk_action_id": act, "target_id": new_id()},
            "csv_imports": {"id": new_id(), "made_at": at, "content_encrypted": b"\\x", "choices": "{}"},
            "rate_limit": {"name": "fleet", "next_at": at},
            "suppression_pushes": {"id": new_id(), "subscriber_id": who, "act": "add", "due_at": at, "attempt": 0},
        }  # fmt: skip
        for name, row in values.items():
            db.execute(insert(t[name]).values(**row))
        for table in metadata.sorted_tables:
            if db.scalar(select(func.count()).select_from(table)) == 0:
                db.execute(insert(table).values({column.name: some_value(db, column) for column in table.columns}))


def some_value(db: Connection, column: Column[Any]) -> object:
    """A value that the column takes: of the row it refers to, or any of its type."""
    for key in column.foreign_keys:
        return db.scalar(select(key.column).limit(1))
    match column.type:
        case Id():
            return new_id()
        case Instant():
            return datetime(2026, 3, 2, 15, 0, 0, 1, tzinfo=UTC)
        case Word(words=words):
            return next(iter(words))
        case EncryptedColumn() | LargeBinary():
            return b"\xff" * 32
        case Boolean():
            return True
        case Integer():
            return 7
        case String():
            return "{}"
    raise AssertionError(f"no value for {column}")


def backup(rt: Runtime, path: Path, **options: Any) -> Path:
    backups.create_backup(rt, path, **options)
    return path


def opened(settings: Settings, clock: ManualClock) -> Runtime:
    rt = runtime.build(settings)
    rt.clock = clock
    return rt


def test_every_value_of_every_table_comes_back_in_either_database(
    rt: Runtime, clock: ManualClock, target: Settings, tmp_path: Path
) -> None:
    for _ in range(3):
        a_subscriber(rt, first_name="Zoë")
    run_tick(rt)
    fill_every_table(rt)
    before = content(rt)
    assert [name for name, found in before.items() if not found] == [], "a table that the copy of nothing would pass"
    report = restores.restore(target, Archive(backup(rt, tmp_path / "nurture.backup")))
    assert report.manifest.rows == {name: len(found) for name, found in before.items()}
    after = opened(target, clock)
    found = content(after)
    changed = {"send_blocks", "app_state", "heartbeats", "deliveries", "delivery_history", "desk_sessions", "login_links"}
    for name in before.keys() - changed:
        assert found[name] == before[name], name
    assert len(before["deliveries"]) == len(found["deliveries"])
    send_blocks.start_sending(after)
    sign_up(after)  # numbers that count by themselves go on
    with after.database.begin() as db:
        at = clock.real_now()
        db.execute(insert(metadata.tables["security_events"]).values(kind="login", at=at))
        for table in ("provider_events", "delivery_history", "publications"):
            highest = db.scalar(select(metadata.tables[table].c.id).order_by(metadata.tables[table].c.id.desc()).limit(1))
            assert highest is None or highest > 0
    after.close()


def test_the_backup_names_nobody_and_is_for_its_owner_only(rt: Runtime, tmp_path: Path) -> None:
    a_subscriber(rt, email="somebody.special@example.org", first_name="Hieronymus")
    path = backup(rt, tmp_path / "nurture.backup")
    assert path.stat().st_mode & 0o777 == 0o600
    data = gzip.decompress(path.read_bytes())
    for private in (b"somebody.special", b"Hieronymus", SECRET.encode(), rt.cipher.blind_index("x")):
        assert private not in data
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


class Fleet:
    """A sender, and the copies its mails are counted in."""

    def __init__(self, rt: Runtime) -> None:
        self.mailer = Answering(lambda _: Accepted("m"))
        self.use(rt)

    def use(self, rt: Runtime) -> None:
        self.rt = rt
        rt.mailer = self.mailer

    @property
    def sent(self) -> list[str]:
        return [mail.delivery for mail in self.mailer.given]


@pytest.mark.parametrize("machine", ["the same", "another"])
def test_nothing_goes_out_again_after_a_restore(
    rt: Runtime, clock: ManualClock, target: Settings, tmp_path: Path, machine: str
) -> None:
    readers = [a_subscriber(rt) for _ in range(6)]
    fleet = Fleet(rt)
    run_tick(rt)
    clock.at = max(at for at in (due(rt, reader) for reader in readers) if at) - timedelta(minutes=30)
    run_tick(rt)
    path = backup(rt, tmp_path / "nurture.backup")
    left, erased = readers[0], readers[1]
    for _ in range(18):
        clock.advance(minutes=10)
        run_tick(rt)
    unsubscribe.unsubscribe(rt, left.id, Exit.ONE_CLICK)
    personal_data.erase(rt, erased.id)
    departures.complete(rt)
    sent = fleet.sent
    assert len(sent) == 12
    if machine == "the same":
        target = target.model_copy(update={"instance_dir": rt.settings.instance_dir})
        report = restores.restore(target.model_copy(update={"database_url": target.database_url or SecretStr(f"sqlite:///{tmp_path}/b.db")}),
                                  Archive(path))  # fmt: skip
        target = target.model_copy(update={"database_url": target.database_url or SecretStr(f"sqlite:///{tmp_path}/b.db")})
    else:
        report = restores.restore(target, Archive(path), [rt.settings.instance_dir / JOURNAL_FILE])
    assert not report.is_journal_lost
    assert (report.replay.stopped, report.replay.erased) == (2, 1)
    assert report.outlook.due == 0
    new = opened(target, clock)
    fleet.use(new)
    for _ in range(3):
        assert run_tick(new).claimed == 0
        clock.advance(minutes=10)
    (stopped,) = send_blocks.what_stops(new)
    assert stopped.kind is BlockKind.DATABASE_RESTORED
    assert f"{report.manifest.created:%Y-%m-%d %H:%M} UTC" in stopped.why
    doubts = service.list_doubts(new, State.UNKNOWN)
    assert len(doubts) == 4
    for row in doubts:
        service.resolve(new, row.id, True, "dana")
    send_blocks.start_sending(new)
    for _ in range(24 * 12):
        clock.advance(hours=1)
        run_tick(new)
    again = fleet.sent[len(sent) :]
    assert not set(again) & set(sent), "nothing again"
    assert len(fleet.sent) == len(set(fleet.sent))
    for reader in readers[2:]:
        states = [row[1] for row in rows(new, reader, DeliveryKind.LETTER)]
        assert states.count(State.ACCEPTED) >= 3, "and nobody is forgotten"
    gone = {delivery for delivery in again if _whose(new, delivery) in (left.id, erased.id)}
    assert gone == set(), "who left gets nothing more"
    with new.database.read() as db:
        person = subscribers.get_unlocked(db, erased.id)
        assert person is not None
        assert person.state is SubscriberState.ERASED
        assert new.cipher.decrypt(person.email, subscribers.email_field(erased.id)) == ""
    new.close()


def _whose(rt: Runtime, delivery: str) -> str:
    d = metadata.tables["deliveries"].c
    with rt.database.read() as db:
        return str(db.scalar(select(d.subscriber_id).where(d.id == delivery)))


def test_a_lost_journal_is_said(rt: Runtime, clock: ManualClock, tmp_path: Path) -> None:
    departures.complete(rt)
    old = tmp_path / "old.journal"
    old.write_bytes((rt.settings.instance_dir / JOURNAL_FILE).read_bytes())
    clock.advance(hours=1)
    path = backup(rt, tmp_path / "nurture.backup")
    lost = restores.restore(settings_for(tmp_path / "a"), Archive(path))
    assert (lost.is_journal_lost, lost.replay.checked) == (True, None)
    early = restores.restore(settings_for(tmp_path / "b"), Archive(path), [old])
    assert early.is_journal_lost
    assert early.replay.checked is not None


def test_a_rehearsal_says_what_would_go_out_and_leaves_nothing(
    rt: Runtime, clock: ManualClock, target: Settings, tmp_path: Path, postgres: Postgres
) -> None:
    readers = [a_subscriber(rt) for _ in range(4)]
    run_tick(rt)
    path = backup(rt, tmp_path / "nurture.backup")
    unsubscribe.unsubscribe(rt, readers[0].id, Exit.PAGE)
    departures.complete(rt)
    before = sorted(tmp_path.rglob("*"))
    report = restores.rehearse(target, Archive(path), [rt.settings.instance_dir / JOURNAL_FILE])
    assert (report.claimed, report.claimed_after_start) == (0, 0)
    assert report.replay.stopped == 1
    assert report.outlook.in_doubt == 3, "their next letters were due by the real clock"
    assert sorted(tmp_path.rglob("*")) == before
    assert not any(name.startswith("nurture_rehearsal_") for name in postgres.names())
    assert len(inbox(rt)) == 4


@pytest.mark.parametrize("what", ["people", "letters"])
def test_a_place_that_is_not_empty_is_refused_and_left_alone(rt: Runtime, tmp_path: Path, what: str) -> None:
    path = backup(rt, tmp_path / "nurture.backup")
    if what == "people":
        a_subscriber(rt)
    before = content(rt)
    with pytest.raises(RestoreRefused, match="is not empty"):
        restores.restore(rt.env_settings, Archive(path))
    assert content(rt) == before


def test_a_migrated_but_empty_database_is_an_empty_place(
    rt: Runtime, clock: ManualClock, target: Settings, tmp_path: Path
) -> None:
    a_subscriber(rt)
    runtime.build(target, migrate=True).close()
    restores.restore(target, Archive(backup(rt, tmp_path / "nurture.backup")))
    after = opened(target, clock)
    assert len(rows(after)) == 2
    after.close()


def without_key(settings: Settings) -> Settings:
    return load(_env_file=None, instance_dir=settings.instance_dir, database_url=settings.database_url)


def test_keys_travel_in_an_encrypted_backup_and_only_to_where_there_are_none(
    rt: Runtime, clock: ManualClock, target: Settings, tmp_path: Path
) -> None:
    with pytest.raises(BackupRefused, match="encrypted backup only"):
        backup(rt, tmp_path / "nurture.backup", with_keys=True)
    reader = a_subscriber(rt, first_name="Robin")
    path = backup(rt, tmp_path / "nurture.backup", with_keys=True, passphrase=PASSPHRASE)
    bare = without_key(target)
    report = restores.restore(bare, Archive(path, PASSPHRASE))
    (file,) = report.installed
    assert file == target.instance_dir / "secret.key"
    assert file.stat().st_mode & 0o777 == 0o600
    after = opened(bare, clock)
    with after.database.read() as db:
        person = subscribers.get_unlocked(db, reader.id)
        assert person is not None
        assert after.cipher.decrypt(person.email, subscribers.email_field(reader.id)) == reader.email
    after.close()


def test_a_ring_of_keys_travels_too(tmp_path: Path) -> None:
    ring = f"{'n' * 32},{'o' * 32}"
    rt = runtime.build(settings_for(tmp_path / "a", field_keys=ring), migrate=True)
    path = backup(rt, tmp_path / "nurture.backup", with_keys=True, passphrase=PASSPHRASE)
    rt.close()
    report = restores.restore(load(_env_file=None, instance_dir=tmp_path / "b"), Archive(path, PASSPHRASE))
    assert (tmp_path / "b" / FIELD_KEYS_FILE) in report.installed
    assert (tmp_path / "b" / FIELD_KEYS_FILE).read_text() == f"NURTURE_FIELD_KEYS={ring}\n"
    only_old = settings_for(tmp_path / "c", field_keys="o" * 32)
    with pytest.raises(RestoreRefused, match="not those of this backup"):
        restores.restore(only_old, Archive(path, PASSPHRASE))


def test_other_keys_and_no_keys_are_refused_with_the_remedy(rt: Runtime, tmp_path: Path) -> None:
    path = backup(rt, tmp_path / "nurture.backup")
    other = load(_env_file=None, instance_dir=tmp_path / "a", secret_key="another secret that is long enough, too")
    with pytest.raises(RestoreRefused, match="not those of this backup"):
        restores.restore(other, Archive(path))
    with pytest.raises(RestoreRefused, match=r"Put the secret\.key"):
        restores.restore(load(_env_file=None, instance_dir=tmp_path / "a"), Archive(path))
    assert not (tmp_path / "a").exists(), "no key was made, and no database"


def damaged(path: Path, change: Callable[[bytearray], object]) -> Path:
    data = bytearray(path.read_bytes())
    change(data)
    other = path.with_name("damaged.backup")
    other.write_bytes(data)
    return other


def test_a_backup_that_is_damaged_cut_off_or_none_is_refused_in_a_line(rt: Runtime, tmp_path: Path) -> None:
    path = backup(rt, tmp_path / "nurture.backup")
    size = path.stat().st_size

    def cut(at: int) -> Callable[[bytearray], object]:
        return lambda data: data.__delitem__(slice(at, None))

    def flip(at: int) -> Callable[[bytearray], object]:
        return lambda data: data.__setitem__(at, data[at] ^ 1)

    changes = [cut(at) for at in (0, 1, 9, 600, size // 2, size - 9, size - 1)]
    changes += [flip(at) for at in (0, 2, 40, 600, size // 3, size // 2, size - 5)]
    for change in changes:
        with pytest.raises(ArchiveRefused) as refused:
            restores.restore(settings_for(tmp_path / "new"), Archive(damaged(path, change)))
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "new").exists()


def test_a_newer_format_or_schema_is_refused(rt: Runtime, tmp_path: Path) -> None:
    path = backup(rt, tmp_path / "nurture.backup")
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(path.read_bytes()))) as tar:
        members = [(member, (tar.extractfile(member) or io.BytesIO()).read()) for member in tar]
    for key, value, said in (("format", 2, "format 2"), ("revision", "9999", "newer schema"), ("tables", [], "damaged")):
        with tarfile.open(tmp_path / "newer.backup", "w:gz") as tar:
            for member, data in members:
                text = json.dumps(json.loads(data) | {key: value}).encode() if member.name == "manifest.json" else data
                changed = tarfile.TarInfo(member.name)
                changed.size = len(text)
                tar.addfile(changed, io.BytesIO(text))
        with pytest.raises((ArchiveRefused, RestoreRefused), match=said):
            restores.restore(settings_for(tmp_path / "new"), Archive(tmp_path / "newer.backup"))
    assert not (tmp_path / "new").exists()


def test_what_the_database_refuses_is_said_in_a_line_and_leaves_nothing(rt: Runtime, target: Settings, tmp_path: Path) -> None:
    """A backup whose rows do not fit their table: whole by its checksums, and yet not to be loaded."""
    path = backup(rt, tmp_path / "nurture.backup")

    class Broken(Archive):
        def tables(self) -> Iterator[tuple[str, Iterable[bytes]]]:
            for name, blocks in super().tables():
                yield name, [b"no row\n"] if name == "editions" else blocks

    with pytest.raises(RestoreRefused, match="Nothing was changed"):
        restores.restore(target, Broken(path))
    if target.database_url is None:
        assert not list(target.instance_dir.glob("*.db*"))
    restores.restore(target, Archive(path))


def encrypted(data: bytes, chunk_bytes: int = 64) -> bytes:
    out = io.BytesIO()
    writer = EncryptingWriter(out, PASSPHRASE, log2_n=14, chunk_bytes=chunk_bytes)
    for start in range(0, len(data), 50):
        writer.write(data[start : start + 50])
    writer.finish()
    return out.getvalue()


def decrypted(data: bytes, passphrase: str = PASSPHRASE) -> bytes:
    return io.BufferedReader(DecryptingReader(io.BytesIO(data), passphrase)).read()


@tries(max_examples=examples(60, 20), deadline=None)
@given(data=st.binary(max_size=400))
def test_what_is_encrypted_is_read_again(data: bytes) -> None:
    assert decrypted(encrypted(data)) == data


WHOLE = encrypted(bytes(range(200)))


@tries(max_examples=examples(300, 60), deadline=None)
@given(at=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_of_an_encrypted_backup_is_refused(at: int, bit: int) -> None:
    data = bytearray(WHOLE)
    data[at] ^= 1 << bit
    with pytest.raises(DecryptionRefused):
        decrypted(bytes(data))


@tries(max_examples=examples(100, 30), deadline=None)
@given(length=st.integers(0, len(WHOLE) - 1))
def test_every_cut_off_encrypted_backup_is_refused(length: int) -> None:
    with pytest.raises(DecryptionRefused):
        decrypted(WHOLE[:length])


def test_chunks_cannot_be_moved_left_out_or_added() -> None:
    head = len(WHOLE) - 200 - 4 * 16
    chunks = [WHOLE[head + 80 * n : head + 80 * (n + 1)] for n in range(4)]
    assert b"".join(chunks) == WHOLE[head:]
    for order in ([1, 0, 2, 3], [0, 2, 3], [0, 1, 2], [0, 1, 2, 3, 3], [0, 0, 1, 2, 3], [3]):
        with pytest.raises(DecryptionRefused):
            decrypted(WHOLE[:head] + b"".join(chunks[n] for n in order))


def test_a_wrong_passphrase_opens_nothing(rt: Runtime, tmp_path: Path) -> None:
    path = backup(rt, tmp_path / "nurture.backup", passphrase=PASSPHRASE)
    assert b"tables/" not in path.read_bytes()
    for passphrase, said in (("another one", "does not open"), (None, "is encrypted")):
        with pytest.raises(DecryptionRefused, match=said):
            Archive(path, passphrase).verify()
    assert Archive(path, PASSPHRASE).verify()[0].total > 0
    with pytest.raises(BackupRefused, match="shorter"):
        backup(rt, tmp_path / "other.backup", passphrase="short")
    assert not (tmp_path / "other.backup").exists()


def before_the_names_changed(shape: TableShape) -> TableShape:
    names = ScriptDirectory(str(schema_version.MIGRATIONS)).get_revision("0020").module
    tables, columns = {new: old for old, new in names._TABLES.items()}, names._COLUMNS.get(shape.name, {})
    old_columns = {new: old for old, new in columns.items()}
    return TableShape(
        tables.get(shape.name, shape.name), tuple((old_columns.get(name, name), kind) for name, kind in shape.columns)
    )


def test_a_backup_of_an_older_schema_is_brought_up(rt: Runtime, clock: ManualClock, target: Settings, tmp_path: Path) -> None:
    """As an older version would have written it: the rows of its tables, at its revision."""
    a_subscriber(rt)
    rt.database.migrate("0011")
    with rt.database.read() as db:
        there = {name: {column["name"] for column in inspect(db).get_columns(name)} for name in inspect(db).get_table_names()}
        shapes = tuple(
            TableShape(shape.name, tuple(each for each in shape.columns if each[0] in there[shape.name]))
            for shape in map(before_the_names_changed, table_copy.shapes())
            if shape.name in there
        )
        key = runtime.secret(rt.env_settings)
        with write_archive(tmp_path / "old.backup", None) as archive:
            for shape in shapes:
                for block in table_copy.read_blocks(db, shape):
                    archive.add_block(shape.name, block)
            archive.add_manifest(
                Manifest(
                    clock.real_now(), "0.0.1", "0011", db.dialect.name, rt.cipher.fingerprint(), rt.cipher.newest_key_id(),
                    links_fingerprint(key), False, shapes, {shape.name: archive.rows[shape.name] for shape in shapes},
                    archive.members,
                )
            )  # fmt: skip
    restores.restore(target, Archive(tmp_path / "old.backup"))
    after = opened(target, clock)
    assert len(rows(after)) == 2
    after.close()
