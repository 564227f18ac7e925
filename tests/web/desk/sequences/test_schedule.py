"""The plan at the desk, as plain forms: what is looked at is what is saved, and nothing typed is lost."""

import re
from html import unescape

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from nurture.app import create_app
from nurture.domain.edit import Choice
from nurture.domain.user import Role
from nurture.ids import StepKey, UserId
from nurture.runtime import Runtime
from nurture.services.sequences import schedule
from tests.clocks import ManualClock
from tests.desk import a_colleague, csrf, log_in, log_in_as
from tests.people import a_subscriber, due, run_tick

KEY = "ketamine-and-talk-therapy"
ME = UserId("a" * 32)


@pytest.fixture
def desk(client: FlaskClient, rt: Runtime) -> FlaskClient:
    log_in(client, rt)
    return client


def fields(answer: TestResponse) -> list[tuple[str, str]]:
    """What the page's form would send, as a browser without script sees it."""
    form = answer.text.split('id="plan"', 1)[1].split("</form>", 1)[0]
    found = []
    for tag in re.findall(r"<input[^>]*>", form):
        given = {name: unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', tag)}
        if given["type"] not in ("checkbox", "radio") or " checked" in tag:
            found.append((given["name"], given.get("value", "")))
    return found


def send(desk: FlaskClient, path: str, form: list[tuple[str, str]], **changed: str) -> TestResponse:
    changed = {name.replace("__", "-").replace("_at_", "-"): value for name, value in changed.items()}
    data: dict[str, list[str]] = {}
    for name, value in [(name, value) for name, value in form if name not in changed] + list(changed.items()):
        data.setdefault(name, []).append(value)
    return desk.post(f"/desk/sequence/{path}", data=data)


def order(answer: TestResponse) -> list[str]:
    return [value for name, value in fields(answer) if name == "key"]


def said(answer: TestResponse) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", unescape(answer.text)).split())


def test_the_page_shows_letters_waits_and_hours(desk: FlaskClient) -> None:
    page = desk.get("/desk/sequence/")
    assert page.status_code == 200
    assert order(page) == ["welcome", "history", "how-it-may-work", "why-talk", "what-to-expect", "invitation"]
    assert ("days-history", "3") in fields(page)
    assert ("once-welcome", "1") in fields(page)
    assert [value for name, value in fields(page) if name == "day"] == list("012345")
    assert "6 letters in 18 days" in said(page)


def test_only_for_somebody_at_the_desk(client: FlaskClient) -> None:
    for path in ("/desk/sequence/", "/desk/simulator"):
        assert client.get(path).status_code == 401
    assert client.post("/desk/sequence/save").status_code == 401


def test_letters_move_and_leave_and_come_back_without_script_and_nothing_is_saved(desk: FlaskClient, rt: Runtime) -> None:
    page = send(desk, "preview", fields(desk.get("/desk/sequence/")), earlier="why-talk", days__history="5")
    assert order(page)[2:4] == ["why-talk", "how-it-may-work"]
    assert ("days-history", "5") in fields(page), "what was typed stays"
    page = send(desk, "preview", fields(page), out="history")
    page = send(desk, "preview", fields(page), earlier="why-talk")
    assert order(page)[:3] == ["why-talk", "welcome", "history"], "past the one that is taken out"
    page = send(desk, "preview", fields(page), earlier="why-talk")
    assert order(page)[:3] == ["why-talk", "welcome", "history"], "the first stays the first"
    assert "Taken out" in said(page)
    page = send(desk, "preview", fields(page), back="history", later="nothing")
    assert ("removed-history", "1") in fields(page)
    page = send(desk, "preview", fields(page), back="history")
    assert ("removed-history", "") in fields(page)
    assert schedule.load(rt, KEY).version == 0


def test_what_it_would_do_is_said_for_each_choice_and_then_saved(desk: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    promised = due(rt, reader)
    looked = send(desk, "preview", fields(desk.get("/desk/sequence/")), days__history="1")
    assert "1 person gets “Letter 1: where it came from” 2 days earlier." in said(looked)
    assert "Nobody who is reading now is affected." in said(looked)
    assert due(rt, reader) == promised
    saved = send(desk, "save", fields(looked), choice="everyone")
    assert saved.status_code == 303
    page = desk.get(saved.location)
    assert "Saved. Whatever has not been sent yet follows the new plan." in said(page)
    assert due(rt, reader) != promised
    assert [card.slot.wait for card in schedule.load(rt, KEY).cards][1] == "1 day"


def test_a_saved_change_can_be_changed_back_and_its_impact_is_seen_before(
    desk: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    before, was = fields(desk.get("/desk/sequence/")), due(rt, reader)
    assert "Earlier plans" not in said(desk.get("/desk/sequence/"))
    looked = send(desk, "preview", before, days__history="9", opens="10:00", later="why-talk")
    looked = send(desk, "preview", fields(looked))
    saved = desk.get(send(desk, "save", fields(looked), choice="everyone").location)
    assert due(rt, reader) != was
    back = re.search(r'href="([^"]+)">Change it back', saved.text)
    assert back
    page = desk.get(unescape(back[1]))
    assert "This is the plan as it was until Monday 2 March, 15:00. Nothing is changed before you save it." in said(page)
    assert "1 person gets “Letter 1: where it came from” 6 days earlier." in said(page)
    assert due(rt, reader) != was, "looking changes nothing"
    assert send(desk, "save", fields(page), choice="everyone").status_code == 303
    assert due(rt, reader) == was
    now = desk.get("/desk/sequence/")
    varies = {"version", "csrf"}
    assert [each for each in fields(now) if each[0] not in varies] == [each for each in before if each[0] not in varies]
    assert said(now).count("As it was until Monday 2 March, 15:00 then changed by the first owner") == 2
    assert desk.get(f"/desk/sequence/?sequence={KEY}&earlier=7").status_code == 404


def test_hours_days_and_holidays_are_saved(desk: FlaskClient, rt: Runtime) -> None:
    form = [field for field in fields(desk.get("/desk/sequence/")) if field[0] not in ("day", "opens", "holiday")]
    form += [("day", "1"), ("day", "3"), ("opens", "10:30"), ("holiday", "2026-12-25"), ("holiday", "")]
    looked = send(desk, "preview", form)
    assert send(desk, "save", fields(looked), choice="new-only").status_code == 303
    rules = schedule.load(rt, KEY).rules
    assert (rules.window.days, f"{rules.window.opens:%H:%M}", [str(day) for day in rules.holidays]) == (
        frozenset({1, 3}), "10:30", ["2026-12-25"],
    )  # fmt: skip


def test_nothing_is_saved_that_was_not_looked_at(desk: FlaskClient, rt: Runtime) -> None:
    page = desk.get("/desk/sequence/")
    answer = send(desk, "save", fields(page), choice="everyone", days__history="1")
    assert answer.status_code == 409
    assert "Here is what it does now" in said(answer)
    looked = send(desk, "preview", fields(page), days__history="1")
    answer = send(desk, "save", fields(looked), choice="everyone", days__history="2")
    assert answer.status_code == 409
    assert schedule.load(rt, KEY).version == 0
    assert send(desk, "save", fields(answer), choice="everyone").status_code == 303
    assert [card.slot.wait for card in schedule.load(rt, KEY).cards][1] == "2 days"


def test_who_was_overtaken_keeps_what_they_did_and_sees_it_against_what_is_there(desk: FlaskClient, rt: Runtime) -> None:
    looked = send(desk, "preview", fields(desk.get("/desk/sequence/")), days__history="1")
    shown = schedule.load(rt, KEY)
    slots = tuple(reversed(shown.edited.slots))
    schedule.save(rt, KEY, schedule.Edited(slots, shown.rules), Choice.EVERYONE, ME, 0)
    answer = send(desk, "save", fields(looked), choice="everyone")
    assert answer.status_code == 409
    assert "Somebody else has changed the plan" in said(answer)
    assert order(answer)[0] == "welcome"
    assert ("days-history", "1") in fields(answer)
    assert schedule.load(rt, KEY).edited.slots == slots, "nothing of theirs is overwritten yet"
    assert send(desk, "save", fields(answer), choice="everyone").status_code == 303
    assert schedule.load(rt, KEY).cards[0].slot.key == "welcome"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"days__history": "-1"}, "whole numbers from 0 to 365"),
        ({"hours__history": "soon"}, "The wait before “Letter 1: where it came from”"),
        ({"opens": "late"}, "'late' is no time for the first hour for letters"),
        ({"closes": ""}, "An empty field is no time"),
        ({"holiday": "2026-02-30"}, "'2026-02-30' is no date"),
        ({"day": "9"}, "at least one day of the week"),
        ({"opens": "22:00", "closes": "23:00"}, "Give the window at least one day"),
    ],
)
def test_what_cannot_be_is_said_and_stays_on_the_page(
    desk: FlaskClient, rt: Runtime, changed: dict[str, str], why: str
) -> None:
    answer = send(desk, "preview", fields(desk.get("/desk/sequence/")), days__invitation="7", **changed)
    assert answer.status_code == 422
    assert why in said(answer)
    assert ("days-invitation", "7") in fields(answer)
    assert send(desk, "save", fields(answer), choice="everyone").status_code in (409, 422)
    assert schedule.load(rt, KEY).version == 0


def test_whoever_saves_says_for_whom(desk: FlaskClient, rt: Runtime) -> None:
    looked = send(desk, "preview", fields(desk.get("/desk/sequence/")), days__history="1")
    answer = send(desk, "save", fields(looked), choice="nobody")
    assert (answer.status_code, "Choose for whom" in said(answer)) == (422, True)
    assert schedule.load(rt, KEY).version == 0


def test_a_letter_is_begun_in_its_place_and_other_changes_stay_on_the_page(desk: FlaskClient, rt: Runtime) -> None:
    page = send(
        desk, "insert", fields(desk.get("/desk/sequence/")), new_title="A question", new_after="history", days__history="5"
    )
    assert order(page)[:3] == ["welcome", "history", "a-question"]
    assert ("days-history", "5") in fields(page)
    assert "Not published yet: nobody gets it" in said(page)
    refused = send(desk, "insert", fields(page), new_title=" ")
    assert (refused.status_code, "Give the letter a subject line" in said(refused)) == (422, True)
    desk.post("/desk/sequence/discard", data={"csrf": csrf(desk), "sequence": KEY, "step": "a-question"})
    assert "a-question" not in order(desk.get("/desk/sequence/"))


def test_people_are_held_named_and_let_go(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    readers = [a_subscriber(rt, first_name=name) for name in ("Ana", "")]
    run_tick(rt)
    looked = send(desk, "preview", fields(desk.get("/desk/sequence/")), days__history="1")
    saved = send(desk, "save", fields(looked), choice="hold")
    page = desk.get(saved.location)
    assert "2 people wait for you" in said(page)
    assert f"Ana {readers[0].email}, since 2 March 2026" in said(page)
    assert f"{readers[1].email} since 2 March 2026" in said(page)
    for reader, name in zip(readers, ("Ana", readers[1].email), strict=True):
        assert f'<a href="/desk/people/{reader.id}/">{name}</a>' in page.text
    one = re.findall(r'name="enrollment" value="([0-9a-f]{32})"', page.text)[0]
    form = {"csrf": csrf(desk), "sequence": KEY}
    assert desk.post("/desk/sequence/release", data=form | {"enrollment": one}).status_code == 303
    assert "1 person waits for you" in said(desk.get("/desk/sequence/"))
    assert desk.post("/desk/sequence/release", data=form).status_code == 303
    assert [due(rt, reader) is not None for reader in readers] == [True, True]
    gone = desk.post("/desk/sequence/release", data=form | {"enrollment": "0" * 32})
    assert (gone.status_code, "not here any more" in said(gone)) == (422, True)


def test_who_may_only_look_sees_the_plan_and_changes_nothing(rt: Runtime, clock: ManualClock) -> None:
    viewer = a_colleague(rt, "vera@example.org", Role.VIEWER)
    clock.advance(minutes=2)
    client = create_app(rt).test_client()
    log_in_as(client, rt, viewer)
    page = client.get("/desk/sequence/")
    assert page.status_code == 200
    assert "See what this changes" not in page.text
    assert send(client, "save", fields(page), choice="everyone").status_code == 403


def test_there_may_be_no_sequence(desk: FlaskClient) -> None:
    answer = desk.get("/desk/sequence/?sequence=nothing")
    assert (answer.status_code, "no such sequence" in said(answer)) == (404, True)


def test_the_simulator_says_when_each_letter_comes_and_why(desk: FlaskClient) -> None:
    page = desk.get("/desk/simulator?day=2026-10-30&time=21:40&zone=Europe/Berlin&from=2026-11-03&to=2026-11-09&from=&to=")
    assert page.status_code == 200
    assert "Friday 30 October 2026 21:40 Thanks for signing up" in said(page)
    assert "Monday 9 November 2026 09:00 Letter 1: where it came from" in said(page)
    assert "Paused from Tuesday 3 November, 00:00" in said(page)
    assert 'href="/read/ketamine-and-talk-therapy/history"' in page.text
    assert "6 letters over 25 days" in said(page)


def test_the_simulator_begins_with_now(desk: FlaskClient) -> None:
    assert "Monday 2 March 2026 15:00 Thanks for signing up" in said(desk.get("/desk/simulator"))


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("zone=Berlin", "'Berlin' is no time zone"),
        ("day=tomorrow", "is no day and time"),
        ("day=2026-03-29&time=02:30&zone=Europe/Berlin", "the clocks jump over it"),
        ("from=2026-11-09&to=", "Fill in both"),
        ("day=2026-11-01&time=10:00&from=2026-11-09&to=2026-11-03", "ends before it has begun"),
    ],
)
def test_the_simulator_says_what_is_unclear(desk: FlaskClient, query: str, why: str) -> None:
    answer = desk.get(f"/desk/simulator?{query}")
    assert (answer.status_code, why in said(answer)) == (422, True), said(answer)


def test_a_new_letter_that_came_meanwhile_keeps_its_place(desk: FlaskClient, rt: Runtime) -> None:
    page = desk.get("/desk/sequence/")
    schedule.insert_step(rt, KEY, "In between", "2 days", StepKey("history"), ME)
    looked = send(desk, "preview", fields(page), days__invitation="9")
    assert order(looked)[:3] == ["welcome", "history", "in-between"]
