"""An edit of a running sequence, on real databases: it does what it said before, and nobody loses or repeats a letter."""

from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from sqlalchemy import select

from nurture.delivery.sender import send_batch
from nurture.delivery.tick import tick
from nurture.domain.delivery import DeliveryKind, Outcome, State
from nurture.domain.edit import NOBODY, Choice
from nurture.domain.sequence import EnrollmentState
from nurture.domain.timeline import NeverOpens, Quiet, Rules, Window
from nurture.ids import BatchId, EnrollmentId, StepKey, UserId
from nurture.letters.compiler import compile_letter
from nurture.letters.source import folder_files, read_folder, read_letter
from nurture.mailers.base import Mail
from nurture.resources import pack
from nurture.runtime import Runtime
from nurture.services.letters import publishing, releasing
from nurture.services.sequences import enrollments, schedule
from nurture.services.sequences.schedule import Edited, ScheduleConflict, ScheduleRefused, Slot
from nurture.services.subscribers import unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core import schema
from nurture.store.letters import new_letters
from nurture.store.sequences import sequences
from nurture.store.sequences.schedules import lock_exclusive
from tests.clocks import ManualClock
from tests.people import Reader, a_subscriber, due, enrollment_of, rows, run_tick, subjects, undo_unsubscribe
from tests.scripted import Answering

KEY = "ketamine-and-talk-therapy"
ME = UserId("a" * 32)
STEPS = ["welcome", "history", "how-it-may-work", "why-talk", "what-to-expect", "invitation"]
WELCOME, HISTORY, HOW, WHY, EXPECT, INVITATION = map(StepKey, STEPS)


def state_of(rt: Runtime, enrollment: EnrollmentId) -> EnrollmentState:
    with rt.database.read() as db:
        return sequences.enrolled(db, [enrollment])[enrollment].state


def letters(rt: Runtime, reader: Reader) -> list[str]:
    """What a reader has got, or is getting, in order."""
    return [step or "" for kind, state, step, _ in rows(rt, reader, DeliveryKind.LETTER) if state is State.ACCEPTED]


def next_step(rt: Runtime, reader: Reader) -> str | None:
    found = [step for _, state, step, _ in rows(rt, reader, DeliveryKind.LETTER) if state is State.SCHEDULED]
    return found[0] if found else None


def a_reader(rt: Runtime, clock: ManualClock, got: int = 1, email: str | None = None) -> Reader:
    """Somebody who has got so many letters."""
    reader = a_subscriber(rt, email)
    for _ in range(got):
        clock.at = max(clock.at, due(rt, reader) or clock.at)
        run_tick(rt)
    assert letters(rt, reader) == STEPS[:got]
    return reader


def live_on(rt: Runtime, clock: ManualClock, reader: Reader) -> list[str]:
    """Everything a reader gets until nothing is to come."""
    for _ in range(20):
        at = due(rt, reader)
        if at is None:
            break
        clock.at = max(at, clock.at)
        run_tick(rt)
    return letters(rt, reader)


def waits(new: Edited, **of: str) -> Edited:
    """The same with other waits, by key with _ for -."""
    changed = {key.replace("_", "-"): wait for key, wait in of.items()}
    return replace(new, slots=tuple(replace(slot, wait=changed.get(slot.key, slot.wait)) for slot in new.slots))


def order(new: Edited, *keys: StepKey) -> Edited:
    known = {slot.key: slot for slot in new.slots}
    return replace(new, slots=tuple(known[key] for key in keys))


def without(new: Edited, *keys: StepKey) -> Edited:
    return replace(new, slots=tuple(replace(slot, removed=slot.removed or slot.key in keys) for slot in new.slots))


def save(rt: Runtime, new: Edited, choice: Choice = Choice.EVERYONE) -> schedule.Saved:
    return schedule.save(rt, KEY, new, choice, ME, schedule.load(rt, KEY).version)


def test_a_shortened_wait_moves_people_forward_as_was_said_before(rt: Runtime, clock: ManualClock) -> None:
    reader, late = a_reader(rt, clock), a_reader(rt, clock, 2)
    clock.at = datetime(2026, 3, 6, 15, 0, tzinfo=UTC)  # the history is due for the first since yesterday
    run_tick(rt)
    fresh = a_reader(rt, clock)
    promised = due(rt, fresh)
    assert promised
    new = waits(schedule.load(rt, KEY).edited, history="1 day")
    found = schedule.preview(rt, KEY, new)
    said = ["1 person gets “Letter 1: where it came from” 2 days earlier."]
    assert found.sentences == {
        Choice.NEW_ONLY: [NOBODY],
        Choice.EVERYONE: said,
        Choice.HOLD: [*said, "1 person waits for the next letter until you let it go."],
    }
    assert due(rt, fresh) == promised, "a look changes nothing"
    saved = save(rt, new)
    assert (saved.sentences, saved.changed, saved.version) == (said, True, 1)
    assert due(rt, fresh) == datetime(2026, 3, 7, 15, 0, tzinfo=UTC)
    for each in (reader, late, fresh):
        assert live_on(rt, clock, each) == STEPS


def test_new_people_only_leaves_those_in_the_middle_on_the_schedule_as_it_was(rt: Runtime, clock: ManualClock) -> None:
    before = a_reader(rt, clock)
    promised = due(rt, before)
    shown = schedule.load(rt, KEY).edited
    swapped = order(waits(without(shown, WHY), history="1 day"), WELCOME, HOW, HISTORY, WHY, EXPECT, INVITATION)
    assert save(rt, swapped, Choice.NEW_ONLY).sentences == [NOBODY]
    after = a_reader(rt, clock)
    assert (next_step(rt, before), due(rt, before)) == ("history", promised)
    assert next_step(rt, after) == "how-it-may-work"
    assert live_on(rt, clock, before) == STEPS, "the letter that was taken out as well"
    assert live_on(rt, clock, after) == ["welcome", "how-it-may-work", "history", "what-to-expect", "invitation"]


def test_a_later_edit_for_everyone_reaches_also_who_was_pinned(rt: Runtime, clock: ManualClock) -> None:
    before = a_reader(rt, clock)
    first = without(schedule.load(rt, KEY).edited, WHY)
    save(rt, first, Choice.NEW_ONLY)
    new = waits(schedule.load(rt, KEY).edited, history="9 days")
    assert schedule.preview(rt, KEY, new).sentences[Choice.EVERYONE] == [
        "1 person gets “Letter 1: where it came from” 6 days later.",
        "1 person skips “Letter 3: why talk at all?”.",
    ]
    save(rt, new)
    assert due(rt, before) == datetime(2026, 3, 11, 14, 0, tzinfo=UTC)
    assert live_on(rt, clock, before) == [step for step in STEPS if step != "why-talk"]


def test_a_letter_taken_out_is_skipped_and_one_put_back_comes_again(rt: Runtime, clock: ManualClock) -> None:
    readers = [a_reader(rt, clock, got) for got in (1, 2)]
    clock.advance(days=1)
    save(rt, without(schedule.load(rt, KEY).edited, HOW))
    assert next_step(rt, readers[1]) == "why-talk"
    again = replace(
        schedule.load(rt, KEY).edited, slots=tuple(replace(s, removed=False) for s in schedule.load(rt, KEY).edited.slots)
    )
    save(rt, again)
    assert next_step(rt, readers[1]) == "how-it-may-work"
    for reader in readers:
        assert live_on(rt, clock, reader) == STEPS


def test_taking_out_the_last_letter_ends_the_sequence_for_who_waited_for_it(rt: Runtime, clock: ManualClock) -> None:
    reader = a_reader(rt, clock, 5)
    save(rt, without(schedule.load(rt, KEY).edited, INVITATION))
    assert next_step(rt, reader) is None
    assert state_of(rt, enrollment_of(rt, reader)) is EnrollmentState.COMPLETED


def test_another_order_loses_nothing_and_repeats_nothing(rt: Runtime, clock: ManualClock) -> None:
    readers = [a_reader(rt, clock, got) for got in range(1, 6)]
    save(rt, order(schedule.load(rt, KEY).edited, INVITATION, WHY, EXPECT, HOW, HISTORY, WELCOME))
    for reader in readers:
        assert sorted(live_on(rt, clock, reader)) == sorted(STEPS)
        assert len(subjects(rt, reader)) == len(set(subjects(rt, reader))) == len(STEPS)


def test_who_is_being_written_to_meanwhile_goes_on_by_the_new_order(rt: Runtime, clock: ManualClock) -> None:
    """The letter under way is the last of the new order: what comes before it there is still to come."""
    reader = a_reader(rt, clock)
    clock.at = due(rt, reader) or clock.at
    outbox = rt.mailer
    new = order(schedule.load(rt, KEY).edited, WELCOME, HOW, WHY, EXPECT, INVITATION, HISTORY)

    async def edited_meanwhile(mail: Mail) -> Outcome:
        save(rt, new)
        return await outbox.post([outbox.prepare(mail)], 1)

    rt.mailer = Answering(edited_meanwhile)
    run_tick(rt)
    rt.mailer = outbox
    assert letters(rt, reader) == ["welcome", "history"]
    assert next_step(rt, reader) == "how-it-may-work"
    assert sorted(live_on(rt, clock, reader)) == sorted(STEPS)


def test_a_claimed_letter_stays_as_it_is(rt: Runtime, clock: ManualClock) -> None:
    reader = a_reader(rt, clock)
    clock.at = due(rt, reader) or clock.at

    def edited_first(batch: BatchId) -> None:
        save(rt, without(schedule.load(rt, KEY).edited, HISTORY))
        send_batch(rt, batch)

    tick(rt, edited_first)
    assert live_on(rt, clock, reader) == STEPS


def test_an_edit_that_holds_pauses_whom_it_would_move_until_they_are_let_go(rt: Runtime, clock: ManualClock) -> None:
    other = a_reader(rt, clock, 2)
    one, two = a_reader(rt, clock), a_reader(rt, clock)
    clock.advance(hours=5)
    saved = save(rt, waits(schedule.load(rt, KEY).edited, history="1 day", invitation="2 days"), Choice.HOLD)
    held = [one, two]
    assert {state_of(rt, enrollment_of(rt, reader)) for reader in held} == {EnrollmentState.PAUSED}
    assert saved.held == len(schedule.held_readers(rt, KEY)) == 2
    assert state_of(rt, enrollment_of(rt, other)) is EnrollmentState.ACTIVE, "its next letter does not change"
    clock.advance(days=20)
    run_tick(rt)
    assert letters(rt, held[0]) == ["welcome"]
    first = schedule.held_readers(rt, KEY)[0]
    assert (first.name, first.subscriber in {one.id, two.id}) == ("Robin", True)
    assert "Robin" not in repr(first)
    assert schedule.release(rt, KEY, ME, enrollment_of(rt, held[0])) == 1
    assert due(rt, held[0]) is not None
    assert schedule.release(rt, KEY, ME) == 1
    assert schedule.release(rt, KEY, ME) == 0
    for reader in (one, two, other):
        assert live_on(rt, clock, reader) == STEPS


def test_who_is_let_go_in_time_gets_the_letter_when_the_edit_says(rt: Runtime, clock: ManualClock) -> None:
    reader = a_reader(rt, clock)
    save(rt, waits(schedule.load(rt, KEY).edited, history="9 days"), Choice.HOLD)
    clock.advance(days=2)
    schedule.release(rt, KEY, ME)
    assert due(rt, reader) == datetime(2026, 3, 11, 14, 0, tzinfo=UTC)


def test_a_paused_reader_keeps_the_rest_of_the_new_wait(rt: Runtime, clock: ManualClock) -> None:
    reader = a_reader(rt, clock)
    enrollment = enrollment_of(rt, reader)
    clock.advance(days=1)
    enrollments.pause(rt, enrollment, ME)
    clock.advance(days=5)
    new = waits(schedule.load(rt, KEY).edited, history="10 days")
    assert schedule.preview(rt, KEY, new).sentences[Choice.HOLD] == [
        "1 person gets “Letter 1: where it came from” 7 days later."
    ]
    save(rt, new)
    clock.at = datetime(2026, 3, 16, 14, 0, tzinfo=UTC)  # ten in the morning again, in summer time now
    enrollments.resume(rt, enrollment, ME)
    assert due(rt, reader) == datetime(2026, 3, 25, 14, 0, tzinfo=UTC), "nine of ten days were left"
    assert live_on(rt, clock, reader) == STEPS


def test_who_comes_back_goes_on_as_it_was_when_they_left(rt: Runtime, clock: ManualClock) -> None:
    reader, other = a_reader(rt, clock, 2), a_reader(rt, clock, 2)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    enrollments.stop(rt, enrollment_of(rt, other), ME)
    save(rt, order(schedule.load(rt, KEY).edited, WELCOME, HOW, WHY, EXPECT, INVITATION, HISTORY))
    undo_unsubscribe(rt, reader.id)
    enrollments.put_back(rt, enrollment_of(rt, other), ME)
    for each in (reader, other):
        assert live_on(rt, clock, each) == STEPS


def test_files_say_the_same_afterwards(rt: Runtime, clock: ManualClock, tmp_path: Path) -> None:
    shown = schedule.load(rt, KEY)
    rules = Rules(Window(time(10), time(16), frozenset({0, 2, 5})), Quiet(time(22), time(7)), shown.rules.holidays)
    new = order(waits(without(shown.edited, WHY), history="1 day 6 hours"), WELCOME, HOW, HISTORY, WHY, EXPECT, INVITATION)
    save(rt, replace(new, rules=rules))
    publishing.export_folder(rt, KEY, tmp_path)
    described, found = read_folder(tmp_path)
    assert described.rules == rules
    assert [(letter.key, letter.wait) for letter in found] == [
        ("welcome", "at once"), ("how-it-may-work", "4 days"), ("history", "1 day 6 hours"), ("what-to-expect", "4 days"),
        ("invitation", "4 days"),
    ]  # fmt: skip
    before = folder_files(pack().letters / KEY)
    assert (tmp_path / "00-welcome.md").read_text("utf-8") == before["00-welcome.md"]
    version = schedule.load(rt, KEY).version
    publishing.load_folder(rt, tmp_path)
    assert schedule.load(rt, KEY).version == version, "importing what was exported changes nothing"
    assert schedule.load(rt, KEY).edited == replace(new, rules=rules)


def test_an_edit_that_changes_nothing_keeps_every_byte_and_the_version(rt: Runtime, tmp_path: Path) -> None:
    saved = save(rt, schedule.load(rt, KEY).edited)
    assert (saved.changed, saved.version) == (False, 0)
    publishing.export_folder(rt, KEY, tmp_path)
    assert folder_files(tmp_path) == folder_files(pack().letters / KEY)


def test_two_people_at_once_do_not_overwrite_each_other(rt: Runtime) -> None:
    shown = schedule.load(rt, KEY)
    schedule.save(rt, KEY, waits(shown.edited, history="1 day"), Choice.EVERYONE, ME, shown.version)
    with pytest.raises(ScheduleConflict, match="Somebody else has changed"):
        schedule.save(rt, KEY, waits(shown.edited, history="8 days"), Choice.EVERYONE, ME, shown.version)
    assert [card.slot.wait for card in schedule.load(rt, KEY).cards][1] == "1 day"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda new: replace(new, slots=new.slots[:-1]), "letters of this sequence have changed"),
        (lambda new: replace(new, slots=(*new.slots, Slot(StepKey("x"), "1 day"))), "letters of this sequence have changed"),
        (lambda new: replace(new, slots=(*new.slots, new.slots[0])), "listed twice"),
        (lambda new: waits(new, history="soon"), "“Letter 1: where it came from”: The wait 'soon' is not clear"),
        (lambda new: without(new, *map(StepKey, STEPS)), "at least one letter"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(rt: Runtime, change: object, why: str) -> None:
    before = schedule.load(rt, KEY)
    new = change(before.edited)  # type: ignore[operator]
    for act in (lambda: schedule.preview(rt, KEY, new), lambda: save(rt, new)):
        with pytest.raises(ScheduleRefused, match=why):
            act()
    assert schedule.load(rt, KEY) == before


def test_hours_that_never_open_are_refused(rt: Runtime) -> None:
    shown = schedule.load(rt, KEY)
    night = Rules(Window(time(22), time(23)), Quiet(time(21), time(8)))
    with pytest.raises(NeverOpens, match="Give the window"):
        save(rt, replace(shown.edited, rules=night))


def test_an_unknown_sequence_is_refused(rt: Runtime) -> None:
    with pytest.raises(ScheduleRefused, match="no such sequence"):
        schedule.load(rt, "nothing")


def test_a_new_letter_reaches_nobody_before_it_is_published(rt: Runtime, clock: ManualClock, tmp_path: Path) -> None:
    behind, before = a_reader(rt, clock, 3), a_reader(rt, clock, 2)
    first = schedule.insert_step(rt, KEY, "A  question: “why” me?", "2 days", HISTORY, ME)
    second = schedule.insert_step(rt, KEY, "A question, why me?", "2 days", first, ME)
    assert (first, second) == ("a-question-why-me", "a-question-why-me-2")
    shown = schedule.load(rt, KEY)
    assert [card.slot.key for card in shown.cards][:5] == ["welcome", "history", first, second, "how-it-may-work"]
    assert [(card.title, card.published) for card in shown.cards][2] == ("A question: “why” me?", False)
    assert next_step(rt, before) == "how-it-may-work"
    assert schedule.preview(rt, KEY, shown.edited).changes is False
    publish(rt, second)
    assert [card.slot.key for card in schedule.load(rt, KEY).cards][:5] == [
        "welcome", "history", first, second, "how-it-may-work",
    ]  # fmt: skip
    assert next_step(rt, before) == second
    assert live_on(rt, clock, before) == ["welcome", "history", second, *STEPS[2:]]
    assert live_on(rt, clock, behind) == STEPS


def publish(rt: Runtime, step: StepKey) -> None:
    """What the letters' page does, once every living reader has been tried."""
    with rt.database.begin() as db:
        lock_exclusive(db)
        old = sequences.load(db, KEY)
        assert old
        draft = next(each for each in new_letters.read(db, old.id) if each.step == step)
        letter = read_letter(f"{step}.md", draft.text)
        releasing.release(rt, db, KEY, [read_letter(f"00-{step}.md", draft.text)], {step: compile_letter(letter)}, ME)


def test_drafts_move_with_an_edit_and_can_be_thrown_away(rt: Runtime) -> None:
    first = schedule.insert_step(rt, KEY, "First of all", "2 days", None, ME)
    second = schedule.insert_step(rt, KEY, "Then", "3 days", first, ME)
    shown = schedule.load(rt, KEY)
    assert [card.slot.key for card in shown.cards][:3] == [first, second, "welcome"]
    keys = [slot.key for slot in shown.edited.slots]
    new = waits(order(shown.edited, *[key for key in keys if key != first], first), first_of_all="5 days")
    assert schedule.preview(rt, KEY, new).changes is True
    assert save(rt, new).changed is True
    shown = schedule.load(rt, KEY)
    assert (shown.cards[-1].slot, shown.version) == (Slot(first, "5 days"), 0)
    assert schedule.discard_step(rt, KEY, first) is True
    assert schedule.discard_step(rt, KEY, first) is False
    assert schedule.discard_step(rt, KEY, HISTORY) is False, "a letter people have got is not thrown away"
    assert schedule.load(rt, KEY).cards[0].slot.key == second


def test_a_draft_of_a_letter_says_its_new_wait(rt: Runtime, clock: ManualClock) -> None:
    with rt.database.begin() as db:
        stored = sequences.load(db, KEY)
        assert stored
        text = stored.steps[1].source + "\nOne more line.\n"
        new_letters.begin(db, stored.id, new_letters.NewLetter(HISTORY, text), ME, clock.now())
    save(rt, waits(schedule.load(rt, KEY).edited, history="8 days"))
    r = schema.drafts.c
    with rt.database.read() as db:
        row = db.execute(select(r.text, r.version)).one()
    assert row.text == text.replace("wait: 3 days", "wait: 8 days")
    assert row.version == 2, "who has it open is told"


@pytest.mark.parametrize(
    ("title", "why"), [("  ", "subject line of up to"), ("x" * 121, "up to 120"), ("a\x00b", "Type it anew")]
)
def test_a_new_letter_needs_a_title(rt: Runtime, title: str, why: str) -> None:
    with pytest.raises(ScheduleRefused, match=why):
        schedule.insert_step(rt, KEY, title, "1 day", None, ME)


def test_a_new_letter_needs_a_wait_and_a_place(rt: Runtime) -> None:
    with pytest.raises(ScheduleRefused, match="is not clear"):
        schedule.insert_step(rt, KEY, "A letter", "whenever", None, ME)
    with pytest.raises(ScheduleRefused, match="not there any more"):
        schedule.insert_step(rt, KEY, "A letter", "1 day", StepKey("gone"), ME)


def test_importing_other_waits_and_fewer_letters_moves_people(rt: Runtime, clock: ManualClock, tmp_path: Path) -> None:
    reader, further = a_reader(rt, clock), a_reader(rt, clock, 3)
    publishing.export_folder(rt, KEY, tmp_path)
    letter = tmp_path / "01-history.md"
    letter.write_text(letter.read_text("utf-8").replace("wait: 3 days", "wait: 9 days"), "utf-8")
    (tmp_path / "03-why-talk.md").unlink()
    clock.at = datetime(2026, 3, 2, 15, 0, tzinfo=UTC) if (due(rt, reader) or clock.at) < clock.at else clock.at
    with pytest.raises(publishing.ImportRefused, match="--remove"):
        publishing.load_folder(rt, tmp_path)
    publishing.load_folder(rt, tmp_path, remove=True)
    assert next_step(rt, further) == "what-to-expect"
    (tmp_path / "03-why-talk.md").write_text(folder_files(pack().letters / KEY)["03-why-talk.md"], "utf-8")
    publishing.load_folder(rt, tmp_path)
    assert next_step(rt, further) == "why-talk"
    for each in (reader, further):
        assert live_on(rt, clock, each) == STEPS
