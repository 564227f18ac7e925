"""Several people at once: counted before, done to exactly those, and undone for exactly those."""

import csv
import io
import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from nurture import failpoints
from nurture.domain.subscriber_status import SubscriberStatus
from nurture.ids import UserId, new_id
from nurture.runtime import Runtime
from nurture.services.sequences import enrollments
from nurture.services.subscribers import bulk_actions, detail, listing, unsubscribe
from nurture.services.subscribers.bulk_actions import BulkActionRefused, Undone
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.subscribers.bulk_actions import BulkAction
from nurture.store.subscribers.listing import Filter
from tests.clocks import ManualClock
from tests.desk import enter, post
from tests.faults.points import Killed, meeting
from tests.people import a_subscriber, due, enrollment_of, inbox, run_tick, sign_up

ME = UserId(new_id())


@pytest.fixture
def desk(client: FlaskClient, rt: Runtime) -> FlaskClient:
    enter(client, rt)
    return client


def standings(rt: Runtime) -> dict[str, SubscriberStatus]:
    return {each.email: each.standing for each in listing.list_people(rt, Filter()).people}


def test_all_of_a_choice_are_paused_and_exactly_they_are_put_back(desk: FlaskClient, rt: Runtime) -> None:
    readers = [a_subscriber(rt) for _ in range(4)]
    run_tick(rt)
    before, apart = readers[0], sign_up(rt)
    enrollments.pause(rt, enrollment_of(rt, before), ME)  # paused already: neither counted nor let go on by the undo
    dues = [due(rt, each) for each in readers]
    form = {"for": "all", "do": "pause"}
    assert "This pauses the letters of 3 people" in post(desk, "/desk/people/many/", **form).text
    assert [due(rt, each) for each in readers] == dues  # looking changes nothing
    done = post(desk, "/desk/people/many/do", **form)
    assert done.status_code == 303
    page = desk.get(done.headers["Location"])
    assert "The letters of 3 people are paused." in page.text
    assert {standings(rt)[each.email] for each in readers} == {SubscriberStatus.PAUSED}
    undone = post(desk, done.headers["Location"] + "/undo")
    assert "3 people put back" in undone.text
    found = standings(rt)
    assert [found[each.email] for each in readers] == [SubscriberStatus.PAUSED, *[SubscriberStatus.READING] * 3]
    assert found[apart.email] is SubscriberStatus.WAITING
    assert [due(rt, each) for each in readers] == dues
    assert post(desk, done.headers["Location"] + "/undo").status_code == 409


def test_ticked_rows_are_stopped_and_put_back(desk: FlaskClient, rt: Runtime) -> None:
    readers = [a_subscriber(rt) for _ in range(3)]
    run_tick(rt)
    form = {"for": "ticked", "do": "stop", "who": [readers[0].id, readers[1].id]}
    looked = post(desk, "/desk/people/many/", **form)
    assert "This stops the letters of 2 people" in looked.text
    assert looked.text.count('name="who"') == 2
    done = post(desk, "/desk/people/many/do", **form)
    assert [standings(rt)[each.email] for each in readers] == [
        SubscriberStatus.ENDED,
        SubscriberStatus.ENDED,
        SubscriberStatus.READING,
    ]
    unsubscribe.unsubscribe(rt, readers[0].id, Exit.PAGE)
    assert "1 person put back" in post(desk, done.headers["Location"] + "/undo").text
    assert [standings(rt)[each.email] for each in readers] == [
        SubscriberStatus.LEFT,
        SubscriberStatus.READING,
        SubscriberStatus.READING,
    ]


def test_a_filter_says_who(desk: FlaskClient, rt: Runtime) -> None:
    one, two = a_subscriber(rt), a_subscriber(rt)
    detail.add_tag(rt, one.id, "spring")
    form = {"for": "all", "tag": "spring", "do": "pause"}
    assert "of 1 person" in post(desk, "/desk/people/many/", **form).text
    post(desk, "/desk/people/many/do", **form)
    assert (standings(rt)[one.email], standings(rt)[two.email]) == (SubscriberStatus.PAUSED, SubscriberStatus.READING)


def test_every_filter_can_say_who(desk: FlaskClient, rt: Runtime) -> None:
    reader, other = a_subscriber(rt), a_subscriber(rt)
    run_tick(rt)
    detail.add_tag(rt, other.id, "spring")
    enrollments.pause(rt, enrollment_of(rt, other), ME)
    letter = re.search(r'<option value="(got[^"]+)">Got the welcome last', desk.get("/desk/people/").text)
    assert letter
    for filters, act, count in (
        ({"standing": "reading"}, "pause", 1), ({"standing": "paused"}, "pause", 0), ({"standing": "paused"}, "resume", 1),
        ({"standing": "ended"}, "stop", 0), ({"letter": letter[1]}, "stop", 2), ({"source": "/"}, "stop", 2),
        ({"tag": "spring"}, "stop", 1), ({"tag": "spring", "standing": "paused", "letter": letter[1]}, "resume", 1),
        ({"since": "2026-03-02", "until": "2026-03-02"}, "pause", 1), ({"since": "2026-03-03"}, "pause", 0),
        ({"standing": "waiting"}, "stop", 0), ({"standing": "finished"}, "stop", 0),
    ):  # fmt: skip
        shown = post(desk, "/desk/people/many/", **{"for": "all", "do": act, **filters}).text
        heading = re.search(r"<h1>([^<]+)</h1>", shown)
        assert heading
        said = {0: "changes nobody", 1: "1 person", 2: "2 people"}[count]
        assert said in heading[1], (filters, act)
    assert reader.id != other.id


def test_a_tag_is_given_and_taken_off_and_undoing_leaves_those_who_had_it(desk: FlaskClient, rt: Runtime) -> None:
    had, new = a_subscriber(rt), a_subscriber(rt)
    detail.add_tag(rt, had.id, "spring")
    form = {"for": "all", "do": "tag", "tag_for_them": " Spring "}
    assert "gives the tag “spring” to 1 person" in post(desk, "/desk/people/many/", **form).text
    done = post(desk, "/desk/people/many/do", **form)
    tags = {each.email: each.tags for each in listing.list_people(rt, Filter()).people}
    assert tags == {had.email: ("spring",), new.email: ("spring",)}
    post(desk, done.headers["Location"] + "/undo")
    tags = {each.email: each.tags for each in listing.list_people(rt, Filter()).people}
    assert tags == {had.email: ("spring",), new.email: ()}
    taken = post(desk, "/desk/people/many/do", **{"for": "all", "do": "untag", "tag_for_them": "spring"})
    assert listing.list_people(rt, Filter(tag="spring")).found == 0
    post(desk, taken.headers["Location"] + "/undo")
    assert listing.list_people(rt, Filter(tag="spring")).found == 1


def test_what_cannot_be_is_said_and_nothing_typed_is_lost(desk: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    nobody = post(desk, "/desk/people/many/", **{"for": "ticked", "do": "pause"})
    assert nobody.status_code == 422
    assert "Please tick somebody in the list first" in nobody.text
    bad = post(desk, "/desk/people/many/", **{"for": "ticked", "do": "tag", "tag_for_them": "kim@home", "who": reader.id})
    assert bad.status_code == 422
    assert 'value="kim@home"' in bad.text
    assert re.search(rf'value="{reader.id}"[^>]+ checked', bad.text)
    assert '<option value="tag" selected>' in bad.text
    assert "This changes nobody" in post(desk, "/desk/people/many/", **{"for": "all", "do": "resume"}).text
    assert post(desk, "/desk/people/many/", **{"for": "all", "do": "dance"}).status_code == 400
    for path in ("0" * 32, "x"):
        assert desk.get(f"/desk/people/many/{path}").status_code == 404


def test_too_many_at_once_are_refused_before_anything_is_done(rt: Runtime) -> None:
    for _ in range(2):
        a_subscriber(rt)
    assert bulk_actions.preview(rt, Filter(), BulkAction.PAUSE, "", limit=2).refused == ""
    refused = bulk_actions.preview(rt, Filter(), BulkAction.PAUSE, "", limit=1).refused
    assert refused == "This would change 2 people, and 1 at once are the most. Please narrow the choice."
    with pytest.raises(BulkActionRefused, match="at once are the most"):
        bulk_actions.run(rt, Filter(), BulkAction.PAUSE, "", ME, limit=1)
    assert set(standings(rt).values()) == {SubscriberStatus.READING}


@pytest.mark.parametrize("point", ["bulk_action.before_commit", "bulk_action.after_commit"])
@pytest.mark.parametrize("act", [BulkAction.PAUSE, BulkAction.STOP, BulkAction.RESUME])
def test_dying_half_way_leaves_a_record_of_exactly_those_who_were_changed(
    desk: FlaskClient, rt: Runtime, clock: ManualClock, point: failpoints.Desk, act: BulkAction
) -> None:
    readers = [a_subscriber(rt) for _ in range(5)]
    run_tick(rt)
    if act is BulkAction.RESUME:
        bulk_actions.run(rt, Filter(), BulkAction.PAUSE, "", ME)
        clock.advance(minutes=1)
    before = standings(rt)
    with meeting(point, nth=3), pytest.raises(Killed):
        bulk_actions.run(rt, Filter(), act, "", ME)
    changed = [email for email, standing in standings(rt).items() if standing is not before[email]]
    assert len(changed) == (2 if point == "bulk_action.before_commit" else 3)
    shown = desk.get("/desk/people/").text
    (key, *_), count = re.findall(r'href="/desk/people/many/([0-9a-f]{32})"', shown), f"{len(changed)} people"
    assert count in desk.get(f"/desk/people/many/{key}").text
    untouched = next(each for each in readers if each.email not in changed)
    enrollments.stop(rt, enrollment_of(rt, untouched), ME)  # what else happens meanwhile stays
    with meeting(point, nth=2), pytest.raises(Killed):
        bulk_actions.undo(rt, key, ME)
    left = len(changed) - (1 if point == "bulk_action.before_commit" else 2)
    assert bulk_actions.load_result(rt, key).done.left == left
    page = desk.get(f"/desk/people/many/{key}").text
    assert f"half-way: {words_of(left)} are still to be put back" in page
    assert bulk_actions.undo(rt, key, ME) == Undone(left)
    assert standings(rt) == before | {untouched.email: SubscriberStatus.ENDED}
    assert f'many/{key}"' not in desk.get("/desk/people/").text
    with pytest.raises(BulkActionRefused, match="has been undone already"):
        bulk_actions.undo(rt, key, ME)


def words_of(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def test_whoever_is_still_to_come_is_left_alone_once_an_undo_has_begun(rt: Runtime) -> None:
    for _ in range(3):
        a_subscriber(rt)
    run_tick(rt)
    found = list[Undone]()

    def undo() -> None:
        ((key, _),) = bulk_actions.latest(rt)
        found.append(bulk_actions.undo(rt, key, ME))

    with meeting("bulk_action.after_commit", undo):
        bulk_actions.run(rt, Filter(), BulkAction.PAUSE, "", ME)
    assert found == [Undone(1)]
    assert set(standings(rt).values()) == {SubscriberStatus.READING}


def test_undo_lasts_an_hour(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    a_subscriber(rt)
    done = post(desk, "/desk/people/many/do", **{"for": "all", "do": "pause"})
    clock.advance(hours=1, seconds=1)
    enter(desk, rt)
    assert ">Undo</button>" not in desk.get(done.headers["Location"]).text
    assert post(desk, done.headers["Location"] + "/undo").status_code == 409


def test_the_list_is_saved_as_a_file_that_no_spreadsheet_runs(desk: FlaskClient, rt: Runtime) -> None:
    for number in range(3):
        a_subscriber(rt, f"+reader{number}@example.org")
    detail.add_tag(rt, a_subscriber(rt, "tagged@example.org").id, "spring")
    run_tick(rt)
    response = desk.get("/desk/people/export.csv")
    assert response.headers["Content-Disposition"] == 'attachment; filename="people.csv"'
    assert response.data.startswith(b"\xef\xbb\xbf")
    table = list(csv.DictReader(io.StringIO(response.data.decode("utf-8-sig"), newline="")))
    assert sorted(row["Address"] for row in table) == [f"'+reader{n}@example.org" for n in range(3)] + ["tagged@example.org"]
    assert table[0]["Stands"] == "reading"
    assert table[0]["Next letter"] == "Letter 1: where it came from"
    one = csv.DictReader(io.StringIO(desk.get("/desk/people/export.csv?tag=spring").data.decode("utf-8-sig"), newline=""))
    assert [row["Tags"] for row in one] == ["spring"]
    assert inbox(rt)


def test_an_undo_says_for_how_many_it_comes_too_late(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    rt.frequency_caps = type(rt.frequency_caps)(timedelta(minutes=1), 5)
    early, late = a_subscriber(rt), a_subscriber(rt)
    run_tick(rt)
    bulk_actions.run(rt, Filter(), BulkAction.PAUSE, "", ME)
    clock.advance(minutes=1)
    key = bulk_actions.run(rt, Filter(), BulkAction.RESUME, "", ME)
    clock.advance(minutes=5)
    enrollments.send_next_now(rt, enrollment_of(rt, late), ME)
    run_tick(rt)
    assert len(inbox(rt, late)) == 2
    page = post(desk, f"/desk/people/many/{key}/undo").text
    assert "1 person put back as before. For 1 person it was too late" in page
    assert standings(rt) == {early.email: SubscriberStatus.PAUSED, late.email: SubscriberStatus.READING}
