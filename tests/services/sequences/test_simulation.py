"""The simulator beside the post office: what it foretells is what then happens."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from nurture.domain.timeline import NeverOpens
from nurture.runtime import Runtime
from nurture.services.sequences.simulation import NoSuchSequence, simulate_stored
from nurture.store.sequences import sequences
from tests.clocks import ManualClock
from tests.domain.test_timeline import BERLIN, at
from tests.people import a_subscriber, due, inbox, run_tick, subjects

RULES = "key: ketamine-and-talk-therapy\ntitle: Talk\n"
SHIPPED = ("at once", "3 days", "4 days", "3 days", "4 days", "4 days")


def change(rt: Runtime, waits: tuple[str, ...], rules: str) -> None:
    """Other waits and another window for the shipped letters."""
    with rt.database.begin() as db:
        stored = sequences.load(db, sequences.all_keys(db)[0])
        assert stored is not None
        steps = tuple(replace(step, wait=wait) for step, wait in zip(stored.steps, waits, strict=True))
        sequences.put(db, replace(stored, listed=steps, rules=RULES + rules))


@pytest.mark.parametrize(
    ("zone", "signed_up", "waits", "rules"),
    [
        ("Europe/Berlin", "2026-10-20T21:40", SHIPPED, ""),
        ("America/New_York", "2026-03-05T06:15", SHIPPED, "holidays: [2026-03-09, 2026-03-16]"),
        ("Australia/Lord_Howe", "2026-10-02T02:10", ("at once", "1 day", "36 hours", "1 day", "2 days 5 hours", "1 day"),
         'window: {opens: "02:00", closes: "03:00", days: [mon, wed, fri, sat, sun]}\nquiet: {from: "21:00", to: "01:00"}'),
        ("Africa/Cairo", "2026-04-22T23:50", ("1 day", "2 hours", "at once", "3 hours", "1 day", "5 days"),
         'window: {opens: "00:00", closes: "00:00", days: [mon, thu, fri, sat]}\nquiet: {from: "12:00", to: "13:00"}'),
        ("Asia/Kathmandu", "2026-12-23T18:00", ("at once", "1 hour", "1 hour", "1 hour", "1 day", "30 hours"),
         "holidays: [2026-12-25, 2027-01-01]"),
    ],
    ids=lambda value: value if "/" in value else "",
)  # fmt: skip
def test_what_is_foretold_is_what_the_post_office_does(
    rt: Runtime, clock: ManualClock, zone: str, signed_up: str, waits: tuple[str, ...], rules: str
) -> None:
    change(rt, waits, rules)
    clock.at = at(signed_up, ZoneInfo(zone))
    foretold = simulate_stored(rt, None, clock.at, ZoneInfo(zone))
    reader = a_subscriber(rt, zone=zone)
    sent = []
    while (moment := due(rt, reader)) is not None:
        clock.at = max(clock.at, moment)
        before = len(inbox(rt, reader))
        run_tick(rt)
        sent += [clock.at] * (len(inbox(rt, reader)) - before)
    assert sent == [letter.due for letter in foretold.letters]
    assert subjects(rt, reader) == [foretold.subjects[letter.step] for letter in foretold.letters]


def test_a_sequence_that_never_opens_is_told(rt: Runtime, clock: ManualClock) -> None:
    change(rt, SHIPPED, 'window: {opens: "22:00", closes: "23:00"}')
    with pytest.raises(NeverOpens):
        simulate_stored(rt, None, clock.at, BERLIN)


def test_the_sequence_that_is_not_there_is_named_with_those_that_are(rt: Runtime, clock: ManualClock) -> None:
    with pytest.raises(NoSuchSequence, match=r"'talk'.*ketamine-and-talk-therapy"):
        simulate_stored(rt, "talk", clock.at, BERLIN)


def test_looking_ahead_changes_nothing(rt: Runtime, clock: ManualClock) -> None:
    simulate_stored(rt, "ketamine-and-talk-therapy", clock.at, BERLIN)
    clock.advance(days=30)
    assert run_tick(rt).claimed == 0
    assert inbox(rt) == []
