"""What the desk does to one reader's place in a sequence: pause, go on, stop, send the next letter now; and take it back."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.plan import Moment, plan_resumed
from nurture.domain.delivery import IN_DOUBT, State
from nurture.domain.sequence import EnrollmentState
from nurture.domain.simulation import moment
from nurture.domain.subscriber import SubscriberState
from nurture.domain.timeline import first_opening, resume_at, spaced_out
from nurture.errors import NurtureError
from nurture.ids import DeliveryId, EnrollmentId, UserId
from nurture.runtime import Runtime
from nurture.store.deliveries import ledger, rescheduling
from nurture.store.sequences import schedules, sequences
from nurture.store.sequences.sequences import Enrolled
from nurture.store.subscribers import subscribers
from nurture.store.subscribers.subscribers import Subscriber

_log = log.get(__name__)

BY_DESK = "desk"
"""Why somebody is paused, or was stopped: a person at the desk did it."""
BY_EDIT = "edit"
"""Why somebody is paused: an edit of the sequence would change their next letter, and a person shall look first."""


class ActRefused(NurtureError):
    """Something that cannot be done to a reader as they stand. The message says why, and what can."""


class TooLate(ActRefused):
    """An act cannot be taken back: a letter has left since."""

    def __init__(self, left: datetime) -> None:
        """`left`: when (timeline)."""
        super().__init__("Too late: the letter has left.")
        self.left = left


AlsoInTransaction = Callable[[Connection], object]
"""Is done in the transaction of an act, if the act changes anything; what it raises takes the act back."""


def _do_nothing(_: Connection) -> None:
    return


class EnrollmentAction(StrEnum):
    """What was done."""

    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    PUT_BACK = "put-back"
    SEND_NOW = "send-now"
    SEND_LATER = "send-later"


@dataclass(frozen=True)
class EnrollmentChange:
    """What an act did, and what takes it back."""

    act: EnrollmentAction
    enrollment: EnrollmentId
    changed: bool
    """False: it was so already."""
    undo: EnrollmentAction | None = None
    due: datetime | None = None
    """When the next letter goes (timeline); None: none is planned."""
    before: datetime | None = None
    """When it would have gone, and in `delivery` which letter it is: what `send_later` wants to be told."""
    delivery: DeliveryId | None = None
    at: datetime | None = None
    """When this was done (real time): what `pause` and `stop` want to be told when they take something back."""


def pause(
    rt: Runtime, enrollment: EnrollmentId, by: UserId, also: AlsoInTransaction = _do_nothing, since: datetime | None = None
) -> EnrollmentChange:
    """Freeze what is left of the wait. A letter on its way arrives; the one after it waits for `resume`.

    `since`: when (real time) was done what this takes back. Raises ActRefused for somebody who is not in the middle of the
    sequence, and TooLate if a letter has left since.
    """
    with rt.database.begin() as db:
        place, person = _find(db, enrollment)
        _check_none_left(db, enrollment, since)
        if place.state not in sequences.RUNNING:
            raise ActRefused(f"{_ENDED[place.state]}, so there is nothing to pause.")
        changed = place.state is EnrollmentState.ACTIVE
        if changed:
            sequences.pause(db, [enrollment], BY_DESK, rt.clock.now())
            ledger.cancel_open(db, "paused", person.id, rt.clock.real_now(), enrollment, by)
            also(db)
    return _done(EnrollmentChange(EnrollmentAction.PAUSE, enrollment, changed, EnrollmentAction.RESUME if changed else None))


def resume(rt: Runtime, enrollment: EnrollmentId, by: UserId, also: AlsoInTransaction = _do_nothing) -> EnrollmentChange:
    """Let a paused reader go on: the rest of the wait, then the first opening. Who is held since an edit gets the letter when
    that edit says, or at the next opening. Raises ActRefused for somebody who has left, and NeverOpens.
    """
    with rt.database.begin() as db:
        place, person = _find(db, enrollment)
        if place.state not in sequences.RUNNING:
            raise ActRefused(f"{_ENDED[place.state]}, so they cannot go on.")
        changed = place.state is EnrollmentState.PAUSED
        if changed:
            now = rt.clock.now()
            sequences.unpause(db, enrollment)
            when = _not_before(now) if place.why == BY_EDIT else _rest_of_wait(place, now)
            plan_resumed(db, place, person.email_index, when, by, now, rt.clock.real_now())
            also(db)
        due = _due(db, enrollment)
    return _done(
        EnrollmentChange(
            EnrollmentAction.RESUME,
            enrollment,
            changed,
            EnrollmentAction.PAUSE if changed else None,
            due,
            at=rt.clock.real_now(),
        )
    )


def stop(
    rt: Runtime, enrollment: EnrollmentId, by: UserId, also: AlsoInTransaction = _do_nothing, since: datetime | None = None
) -> EnrollmentChange:
    """End a sequence for one reader. What is scheduled is cancelled; they stay on the list. Twice is fine.

    `since`: when (real time) was done what this takes back. Raises ActRefused for somebody who has had every letter, and
    TooLate if a letter has left since.
    """
    with rt.database.begin() as db:
        place, person = _find(db, enrollment)
        _check_none_left(db, enrollment, since)
        if place.state is EnrollmentState.COMPLETED:
            raise ActRefused("They have had every letter already, so there is nothing to stop.")
        changed = place.state in sequences.RUNNING
        if changed:
            sequences.end(db, enrollment, BY_DESK, rt.clock.now())
            ledger.cancel_open(db, BY_DESK, person.id, rt.clock.real_now(), enrollment, by)
            also(db)
    return _done(EnrollmentChange(EnrollmentAction.STOP, enrollment, changed, EnrollmentAction.PUT_BACK if changed else None))


def put_back(rt: Runtime, enrollment: EnrollmentId, by: UserId, also: AlsoInTransaction = _do_nothing) -> EnrollmentChange:
    """Take a `stop` back: they go on where they stopped, paused if they were. Twice is fine.

    Raises ActRefused for somebody who left otherwise, is off the list, or has begun again since; and NeverOpens.
    """
    with rt.database.begin() as db:
        place, person = _find(db, enrollment)
        changed = place.state not in sequences.RUNNING
        if changed:
            if place.why != BY_DESK:
                raise ActRefused(f"{_ENDED[place.state]}, and not by the desk. Only they can begin again, by signing up.")
            if person.state is not SubscriberState.ACTIVE:
                raise ActRefused("They are not on the list any more. Only they can come back, by signing up again.")
            if sequences.runs(db, person.id, place.sequence):
                raise ActRefused("They have begun this sequence again since, and are in the middle of it.")
            if sequences.resume(db, enrollment, BY_DESK) is EnrollmentState.ACTIVE:
                now = rt.clock.now()
                plan_resumed(db, place, person.email_index, _not_before(now), by, now, rt.clock.real_now())
            also(db)
        due = _due(db, enrollment)
    return _done(
        EnrollmentChange(
            EnrollmentAction.PUT_BACK,
            enrollment,
            changed,
            EnrollmentAction.STOP if changed else None,
            due,
            at=rt.clock.real_now(),
        )
    )


def send_next_now(rt: Runtime, enrollment: EnrollmentId, by: UserId) -> EnrollmentChange:
    """Let the next letter go with the next tick, whatever its wait and window say; the wait after it counts from now.

    Raises ActRefused if there is none, if they are paused, or if it would come too soon after another letter.
    """
    with rt.database.begin() as db:
        place, person = _find(db, enrollment)
        if place.state is EnrollmentState.PAUSED:
            raise ActRefused("They are paused. Let them go on first.")
        if place.state is not EnrollmentState.ACTIVE:
            raise ActRefused(f"{_ENDED[place.state]}, so there is no next letter.")
        if person.state is not SubscriberState.ACTIVE:
            raise ActRefused("They are not on the list, so nothing may be sent to them.")
        row = rescheduling.scheduled(db, enrollment)
        if row is None:
            raise ActRefused("There is no letter waiting: the last one is still on its way, or nothing is planned.")
        delivery, planned, due = row
        now = rt.clock.now()
        _check_caps(rt, db, person, ZoneInfo(place.time_zone), now)
        changed = due > now
        if changed:
            rescheduling.promise(db, delivery, now, by, rt.clock.real_now(), "sent early, by hand")
    if not changed:
        return _done(EnrollmentChange(EnrollmentAction.SEND_NOW, enrollment, False, due=due))
    return _done(
        EnrollmentChange(EnrollmentAction.SEND_NOW, enrollment, True, EnrollmentAction.SEND_LATER, now, planned, delivery)
    )


def send_later(rt: Runtime, enrollment: EnrollmentId, delivery: DeliveryId, before: datetime, by: UserId) -> EnrollmentChange:
    """Take a `send_next_now` of the letter `delivery` back while it still waits: it goes at `before` (timeline) again.

    Raises TooLate once it has left, and ActRefused while it is leaving, when it goes out no more, and for a time that is past.
    """
    with rt.database.begin() as db:
        _find(db, enrollment)
        letter = rescheduling.promised(db, enrollment, delivery)
        if letter is None or letter.state is State.CANCELLED:
            raise ActRefused("This letter is not going out any more.")
        if letter.state is not State.SCHEDULED:
            raise TooLate(letter.left) if letter.left and letter.state not in IN_DOUBT else ActRefused(_LEAVING)
        if before < rt.clock.now():
            raise ActRefused("The time at which it would have gone is past.")
        changed = letter.planned != before
        if changed:
            rescheduling.promise(db, delivery, before, by, rt.clock.real_now(), "sent later again, by hand")
    return _done(EnrollmentChange(EnrollmentAction.SEND_LATER, enrollment, changed, due=before))


_LEAVING = "Too late: the letter is just leaving."


def _check_none_left(db: Connection, enrollment: EnrollmentId, since: datetime | None) -> None:
    left = rescheduling.last_left(db, enrollment, since) if since is not None else None
    if left is not None:
        raise TooLate(left)


_ENDED = {
    EnrollmentState.COMPLETED: "They have had every letter",
    EnrollmentState.EXITED: "They have left the sequence",
    EnrollmentState.ACTIVE: "They are getting letters",
    EnrollmentState.PAUSED: "They are paused",
}


def _done(done: EnrollmentChange) -> EnrollmentChange:
    if done.changed:
        _log.info("enrollment_changed", kind=done.act.value, enrollment=done.enrollment)
    return done


def _find(db: Connection, enrollment: EnrollmentId) -> tuple[Enrolled, Subscriber]:
    """An enrollment and its person, locked; nobody changes a schedule until the transaction ends."""
    found = sequences.enrolled(db, [enrollment]).get(enrollment)
    person = subscribers.get(db, found.subscriber) if found else None
    schedules.lock_shared(db)
    place = sequences.lock(db, enrollment)
    if person is None or place is None:
        raise ActRefused("This reader is not here any more. Their data may have been erased.")
    return place, person


def _due(db: Connection, enrollment: EnrollmentId) -> datetime | None:
    row = rescheduling.scheduled(db, enrollment)
    return row[2] if row else None


def _rest_of_wait(place: Enrolled, now: datetime) -> Moment:
    paused = min(max(place.paused or now, place.anchor), now)  # a letter that was on its way counted on from its own arrival
    return lambda promised, rules, zone: resume_at(promised, paused, now, rules, zone)


def _not_before(now: datetime) -> Moment:
    return lambda promised, rules, zone: promised if promised >= now else first_opening(now, rules, zone)


def _check_caps(rt: Runtime, db: Connection, person: Subscriber, zone: ZoneInfo, now: datetime) -> None:
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    last, today = rescheduling.letters_sent(db, person.id, midnight)
    if last is None or (now - last >= rt.frequency_caps.gap and today < rt.frequency_caps.letters):
        return
    earliest = spaced_out(now, last, rt.frequency_caps.gap, zone)
    hours = rt.frequency_caps.gap / timedelta(hours=1)
    why = f"less than {hours:g} hours ago" if now - last < rt.frequency_caps.gap else "today already"
    raise ActRefused(f"A letter went to them {why}. The next may go from {moment(earliest, zone)} on their clock.")
