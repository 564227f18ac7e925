"""What becomes of sign-ups: bombing, other people's values, the breaker."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from nurture.delivery.plan import SET_BACK_UNTIL
from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.limits import FEWEST_ASKED, Suspicion, Trip
from nurture.ids import SubscriberId
from nurture.runtime import Runtime
from nurture.services.addresses import parse_address
from nurture.services.operations import retention
from nurture.services.subscribers import personal_data, sign_up_queue, signup
from nurture.services.subscribers.signup import SignUp
from nurture.store.core.schema import consents, limit_counters, metadata, sign_ups
from nurture.store.core.schema import subscribers as people
from nurture.store.state import app_state
from nurture.store.subscribers.subscribers import first_name_field
from tests.clocks import ManualClock
from tests.people import NEW_YORK, Reader, a_subscriber, inbox, rows, run_tick, sign_up


def type_in(rt: Runtime, email: str, name: str = "Robin", zone: str = NEW_YORK, **more: object) -> bool:
    """Fill in the form; nothing is decided yet."""
    return signup.subscribe(rt, SignUp(parse_address(email), name, zone, "/", **more))  # type: ignore[arg-type]


def links(rt: Runtime, email: str) -> list[str]:
    """The tokens of the confirmations that somebody got, oldest first."""
    mails = inbox(rt, Reader(SubscriberId(""), email))
    return [mail.part("plain").split("/confirm/")[1].split()[0] for mail in mails if "/confirm/" in mail.part("plain")]


def asked(rt: Runtime) -> int:
    return [row[0] for row in rows(rt)].count(DeliveryKind.CONFIRMATION)


def waiting(rt: Runtime) -> sign_up_queue.ConfirmationsOnHold | None:
    with rt.database.read() as db:
        return sign_up_queue.on_hold(rt, db)


SPELLINGS = ("victim@gmail.com", "v.ictim@gmail.com", "vic.tim+a@googlemail.com", "VICTIM+b@gmail.com", "v.i.c.t.i.m@gmail.com")


def test_one_mailbox_gets_one_mail_whatever_the_spelling_and_two_in_half_a_year(rt: Runtime, clock: ManualClock) -> None:
    for _ in range(4):
        for spelling in SPELLINGS:
            sign_up_of_a_stranger(rt, spelling)
    assert asked(rt) == 1
    for _ in range(60):
        clock.advance(days=2)
        retention.retain(rt)
        for spelling in SPELLINGS:
            sign_up_of_a_stranger(rt, spelling)
    with rt.database.read() as db:
        sent = db.scalar(select(func.sum(limit_counters.c.count)))
    assert sent is not None
    retention.retain(rt)
    assert len(inbox(rt)) == 2, "the second after a day, and no more: what was counted outlives the sign-up"
    clock.advance(days=181)
    sign_up_of_a_stranger(rt, SPELLINGS[0])
    run_tick(rt)
    assert len(inbox(rt)) == 3, "counters end with their window"


def sign_up_of_a_stranger(rt: Runtime, email: str) -> None:
    type_in(rt, email)
    run_tick(rt)


def test_a_sign_up_that_a_restored_database_had_not_decided_on_sends_nothing_by_itself(rt: Runtime, clock: ManualClock) -> None:
    """Its confirmation may have been sent in the time that the database has forgotten."""
    on_the_list = a_subscriber(rt)
    run_tick(rt)
    before = len(inbox(rt))
    type_in(rt, "robin@example.org")
    type_in(rt, on_the_list.email)
    with rt.database.begin() as db:
        app_state.set_value(db, SET_BACK_UNTIL, clock.now().isoformat())
    clock.advance(minutes=1)
    type_in(rt, "sam@example.org")
    assert sign_up_queue.decide_on_sign_ups(rt) == 3
    run_tick(rt)
    assert [str(mail.message["To"]) for mail in inbox(rt)[before:]] == ["sam@example.org"]
    assert sum(row[1] is State.UNKNOWN for row in rows(rt)) == 2, "a person, or the provider's report, decides"


def test_counters_hold_nothing_but_hashes_numbers_and_times(rt: Runtime) -> None:
    type_in(rt, "victim@gmail.com", network="203.0.113.0/24")
    sign_up_queue.decide_on_sign_ups(rt)
    with rt.database.read() as db:
        found = db.execute(select(limit_counters)).all()
    assert {column.name for column in limit_counters.c} == {"key", "count", "ends_at"}
    assert len(found) == 5, "two of the mailbox, two of the network, one of everybody"
    assert all(len(row.key) == 32 and b"victim" not in row.key and b"203" not in row.key for row in found)


def test_an_answer_counts_as_an_answer(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    personal_data.erase(rt, reader.id)
    again = sign_up(rt, reader.email)
    assert [row[0] for row in rows(rt, again)] == [DeliveryKind.CONFIRMATION]


def test_each_link_brings_what_was_typed_with_it(rt: Runtime, clock: ManualClock) -> None:
    type_in(rt, "robin@example.org", "Robin", NEW_YORK)
    run_tick(rt)
    clock.advance(days=1, hours=1)
    type_in(rt, "robin@example.org", "Buy Pills", "Pacific/Kiritimati", plain_sender=True)
    run_tick(rt)
    mine, strangers = links(rt, "robin@example.org")
    assert mine != strangers
    signup.confirm(rt, mine)
    with rt.database.read() as db:
        row = db.execute(select(people.c.id, people.c.first_name_encrypted, people.c.time_zone, people.c.plain_sender)).one()
    assert rt.cipher.decrypt(row[1], first_name_field(row[0])) == "Robin"
    assert (row[2], row[3]) == (NEW_YORK, None)
    signup.confirm(rt, strangers)  # twice is fine, and changes nothing any more
    with rt.database.read() as db:
        assert db.scalar(select(people.c.time_zone)) == NEW_YORK


def test_a_stranger_who_comes_first_does_not_name_the_person_who_confirms(rt: Runtime, clock: ManualClock) -> None:
    type_in(rt, "robin@example.org", "Buy Pills", "Pacific/Kiritimati")
    run_tick(rt)
    clock.advance(days=1, hours=1)
    type_in(rt, "robin@example.org", "", NEW_YORK)
    run_tick(rt)
    signup.confirm(rt, links(rt, "robin@example.org")[1])
    run_tick(rt)
    assert not any("Buy Pills" in mail.source for mail in inbox(rt))
    with rt.database.read() as db:
        assert db.execute(select(people.c.first_name_encrypted, people.c.time_zone)).one() == (None, NEW_YORK)


def test_a_link_from_the_version_before_goes_on_working(rt: Runtime) -> None:
    reader = sign_up(rt)
    with rt.database.begin() as db:
        db.execute(sign_ups.delete())
    run_tick(rt)
    signup.confirm(rt, links(rt, reader.email)[0])
    assert DeliveryKind.LETTER in [row[0] for row in rows(rt, reader)]


def test_what_was_typed_is_in_the_export_and_goes_with_an_erasure_and_with_time(rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    type_in(rt, reader.email, "Robin")
    told = personal_data.export(rt, reader.id)["typed_at_sign_up"]
    assert [each["first_name"] for each in told] == ["Robin", "Robin"]
    personal_data.erase(rt, reader.id)
    type_in(rt, "somebody@example.org")
    clock.advance(days=7, seconds=1)
    retention.retain(rt)
    with rt.database.read() as db:
        assert db.scalar(select(func.count()).select_from(sign_ups)) == 0


def test_a_form_whose_hidden_field_is_filled_brings_nothing(rt: Runtime) -> None:
    type_in(rt, "robot@example.org", suspicion=Suspicion.HONEYPOT)
    run_tick(rt)
    with rt.database.read() as db:
        assert db.scalar(select(func.count()).select_from(people)) == 0
        assert db.scalar(select(func.count()).select_from(consents)) == 0


@pytest.fixture
def few(rt: Runtime) -> Runtime:
    """An installation whose breaker trips soon."""
    rt.settings = rt.settings.model_copy(update={"confirmations_per_hour": 5})
    return rt


def test_more_than_an_hour_brings_wait_until_somebody_lets_them_go_on(few: Runtime, clock: ManualClock) -> None:
    for number in range(12):
        type_in(few, f"reader{number}@example.org")
    run_tick(few)
    assert asked(few) == 5
    now = waiting(few)
    assert now is not None
    assert (now.why, now.count) == (Trip.RATE, 7)
    clock.advance(hours=2)
    run_tick(few)
    assert asked(few) == 5, "time alone does not let them go on"
    sign_up_queue.resume(few)
    run_tick(few)
    assert asked(few) == 12, "one press, and everybody who waited is asked"
    assert waiting(few) is None
    clock.advance(seconds=1)
    for number in range(12, 20):
        type_in(few, f"reader{number}@example.org")
    run_tick(few)
    assert asked(few) == 17, "counted anew from the press"
    sign_up_queue.resume(few, drop=True)
    run_tick(few)
    assert asked(few) == 17


def test_a_form_without_a_stamp_is_taken_and_counts_double(few: Runtime) -> None:
    for number in range(6):
        type_in(few, f"reader{number}@example.org", suspicion=Suspicion.STAMP)
    run_tick(few)
    assert asked(few) == 3
    assert waiting(few) is not None


def test_they_wait_when_hardly_anybody_confirms(rt: Runtime, clock: ManualClock) -> None:
    for number in range(FEWEST_ASKED):
        sign_up(rt, f"reader{number}@example.org")
    clock.advance(hours=1, minutes=1)
    type_in(rt, "late@example.org")
    run_tick(rt)
    now = waiting(rt)
    assert now is not None
    assert (now.why, now.count) == (Trip.SHARE, 1)
    sign_up_queue.resume(rt)
    clock.advance(minutes=1)
    type_in(rt, "later@example.org")
    run_tick(rt)
    assert waiting(rt) is None
    assert asked(rt) == FEWEST_ASKED + 2


def test_repeats_and_traps_do_not_count_toward_the_breaker(few: Runtime) -> None:
    for number in range(20):
        type_in(few, "victim@example.org")
        type_in(few, f"robot{number}@example.org", suspicion=Suspicion.HONEYPOT)
    run_tick(few)
    assert (asked(few), waiting(few)) == (1, None)


def test_decisions_rest_between_and_end_at_once_when_the_process_stops(rt: Runtime) -> None:
    for number in range(3):
        type_in(rt, f"reader{number}@example.org")
    with ThreadPoolExecutor(1) as threads:
        deciding = threads.submit(sign_up_queue.decide_on_sign_ups, rt, rest=1_000_000)
        until = time.monotonic() + 30
        while not rows(rt) and time.monotonic() < until:
            time.sleep(0.01)
        rt.stopping.set()
        assert deciding.result(30) == 1
    rt.stopping.clear()
    assert sign_up_queue.decide_on_sign_ups(rt) == 2


def test_what_nobody_has_decided_on_is_sealed(rt: Runtime) -> None:
    type_in(rt, "odd-one-out@example.org", "Zebedee")
    with rt.database.read() as db:
        stored = [value for table in metadata.tables.values() for row in db.execute(select(table)) for value in row]
    assert not any(b"Zebedee" in value or b"odd-one-out" in value for value in stored if isinstance(value, bytes))
    assert not any("Zebedee" in value or "odd-one-out" in value for value in stored if isinstance(value, str))


def test_an_hour_of_one_network_brings_ten_and_a_day_thirty(rt: Runtime, clock: ManualClock) -> None:
    def try_some(count: int, network: str | None = "203.0.113.0/24") -> int:
        return sum(type_in(rt, f"reader{number}@example.org", network=network) for number in range(count))

    assert try_some(15) == 10
    assert try_some(3, "198.51.100.0/24") == 3, "others are not touched"
    assert try_some(15, None) == 15, "nobody knows whose"
    for _ in range(3):
        clock.advance(hours=1)
        try_some(15)
    assert try_some(1) == 0
    clock.at += timedelta(hours=22)
    assert try_some(1) == 1


def test_sign_ups_decided_by_many_at_once_bring_one_mail_to_a_mailbox(rt: Runtime) -> None:
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda n: type_in(rt, SPELLINGS[n % len(SPELLINGS)]), range(40)))
        decided = list(threads.map(lambda _: sign_up_queue.decide_on_sign_ups(rt), range(6)))
    assert sum(decided) == 40, "each is decided once"
    assert asked(rt) == 1
