"""What a cycle of sending decides, against a model of a ledger, a provider and a clock, in histories that one sender lives
through from beginning to end.
"""

import math
from collections import Counter, deque
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from nurture.domain.circuit_breaker import REASON_CHARACTERS, RUN_OF_REJECTIONS, RUN_WAIT, CircuitBreaker
from nurture.domain.delivery import Accepted, Ambiguous, Concern, Outcome, Refused, Rejected
from nurture.domain.rate_limiter import SLOTS_KEPT_SECONDS, RateLimiter
from nurture.domain.send_cycle import SendCycle, Situation
from tests.faults.conftest import FULL

REFUSED = Refused("429", timedelta(seconds=30))


@dataclass(frozen=True)
class Mail:
    """A request of one mail; each attempt has its own fence."""

    mail: str
    fence: int = 0

    @property
    def ids(self) -> tuple[str, ...]:
        return (self.mail,)


class Mood(Enum):
    """How the provider answers."""

    WELL = Accepted("m")
    REFUSES = REFUSED
    BUSY = Refused("451", timedelta(seconds=30), everyone=False)
    REJECTS = Rejected("553 sender")
    REJECTS_OTHERWISE = Rejected("550 content")
    BOUNCES = Rejected("550 5.1.1", Concern.RECIPIENT)
    SILENT = Ambiguous("no answer")


class Ending(Enum):
    """What becomes of a commit."""

    DONE = "done"
    LOST = "nothing of it is written"
    UNHEARD = "it is written, and the process never hears so"


class Post(RuleBasedStateMachine):
    """One sender, the ledger's rows, a block that others may set too, and a provider with moods."""

    @initialize(workers=st.integers(1, 5), rate=st.none() | st.sampled_from([0.5, 3.0, 100.0]))
    def begins(self, workers: int, rate: float | None) -> None:
        self.cycle, self.rate, self.now = SendCycle.begin(workers, rate), rate, 1000.0
        self.rows: dict[str, tuple[str, float]] = {}  # state, and when it is due or by which fence it is under way
        self.fences = 0
        self.next_slot = 0.0
        self.block: tuple[float, str] | None = None  # until when, and why
        self.stopped = False
        self.mood = Mood.WELL
        self.buffer: deque[str] = deque()
        self.out: deque[Mail] = deque()
        self.answers: list[tuple[Mail, Outcome]] = []
        self.lost: list[Mail] = []
        self.left: list[float] = []  # when mails were marked
        self.written_off: Counter[str] = Counter()  # by reason, since the last acceptance

    # The world

    @rule(count=st.integers(1, 30))
    def mails_fall_due(self, count: int) -> None:
        for _ in range(count):
            self.rows[f"mail {len(self.rows)}"] = "due", self.now

    @rule(mood=st.sampled_from(Mood))
    def the_provider_changes_its_mind(self, mood: Mood) -> None:
        self.mood = mood

    @rule(seconds=st.sampled_from([0.01, 1.0, 31.0, 301.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(stopped=st.booleans())
    def a_person_throws_the_stop_switch(self, stopped: bool) -> None:
        self.stopped = stopped

    @rule(opens=st.booleans())
    def another_process_is_answered(self, opens: bool) -> None:
        self.block = None if opens else (self.now + 30, "429")

    # The sender

    @rule(count=st.integers(1, 8))
    def answers_come(self, count: int) -> None:
        for _ in range(min(count, len(self.out))):
            mail = self.out.popleft()
            outcome: Outcome = self.cycle.refusal or self.mood.value
            if isinstance(outcome, Refused) and outcome.everyone:
                self.cycle = self.cycle.refused(outcome)
            self.answers.append((mail, outcome))

    @rule(ending=st.sampled_from(Ending), meanwhile=st.integers(0, 5))
    def a_cycle_runs(self, ending: Ending = Ending.DONE, meanwhile: int = 0) -> None:
        """As delivery.sender and delivery.send_transaction do it. `meanwhile`: answers that come during the commit."""
        self._claim()
        begun, answers = self.cycle, self.answers
        window = [self._request() for _ in range(min(len(self.buffer), begun.room(len(self.out), self.now)))]
        self.answers = []
        rows, block, under_way = dict(self.rows), self.block, len(self.out)
        half_open = block if block and self.now >= block[0] else None
        cycle, judged = begun.judge(answers, half_open[1] if half_open else None)
        refused = any(isinstance(outcome, Refused) and outcome.everyone for _, outcome in judged)
        for mail, outcome in judged:
            if rows[mail.mail] != ("sending", mail.fence):
                continue
            match outcome:
                case Accepted():
                    rows[mail.mail] = "accepted", 0
                case Refused(why, wait):
                    wait = wait or timedelta(seconds=5)
                    rows[mail.mail] = "due", self.now + wait.total_seconds()
                    if outcome.everyone:
                        block = self.now + wait.total_seconds(), why
                case Rejected(why):
                    rows[mail.mail] = "failed", 0
                    if ending is Ending.DONE and outcome.concerns is Concern.MAIL:
                        self.written_off[why] += 1
                case Ambiguous():
                    rows[mail.mail] = "in doubt", 0
        if half_open and not refused and any(isinstance(outcome, Accepted) for _, outcome in judged):
            block = None
        half_open = block if block and self.now >= block[0] else None
        for mail in self.lost:
            if rows[mail.mail] == ("sending", mail.fence):
                rows[mail.mail] = "due", self.now
        blocked = "stopped" if self.stopped else block[1] if block and self.now < block[0] else None
        found = Situation(len(window), under_way, self.now, blocked, half_open is not None)
        decision, slot = cycle.decide(found), self.next_slot
        if decision.reserve:
            assert self.rate is not None
            begin = max(slot, self.now)
            slot = begin + decision.reserve / self.rate
            cycle = cycle.reserved(decision.reserve, begin)
            decision = cycle.decide(found)
            assert not decision.reserve, "whoever has reserved slots uses them"
        for mail in window[: decision.mark]:
            rows[mail.mail] = "sending", mail.fence
        if decision.release:
            for row in [*self.buffer, *(mail.mail for mail in (*window, *self.lost))]:
                if rows[row][0] == "claimed":
                    rows[row] = "due", self.now
        assert decision.mark + under_way <= cycle.breaker.full, "no more is under way than is allowed"
        assert not half_open or decision.mark + under_way <= 1 or not decision.mark, "a probe is alone"
        self.answers_come(meanwhile)
        if ending is not Ending.LOST:
            self.rows, self.block, self.next_slot = rows, block, slot
        if ending is not Ending.DONE:
            self.answers = answers + self.answers
            self.lost += window
            self.cycle = self.cycle.commit_failed()
            return
        if any(isinstance(outcome, Accepted) for _, outcome in judged):
            self.written_off.clear()
        elif any(isinstance(outcome, Rejected) for _, outcome in judged):
            self._forget_broken_runs(judged)
        self.lost = []
        late = self.cycle.refusal is not begun.refusal
        self.cycle = self.cycle.committed(cycle, decision.mark, half_open is not None)
        assert self.cycle.refusal or not late, "a refusal that came during the commit holds for what the commit marked"
        self.left += [self.now] * decision.mark
        self.out.extend(window[: decision.mark])
        if decision.release:
            self.buffer.clear()
        else:
            self.buffer.extendleft(mail.mail for mail in reversed(window[decision.mark :]))

    def _claim(self) -> None:
        if not self.buffer and not self.stopped and not (self.block and self.now < self.block[0]):
            for row in [row for row, (state, at) in self.rows.items() if state == "due" and at <= self.now][:20]:
                self.rows[row] = "claimed", 0
                self.buffer.append(row)

    def _request(self) -> Mail:
        self.fences += 1
        return Mail(self.buffer.popleft(), self.fences)

    def _forget_broken_runs(self, judged: object) -> None:
        """Only rejections for one reason in a row count; a run is over when another reason comes."""
        if len(self.written_off) > 1:
            self.written_off.clear()

    # What holds

    @invariant()
    def the_limit_is_never_nothing(self) -> None:
        if hasattr(self, "cycle"):
            assert 1 <= self.cycle.breaker.limit <= self.cycle.breaker.full

    @invariant()
    def the_rate_is_kept(self) -> None:
        if hasattr(self, "rate") and self.rate and self.left:
            most = self.rate * 10 + 2 * max(1, int(self.rate))  # a second's worth is handed out at once, and once kept
            assert sum(at > self.left[-1] - 10 for at in self.left) <= most + self.rate * SLOTS_KEPT_SECONDS

    @invariant()
    def a_run_of_rejections_does_not_write_everything_off(self) -> None:
        if hasattr(self, "cycle"):
            assert all(times < RUN_OF_REJECTIONS for times in self.written_off.values())

    def teardown(self) -> None:
        """Once the provider is well, everything goes out within a bounded number of cycles of the same sender."""
        if not hasattr(self, "cycle"):
            return
        self.mood, self.stopped = Mood.WELL, False
        rows = len(self._to_come())
        speeding_up = math.ceil(math.log2(self.cycle.breaker.full)) + 1
        bound = 12 + 2 * (rows if self.rate else speeding_up + math.ceil(rows / self.cycle.workers) + rows // 20)
        cycles = 0
        while self._to_come() or self.out or self.answers:
            cycles += 1
            assert cycles <= bound, f"{len(self._to_come())} mails have not left after {cycles} cycles"
            self.a_cycle_runs()
            self.answers_come(1000)
            self.now = max(self.now + 0.01, *self._waited_for())
        assert {state for state, _ in self.rows.values()} <= {"accepted", "failed", "in doubt"}

    def _to_come(self) -> list[str]:
        return [row for row, (state, _) in self.rows.items() if state in ("due", "claimed", "sending")]

    def _waited_for(self) -> list[float]:
        """What nobody can hasten: the end of a block, reserved slots, and when refused mails are due again."""
        limiter = self.cycle.limiter
        due = [at for state, at in self.rows.values() if state == "due"]
        busy = self.buffer or any(at <= self.now for at in due)
        return [
            self.block[0] if self.block else 0.0,
            limiter.opens_at if limiter.slots else 0.0,
            min(due) if due and not busy and not self.out else 0.0,
        ]


def test_whatever_happened_once_the_provider_is_well_every_due_mail_goes_out_by_the_same_sender() -> None:
    chosen = settings(max_examples=3000 if FULL else 150, stateful_step_count=60, deadline=None, derandomize=not FULL)
    run_state_machine_as_test(Post, settings=chosen)


# The breaker


def judged(breaker: CircuitBreaker, *outcomes: Outcome, blocked_for: str | None = None) -> tuple[CircuitBreaker, list[Outcome]]:
    """The breaker after answers for as many different mails."""
    answers = [(Mail(f"{id(breaker)} {number}"), outcome) for number, outcome in enumerate(outcomes)]
    after, found = breaker.judge(answers, blocked_for)
    return after, [outcome for _, outcome in found]


def test_a_probe_that_is_accepted_makes_it_faster_step_by_step() -> None:
    breaker, limits = CircuitBreaker(64, 64).half_opened(), []
    for _ in range(8):
        limits.append(breaker.limit)
        breaker, _ = judged(breaker, Accepted())
    assert limits == [1, 2, 4, 8, 16, 32, 64, 64]


def test_after_a_refusal_of_everything_it_begins_with_one_again() -> None:
    breaker, _ = judged(CircuitBreaker(64, 64), Accepted(), REFUSED)
    assert breaker.limit == 1
    assert judged(breaker, Refused("451", None, everyone=False))[0].limit == 1
    assert judged(CircuitBreaker(64, 64), Refused("451", None, everyone=False))[0].limit == 64


def test_a_run_of_rejections_for_one_reason_refuses_everything_and_writes_no_more_mails_off() -> None:
    breaker, found = judged(CircuitBreaker(64, 64), *[Rejected("553 sender")] * 12)
    assert found[: RUN_OF_REJECTIONS - 1] == [Rejected("553 sender")] * (RUN_OF_REJECTIONS - 1)
    assert found[RUN_OF_REJECTIONS - 1 :] == [Refused("553 sender", RUN_WAIT, everyone=True, alarm=True)] * 3
    assert breaker.limit == 1
    breaker, found = judged(breaker, Rejected("553 sender"))
    assert found == [Refused("553 sender", RUN_WAIT, alarm=True)], "the probe is not written off either"
    breaker, _ = judged(breaker, Accepted())
    assert judged(breaker, Rejected("553 sender"))[1] == [Rejected("553 sender")], "the run is over"


def test_a_process_that_has_just_been_started_knows_a_run_by_the_block_it_left() -> None:
    long = "553 " + "x" * 300
    fresh = CircuitBreaker(8, 8)
    assert judged(fresh, Rejected("553 sender"), blocked_for="553 sender")[1] == [Refused("553 sender", RUN_WAIT, alarm=True)]
    assert judged(fresh, Rejected(long), blocked_for=long[:REASON_CHARACTERS])[1] == [Refused(long, RUN_WAIT, alarm=True)]
    assert judged(fresh, Rejected("550 content"), blocked_for="553 sender")[1] == [Rejected("550 content")]


@pytest.mark.parametrize("between", [Accepted(), Rejected("550 content")], ids=["acceptance", "another reason"])
def test_a_run_is_broken_by(between: Outcome) -> None:
    outcomes = [*[Rejected("553 sender")] * (RUN_OF_REJECTIONS - 1), between] * 4
    assert judged(CircuitBreaker(8, 8), *outcomes)[1] == outcomes


@pytest.mark.parametrize(
    "between", [Refused("451", None, everyone=False), Rejected("550 5.1.1", Concern.RECIPIENT), Ambiguous("500")]
)
def test_a_run_is_not_broken_by(between: Outcome) -> None:
    _, found = judged(CircuitBreaker(8, 8), *[Rejected("553 sender"), between] * RUN_OF_REJECTIONS)
    assert found[-2] == Refused("553 sender", RUN_WAIT, alarm=True)


def test_rejections_that_concern_their_recipients_stop_nothing() -> None:
    outcomes = [Rejected("550 5.1.1", Concern.RECIPIENT)] * 50
    breaker = CircuitBreaker(8, 8)
    assert judged(breaker, *outcomes) == (breaker, outcomes)


def test_one_mail_rejected_again_and_again_is_no_run() -> None:
    breaker, mail = CircuitBreaker(8, 8), Mail("the same")
    for _ in range(3 * RUN_OF_REJECTIONS):
        breaker, found = breaker.judge([(mail, Rejected("550 content"))], None)
        assert found == [(mail, Rejected("550 content"))]


# The limiter


@given(
    rate=st.sampled_from([0.2, 1.0, 7.0]),
    waits=st.lists(st.sampled_from([0.0, 0.05, 0.5, 1.0, 5.0, 60.0]), min_size=1, max_size=60),
    wanted=st.integers(1, 20),
)
def test_the_rate_is_kept_and_every_wait_has_an_end(rate: float, waits: list[float], wanted: int) -> None:
    limiter, now, free, went = RateLimiter(rate), 1000.0, 0.0, list[float]()
    for wait in waits:
        now += wait
        slots = limiter.to_reserve(wanted, now)
        if slots:
            begin = max(free, now)
            free = begin + slots / rate
            limiter = limiter.reserved(slots, begin)
        used = limiter.usable(wanted, now)
        room = limiter.room(now)
        assert room is None or used == min(wanted, room)
        if used:
            limiter = limiter.used()
            went += [now] * used
        else:
            assert limiter.usable(wanted, limiter.opens_at), "it says when it may go on"
    for first in range(len(went)):
        for last in range(first, len(went)):
            assert last - first + 1 <= (went[last] - went[first] + SLOTS_KEPT_SECONDS) * rate + 2 * max(1, int(rate))


def test_without_a_limit_nothing_waits() -> None:
    limiter = RateLimiter(None)
    assert (limiter.room(0), limiter.to_reserve(100, 0), limiter.usable(100, 0)) == (None, 0, 100)
