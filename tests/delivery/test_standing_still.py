"""A process stands still in the middle of a transaction: no report queues behind its locks, and nothing is sent again over it.

No timing: the transaction that stands still is one of the test's own, and holds what a worker, or an edit, holds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from nurture.delivery.provider_events import EventReport, settle_noted
from nurture.delivery.reconcile import reconcile
from nurture.domain.delivery import Accepted, State
from nurture.domain.event import EventKind
from nurture.mailers.base import Mail
from nurture.runtime import Runtime
from nurture.services.operations import deliveries as service
from nurture.store.core.database import process_name
from nurture.store.deliveries import in_doubt, ledger, send_blocks
from nurture.store.sequences import schedules
from tests.clocks import ManualClock
from tests.delivery.test_provider_events import a_doubt, report, someone_elses_mail_is_reported, take, wait
from tests.people import Reader, due, rows

Hold = Callable[[Runtime, Connection, Reader, Mail], None]
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def a_turn(rt: Runtime, db: Connection, reader: Reader, mail: Mail) -> None:
    """A worker has written down what came back, and has not committed."""
    ledger.lock_readers(db, {reader.id})
    send_blocks.lock_unblocked(db)
    now, real_now = rt.clock.now(), rt.clock.real_now()
    assert ledger.accepted(db, {mail.delivery: (mail.request, "m")}, process_name(), now, real_now)
    schedules.lock_shared(db)


def only_the_reader(rt: Runtime, db: Connection, reader: Reader, mail: Mail) -> None:
    """A worker is about to write; or somebody changes something of this reader."""
    ledger.lock_readers(db, {reader.id})


def a_reclaim(rt: Runtime, db: Connection, reader: Reader, mail: Mail) -> None:
    """Whoever reconciles has locked the row."""
    in_doubt.decide(db, [mail.delivery], State.HELD, process_name(), rt.clock.real_now(), "never committed")


def an_edit(rt: Runtime, db: Connection, reader: Reader, mail: Mail) -> None:
    """The schedule is being changed, for many readers."""
    schedules.lock_exclusive(db)


@contextmanager
def standing_still(rt: Runtime, hold: Hold, reader: Reader, mail: Mail) -> Iterator[None]:
    """Somebody stands still with these locks; in the end the server takes the transaction away from them."""
    with rt.database.engine.connect() as db:
        hold(rt, db, reader, mail)
        yield
        db.rollback()


def state(rt: Runtime, reader: Reader) -> State:
    return rows(rt, reader)[0][1]


@on_postgresql
@pytest.mark.parametrize("hold", [a_turn, only_the_reader, a_reclaim, an_edit])
def test_a_report_is_not_kept_waiting_and_settles_the_doubt_although_it_never_comes_again(
    rt: Runtime, clock: ManualClock, hold: Hold
) -> None:
    reader, mail, mailer = a_doubt(rt)
    someone_elses_mail_is_reported(rt, clock)
    with standing_still(rt, hold, reader, mail):
        with pytest.raises(OperationalError):  # answered with 503, so that it is repeated
            take(rt, report(EventKind.DELIVERED, mail))
        assert settle_noted(rt, 10) == 0
        assert state(rt, reader) is State.UNKNOWN
    clock.advance(minutes=1)
    reconcile(rt)
    assert state(rt, reader) is State.ACCEPTED
    assert due(rt, reader) is not None, "the sequence goes on"
    wait(rt, clock, 70)
    assert len(mailer.given) == 1


@on_postgresql
def test_what_a_report_is_on_file_of_is_not_sent_again_however_long_its_locks_are_held(rt: Runtime, clock: ManualClock) -> None:
    reader, mail, mailer = a_doubt(rt)
    someone_elses_mail_is_reported(rt, clock)
    reconcile(rt)
    with standing_still(rt, only_the_reader, reader, mail):  # the row itself is free to be sent again
        with pytest.raises(OperationalError):
            take(rt, report(EventKind.DELIVERED, mail))
        wait(rt, clock, 60, looks=5)
        assert state(rt, reader) is State.UNKNOWN
    assert len(mailer.given) == 1
    assert take(rt, report(EventKind.DELIVERED, mail)) == EventReport(fresh=1, orphans=0, settled=1), (
        "repeated, it is as fresh as ever"
    )
    assert state(rt, reader) is State.DELIVERED
    assert "it could not be settled at once" in [line.why for line in service.history(rt, mail.delivery)]


@on_postgresql
def test_while_reports_are_turned_away_silence_about_another_mail_means_nothing(rt: Runtime, clock: ManualClock) -> None:
    _, _, mailer = a_doubt(rt)
    someone_elses_mail_is_reported(rt, clock)
    wait(rt, clock, 20)
    other, mail, _ = a_doubt(rt)
    with standing_still(rt, only_the_reader, other, mail), pytest.raises(OperationalError):
        take(rt, report(EventKind.DELIVERED, mail))
    rt.mailer = mailer
    mailer.answer = lambda _: Accepted("m")
    wait(rt, clock, 29)
    assert len(mailer.given) == 1, "its own report may be queueing behind the one that was turned away"
    wait(rt, clock, 4)
    assert len(mailer.given) == 2


@on_postgresql
def test_whoever_reconciles_passes_by_a_locked_row_and_decides_the_others(rt: Runtime, clock: ManualClock) -> None:
    reader, mail, _ = a_doubt(rt)
    other, _, mailer = a_doubt(rt)
    someone_elses_mail_is_reported(rt, clock)
    mailer.answer = lambda _: Accepted("m")
    with standing_still(rt, a_turn, reader, mail):
        wait(rt, clock, 33)
        assert (state(rt, reader), state(rt, other)) == (State.UNKNOWN, State.ACCEPTED)


def test_a_process_that_stood_still_has_not_watched(rt: Runtime, clock: ManualClock) -> None:
    _, _, mailer = a_doubt(rt)
    someone_elses_mail_is_reported(rt, clock)
    mailer.answer = lambda _: Accepted("m")
    reconcile(rt)
    clock.advance(hours=1)  # asleep, or cut off from the database; and so were the reports
    wait(rt, clock, 29)
    assert len(mailer.given) == 1
    wait(rt, clock, 3)
    assert len(mailer.given) == 2
