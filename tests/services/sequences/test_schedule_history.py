"""Earlier plans: kept with every change, whoever makes it, and gone back to by an edit like any other."""

from dataclasses import replace
from pathlib import Path

import pytest

from nurture.domain.edit import Choice
from nurture.ids import StepKey
from nurture.runtime import Runtime
from nurture.services.letters import publishing
from nurture.services.sequences import schedule, schedule_history
from nurture.services.sequences.schedule import Edited, ScheduleRefused
from tests.clocks import ManualClock
from tests.people import a_subscriber, due, run_tick
from tests.services.sequences.test_schedule import HISTORY, KEY, ME, WHY, a_reader, order, waits


def save(rt: Runtime, new: Edited, choice: Choice = Choice.EVERYONE) -> None:
    schedule.save(rt, KEY, new, choice, ME, schedule.load(rt, KEY).version)


def changed(now: Edited) -> Edited:
    """Another order, another wait, a letter taken out, other hours."""
    keys = [slot.key for slot in now.slots]
    moved = order(waits(now, history="9 days", invitation="1 hours"), *keys[:2], keys[3], keys[2], *keys[4:])
    slots = tuple(replace(slot, removed=slot.key == WHY) for slot in moved.slots)
    return Edited(slots, replace(now.rules, window=replace(now.rules.window, days=frozenset({1, 2}))))


@pytest.mark.parametrize("choice", list(Choice))
def test_who_changes_it_back_before_anything_was_due_has_every_date_as_it_was(
    rt: Runtime, clock: ManualClock, choice: Choice
) -> None:
    readers = [a_reader(rt, clock, got) for got in (1, 2, 3)]
    now = schedule.load(rt, KEY)
    before = [due(rt, reader) for reader in readers]
    save(rt, changed(now.edited), choice)
    (kept,) = schedule_history.past_schedules(rt, KEY)
    assert (kept.version, kept.by, kept.until) == (0, ME, clock.real_now())
    clock.advance(hours=1)
    back = schedule_history.past_schedule(rt, KEY, 0)
    assert back.edited == now.edited
    save(rt, back.edited)
    for _ in readers:
        schedule.release(rt, KEY, ME)  # who was held waits until they are let go, also after going back
    assert [due(rt, reader) for reader in readers] == before
    assert [each.version for each in schedule_history.past_schedules(rt, KEY)] == [1, 0]


def test_a_letter_that_would_have_gone_at_once_is_put_off_rather_than_early(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    was = due(rt, reader)
    assert was
    clock.advance(days=2)
    save(rt, waits(schedule.load(rt, KEY).edited, history="1 day"))
    brought_forward = due(rt, reader)
    assert brought_forward
    assert brought_forward < was
    save(rt, schedule_history.past_schedule(rt, KEY, 0).edited)
    found = due(rt, reader)
    assert found
    assert found >= was


def test_letters_that_came_since_and_what_somebody_works_on_stay(rt: Runtime, tmp_path: Path) -> None:
    save(rt, waits(schedule.load(rt, KEY).edited, history="9 days"))
    folder = tmp_path / "letters"
    publishing.export_folder(rt, KEY, folder)
    text = (folder / "01-history.md").read_text()
    (folder / "09-a-word-before.md").write_text(text)
    publishing.load_folder(rt, folder, by="Dana (command line)")
    schedule.insert_step(rt, KEY, "A question", "3 days", WHY, ME)
    back = schedule_history.past_schedule(rt, KEY, 0)
    keys = [card.slot.key for card in back.cards]
    assert "a-word-before" in keys
    assert keys.index(WHY) + 1 == keys.index(StepKey("a-question"))
    assert {card.slot.key: card.slot.wait for card in back.cards}[HISTORY] == "3 days"
    assert [(each.version, each.by) for each in schedule_history.past_schedules(rt, KEY)] == [
        (1, "Dana (command line)"),
        (0, ME),
    ]
    save(rt, back.edited)


def test_words_alone_make_no_earlier_plan(rt: Runtime, tmp_path: Path) -> None:
    publishing.export_folder(rt, KEY, tmp_path / "letters")
    letter = tmp_path / "letters" / "01-history.md"
    letter.write_text(letter.read_text() + "\nOne more line.\n")
    publishing.load_folder(rt, tmp_path / "letters")
    assert schedule_history.past_schedules(rt, KEY) == []


def test_a_plan_that_was_never_is_refused(rt: Runtime) -> None:
    with pytest.raises(ScheduleRefused, match="not kept"):
        schedule_history.past_schedule(rt, KEY, 4)
