"""The delivery protocol as a small machine whose every state can be visited: what it rules out, it rules out in all of them.

`python -m tests.faults.model` prints what can happen in which world, and the shortest way there.

One mail, two workers, a reconciler, a webhook, at most three requests, and a network that loses whatever it likes. Each
function below is one step of the protocol (PLAN to RESOLVE) or one thing that goes wrong; `search` tries every order of them.
The ledger's own table of moves and its own verdict on a doubt are used, so that code and model cannot drift apart.

What a `Variant` switches on is a promise of the outside world that is broken, or a mistake that a queue could have made.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from itertools import product
from typing import NamedTuple

from nurture.domain.delivery import MOVES, InDoubt, State, verdict

PROVEN = frozenset({State.ACCEPTED, State.DELIVERED, State.BOUNCED, State.DROPPED, State.COMPLAINED})
"""States that say the provider has the mail. None leads to another request, so for the model they are one: ACCEPTED."""

EVIDENCE, GIVE_UP = timedelta(minutes=30), timedelta(hours=26)
REQUESTS = 3


@dataclass(frozen=True)
class Variant:
    """A world the protocol runs in. All off: the protocol as built, and a provider that reports what it took in time."""

    then: InDoubt = InDoubt.HOLD
    events_get_lost: bool = False
    """An event may never arrive, although those of other requests do."""
    evidence_comes_late: bool = False
    """Events, or a request still in the network, may take longer than the wait for evidence."""
    posts_after_its_deadline: bool = False
    """A worker may sleep between looking at its deadline and writing to the socket for longer than the wait for evidence."""
    the_database_is_set_back: bool = False
    """A backup is restored while the provider remembers."""
    nobody_reports: bool = False
    """A mailer without events, such as SMTP: a doubt goes to a person at once."""
    the_person_errs: bool = False
    """Who decides on a mail that is held does not look it up at the provider, and guesses."""

    retries_on_a_silent_lease: bool = False
    """The mistake of a plain job queue: who fell silent while sending is taken to have sent nothing."""
    trusts_the_ambiguous: bool = False
    """The mistake of a plain HTTP client: a time-out or a 500 is taken for a refusal."""
    writes_without_a_fence: bool = False
    """The mistake of a plain status column: an outcome is written whoever holds the row now."""
    nobody_reconciles: bool = False
    """The mistake of status-locked batches: who takes a mail and dies keeps it."""
    marks_without_asking: bool = False
    """The mistake of a plain pipeline: whether the reader has left is asked when the batch is made, not when it leaves."""
    restores_without_a_barrier: bool = False
    """The mistake of listmonk #1801: after a restore, what was due is due."""
    repeats_after_a_restore: bool = False
    """A mistake of our own, had we made it: the evidence for what the backup doubts may have been restored away."""
    keeps_fences_over_a_restore: bool = False
    """Another: a process that slept through a restore still holds a token that the backup knows."""


class At(StrEnum):
    """Where a worker stands. It remembers nothing else; a killed one is `IDLE`."""

    IDLE = "idle"
    CLAIMED = "claimed"
    MARKED = "marked"
    TOO_LATE = "too late"
    """Its deadline passed after MARK and before the POST."""
    ANSWERED = "answered"


class Answer(StrEnum):
    """What a request came to, as its worker sees it."""

    NONE = ""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    REJECTED = "rejected"
    AMBIGUOUS = "ambiguous"


class Worker(NamedTuple):
    """One process with at most one request."""

    at: At = At.IDLE
    token: int = 0
    answer: Answer = Answer.NONE
    marked_after_leaving: bool = False


class Row(NamedTuple):
    """The ledger's row: all that is durable. `token` is the fence, 0 for none; the real one is random."""

    state: State | None = None
    token: int = 0


class World(NamedTuple):
    """Everything there is at one instant."""

    row: Row = Row()
    drawn: int = 0
    """Tokens drawn so far: they are never drawn twice, not even by a restored database."""
    workers: tuple[Worker, ...] = (Worker(), Worker())
    wire: frozenset[int] = frozenset()
    """Requests whose sender has given up and which may still reach the provider."""
    accepted: tuple[int, ...] = ()
    """Requests that the provider has taken, in order: the judge's ledger. Two of them are a duplicate."""
    events: frozenset[int] = frozenset()
    """Requests of which an event is on its way."""
    left: bool = False
    returned: bool = False
    sent_after_leaving: bool = False
    backup: Row | None = None
    restored: bool = False


Step = tuple[str, World]
"""What happened, and the world after it."""


def _to(world: World, state: State, token: int | None = None) -> World:
    """Move the row as the ledger does. A move that nurture.domain.delivery.MOVES does not have is a fault of the model."""
    now = world.row.state
    assert now is not None
    assert state in MOVES[now], f"The model moves from {now} to {state}, the ledger does not."
    return world._replace(row=Row(state, world.row.token if token is None else token))


def _with(world: World, number: int, worker: Worker) -> World:
    workers = list(world.workers)
    workers[number] = worker
    return world._replace(workers=tuple(sorted(workers)))  # which of the two it is makes no difference


# --- The protocol ----------------------------------------------------------------------------------------------------


def plan(world: World, variant: Variant) -> Iterator[Step]:
    """PLAN: write the row, once: the second planner meets the unique index and changes nothing."""
    if world.row.state is None:
        yield "PLAN", world._replace(row=Row(State.SCHEDULED))


def claim(world: World, variant: Variant) -> Iterator[Step]:
    """CLAIM: a worker takes the row under a fresh token."""
    if world.row.state is State.SCHEDULED and world.drawn < REQUESTS:
        token = world.drawn + 1
        for number, worker in enumerate(world.workers):
            if worker.at is At.IDLE:
                taken = _to(world, State.CLAIMED, token)._replace(drawn=token)
                yield "CLAIM", _with(taken, number, Worker(At.CLAIMED, token))


def render(world: World, variant: Variant) -> Iterator[Step]:
    """Between CLAIM and MARK: it cannot be filled, is not wanted any more, or its moment is not now."""
    for number, worker in enumerate(world.workers):
        if worker.at is At.CLAIMED:
            rested = _with(world, number, Worker())
            if world.row == Row(State.CLAIMED, worker.token):
                yield "render: cannot be filled", _to(rested, State.FAILED)
                yield "render: far too late, ask a person", _to(rested, State.HELD)
                yield "release", _to(rested, State.SCHEDULED, 0)


def mark(world: World, variant: Variant) -> Iterator[Step]:
    """MARK, the point of no return: committed before the request leaves. The fence and the guard are one statement."""
    for number, worker in enumerate(world.workers):
        if worker.at is not At.CLAIMED:
            continue
        if world.row != Row(State.CLAIMED, worker.token):
            yield "MARK fenced off", _with(world, number, Worker())
        elif world.left and not variant.marks_without_asking:
            yield "MARK may not be mailed", _with(_to(world, State.CANCELLED), number, Worker())
        else:
            marked = Worker(At.MARKED, worker.token, marked_after_leaving=world.left)
            yield "MARK", _with(_to(world, State.SENDING), number, marked)


def deadline(world: World, variant: Variant) -> Iterator[Step]:
    """More than ten seconds have passed since MARK: the worker lets go instead of sending."""
    for number, worker in enumerate(world.workers):
        if worker.at is At.MARKED:
            yield "the deadline passes", _with(world, number, worker._replace(at=At.TOO_LATE))
        elif worker.at is At.TOO_LATE:
            let_go = worker._replace(at=At.ANSWERED, answer=Answer.REFUSED)
            yield "not posted", _with(world, number, let_go)


def post(world: World, variant: Variant) -> Iterator[Step]:
    """The request: no transaction is open, and whatever can come of it does."""
    for number, worker in enumerate(world.workers):
        if worker.at is At.MARKED or (worker.at is At.TOO_LATE and variant.posts_after_its_deadline):

            def came_to(answer: Answer, then: World, number: int = number, worker: Worker = worker) -> World:
                return _with(then, number, worker._replace(at=At.ANSWERED, answer=answer))

            taken = _take(world, worker.token, worker.marked_after_leaving)
            yield "POST accepted", came_to(Answer.ACCEPTED, taken)
            yield "POST accepted, answer lost", came_to(Answer.AMBIGUOUS, taken)
            yield "POST not accepted, no answer", came_to(Answer.AMBIGUOUS, world)
            yield (
                "POST stays in the network",
                came_to(Answer.AMBIGUOUS, world._replace(wire=world.wire | {worker.token | worker.marked_after_leaving << 8})),
            )
            yield "POST 429", came_to(Answer.REFUSED, world)
            yield "POST 400", came_to(Answer.REJECTED, world)


def _take(world: World, token: int, after_leaving: bool) -> World:
    return world._replace(
        accepted=(*world.accepted, token),
        events=world.events | {token},
        sent_after_leaving=world.sent_after_leaving or after_leaving,
    )


def arrive(world: World, variant: Variant) -> Iterator[Step]:
    """A request whose sender has given up reaches the provider after all, or never."""
    for packet in world.wire:
        rest = world._replace(wire=world.wire - {packet})
        yield "the request arrives late", _take(rest, packet & 0xFF, bool(packet >> 8))
        yield "the request is lost", rest


def settle(world: World, variant: Variant) -> Iterator[Step]:
    """SETTLE: the outcome, written under the token. No row of that token: fenced off, log and forget."""
    for number, worker in enumerate(world.workers):
        if worker.at is not At.ANSWERED:
            continue
        rested = _with(world, number, Worker())
        held = variant.writes_without_a_fence or world.row.token == worker.token
        answer = worker.answer
        if variant.trusts_the_ambiguous and answer is Answer.AMBIGUOUS:
            answer = Answer.REFUSED
        to, since = {
            Answer.ACCEPTED: (State.ACCEPTED, {State.SENDING, State.UNKNOWN, State.HELD}),
            Answer.REFUSED: (State.SCHEDULED, {State.SENDING, State.UNKNOWN}),
            Answer.REJECTED: (State.FAILED, {State.SENDING, State.UNKNOWN}),
            Answer.AMBIGUOUS: (_doubt(variant), {State.SENDING}),
        }[answer]
        if held and world.row.state in since:
            yield f"SETTLE {answer}", _to(rested, to, 0 if to is State.SCHEDULED else None)
            if to is State.SCHEDULED and world.left:
                yield f"SETTLE {answer}, and the reader has left", _to(rested, State.CANCELLED, 0)
        else:
            yield "SETTLE fenced off", rested


def reconcile(world: World, variant: Variant) -> Iterator[Step]:
    """RECLAIM: whose lease ran out. It may run out at any time: clocks differ, and the owner may be alive and well."""
    if variant.nobody_reconciles:
        return
    if world.row.state is State.CLAIMED:
        yield "RECLAIM lease of a claim runs out", _to(world, State.SCHEDULED, 0)
    if world.row.state is State.SENDING:
        if variant.retries_on_a_silent_lease:
            yield "RECLAIM lease runs out", _to(world, State.SCHEDULED, 0)
        else:
            yield "RECLAIM lease runs out", _to(world, _doubt(variant))


def _doubt(variant: Variant) -> State:
    return State.HELD if variant.nobody_reports else State.UNKNOWN


def report(world: World, variant: Variant) -> Iterator[Step]:
    """EVENT: an event, once or again, before or after our own commit. Whatever we thought, the provider has the mail."""
    for token in () if variant.nobody_reports else world.events:
        if world.row.state is not None and world.row.state not in PROVEN:
            proven = _to(world, State.ACCEPTED)
            yield "EVENT", proven._replace(events=world.events - {token})
            yield "EVENT, and it will come again", proven
        else:
            yield "EVENT changes nothing", world._replace(events=world.events - {token})
        if variant.events_get_lost:
            yield "the event is lost", world._replace(events=world.events - {token})


def decide(world: World, variant: Variant) -> Iterator[Step]:
    """RESOLVE: what becomes of a doubt, by the service's own verdict, at every mixture of waiting, watching and health."""
    if world.row.state is not State.UNKNOWN:
        return
    times = (timedelta(), EVIDENCE, GIVE_UP)
    verdicts = {
        verdict(variant.then, waited, min(watched, waited), healthy, EVIDENCE, GIVE_UP)
        for waited, watched, healthy in product(times, times, (True, False))
    }
    for to in sorted(verdicts):
        if to is State.HELD:
            yield "RESOLVE hold", _to(world, State.HELD)
        elif to is State.SCHEDULED and _may_be_repeated(world, variant):
            yield "RESOLVE send again", _to(world, State.SCHEDULED, 0)


def _may_be_repeated(world: World, variant: Variant) -> bool:
    """What half an hour without evidence is worth: by then nobody posts any more, no request and no event is on its way.

    Unless the database was set back: evidence that had come may be gone with it.
    """
    if world.restored and not variant.repeats_after_a_restore:
        return False
    if variant.evidence_comes_late:
        return True
    return not world.wire and not world.events and all(worker.at is not At.MARKED for worker in world.workers)


# --- People and accidents --------------------------------------------------------------------------------------------


def leave(world: World, variant: Variant) -> Iterator[Step]:
    """The reader unsubscribes: one transaction suppresses the address and stops what is scheduled or claimed."""
    if not world.left and not world.returned and world.row.state is not None and not variant.the_database_is_set_back:
        gone = world._replace(left=True)
        stopped = world.row.state in (State.SCHEDULED, State.CLAIMED) and not variant.marks_without_asking
        yield "the reader leaves", _to(gone, State.CANCELLED, 0) if stopped else gone


def come_back(world: World, variant: Variant) -> Iterator[Step]:
    """The reader presses `undo`: what had been stopped is due again."""
    if world.left:
        back = world._replace(left=False, returned=True)
        stopped = world.row.state is State.CANCELLED
        yield "the reader comes back", _to(back, State.SCHEDULED, 0) if stopped else back


def resolve(world: World, variant: Variant) -> Iterator[Step]:
    """A person decides on what is held, and may repair what failed: that was never sent, unless the ledger was set back."""
    if world.row.state is State.FAILED and (not world.restored or _certainly_not_sent(world)):
        yield "a person tries the failed mail again", _to(world, State.SCHEDULED, 0)
    if world.row.state is State.HELD:
        if world.accepted or variant.the_person_errs:
            yield "a person counts it as sent", _to(world, State.ACCEPTED)
        if _certainly_not_sent(world) or variant.the_person_errs:
            yield "a person sends it again", _to(world, State.SCHEDULED, 0)


def _certainly_not_sent(world: World) -> bool:
    """What the provider's own records show somebody who waits for them: not taken, and nobody is left who might post it."""
    return not world.accepted and not world.wire and all(w.at not in (At.MARKED, At.TOO_LATE) for w in world.workers)


def die(world: World, variant: Variant) -> Iterator[Step]:
    """kill -9, wherever a worker stands."""
    for number, worker in enumerate(world.workers):
        if worker.at is not At.IDLE:
            yield f"a worker dies, {worker.at}", _with(world, number, Worker())


def set_back(world: World, variant: Variant) -> Iterator[Step]:
    """A backup is made at any time and restored later, into the running system. The barrier doubts what was due since and
    voids every token, so that no process that lived through it can write an outcome of before."""
    if not variant.the_database_is_set_back or world.row.state is None:
        return
    if world.backup is None:
        yield "a backup is made", world._replace(backup=world.row)
    elif not world.restored:
        back = world._replace(row=world.backup, restored=True)
        if not variant.restores_without_a_barrier:
            if world.backup.state in (State.SCHEDULED, State.CLAIMED, State.SENDING):
                back = _to(back, State.UNKNOWN)
            if not variant.keeps_fences_over_a_restore:
                back = back._replace(row=back.row._replace(token=0))
        yield "the backup is restored", back


STEPS: tuple[Callable[[World, Variant], Iterator[Step]], ...] = (
    plan, claim, render, mark, deadline, post, arrive, settle, reconcile, report, decide,
    leave, come_back, resolve, die, set_back,
)  # fmt: skip


# --- The search ------------------------------------------------------------------------------------------------------


def duplicate(world: World) -> bool:
    """The provider has taken the mail twice."""
    return len(world.accepted) > 1


def lost(world: World) -> bool:
    """The ledger is content and the provider has nothing, or nobody wanted the mail stopped."""
    believed = world.row.state in PROVEN and not world.accepted
    return believed or (world.row.state is State.CANCELLED and not world.left)


def after_leaving(world: World) -> bool:
    """The provider took a request that was marked after the reader had left."""
    return world.sent_after_leaving


def at_rest(world: World) -> bool:
    """Settled, or in front of a person, or all requests of the model are used up."""
    rest = (State.HELD, State.FAILED, State.CANCELLED)
    return (
        world.row.state in PROVEN or world.row.state in rest or (world.row.state is State.SCHEDULED and world.drawn == REQUESTS)
    )


@dataclass
class Found:
    """What a search came to. The traces are shortest ones: steps from the beginning to the first world of that kind."""

    states: int
    duplicate: tuple[str, ...] | None
    lost: tuple[str, ...] | None
    after_leaving: tuple[str, ...] | None
    forgotten: tuple[str, ...] | None
    """The way to a world from which no order of steps leads to rest."""
    moves: frozenset[tuple[State, State]]
    """Every move of the row."""


@cache
def search(variant: Variant) -> Found:
    """Visit every world that can come about, breadth first."""
    start = World()
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    leads_here: dict[World, list[World]] = {}
    moves: set[tuple[State, State]] = set()
    queue = deque([start])
    while queue:
        world = queue.popleft()
        for step in STEPS:
            for label, after in step(world, variant):
                leads_here.setdefault(after, []).append(world)
                before = world.backup if after.restored and not world.restored else world.row
                if before and before.state and after.row.state and before.state is not after.row.state:
                    moves.add((before.state, after.row.state))
                if after not in came_from:
                    came_from[after] = (world, label)
                    queue.append(after)

    def way_to(wanted: Callable[[World], bool]) -> tuple[str, ...] | None:
        world = next((each for each in came_from if wanted(each)), None)  # in order of discovery: a shortest way
        if world is None:
            return None
        labels: list[str] = []
        while (came := came_from[world]) is not None:
            world, label = came
            labels.append(label)
        return tuple(reversed(labels))

    hopeful = {world for world in came_from if at_rest(world)}
    queue = deque(hopeful)
    while queue:
        for earlier in leads_here.get(queue.popleft(), ()):
            if earlier not in hopeful:
                hopeful.add(earlier)
                queue.append(earlier)
    return Found(
        states=len(came_from),
        duplicate=way_to(duplicate),
        lost=way_to(lost),
        after_leaving=way_to(after_leaving),
        forgotten=way_to(lambda world: world not in hopeful),
        moves=frozenset(moves),
    )


# --- The worlds we ask about -----------------------------------------------------------------------------------------

_RESEND = InDoubt.RESEND

SAFE: dict[str, Variant] = {
    "hold": Variant(),
    "hold, and everything outside breaks its word": Variant(
        events_get_lost=True, evidence_comes_late=True, posts_after_its_deadline=True
    ),
    "hold, a mailer without events (SMTP)": Variant(nobody_reports=True, posts_after_its_deadline=True),
    "hold, a backup is restored": Variant(
        the_database_is_set_back=True, events_get_lost=True, evidence_comes_late=True, posts_after_its_deadline=True
    ),
    "resend, every event comes before T_evidence": Variant(_RESEND),
    "resend, the same and a backup is restored": Variant(_RESEND, the_database_is_set_back=True),
}
"""Nothing that must not happen can happen here."""

NOT_SAFE: dict[str, Variant] = {
    "resend, T_evidence too short": Variant(_RESEND, evidence_comes_late=True),
    "resend, events can be lost for ever": Variant(_RESEND, events_get_lost=True),
    "resend, a worker posts after its deadline": Variant(_RESEND, posts_after_its_deadline=True),
    "hold, and the person who decides guesses": Variant(the_person_errs=True),
}
"""What the policy `resend` trusts in, taken away; and a person's mistake. The price of not waiting for a person."""

MISTAKES: dict[str, Variant] = {
    "a silent lease on a request is retried (plain job queue)": Variant(retries_on_a_silent_lease=True),
    "a time-out counts as a refusal": Variant(trusts_the_ambiguous=True),
    "outcomes are written without a fence": Variant(writes_without_a_fence=True),
    "nobody reconciles (status-locked batches)": Variant(nobody_reconciles=True),
    "leaving is looked up before MARK, not in it": Variant(marks_without_asking=True),
    "a restore without a barrier": Variant(the_database_is_set_back=True, restores_without_a_barrier=True),
    "resend for what a restore put in doubt": Variant(_RESEND, the_database_is_set_back=True, repeats_after_a_restore=True),
    "a restore that keeps its fences": Variant(
        _RESEND, the_database_is_set_back=True, keeps_fences_over_a_restore=True
    ),
}  # fmt: skip
"""Planted: a proof that cannot fail proves nothing."""


def ways(found: Found) -> dict[str, tuple[str, ...] | None]:
    """What must not happen, each with the shortest way to it."""
    return {
        "duplicate": found.duplicate,
        "lost": found.lost,
        "forgotten": found.forgotten,
        "sent after leaving": found.after_leaving,
    }


def table() -> str:
    """What the search finds in every world, in Markdown; docs/reliability.md carries it and a test compares."""
    lines = ["| world | states | duplicate | lost | forgotten | sent after leaving |", "| --- | ---: | --- | --- | --- | --- |"]
    for name, variant in (SAFE | NOT_SAFE | MISTAKES).items():
        found = search(variant)
        cells = (f"in {len(way)} steps" if way else "never" for way in ways(found).values())
        lines.append(f"| {name} | {found.states:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shortest_ways() -> str:
    """For every world in which something can go wrong, the shortest way there."""
    lines = []
    for name, variant in (NOT_SAFE | MISTAKES).items():
        for what, way in ways(search(variant)).items():
            if way:
                lines.append(f"- {name}, {what}: {' → '.join(way)}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(), shortest_ways(), sep="\n\n")
