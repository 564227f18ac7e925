"""What the provider is still to be told: one word a reader, the newest, taken by one process at a time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from nurture.runtime import Runtime
from nurture.store.state import heartbeats
from nurture.store.subscribers import subscribers, suppression_pushes
from nurture.store.subscribers.suppression_pushes import Push, PushAction
from tests.clocks import START, ManualClock
from tests.people import sign_up

LEASE = timedelta(minutes=5)


def claimed(rt: Runtime, after: timedelta = timedelta(), limit: int = 100) -> list[Push]:
    with rt.database.begin() as db:
        return suppression_pushes.claim(db, START + after, START + after + LEASE, limit)


def test_the_newest_word_takes_the_place_of_an_older_one_and_begins_anew(rt: Runtime) -> None:
    reader = sign_up(rt)
    with rt.database.begin() as db:
        suppression_pushes.enqueue(db, reader.id, PushAction.ADD, START)
    (old,) = claimed(rt)
    with rt.database.begin() as db:
        suppression_pushes.enqueue(db, reader.id, PushAction.REMOVE, START)
        assert suppression_pushes.done(db, [old.id]) == set(), "a word that was overtaken takes nothing with it"
    (new,) = claimed(rt)
    assert (old.act, old.attempt, new.act, new.attempt) == (PushAction.ADD, 1, PushAction.REMOVE, 1)
    assert new.subscriber == reader.id
    assert rt.cipher.decrypt(new.email, subscribers.email_field(reader.id)) == reader.email
    with rt.database.begin() as db:
        assert suppression_pushes.done(db, [new.id, old.id]) == {new.id}
    assert claimed(rt, LEASE) == []


def enqueued(rt: Runtime, number: int) -> None:
    readers = [sign_up(rt) for _ in range(number)]
    with rt.database.begin() as db:
        for reader in readers:
            suppression_pushes.enqueue(db, reader.id, PushAction.ADD, START)


def test_what_is_taken_is_free_again_when_its_time_is_over(rt: Runtime) -> None:
    enqueued(rt, 1)
    assert len(claimed(rt)) == 1
    assert claimed(rt, LEASE - timedelta(seconds=1)) == []
    (again,) = claimed(rt, LEASE)
    assert again.attempt == 2


def test_many_at_once_take_each_word_once_and_no_more_than_they_may(rt: Runtime) -> None:
    enqueued(rt, 40)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: claimed(rt, limit=7), range(8)))
    assert max(len(part) for part in taken) <= 7
    ids = [word.id for part in taken for word in part]
    assert len(ids) == len(set(ids))
    ids += [word.id for word in claimed(rt)]
    assert len(set(ids)) == 40


def test_nobody_waits_for_words_that_another_is_just_taking(rt: Runtime) -> None:
    if rt.database.is_sqlite:  # one writer at a time
        return
    enqueued(rt, 4)
    with rt.database.begin() as db:
        assert len(suppression_pushes.claim(db, START, START + LEASE, 3)) == 3
        assert len(claimed(rt)) == 1


def test_put_off_is_what_is_due_and_nothing_else(rt: Runtime, clock: ManualClock) -> None:
    enqueued(rt, 3)
    first, second, third = claimed(rt)
    with rt.database.begin() as db:
        suppression_pushes.later(db, [first.id], START)
        suppression_pushes.later(db, [second.id], START + timedelta(seconds=30))
        suppression_pushes.put_off(db, START, START + timedelta(hours=1))
    assert [word.id for word in claimed(rt, timedelta(minutes=1))] == [second.id]
    assert [word.id for word in claimed(rt, timedelta(minutes=5))] == [third.id]
    assert first.id in {word.id for word in claimed(rt, timedelta(hours=1))}


def test_there_is_nothing_to_tell_about_a_reader_any_more(rt: Runtime) -> None:
    enqueued(rt, 2)
    word, other = claimed(rt)
    with rt.database.begin() as db:
        suppression_pushes.forget(db, word.subscriber)
    assert [left.id for left in claimed(rt, LEASE)] == [other.id]


def test_words_about_somebody_who_is_deleted_go_with_them(rt: Runtime) -> None:
    enqueued(rt, 1)
    with rt.database.begin() as db:
        assert subscribers.delete_unconfirmed(db, START + timedelta(days=1)) == 1
    assert claimed(rt) == []


def test_a_turn_is_one_processs_and_comes_again(rt: Runtime) -> None:
    def turn(after: timedelta) -> bool:
        with rt.database.begin() as db:
            return heartbeats.take_turn(db, "turn", START + after, timedelta(hours=1))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(turn, [timedelta()] * 8)) == 1
    assert not turn(timedelta(minutes=59))
    assert turn(timedelta(hours=1))
    assert turn(timedelta(minutes=-5)), "noted by a clock that was ahead: it must not stop everybody until then"
