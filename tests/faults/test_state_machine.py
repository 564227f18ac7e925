"""Histories that Hypothesis thinks up: over the pure table of moves, and over the real service on both databases."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Connection, delete, exists, func, not_, select, text, update

from nurture.delivery import provider_events
from nurture.delivery.reconcile import reconcile
from nurture.delivery.safety_checks import check
from nurture.domain.delivery import IN_DOUBT, MOVES, OPEN, DeliveryKind, InDoubt, State, verdict
from nurture.domain.event import Event, EventKind, outcome
from nurture.domain.sequence import EnrollmentState
from nurture.failpoints import POINTS, Point
from nurture.runtime import ProcessState, Runtime
from nurture.services.operations import deliveries as desk
from nurture.services.operations.send_blocks import start_sending
from nurture.services.subscribers import unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import app_state, deliveries, editions, enrollments, metadata, sequences, steps
from nurture.store.core.schema import send_blocks as gates_table
from nurture.store.deliveries import send_blocks
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.tokens import TokenRefused
from tests.clocks import ManualClock
from tests.faults.conftest import FULL
from tests.faults.model import PROVEN
from tests.faults.points import Killed, meeting
from tests.faults.provider import Answer, Provider
from tests.people import Reader, a_subscriber, confirm, run_tick, sign_up, undo_unsubscribe

D, E = deliveries.c, enrollments.c


def thoroughly(examples: int, steps_each: int, shrink: bool = True) -> settings:
    """As many histories, ten times that in `make faults`; in `make test` always the same ones."""
    return settings(
        max_examples=examples * (10 if FULL else 1), stateful_step_count=steps_each, derandomize=not FULL, deadline=None,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate], report_multiple_bugs=False,
        database=None, suppress_health_check=list(HealthCheck), print_blob=True,
    )  # fmt: skip


# --- The pure table --------------------------------------------------------------------------------------------------


class Table(RuleBasedStateMachine):
    """One delivery, moved along MOVES by whatever can move it."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State.SCHEDULED
        self.proven = False
        self.posted = 0

    @rule(data=st.data())
    def moves(self, data: st.DataObject) -> None:
        to = data.draw(st.sampled_from(sorted(MOVES[self.state] | {self.state})))
        self.posted += (self.state, to) == (State.CLAIMED, State.SENDING)
        self.state = to
        self.proven |= to in PROVEN

    @rule(kind=st.sampled_from(EventKind))
    def is_reported(self, kind: EventKind) -> None:
        for to in (State.ACCEPTED, outcome(kind)):
            if to in MOVES[self.state]:
                self.state = to
        self.proven |= self.state in PROVEN
        assert self.state in PROVEN, "whatever is reported of a mail, the provider has it"

    @precondition(lambda self: self.state is State.UNKNOWN)
    @rule(
        then=st.sampled_from(InDoubt), waited=st.timedeltas(), watched=st.timedeltas(), healthy=st.booleans(),
    )  # fmt: skip
    def is_decided(self, then: InDoubt, waited: timedelta, watched: timedelta, healthy: bool) -> None:
        enough, too_long = timedelta(minutes=30), timedelta(hours=26)
        to = verdict(then, waited, watched, healthy, enough, too_long)
        assert to is State.UNKNOWN or to in MOVES[State.UNKNOWN]
        if to is State.SCHEDULED:
            assert then is InDoubt.RESEND
            assert healthy
            assert min(waited, watched) >= enough
        self.state = to

    @invariant()
    def what_the_provider_has_stays_with_it(self) -> None:
        assert not self.proven or self.state in PROVEN

    @invariant()
    def nothing_is_posted_unless_it_was_claimed(self) -> None:
        assert self.state is not State.SENDING or self.posted


def test_along_the_table_of_moves_what_the_provider_has_never_comes_back(seed_of_histories: int) -> None:
    run_state_machine_as_test(seed(seed_of_histories)(Table), settings=thoroughly(200, 30))


# --- The service itself ----------------------------------------------------------------------------------------------

OUTSIDE: tuple[Point, ...] = (
    "claim.after_commit",
    "render",
    "mark.after_commit",
    "settle.after_commit",
    "post.before",
    "post.after",
)
"""Points at which no transaction is open: somebody else can act there without waiting."""


IN_EVENT = [point for point in POINTS if point.startswith("event")]
IN_RECLAIM_AND_RESOLVE = [point for point in POINTS if point.startswith(("reclaim", "resolve"))]
ANSWERS = st.lists(st.sampled_from(Answer), max_size=5)
WHO = st.integers(0, 11)
PASSES = st.sampled_from([timedelta(minutes=minutes) for minutes in (1, 3, 14, 31)] + [timedelta(hours=20), timedelta(days=4)])
"""Longer and shorter than what is missed for half an hour, while it is looked at every quarter of one."""


@dataclass
class Somebody:
    """A reader, and what they may still get."""

    reader: Reader
    confirmed: bool = False
    left: bool = False
    got_before: int = 0
    """Mails when they left."""
    on_its_way: set[str] = field(default_factory=set)
    """Deliveries in doubt when they left: these were marked before, and may arrive."""


class Service(RuleBasedStateMachine):
    """Readers, a provider that answers as it likes, processes that die, a clock, and a person with a stop switch."""

    rt: Runtime
    when_in_doubt: InDoubt

    @initialize()
    def begins(self) -> None:
        self.clock = ManualClock()
        self.provider = Provider(self.clock)
        self.rt.clock, self.rt.mailer = self.clock, self.provider
        self.people: list[Somebody] = []
        self.rt.process_state = ProcessState()
        with self.rt.database.begin() as db:
            _empty(db)
            db.execute(update(sequences).values(rules=_RULES.format(self.when_in_doubt)))
            _log_moves(db)
        for _ in range(2):  # histories are short: these two are past the beginning
            self.people.append(Somebody(a_subscriber(self.rt, f"reader{len(self.people)}@example.org"), confirmed=True))

    # People

    @precondition(lambda self: len(self.people) < 4)
    @rule()
    def somebody_signs_up(self) -> None:
        self._a_person_looks()
        self.people.append(Somebody(sign_up(self.rt, f"reader{len(self.people)}@example.org")))

    @rule(who=WHO)
    def somebody_signs_up_again(self, who: int) -> None:
        if one := self._one(who, left=False):
            self._a_person_looks()
            sign_up(self.rt, one.reader.email)

    def _a_person_looks(self) -> None:
        """After a crash and an hour without a tick the database counts as a restored copy: a person starts sending again."""
        if not check(self.rt):
            start_sending(self.rt, BlockKind.DATABASE_RESTORED)

    @rule(who=WHO)
    def somebody_confirms(self, who: int) -> None:
        if one := self._one(who, left=False):
            try:
                confirm(self.rt, one.reader)
                one.confirmed = True
            except TokenRefused:
                pass

    @rule(who=WHO, how=st.sampled_from(Exit))
    def somebody_leaves(self, who: int, how: Exit) -> None:
        if one := self._one(who, left=False):
            assert self._leave(one, how) == bool(one.on_its_way), "the page says whether something may still arrive"

    def _leave(self, one: Somebody, how: Exit = Exit.ONE_CLICK) -> bool:
        arriving = unsubscribe.unsubscribe(self.rt, one.reader.id, how)
        with self.rt.database.read() as db:
            mine = select(D.id).where(D.subscriber_id == one.reader.id, D.state.in_(IN_DOUBT))
            one.on_its_way = set(db.scalars(mine))
        assert arriving or not one.on_its_way  # during a tick what was on its way may have arrived since it was said
        one.left, one.got_before = True, self.provider.sent_to(one.reader.email)
        return arriving

    @rule(who=WHO)
    def somebody_comes_back(self, who: int) -> None:
        if one := self._one(who, left=True):
            one.left = not undo_unsubscribe(self.rt, one.reader.id)

    def _one(self, who: int, left: bool) -> Somebody | None:
        """What is drawn must not depend on what happened: in the service ids are random and threads race."""
        found = [one for one in self.people if one.left == left]
        return found[who % len(found)] if found else None

    # The post office

    @rule(
        answers=st.lists(st.sampled_from(Answer), max_size=5),
        dies_at=st.none() | st.sampled_from(POINTS),
        nth=st.integers(1, 3),
    )
    def a_process_ticks(self, answers: list[Answer], dies_at: Point | None, nth: int) -> None:
        with meeting(dies_at, nth=nth):
            self._tick(answers)

    @rule(answers=ANSWERS, at=st.sampled_from(OUTSIDE), nth=st.integers(1, 3), who=WHO)
    def somebody_leaves_during_a_tick(self, answers: list[Answer], at: Point, nth: int, who: int) -> None:
        one = self._one(who, left=False)

        def leaves() -> None:
            if one:
                self._leave(one)

        with meeting(at if one else None, leaves, nth):
            self._tick(answers)

    def _tick(self, answers: list[Answer]) -> None:
        self.provider.script = deque(answers)
        try:
            run_tick(self.rt)
        except Killed:
            self.rt.process_state = ProcessState()  # what it had in its head is gone
        self.provider.script.clear()

    @rule(dies_at=st.none() | st.sampled_from(IN_RECLAIM_AND_RESOLVE))
    def a_process_reconciles(self, dies_at: Point | None) -> None:
        try:
            with meeting(dies_at):
                reconcile(self.rt)
        except Killed:
            self.rt.process_state = ProcessState()

    @rule(passes=PASSES)
    def time_passes(self, passes: timedelta) -> None:
        self.clock.at += passes

    @rule(which=st.lists(st.integers(0, 15), min_size=1, max_size=6), dies_at=st.none() | st.sampled_from(IN_EVENT))
    def events_arrive(self, which: list[int], dies_at: Point | None) -> None:
        """Some, in any order, some of them twice; those that were not noted come again."""
        events = self.provider.events
        if events:
            self._take([events[index % len(events)] for index in which], dies_at)

    def _take(self, bundle: Sequence[Event], dies_at: Point | None = None) -> None:
        try:
            with meeting(dies_at):
                provider_events.record_events(self.rt, bundle)
        except Killed:
            return
        self.provider.events = [event for event in self.provider.events if event not in bundle]

    @rule(shut=st.booleans())
    def a_person_throws_the_stop_switch(self, shut: bool) -> None:
        with self.rt.database.begin() as db:
            if shut:
                send_blocks.block(db, BlockKind.STOP, "a test", "a person", self.clock.real_now())
            else:
                send_blocks.unblock(db, BlockKind.STOP)

    @rule(who=WHO)
    def a_person_settles_what_is_held(self, who: int) -> None:
        """After looking it up at the provider."""
        with self.rt.database.read() as db:
            held = list(db.scalars(select(D.id).where(D.state == State.HELD).order_by(D.created_at)))
        if held:
            delivery = held[who % len(held)]
            taken = delivery in {mail.delivery for mail in self.provider.ledger}
            desk.resolve(self.rt, delivery, sent=taken, who="a person")

    def teardown(self) -> None:
        """Once the provider is well and nobody stops it, all that is due goes out, by the sender that lived through it all."""
        if not hasattr(self, "provider"):
            return
        self.provider.script.clear()
        with self.rt.database.begin() as db:
            send_blocks.unblock(db, BlockKind.STOP)
        self._a_person_looks()
        for _ in range(6):
            self.clock.at += timedelta(minutes=16)  # longer than any refusal keeps a mail waiting
            reconcile(self.rt)
            run_tick(self.rt)
        with self.rt.database.read() as db:
            late = select(func.count()).where(D.state.in_((*OPEN, State.SENDING)), D.due_at <= self.clock.now())
            assert db.scalar(late) == 0, "it has stopped for good"

    # What holds after every one of them

    @invariant()
    def nobody_gets_a_mail_twice(self) -> None:
        assert not self.provider.duplicates()

    @invariant()
    def nothing_is_believed_sent_that_was_not(self) -> None:
        taken = {mail.delivery for mail in self.provider.ledger}
        with self.rt.database.read() as db:
            believed = set(db.scalars(select(D.id).where(D.state.in_(PROVEN))))
        assert believed <= taken

    @invariant()
    def nothing_reaches_those_who_left(self) -> None:
        for one in self.people:
            if one.left:
                new = [mail.delivery for mail in self.provider.ledger if mail.address == one.reader.email][one.got_before :]
                assert set(new) <= one.on_its_way

    @invariant()
    def nobody_is_forgotten(self) -> None:
        alive = exists().where(D.enrollment_id == E.id, D.state.in_((*OPEN, *IN_DOUBT, State.FAILED)))
        query = select(func.count()).where(E.state == EnrollmentState.ACTIVE, not_(alive))
        with self.rt.database.read() as db:
            assert db.scalar(query) == 0

    @invariant()
    def nobody_has_two_letters_to_come(self) -> None:
        twice = select(D.enrollment_id).where(D.kind == DeliveryKind.LETTER, D.state.in_(OPEN)).group_by(D.enrollment_id)
        with self.rt.database.read() as db:
            assert not db.execute(twice.having(func.count() > 1)).all()

    @invariant()
    def rows_move_only_along_the_table(self) -> None:
        with self.rt.database.begin() as db:
            moved = db.execute(text("DELETE FROM moves RETURNING was, is_now")).all()
        assert {(State(was), State(now)) for was, now in moved} <= {(was, now) for was in MOVES for now in MOVES[was]}


class PunctualService(Service):
    """The same with a provider whose every report comes before half an hour has passed: then even `resend` is exact."""

    @rule(passes=PASSES)
    def time_passes(self, passes: timedelta) -> None:
        self._take(self.provider.events)
        super().time_passes(passes)


class LossyService(Service):
    """Reports get lost; then only `hold` is exact."""

    @rule(count=st.integers(1, 4))
    def reports_are_lost(self, count: int) -> None:
        del self.provider.events[:count]


_RULES = """\
key: histories
title: Histories
window: {{opens: "00:00", closes: "23:59", days: [mon, tue, wed, thu, fri, sat, sun]}}
quiet: {{from: "03:00", to: "03:01"}}
when-in-doubt: {}
"""


def _empty(db: Connection) -> None:
    kept = {app_state, sequences, steps, editions, gates_table}
    for table in reversed(metadata.sorted_tables):
        if table not in kept:
            db.execute(delete(table))
    db.execute(update(gates_table).values(blocked_at=None, until=None, reason=None, actor=None))


def _log_moves(db: Connection) -> None:
    """The database itself notes every move of a row, whoever makes it."""
    if db.dialect.name == "sqlite":
        db.execute(text("CREATE TABLE IF NOT EXISTS moves (was TEXT, is_now TEXT)"))
        db.execute(
            text(
                "CREATE TRIGGER IF NOT EXISTS log_moves AFTER UPDATE OF state ON deliveries WHEN OLD.state <> NEW.state "
                "BEGIN INSERT INTO moves VALUES (OLD.state, NEW.state); END"
            )
        )
    else:
        db.execute(text("CREATE TABLE IF NOT EXISTS moves (was TEXT, is_now TEXT)"))
        db.execute(
            text(
                "CREATE OR REPLACE FUNCTION log_move() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN INSERT INTO moves VALUES (OLD.state, NEW.state); RETURN NULL; END $$"
            )
        )
        db.execute(
            text(
                "CREATE OR REPLACE TRIGGER log_moves AFTER UPDATE OF state ON deliveries FOR EACH ROW "
                "WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION log_move()"
            )
        )


def over(rt: Runtime, machine: type[Service], when_in_doubt: InDoubt, seed_of_histories: int) -> type[Service]:
    """The machine over one installation; a history can be told again, so nothing in it happens at the same time."""
    rt.settings = rt.settings.model_copy(update={"send_concurrency": 1})
    bound: type[Service] = type(machine)(machine.__name__, (machine,), {"rt": rt, "when_in_doubt": when_in_doubt})  # type: ignore[misc]
    return seed(seed_of_histories)(bound)


def test_whatever_happens_under_hold_nothing_is_lost_doubled_or_sent_to_those_who_left(
    rt: Runtime, seed_of_histories: int
) -> None:
    machine = over(rt, LossyService, InDoubt.HOLD, seed_of_histories)
    run_state_machine_as_test(machine, settings=thoroughly(25, 30))


def test_whatever_happens_under_resend_with_reports_in_time_the_same_holds(rt: Runtime, seed_of_histories: int) -> None:
    machine = over(rt, PunctualService, InDoubt.RESEND, seed_of_histories)
    run_state_machine_as_test(machine, settings=thoroughly(25, 30))


def test_the_machine_sees_a_letter_that_goes_out_twice(rt: Runtime, seed_of_histories: int) -> None:
    """The proof of the proof: under `resend` a lost report of a lost answer is a duplicate, and the machine says so."""
    history = over(rt, LossyService, InDoubt.RESEND, seed_of_histories)()
    assert isinstance(history, LossyService)
    history.begins()
    history.a_process_ticks([Answer.AMBIGUOUS_BUT_ACCEPTED], None, 1)
    history.reports_are_lost(2)
    history.time_passes(timedelta(minutes=1))
    history.nobody_gets_a_mail_twice()
    history.somebody_signs_up()
    history.a_process_ticks([], None, 1)  # a later request, whose reports come: that of the first one is missed
    history.events_arrive([0, 1, 2, 3], None)
    for _ in range(3):
        history.a_process_reconciles(None)
        history.time_passes(timedelta(minutes=14))
    history.a_process_reconciles(None)
    history.a_process_ticks([], None, 1)
    with pytest.raises(AssertionError, match="duplicates"):
        history.nobody_gets_a_mail_twice()
