"""The journal of departures: who left, outside the database, so that a restored backup learns of it."""

import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select
from structlog.testing import capture_logs

from nurture import runtime
from nurture.delivery import departures as replaying
from nurture.delivery import provider_events
from nurture.domain.event import Event, EventKind
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.runtime import Runtime
from nurture.services.operations.retention import retain
from nurture.services.subscribers import departures, personal_data, unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import subscribers as people
from nurture.store.core.schema import suppressions
from nurture.store.deliveries import send_blocks
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.subscribers import subscribers
from nurture.store.subscribers.departures import JOURNAL_FILE, Departure, DepartureJournal, DepartureKind, JournalContent
from tests.clocks import ManualClock
from tests.conftest import settings_for
from tests.people import Reader, a_subscriber, confirm, inbox, run_tick, sign_up, undo_unsubscribe

AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def words(rt: Runtime) -> list[tuple[str, str]]:
    """Lines of the journal as (kind, hash), but for its first line and the times up to which it was checked."""
    lines = (rt.settings.instance_dir / JOURNAL_FILE).read_text("ascii").splitlines()[1:]
    return [(line.split()[1], line.split()[2]) for line in lines if not line.endswith(" checked")]


def index(rt: Runtime, reader: Reader) -> str:
    return rt.cipher.blind_index(reader.email).hex()


def complaint(reader: Reader) -> Event:
    return Event(EventKind.COMPLAINED, AT, reader.id[:16].encode(), email=reader.email, suppresses=Suppression.COMPLAINED)


def test_whoever_leaves_is_in_the_journal_when_the_page_has_answered_and_no_address_is(rt: Runtime, clock: ManualClock) -> None:
    left, back, erased, complained = (a_subscriber(rt) for _ in range(4))
    unsubscribe.unsubscribe(rt, left.id, Exit.ONE_CLICK)
    unsubscribe.unsubscribe(rt, left.id, Exit.PAGE)
    unsubscribe.unsubscribe(rt, back.id, Exit.PAGE)
    undo_unsubscribe(rt, back.id)
    personal_data.erase(rt, erased.id)
    provider_events.record_events(rt, [complaint(complained)])
    assert words(rt) == [
        ("unsubscribed", index(rt, left)),
        ("unsubscribed", index(rt, back)),
        ("returned", index(rt, back)),
        ("erasing", index(rt, erased)),
        ("erased", index(rt, erased)),
        ("complained", index(rt, complained)),
    ]
    file = rt.settings.instance_dir / JOURNAL_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert "example.org" not in file.read_text("ascii")
    confirm(rt, sign_up(rt, left.email))
    assert words(rt)[-1] == ("returned", index(rt, left))


def test_what_is_rolled_back_is_not_in_the_journal(rt: Runtime) -> None:
    email_index = rt.cipher.blind_index("nobody@example.org")
    with pytest.raises(ZeroDivisionError), rt.database.begin() as db:
        subscribers.suppress(db, email_index, Suppression.BOUNCED, AT)
        raise ZeroDivisionError
    with rt.database.begin() as db:
        subscribers.suppress(db, rt.cipher.blind_index("somebody@example.org"), Suppression.BOUNCED, AT)
    assert [kind for kind, _ in words(rt)] == ["bounced"]


def test_a_journal_that_missed_something_is_completed_and_twice_is_fine(rt: Runtime, clock: ManualClock) -> None:
    """The process died after the commit, or another machine's process took the departure."""
    left, back, again = (a_subscriber(rt) for _ in range(3))
    unsubscribe.unsubscribe(rt, back.id, Exit.PAGE)
    unsubscribe.unsubscribe(rt, again.id, Exit.PAGE)
    journal, rt.database.departures = rt.database.departures, None
    clock.advance(minutes=1)
    unsubscribe.unsubscribe(rt, left.id, Exit.PAGE)
    undo_unsubscribe(rt, back.id)
    undo_unsubscribe(rt, again.id)
    clock.advance(minutes=1)
    unsubscribe.unsubscribe(rt, again.id, Exit.PAGE)
    rt.database.departures = journal
    assert departures.complete(rt) == 3
    assert departures.complete(rt) == 0
    assert journal is not None
    last = {found.email_index.hex(): (found.kind, found.at) for found in journal.read().last.values()}
    assert last[index(rt, left)][0] == "unsubscribed"
    assert last[index(rt, back)][0] == "returned"
    assert last[index(rt, again)] == ("unsubscribed", clock.now())
    assert journal.read().checked == clock.real_now()


def test_a_lost_journal_is_written_anew(rt: Runtime) -> None:
    left = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, left.id, Exit.PAGE)
    (rt.settings.instance_dir / JOURNAL_FILE).unlink()
    assert departures.complete(rt) == 1
    assert words(rt) == [("unsubscribed", index(rt, left))]


@pytest.mark.parametrize("committed", [True, False])
def test_an_erasure_that_was_announced_by_a_process_that_died_is_looked_up(rt: Runtime, committed: bool) -> None:
    reader = a_subscriber(rt)
    journal = rt.database.departures
    assert journal is not None
    email_index = rt.cipher.blind_index(reader.email)
    journal.append([Departure(DepartureKind.ERASING, email_index, rt.clock.now())])
    if committed:
        rt.database.departures = None
        personal_data.erase(rt, reader.id)
        rt.database.departures = journal
    departures.complete(rt)
    assert journal.read().last[email_index].kind == ("erased" if committed else "returned")


def test_a_database_that_was_set_back_takes_nothing_out_of_the_journal(rt: Runtime) -> None:
    left = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, left.id, Exit.PAGE)
    with rt.database.begin() as db:  # as it was before
        db.execute(delete(suppressions))
    assert departures.complete(rt) == 0
    with rt.database.begin() as db:
        send_blocks.block(db, BlockKind.DATABASE_RESTORED, "it was set back", "a test", rt.clock.real_now())
        subscribers.suppress(db, bytes(32), Suppression.BOUNCED, AT)
    before = words(rt)
    assert departures.complete(rt) == 0
    assert words(rt) == before


def test_a_full_disk_keeps_nobody_from_leaving(rt: Runtime) -> None:
    left, erased = a_subscriber(rt), a_subscriber(rt)
    assert rt.database.departures is not None
    rt.database.departures.path = Path("/dev/full/nowhere")
    with capture_logs() as logged:
        unsubscribe.unsubscribe(rt, left.id, Exit.PAGE)
        personal_data.erase(rt, erased.id)
    rt.database.departures.path = rt.settings.instance_dir / JOURNAL_FILE
    assert "departure_not_journaled" in [each["event"] for each in logged]
    assert departures.complete(rt) == 2


def restored(rt: Runtime, state: dict[str, object]) -> None:
    """Put rows of people and suppressions back as they were."""
    with rt.database.begin() as db:
        db.execute(delete(suppressions))
        for row in state.values():
            db.execute(people.update().where(people.c.id == row.id).values(**row._mapping))  # type: ignore[attr-defined]


def test_a_restored_database_learns_who_left_and_was_erased(rt: Runtime, clock: ManualClock) -> None:
    left, erased, bounced, back, stays = readers = [a_subscriber(rt) for _ in range(5)]
    with rt.database.read() as db:
        state: dict[str, object] = {row.id: row for row in db.execute(select(people))}
    clock.advance(hours=1)
    for reader in (left, back):
        unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    personal_data.erase(rt, erased.id)
    provider_events.record_events(rt, [complaint(bounced)])
    clock.advance(hours=1)
    undo_unsubscribe(rt, back.id)
    departures.complete(rt)
    restored(rt, state)
    with rt.database.begin() as db:
        report = replaying.replay(rt, db)
        again = replaying.replay(rt, db)
    assert (report.entries, report.stopped, report.erased, report.unreadable) == (4, 3, 1, 0)
    assert (again.stopped, again.erased) == (0, 0)
    assert not report.is_lost(clock.real_now())
    assert report.is_lost(clock.real_now() + timedelta(seconds=1))
    with rt.database.read() as db:
        states = {row.id: row.state for row in db.execute(select(people))}
    assert [states[reader.id] for reader in readers] == [
        SubscriberState.UNSUBSCRIBED,
        SubscriberState.ERASED,
        SubscriberState.COMPLAINED,
        SubscriberState.ACTIVE,
        SubscriberState.ACTIVE,
    ]
    retain(rt)
    with rt.database.read() as db:
        assert subscribers.find(db, rt.cipher.blind_index(erased.email)) is None
        gone = subscribers.get_unlocked(db, erased.id)
        assert gone is not None
        assert rt.cipher.decrypt(gone.email, subscribers.email_field(erased.id)) == ""
    run_tick(rt)
    assert all(not inbox(rt, reader) for reader in (left, erased, bounced))
    assert len(inbox(rt, stays)) == len(inbox(rt, back)) == 1


def test_a_reader_who_came_back_before_the_backup_is_not_taken_off_by_an_old_word(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    rt.database.departures, journal = None, rt.database.departures
    clock.advance(hours=1)
    undo_unsubscribe(rt, reader.id)
    rt.database.departures = journal
    with rt.database.begin() as db:
        assert replaying.replay(rt, db).stopped == 0


def test_journals_of_several_machines_are_read_together(rt: Runtime, tmp_path: Path) -> None:
    one, two = a_subscriber(rt), a_subscriber(rt)
    files = [tmp_path / "a.journal", tmp_path / "b.journal"]
    fingerprint = rt.cipher.fingerprint()
    kinds = DepartureKind.UNSUBSCRIBED, DepartureKind.RETURNED
    indices = rt.cipher.blind_index(one.email), rt.cipher.blind_index(two.email)
    late = rt.clock.now() + timedelta(minutes=5)
    for file, at in zip(files, (late, late + timedelta(minutes=1)), strict=True):
        first, second = kinds if file is files[0] else kinds[::-1]
        DepartureJournal(file, fingerprint).append([Departure(first, indices[0], at), Departure(second, indices[1], at)])
    DepartureJournal(files[1], fingerprint).mark_checked(late)
    foreign = tmp_path / "foreign.journal"
    DepartureJournal(foreign, "of another").append([Departure(DepartureKind.BOUNCED, indices[0], late)])
    (tmp_path / "letter.txt").write_text("no journal")
    with rt.database.begin() as db:
        report = replaying.replay(rt, db, [*files, foreign, tmp_path / "letter.txt", tmp_path / "missing"])
    assert (report.entries, report.stopped, report.checked) == (2, 1, late)
    assert tmp_path / "missing" in report.missing
    assert len(report.refused) == 2
    with rt.database.read() as db:
        assert subscribers.suppression(db, indices[0]) is None, "the later word: came back"
        assert subscribers.suppression(db, indices[1]) is Suppression.UNSUBSCRIBED


def test_a_journal_of_thousands_of_lines_is_rewritten_shorter(tmp_path: Path) -> None:
    journal = DepartureJournal(tmp_path / JOURNAL_FILE, "key")
    kinds = (DepartureKind.UNSUBSCRIBED, DepartureKind.RETURNED)
    many = [Departure(kinds[n % 2], (n % 3).to_bytes(32, "big"), AT + timedelta(seconds=n)) for n in range(10_100)]
    journal.append(many)
    journal.mark_checked(AT)
    before = journal.read()
    assert journal.compact()
    after = journal.read()
    assert (after.last, after.checked) == (before.last, before.checked)
    assert after.lines == 4
    assert not journal.compact()


def test_looking_again_and_again_does_not_make_the_journal_grow(tmp_path: Path) -> None:
    journal = DepartureJournal(tmp_path / JOURNAL_FILE, "key")
    journal.append([Departure(DepartureKind.BOUNCED, bytes(32), AT)])
    journal.mark_checked(AT)
    size = journal.path.stat().st_size
    for minute in range(5):
        journal.mark_checked(AT + timedelta(minutes=minute))
    assert journal.path.stat().st_size == size
    journal.append([Departure(DepartureKind.UNSUBSCRIBED, bytes(32), AT)])
    content = journal.read()
    assert content.last[bytes(32)].kind is DepartureKind.UNSUBSCRIBED
    assert (content.checked, content.unreadable) == (AT + timedelta(minutes=4), 0)


LINES = [Departure(DepartureKind.BOUNCED, bytes([n] * 32), AT + timedelta(seconds=n)) for n in range(4)]


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(min_value=30, max_value=420))
def test_a_journal_cut_off_anywhere_keeps_whole_lines_and_goes_on(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    journal = DepartureJournal(tmp_path_factory.mktemp("journal") / JOURNAL_FILE, "key")
    journal.append(LINES)
    data = journal.path.read_bytes()
    journal.path.write_bytes(data[:cut])
    whole = data[:cut].count(b"\n") - 1
    journal.append([Departure(DepartureKind.ERASED, bytes([9] * 32), AT)])
    content = journal.read()
    assert len(content.last) in (whole + 1, whole + 2), "a line whose end alone is missing is a whole one"
    assert content.last[bytes([9] * 32)].kind is DepartureKind.ERASED
    assert set(content.last) <= {bytes([n] * 32) for n in (0, 1, 2, 3, 9)}


def _append(path: Path, who: int) -> None:
    journal = DepartureJournal(path, "key")
    for n in range(200):
        journal.append([Departure(DepartureKind.BOUNCED, bytes([who] * 16) + n.to_bytes(16, "big"), AT)])
        if n % 50 == 0:
            journal.mark_checked(AT)


def test_processes_that_append_at_once_lose_no_line(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    path = tmp_path / JOURNAL_FILE
    processes = [context.Process(target=_append, args=(path, who)) for who in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    content: JournalContent = DepartureJournal(path, "key").read()
    assert (len(content.last), content.unreadable) == (600, 0)


def test_the_hashes_outlive_a_rotation_of_the_keys(tmp_path: Path) -> None:
    old, new = "o" * 32, "n" * 32
    before = runtime.build(settings_for(tmp_path, field_keys=old), migrate=True)
    path = before.database.departures
    assert path is not None
    path.append([Departure(DepartureKind.BOUNCED, before.cipher.blind_index("a@example.org"), AT)])
    before.close()
    after = runtime.build(settings_for(tmp_path, field_keys=f"{new},{old}"))
    assert after.database.departures is not None
    assert after.cipher.blind_index("a@example.org") in after.database.departures.read().last
    after.close()


def test_a_journal_of_another_installation_is_put_aside(rt: Runtime) -> None:
    path = rt.settings.instance_dir / JOURNAL_FILE
    DepartureJournal(path, "of another").append([Departure(DepartureKind.BOUNCED, bytes(32), AT)])
    reader = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    departures.complete(rt)
    assert words(rt) == [("unsubscribed", index(rt, reader))]
    assert "of another" in path.with_name(JOURNAL_FILE + ".of-another-key").read_text("ascii")
