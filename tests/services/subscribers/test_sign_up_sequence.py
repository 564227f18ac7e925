"""Several sequences in one installation: which one sign-ups begin, and what goes first to somebody who is in two of them."""

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import insert, select, update

from nurture.cli.main import cli
from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.sequence import EnrollmentState
from nurture.ids import EnrollmentId, SequenceId, StepKey
from nurture.runtime import Runtime
from nurture.services.letters import drafts, publishing
from nurture.services.operations import dashboard
from nurture.services.sequences import schedule
from nurture.services.sequences.simulation import simulate_stored
from nurture.services.subscribers import signup, unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import deliveries, enrollments
from nurture.store.core.schema import sequences as table
from nurture.store.deliveries import ledger
from nurture.store.deliveries.ledger import NewDelivery
from nurture.store.sequences import sequences
from nurture.store.state import app_state
from tests.clocks import ManualClock
from tests.conftest import SECRET
from tests.desk import enter, post
from tests.people import NEW_YORK, Reader, a_subscriber, enrollment_of, run_tick, subjects, undo_unsubscribe

SHIPPED, OTHER = "ketamine-and-talk-therapy", "a-first-by-the-alphabet"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with another sequence of two letters."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "sequence.yaml").write_text(f"key: {OTHER}\ntitle: Another series\n", "utf-8")
    for number, name in enumerate(("hello", "goodbye")):
        head = f"subject: Of the other series, {name}\npreheader: Something short, and nothing more than that here."
        (folder / f"0{number}-{name}.md").write_text(f"---\n{head}\n---\n\nText.\n", "utf-8")
    return folder


def begun(rt: Runtime, reader: Reader) -> set[str]:
    query = select(table.c.key).join(enrollments, enrollments.c.sequence_id == table.c.id)
    with rt.database.read() as db:
        return set(db.scalars(query.where(enrollments.c.subscriber_id == reader.id)))


def enrolled_too(rt: Runtime, reader: Reader, key: str = OTHER) -> EnrollmentId:
    """The reader in another sequence as well, with its first letter due now."""
    with rt.database.begin() as db:
        sequence = db.scalar(select(table.c.id).where(table.c.key == key))
        assert sequence
        enrollment = sequences.enroll(db, reader.id, SequenceId(sequence), rt.clock.now())
        email_index = rt.cipher.blind_index(reader.email)
        new = NewDelivery(DeliveryKind.LETTER, rt.clock.now(), reader.id, email_index, enrollment, StepKey("hello"))
        ledger.plan(db, [new], rt.clock.now())
    return enrollment


def states(rt: Runtime) -> dict[str, EnrollmentState]:
    with rt.database.read() as db:
        return {row[0]: row[1] for row in db.execute(select(enrollments.c.id, enrollments.c.state))}


def test_another_sequence_does_not_become_the_one_that_sign_ups_begin(rt: Runtime, other: Path) -> None:
    publishing.load_folder(rt, other)
    assert begun(rt, a_subscriber(rt)) == {SHIPPED}
    assert dashboard.first_sequence(rt) == SHIPPED
    assert simulate_stored(rt, None, rt.clock.now(), ZoneInfo(NEW_YORK)).sequence == SHIPPED
    assert schedule.load(rt, None).key == SHIPPED
    assert drafts.all_letters(rt)[0] == SHIPPED
    publishing.load_folder(rt, other)
    assert [(each.key, each.begins) for each in signup.list_sequences(rt)] == [(OTHER, False), (SHIPPED, True)]


def test_it_is_chosen_at_the_desk_and_a_reader_stays_where_they_are(client: FlaskClient, rt: Runtime, other: Path) -> None:
    before = a_subscriber(rt)
    enter(client, rt)
    assert "Your sequences" not in client.get("/desk/sequence/").text
    publishing.load_folder(rt, other)
    assert "whoever signs up begins this one" in client.get("/desk/sequence/").text
    done = post(client, "/desk/sequence/begins", sequence=OTHER)
    assert "Whoever confirms from now on begins this sequence." in client.get(done.headers["Location"]).text
    assert begun(rt, a_subscriber(rt)) == {OTHER}
    assert begun(rt, before) == {SHIPPED}
    assert post(client, "/desk/sequence/begins", sequence="nothing").status_code == 404


def test_it_is_chosen_on_the_command_line_too(rt: Runtime, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publishing.load_folder(rt, other)
    monkeypatch.setenv("NURTURE_DATABASE_URL", rt.database.url.render_as_string(hide_password=False))
    monkeypatch.setenv("NURTURE_INSTANCE_DIR", str(rt.settings.instance_dir))
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    found = CliRunner().invoke(cli, ["letters", "sequences", "--begin", OTHER, "--json"])
    assert found.exit_code == 0, found.output
    assert [(each["key"], each["begins"]) for each in json.loads(found.stdout)] == [(OTHER, True), (SHIPPED, False)]
    assert CliRunner().invoke(cli, ["letters", "sequences", "--begin", "nothing"]).exit_code == 1
    assert begun(rt, a_subscriber(rt)) == {OTHER}


def test_an_upgraded_installation_goes_on_with_the_one_it_began_until_then(rt: Runtime) -> None:
    with rt.database.begin() as db:
        db.execute(insert(table).values(id="f" * 32, key=OTHER, title="Another series", rules="", version=0))
    rt.database.migrate("0012")
    with rt.database.read() as db:
        assert app_state.get_in_any_schema(db, "sign_up_sequence") is None
    rt.database.migrate()
    with rt.database.read() as db:
        assert sequences.sign_up_key(db) == OTHER, "the first by the alphabet, as it was"


def test_undoing_an_unsubscribe_restores_every_series_it_ended(rt: Runtime, clock: ManualClock, other: Path) -> None:
    publishing.load_folder(rt, other)
    reader = a_subscriber(rt)
    first, second = enrollment_of(rt, reader), enrolled_too(rt, reader)
    clock.advance(minutes=1)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    clock.advance(minutes=1)
    assert undo_unsubscribe(rt, reader.id)
    assert states(rt) == {first: EnrollmentState.ACTIVE, second: EnrollmentState.ACTIVE}


def test_undoing_it_restores_nothing_that_an_earlier_one_ended(rt: Runtime, clock: ManualClock, other: Path) -> None:
    publishing.load_folder(rt, other)
    reader = a_subscriber(rt)
    earlier = enrolled_too(rt, reader)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    clock.advance(days=40)
    a_subscriber(rt, reader.email)
    clock.advance(minutes=1)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    assert undo_unsubscribe(rt, reader.id)
    found = states(rt)
    assert found.pop(earlier) is EnrollmentState.EXITED
    assert sorted(found.values()) == [EnrollmentState.ACTIVE, EnrollmentState.EXITED]


@pytest.mark.parametrize("ids", ["12", "21"])
def test_of_two_letters_promised_together_the_one_that_stands_first_goes_first(
    rt: Runtime, clock: ManualClock, other: Path, ids: str
) -> None:
    publishing.load_folder(rt, other)
    reader = a_subscriber(rt)
    run_tick(rt)
    clock.advance(days=3)
    enrolled_too(rt, reader)
    d = deliveries.c
    with rt.database.begin() as db:
        for step, end in zip(("history", "hello"), ids, strict=True):
            mine = (d.step_key == step, d.state == State.SCHEDULED)
            now = clock.now()
            db.execute(update(deliveries).where(*mine).values(id="f" * 31 + end, planned_at=now, due_at=now))
    run_tick(rt)
    assert subjects(rt, reader)[1:] == ["Of the other series, hello"]
