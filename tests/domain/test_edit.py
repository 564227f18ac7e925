"""Edits of a running sequence, judged by a small post office in which readers live on after them, and without them."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.edit import (
    NOBODY,
    Choice,
    EditRefused,
    Impact,
    Move,
    Planned,
    Reader,
    Version,
    impact,
    plan_edit,
    sentences,
    still_to_come,
    to_come_after,
)
from nurture.domain.sequence import Step, Wait
from nurture.domain.timeline import NeverOpens, Rules, next_anchor, next_due
from nurture.ids import EnrollmentId, StepKey
from tests.domain.test_timeline import ALWAYS, BERLIN, DAY, HOUR, NEW_YORK, at, may_go, window
from tests.effort import examples

START = datetime(2026, 10, 20, 8, 30, tzinfo=UTC)
FOREVER = START + 4000 * DAY
ZONES = (BERLIN, NEW_YORK, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("UTC"))
RULES = (Rules(), ALWAYS, window("09:00", "12:00", frozenset({0, 3})), window("07:00", "23:00"))


# The small post office


@dataclass
class Life:
    """A reader, and all the letters they have got: which and when."""

    reader: Reader
    got: list[tuple[StepKey, datetime]] = field(default_factory=list)

    def keys(self) -> list[StepKey]:
        return [key for key, _ in self.got]

    def copy(self) -> "Life":
        return Life(self.reader, [*self.got])

    def go_on(self, version: Version, until: datetime, after: tuple[StepKey, ...] | None = None) -> None:
        """Get what is due by `until`. `after`: what follows a letter that is under way now."""
        while (planned := self.reader.planned) is not None and planned.due <= until:
            self.got.append((planned.step, planned.due))
            anchor = next_anchor(planned.due, planned.due)
            sent = self.reader.sent | {planned.step}
            self.reader = replace(self.reader, anchor=anchor, sent=sent, last=planned.step, planned=None, movable=True)
            following = still_to_come(version.steps, self.reader) if after is None else after
            after = None
            self.plan(version, following)

    def plan(self, version: Version, following: tuple[StepKey, ...]) -> None:
        if following:
            step = next(step for step in version.steps if step.key == following[0])
            due = next_due(self.reader.anchor, step, version.rules, self.reader.zone)
            self.reader = replace(self.reader, planned=Planned(step.key, due))


def begin(version: Version, number: int, zone: ZoneInfo, signed_up: datetime) -> Life:
    life = Life(Reader(EnrollmentId(str(number)), zone, signed_up))
    life.plan(version, still_to_come(version.steps, life.reader))
    return life


# Random sequences, readers and edits

waits = st.builds(Wait, st.integers(0, 9), st.integers(0, 30))


def a_step(name: str) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.just(StepKey(name)), waits, at_once=st.sampled_from((False, False, False, True)))


@st.composite
def versions(draw: st.DrawFn) -> Version:
    names = "abcdef"[: draw(st.integers(1, 6))]
    return Version(tuple(draw(a_step(name)) for name in names), draw(st.sampled_from(RULES)))


@st.composite
def edited(draw: st.DrawFn, old: Version, turn: int) -> Version:
    """`old` with waits changed, steps taken out, put back, put in and moved about."""
    steps = list(old.steps)
    for place in draw(st.sets(st.integers(0, len(steps) - 1), max_size=2)):
        steps[place] = replace(steps[place], wait=draw(waits))
    for place in draw(st.sets(st.integers(0, len(steps) - 1), max_size=2)):
        steps[place] = replace(steps[place], removed=not steps[place].removed)
    if draw(st.integers(0, 2)) == 0:
        steps = list(draw(st.permutations(steps)))
    for n in range(draw(st.integers(0, 2))):
        steps.insert(draw(st.integers(0, len(steps))), draw(a_step(f"new-{turn}-{n}")))
    return Version(tuple(steps), draw(st.sampled_from((old.rules, *RULES))))


@st.composite
def many_readers(draw: st.DrawFn, version: Version, now: datetime) -> list[Life]:
    """Readers somewhere in the middle: some paused lately, some with a letter under way."""
    lives = []
    for number in range(draw(st.integers(1, 4))):
        ago = timedelta(hours=draw(st.integers(0, 900)))
        life = begin(version, number, draw(st.sampled_from(ZONES)), now - ago)
        life.go_on(version, now)
        if life.reader.planned is not None:
            life.reader = draw(st.sampled_from((life.reader, put_off(life.reader), replace(life.reader, movable=False))))
            lives.append(life)
    return lives


def put_off(reader: Reader) -> Reader:
    assert reader.planned is not None
    return replace(reader, planned=replace(reader.planned, due=reader.planned.due + 5 * DAY))


class Edit(NamedTuple):
    old: Version
    new: Version
    lives: list[Life]


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    old = draw(versions())
    return Edit(old, draw(edited(old, 0)), draw(many_readers(old, START)))


def carry_out(edit: Edit, moves: list[Move], until: datetime) -> None:
    """Do what the moves say, then let the readers live on."""
    changed = {move.enrollment: move for move in moves}
    for life in edit.lives:
        reader = life.reader
        after = to_come_after(edit.old, edit.new, reader) if not reader.movable else None
        if reader.movable and reader.enrollment in changed:
            life.reader = replace(reader, planned=changed[reader.enrollment].after)
        if not reader.movable:
            assert reader.planned is not None
            life.go_on(edit.new, max(reader.planned.due, until), after)
        life.go_on(edit.new, until)


# What is promised


@settings(max_examples=examples(300, 100), deadline=None)
@given(st.data())
def test_through_many_edits_nobody_gets_a_letter_twice_or_silently_skips_one(data: st.DataObject) -> None:
    version, now = data.draw(versions()), START
    lives = data.draw(many_readers(version, now))
    owed: dict[EnrollmentId, set[StepKey]] = {life.reader.enrollment: set(version_keys(version)) for life in lives}
    for turn in range(data.draw(st.integers(1, 3))):
        new = data.draw(edited(version, turn))
        live = version_keys(new)
        for life in lives:
            keys = [step.key for step in new.steps]
            under_way = life.reader.planned.step if life.reader.planned and not life.reader.movable else life.reader.last
            behind = keys[: keys.index(under_way) + 1] if under_way else []
            mine = owed[life.reader.enrollment]
            mine &= live | set(life.keys())  # only a removal takes a letter away
            mine |= live - set(behind)
        past = [life.copy().got for life in lives]
        moves = plan_edit(version, new, [life.reader for life in lives], now)
        now += timedelta(hours=data.draw(st.integers(1, 400)))
        carry_out(Edit(version, new, lives), moves, now)
        version = new
        assert all(life.got[: len(before)] == before for life, before in zip(lives, past, strict=True)), "the past re-ran"
    for life in lives:
        life.go_on(version, FOREVER)
        assert max(Counter(life.keys()).values(), default=0) <= 1, "a letter came twice"
        assert owed[life.reader.enrollment] <= set(life.keys()), "a letter was silently skipped"
        moments = [moment for _, moment in life.got]
        assert moments == sorted(moments)


def version_keys(version: Version) -> set[StepKey]:
    return {step.key for step in version.steps if not step.removed}


@settings(max_examples=examples(300, 100), deadline=None)
@given(edits())
def test_the_impact_is_what_then_happens(edit: Edit) -> None:
    told = impact(moves := plan_edit(edit.old, edit.new, [life.reader for life in edit.lives], START))
    with_it = [life.copy() for life in edit.lives]
    carry_out(edit._replace(lives=with_it), moves, FOREVER)
    seen = Impact(Counter(), Counter(), Counter(), Counter(), Counter())
    skipped, additional, shifted = Counter[StepKey](), Counter[StepKey](), Counter[tuple[StepKey, int]]()
    at_once, instead = Counter[StepKey](), Counter[tuple[StepKey, StepKey]]()
    for life, edited_life in zip(edit.lives, with_it, strict=True):
        without = life.copy()
        without.go_on(edit.old, FOREVER)
        skipped.update(set(without.keys()) - set(edited_life.keys()))
        additional.update(set(edited_life.keys()) - set(without.keys()))
        was, now = (each.got[len(life.got) :] for each in (without, edited_life))
        if not now or now[0] == was[0]:
            continue
        (old_key, old_due), (new_key, new_due) = was[0], now[0]
        if new_due == START:
            at_once[new_key] += 1
        elif old_key == new_key:
            days = new_due.astimezone(life.reader.zone).date() - old_due.astimezone(life.reader.zone).date()
            shifted[new_key, days.days] += 1
        if old_key != new_key:
            instead[old_key, new_key] += 1
    seen = Impact(shifted, at_once, skipped, additional, instead)
    assert told == seen


@settings(max_examples=examples(300, 100), deadline=None)
@given(edits())
def test_what_moves_is_never_put_into_the_past_nor_into_hours_that_are_closed(edit: Edit) -> None:
    for move in plan_edit(edit.old, edit.new, [life.reader for life in edit.lives], START):
        reader = next(life.reader for life in edit.lives if life.reader.enrollment == move.enrollment)
        if move.after is not None and move.after != move.before:
            step = next(step for step in edit.new.steps if step.key == move.after.step)
            assert move.after.due >= START
            assert (step.at_once and move.after.due == reader.anchor) or may_go(move.after.due, edit.new.rules, reader.zone)
            assert reader.movable


@settings(max_examples=200, deadline=None)
@given(edits())
def test_an_edit_that_changes_nothing_moves_nobody(edit: Edit) -> None:
    assert plan_edit(edit.old, edit.old, [life.reader for life in edit.lives], START + DAY) == []


@settings(max_examples=100, deadline=None)
@given(edits())
def test_for_new_people_only_nobody_moves(edit: Edit) -> None:
    assert plan_edit(edit.old, edit.new, [life.reader for life in edit.lives], START, Choice.NEW_ONLY) == []


@settings(max_examples=200, deadline=None)
@given(edits())
def test_holding_is_as_everyone_but_each_changed_next_letter_waits(edit: Edit) -> None:
    readers = [life.reader for life in edit.lives]
    held = plan_edit(edit.old, edit.new, readers, START, Choice.HOLD)
    assert [replace(move, held=False) for move in held] == plan_edit(edit.old, edit.new, readers, START)
    assert all(move.held == (move.after is not None and move.after != move.before) for move in held)


@settings(max_examples=200, deadline=None)
@given(versions(), st.integers(0, 900), st.sampled_from(ZONES), st.integers(-9, 9))
def test_a_shortened_wait_moves_people_forward_and_a_longer_one_back(
    old: Version, hours: int, zone: ZoneInfo, days: int
) -> None:
    life = begin(old, 1, zone, START - timedelta(hours=hours))
    life.go_on(old, START)
    if (planned := life.reader.planned) is None:
        return
    steps = tuple(
        replace(step, wait=Wait(max(0, step.wait.days + days), step.wait.hours)) if step.key == planned.step else step
        for step in old.steps
    )
    for move in plan_edit(old, replace(old, steps=steps), [life.reader], START):
        assert move.after is not None
        assert (move.after.due > planned.due) == (days > 0)


# One by one


def steps(names: str, wait: Wait = Wait(3), removed: str = "") -> tuple[Step, ...]:  # noqa: B008 - a frozen value
    return tuple(Step(StepKey(name), wait, removed=name in removed) for name in names)


NOW = at("2026-03-04T10:00", BERLIN)


def a_reader(sent: str, planned: str, due: str = "2026-03-05T10:00", movable: bool = True) -> Reader:
    keys = [StepKey(name) for name in sent]
    anchor = at("2026-03-02T10:00", BERLIN)
    coming = Planned(StepKey(planned), at(due, BERLIN)) if planned else None
    return Reader(EnrollmentId("1"), BERLIN, anchor, frozenset(keys), keys[-1] if keys else None, coming, movable)


def change(before: tuple[Step, ...], after: tuple[Step, ...], reader: Reader) -> Move:
    (move,) = plan_edit(Version(before), Version(after), [reader], NOW)
    return move


def told(before: tuple[Step, ...], after: tuple[Step, ...], reader: Reader) -> list[str]:
    titles = {StepKey(name): name.upper() for name in "abcdn"}
    return sentences(impact(plan_edit(Version(before), Version(after), [reader], NOW)), titles)


def test_a_step_put_in_reaches_only_readers_before_its_place() -> None:
    before, after = steps("abc"), steps("anbc")
    assert change(before, after, a_reader("a", "b")).added == ("n",)
    assert plan_edit(Version(before), Version(after), [a_reader("ab", "c")], NOW) == []


def test_a_reader_whose_last_step_is_taken_out_goes_on_after_it() -> None:
    assert plan_edit(Version(steps("abc")), Version(steps("abc", removed="b")), [a_reader("ab", "c")], NOW) == []


def test_a_removed_letter_is_skipped_and_counted_also_further_on() -> None:
    assert change(steps("abcd"), steps("abcd", removed="b"), a_reader("a", "b")).skipped == ("b",)
    assert told(steps("abcd"), steps("abcd", removed="d"), a_reader("a", "b")) == ["1 person skips “D”."]


def test_a_letter_moved_back_behind_a_reader_still_comes() -> None:
    move = change(steps("abcd"), steps("acbd"), a_reader("ab", ""))
    assert move.after is not None
    assert (move.after.step, move.skipped) == ("c", ())


def test_a_letter_already_read_that_is_moved_on_does_not_come_again() -> None:
    assert to_come_after(Version(steps("abc")), Version(steps("bca")), a_reader("ab", "c")) == ("c",)


def test_a_letter_under_way_goes_out_even_if_it_is_taken_out_and_what_follows_is_known() -> None:
    reader = a_reader("a", "b", movable=False)
    after = steps("anbcd", removed="bc")
    move = change(steps("abcd"), after, reader)
    assert move.before == move.after == reader.planned
    assert (move.skipped, move.added) == (("c",), ())
    assert to_come_after(Version(steps("abcd")), Version(after), reader) == ("d",)


def test_what_a_pause_put_off_stays_put_off() -> None:
    reader = a_reader("a", "b", due="2026-03-10T10:00")  # five days later than its wait says
    move = change(steps("ab"), steps("ab", Wait(4)), reader)
    assert move.after == Planned(StepKey("b"), at("2026-03-11T10:00", BERLIN))
    assert move.days == 1


def test_the_impact_reads_as_plain_words() -> None:
    reader = a_reader("a", "b")
    assert told(steps("ab"), steps("ab", Wait(5)), reader) == ["1 person gets “B” 2 days later."]
    assert told(steps("ab"), steps("ab", Wait(3, 2)), reader) == ["1 person gets “B” at another time of the same day."]
    assert told(steps("ab"), steps("ab", Wait(1)), reader) == ["1 person would get “B” now."]
    assert told(steps("ab"), steps("ab"), reader) == [NOBODY]
    assert told(steps("ab"), steps("anb"), reader) == [
        "1 person gets “N” as well.",
        "For 1 person, “N” comes next instead of “B”.",
    ]
    held = plan_edit(Version(steps("ab")), Version(steps("ab", Wait(5))), [reader], NOW, Choice.HOLD)
    assert sentences(impact(held), {})[-1] == "1 person waits for the next letter until you let it go."
    twelve = impact(
        12 * plan_edit(Version(steps("ab", Wait(4))), Version(steps("ab")), [a_reader("a", "b", "2026-03-06T10:00")], NOW)
    )
    assert sentences(twelve, {StepKey("b"): "Why talk"}) == ["12 people get “Why talk” 1 day earlier."]


@pytest.mark.parametrize(
    ("after", "said"), [(steps("ac"), "does not list the step 'b'"), (steps("abca"), "lists the step 'a' twice")]
)
def test_an_edit_that_leaves_a_step_unsaid_is_refused(after: tuple[Step, ...], said: str) -> None:
    for choice in Choice:
        with pytest.raises(EditRefused, match=said):
            plan_edit(Version(steps("abc")), Version(after), [a_reader("a", "b")], NOW, choice)


def test_rules_that_never_open_are_refused_and_those_that_once_did_are_forgotten() -> None:
    shut, reader = window("12:00", "12:00"), a_reader("a", "b")
    with pytest.raises(NeverOpens):
        plan_edit(Version(steps("ab")), Version(steps("ab"), shut), [reader], NOW)
    (move,) = plan_edit(Version(steps("ab"), shut), Version(steps("ab", Wait(2, 3))), [reader], NOW)
    assert move.after == Planned(StepKey("b"), NOW + 3 * HOUR)


@settings(max_examples=200, deadline=None)
@given(edits(), st.sampled_from(list(Choice)))
def test_one_after_the_other_readers_are_moved_as_each_would_be_alone(edit: Edit, choice: Choice) -> None:
    readers = [life.reader for life in edit.lives] * 2
    alone = [move for reader in readers for move in plan_edit(edit.old, edit.new, [reader], START, choice)]
    assert plan_edit(edit.old, edit.new, readers, START, choice) == alone
