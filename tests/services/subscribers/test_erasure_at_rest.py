"""What is left of people after they are erased: nothing in the database's files, the outbox, temporary files or the log."""

import quopri
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from nurture.domain.user import Role
from nurture.letters.source import read_letter
from nurture.runtime import Runtime
from nurture.services.accounts import accounts
from nurture.services.accounts.accounts import Account
from nurture.services.addresses import parse_address
from nurture.services.letters import previews
from nurture.services.operations.retention import retain
from nurture.services.subscribers import personal_data
from nurture.store.core.desk_schema import test_emails
from nurture.store.core.schema import subscribers
from tests.people import Reader, a_subscriber, inbox, run_tick, sign_up

LETTER = read_letter("01-try.md", "---\nsubject: Hello {{ reader.first_name }}\n---\n# For {{ reader.first_name }}\n\nText.\n")
NAMES = ["Zoë", "Łukasz", "Nguyễn", "Ólafur", "Мария", "李小龍", "O'Brien", "Jean-Luc", "Şebnem", "Ævar", "مريم", "Ngũgĩ"]


@pytest.fixture
def me(rt: Runtime) -> Account:
    """Who is at the desk."""
    who = accounts.add(rt, parse_address("dana@example.org"), "Dana", Role.OWNER)
    return next(one for one in accounts.everyone(rt) if one.id == who)


def people(rt: Runtime) -> dict[Reader, str]:
    """Fifty odd people by their first names, each of which stands for one person only."""
    found = {}
    for number in range(50):
        name = f"{NAMES[number % len(NAMES)]} Quill{'abcdefghij'[number // 10]}{'abcdefghij'[number % 10]}"
        reader = a_subscriber(rt, f"quill.{number}+tag@bücher-{number}.example.org", name)
        found[reader] = name
    return found


def kept_on_disk(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, mails with their parts decoded too."""
    found = {}
    for file in folder.rglob("*"):
        if file.is_file():
            raw = file.read_bytes()
            found[str(file.relative_to(folder))] = raw + quopri.decodestring(raw) if file.suffix == ".eml" else raw
    return found


def sealed_values(rt: Runtime) -> list[bytes]:
    with rt.database.read() as db:
        rows = db.execute(select(subscribers.c.email_encrypted, subscribers.c.first_name_encrypted))
        values = [bytes(value) for row in rows for value in row if value]
        return values + [bytes(value) for value in db.scalars(select(test_emails.c.content_encrypted)) if value]


def test_nothing_of_fifty_people_is_left_in_any_file(
    rt: Runtime, me: Account, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    readers = people(rt)
    run_tick(rt)
    for reader in readers:
        previews.send_to_self(rt, [LETTER], me, reader.id)
    run_tick(rt)
    ciphers = sealed_values(rt)
    assert len(ciphers) >= 3 * len(readers)
    before = kept_on_disk(tmp_path)
    name = next(iter(readers.values()))
    assert any(name.encode() in content for file, content in before.items() if file.endswith(".eml"))
    (tmp_path / "outbox" / f".{inbox(rt)[0].id}.half-written").write_bytes(b"left by a process that was killed")
    for reader in readers:
        personal_data.erase(rt, reader.id)
    said = "".join(capfd.readouterr()).encode()
    for file, content in {**kept_on_disk(tmp_path), "the log": said}.items():
        for reader, name in readers.items():
            for word in (name, reader.email, name.split()[-1], f"bücher-{reader.email.split('bücher-')[1]}"):
                assert word.encode() not in content, file
        for cipher in ciphers:
            assert cipher not in content, f"{file} holds a value that was sealed"
    with rt.database.read() as db:
        assert db.scalars(select(test_emails.c.id)).all() == []


def test_a_test_mail_is_sealed_and_says_what_it_said(rt: Runtime, me: Account) -> None:
    reader = a_subscriber(rt, first_name="Quillon")
    previews.send_to_self(rt, [LETTER], me, reader.id)
    with rt.database.read() as db:
        (row,) = db.execute(select(test_emails)).mappings()
    assert not any("Quillon" in str(value) for value in row.values())
    assert row["subscriber_id"] == reader.id
    run_tick(rt)
    assert "Hello Quillon" in [str(mail.message["Subject"]) for mail in inbox(rt)]


def test_a_test_mail_of_somebody_erased_is_not_sent_any_more(rt: Runtime, me: Account) -> None:
    reader, other = a_subscriber(rt, first_name="Quillon"), a_subscriber(rt, first_name="Other")
    run_tick(rt)
    previews.send_to_self(rt, [LETTER], me, reader.id)
    previews.send_to_self(rt, [LETTER], me, other.id)
    personal_data.erase(rt, reader.id)
    run_tick(rt)
    said = [str(mail.message["Subject"]) for mail in inbox(rt)]
    assert "Hello Quillon" not in said
    assert "Hello Other" in said, "nobody else's is taken away"


def test_test_mails_of_an_older_version_still_go_out_and_go_with_whoever_is_erased(rt: Runtime, me: Account) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    previews.send_to_self(rt, [LETTER], me)
    with rt.database.begin() as db:
        db.execute(
            update(test_emails).values(content_encrypted=None, subject="Hello Quillon", html="<p>Quillon", text="Quillon")
        )
    run_tick(rt)
    assert "Hello Quillon" in [str(mail.message["Subject"]) for mail in inbox(rt)]
    personal_data.erase(rt, reader.id)
    assert "Hello Quillon" not in [str(mail.message["Subject"]) for mail in inbox(rt)]


def test_what_was_sent_before_the_upgrade_loses_its_text_and_what_waits_keeps_it(rt: Runtime, me: Account) -> None:
    for _ in range(2):
        previews.send_to_self(rt, [LETTER], me)
    rt.database.migrate("0014")
    with rt.database.begin() as db:
        assert db.scalar(text("SELECT count(*) FROM trials")) == 0, "an older version cannot read them"
        db.execute(text("INSERT INTO trials (id, user_id, subject, html, text, made_at) SELECT about_id, :me, 'Hi', 'Hi', "
                        "'Hi', created_at FROM deliveries WHERE about_kind = 'test_email'"),
                   {"me": bytes.fromhex(me.id) if rt.database.is_sqlite else me.id})  # fmt: skip
        first = "(SELECT id FROM deliveries WHERE about_kind = 'test_email' LIMIT 1)"
        db.execute(text(f"UPDATE deliveries SET state = 'accepted' WHERE id = {first}"))
    rt.database.migrate()
    with rt.database.read() as db:
        assert sorted(db.scalars(select(test_emails.c.text))) == ["", "Hi"]
    run_tick(rt)
    assert [str(mail.message["Subject"]) for mail in inbox(rt)] == ["Hi"]


def test_the_database_lets_go_of_old_values_outside_any_transaction(rt: Runtime, tmp_path: Path) -> None:
    reader = a_subscriber(rt)
    personal_data.erase(rt, reader.id)
    if rt.database.is_sqlite:
        assert (tmp_path / "nurture.db-wal").stat().st_size == 0
        return
    with rt.database.read() as db:
        assert db.scalar(text("SELECT last_vacuum IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'subscribers'"))


def test_what_retention_deletes_does_not_stay_in_the_log_of_the_database(rt: Runtime, tmp_path: Path) -> None:
    sign_up(rt)
    retain(rt)
    if rt.database.is_sqlite:
        assert (tmp_path / "nurture.db-wal").stat().st_size == 0
