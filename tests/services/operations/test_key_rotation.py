"""Rotation of field keys: from the default one, while the service goes on, cut short and gone on; look-ups stay as they are."""

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from nurture import runtime
from nurture.mailers.smtp import kept_address
from nurture.runtime import Runtime
from nurture.services.addresses import parse_address
from nurture.services.operations import key_rotation
from nurture.services.settings import desk_settings
from nurture.services.subscribers import listing
from nurture.settings import SettingRefused
from nurture.store.core import encrypted_fields, metadata
from nurture.store.core.columns import EncryptedColumn
from nurture.store.core.encrypted_fields import ENCRYPTED_FIELDS
from tests.conftest import settings_for
from tests.people import a_subscriber, sign_up
from tests.services.settings.test_desk_settings import SENDER

OLD, NEW, NEWER = "o" * 32, "n" * 32, "m" * 32


def opened(folder: Path, url: str, ring: str | None) -> Runtime:
    return runtime.build(settings_for(folder, url, field_keys=ring, from_name="Dana from Oak Street"))


def some_data(rt: Runtime, count: int = 5) -> list[str]:
    """Values of several tables; returns the addresses."""
    addresses = [a_subscriber(rt).email for _ in range(count)]
    desk_settings.save(rt, SENDER, None)
    desk_settings.save_mailer(rt, {"mailer": "smtp", "smtp_url": "smtp://u:pw@127.0.0.1:2525"}, None)  # type: ignore[arg-type]
    return addresses


def key_ids(rt: Runtime) -> set[str]:
    """With which keys the stored values are encrypted."""
    found: set[str] = set()
    with rt.database.read() as db:
        for field in ENCRYPTED_FIELDS:
            found |= {bytes(value)[1:5].hex() for value in db.scalars(select(field.column).where(field.column.is_not(None)))}
    return found


def test_every_encrypted_column_is_rotated() -> None:
    columns = {
        (table.name, column.name)
        for table in metadata.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, EncryptedColumn)
    }
    assert {(field.table.name, field.column.name) for field in ENCRYPTED_FIELDS} == columns


def test_rotation_from_the_default_key_and_the_old_secret_may_go(database_url: str, tmp_path: Path) -> None:
    before = opened(tmp_path, database_url, None)
    addresses = some_data(before)
    before.close()
    rt = opened(tmp_path, database_url, NEW)
    assert rt.cipher.fingerprint() == before.cipher.fingerprint(), "addresses are found as before"
    late = sign_up(rt, "late@oak.example")
    assert len(key_ids(rt)) == 2
    done = key_rotation.rotate(rt)
    assert done.unreadable == 0
    assert done.rotated > len(addresses)
    assert key_ids(rt) == {rt.cipher.newest_key_id()}
    assert key_rotation.rotate(rt).rotated == 0
    assert late is not None
    rt.close()
    moved = runtime.build(
        settings_for(tmp_path, database_url, field_keys=NEW).model_copy(update={"secret_key": rt.env_settings.field_keys})
    )
    for address in [*addresses, "late@oak.example"]:
        assert listing.find(moved, parse_address(address, test_names=True)).who is not None
    kept = kept_address(moved.settings)
    assert kept is not None
    assert kept.password == "pw"
    moved.close()


def test_a_key_that_is_still_needed_is_missed_at_the_start(database_url: str, tmp_path: Path) -> None:
    first = opened(tmp_path, database_url, None)
    some_data(first)
    first.close()
    second = opened(tmp_path, database_url, NEW)
    sign_up(second, "robin@oak.example")
    second.close()
    for ring in (None, NEWER):
        with pytest.raises(SettingRefused, match="do not fit its database"):
            opened(tmp_path, database_url, ring)
    third = opened(tmp_path, database_url, f"{NEWER},{NEW}")
    key_rotation.rotate(third)
    third.close()
    opened(tmp_path, database_url, NEWER).close()
    with pytest.raises(SettingRefused, match="do not fit its database"):
        opened(tmp_path, database_url, NEW)


def test_rotation_that_was_cut_short_goes_on(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = opened(tmp_path, database_url, None)
    some_data(before, 7)
    before.close()
    rt = opened(tmp_path, database_url, NEW)
    monkeypatch.setattr(key_rotation, "_ROWS", 2)

    class Cut(Exception):
        pass

    def cut(count: int) -> None:
        if count >= 4:
            raise Cut

    with pytest.raises(Cut):
        key_rotation.rotate(rt, cut)
    assert len(key_ids(rt)) == 2
    rt.close()
    opened(tmp_path, database_url, f"{NEW},{OLD}").close()
    again = opened(tmp_path, database_url, NEW)
    key_rotation.rotate(again)
    assert key_ids(again) == {again.cipher.newest_key_id()}
    again.close()


def test_what_changes_meanwhile_is_not_overwritten(database_url: str, tmp_path: Path) -> None:
    before = opened(tmp_path, database_url, None)
    some_data(before, 1)
    before.close()
    rt = opened(tmp_path, database_url, NEW)
    field = next(each for each in ENCRYPTED_FIELDS if each.column.name == "first_name_encrypted")
    with rt.database.read() as db:
        rows = encrypted_fields.not_encrypted_by(db, field, bytes.fromhex(rt.cipher.newest_key_id()), None, 10)
    with rt.database.begin() as db:
        changes: list[tuple[str, Any, Any]] = [(key, rt.cipher.encrypt("other", field.place(key)), old) for key, old in rows]
        assert rows
        assert encrypted_fields.replace_encrypted(db, field, changes) == 0
    rt.close()


def test_a_value_that_no_key_opens_is_counted_and_left(database_url: str, tmp_path: Path) -> None:
    rt = opened(tmp_path, database_url, None)
    some_data(rt, 2)
    field = ENCRYPTED_FIELDS[0]
    with rt.database.begin() as db:
        first = db.scalar(select(field.key).order_by(field.key).limit(1))
        db.execute(field.table.update().where(field.key == first).values(email_encrypted=b"\x01damaged, and short"))
    rt.close()
    again = opened(tmp_path, database_url, NEW)
    assert key_rotation.rotate(again).unreadable == 1
    again.close()
    opened(tmp_path, database_url, NEW).close()


def test_sign_ups_go_on_while_keys_are_rotated(database_url: str, tmp_path: Path) -> None:
    before = opened(tmp_path, database_url, None)
    some_data(before, 10)
    before.close()
    rt = opened(tmp_path, database_url, NEW)
    failed: list[BaseException] = []

    def go_on() -> None:
        try:
            for number in range(10):
                sign_up(rt, f"new{number}@oak.example")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=go_on)
    thread.start()
    key_rotation.rotate(rt)
    thread.join()
    assert failed == []
    assert key_ids(rt) == {rt.cipher.newest_key_id()}
    rt.close()
