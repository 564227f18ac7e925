"""The list of people: search, filters, pages."""

import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from nurture.runtime import Runtime
from nurture.services.subscribers import detail, unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from tests.clocks import ManualClock
from tests.desk import enter, post
from tests.people import a_subscriber, run_tick, sign_up


@pytest.fixture
def desk(client: FlaskClient, rt: Runtime) -> FlaskClient:
    enter(client, rt)
    return client


def names(page: str) -> list[str]:
    return re.findall(r'class="who"><a href="[^"]+">([^<]+)</a>', page)


def test_nobody_sees_it_without_logging_in(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    for path in ("/desk/people/", f"/desk/people/{reader.id}/", f"/desk/people/{reader.id}/export.json"):
        assert client.get(path).status_code == 401
    assert client.post("/desk/people/find", data={"email": reader.email}).status_code == 401


def test_it_shows_everybody_newest_first_with_where_they_are(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    a_subscriber(rt, first_name="Ada")
    run_tick(rt)
    clock.advance(hours=1)
    sign_up(rt, first_name="Bo")
    enter(desk, rt)  # the session of an hour ago has ended
    page = desk.get("/desk/people/").text
    assert names(page) == ["Bo", "Ada"]
    assert "2 people" in page
    assert "waiting for letter 1, goes out Thursday 5 March, 10:00 on their clock" in page
    assert "has not pressed the button in the first mail" in page
    assert "2 March 2026" in page


def test_a_person_is_found_by_their_exact_address_which_is_never_in_an_address_bar(desk: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, "Robin.Quill@Example.org")
    found = post(desk, "/desk/people/find", email=" robin.quill@example.ORG ")
    assert found.status_code == 303
    assert found.headers["Location"] == f"/desk/people/{reader.id}/"
    other = post(desk, "/desk/people/find", email="nobody@example.org")
    assert other.status_code == 404
    assert "Nobody on the list has this address." in other.text
    assert 'value="nobody@example.org"' in other.text
    wrong = post(desk, "/desk/people/find", email="robin")
    assert wrong.status_code == 422
    assert 'value="robin"' in wrong.text


def test_an_address_that_is_locked_is_said_to_be(desk: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    with rt.database.begin() as db:
        db.exec_driver_sql("DELETE FROM deliveries")
        db.exec_driver_sql("DELETE FROM enrollments")
        db.exec_driver_sql("DELETE FROM subscribers")
    assert "because somebody with it left" in post(desk, "/desk/people/find", email=reader.email).text


def test_it_is_filtered_by_standing_letter_tag_source_and_day(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    early = a_subscriber(rt, first_name="Ada")
    run_tick(rt)
    left = a_subscriber(rt, first_name="Cleo")
    unsubscribe.unsubscribe(rt, left.id, Exit.PAGE)
    clock.advance(days=2)
    sign_up(rt, first_name="Bo")
    detail.add_tag(rt, early.id, "workshop")
    enter(desk, rt)
    listed = desk.get("/desk/people/").text
    values = dict(re.findall(r'<option value="((?:got|waits)[^"]+)">([^<]+)<', listed))
    labels = {label: value for value, label in values.items()}
    for query, expected in (
        ("standing=reading", ["Ada"]), ("standing=waiting", ["Bo"]), ("standing=left", ["Cleo"]), ("standing=paused", []),
        ("tag=workshop", ["Ada"]), ("tag=none", []), ("since=2026-03-03", ["Bo"]), ("until=2026-03-02", ["Cleo", "Ada"]),
        ("since=2026-03-02&until=2026-03-02&standing=left", ["Cleo"]), ("source=%2F", ["Bo", "Cleo", "Ada"]),
        (f"letter={labels['Waiting for letter 1']}", ["Ada"]), (f"letter={labels['Got the welcome last']}", ["Ada"]),
        (f"letter={labels['Waiting for letter 2']}", []), ("letter=nonsense", ["Bo", "Cleo", "Ada"]),
    ):  # fmt: skip
        assert sorted(names(desk.get(f"/desk/people/?{query}").text)) == sorted(expected), query


def test_days_that_cannot_be_are_refused_and_kept(desk: FlaskClient) -> None:
    for query, said in (
        ("since=soon", "Please write the day like 2026-03-31."),
        ("since=2026-03-05&until=2026-03-01", "This day lies before the first one."),
        ("since=0001-01-01", "Please write the day like 2026-03-31."),
    ):
        response = desk.get(f"/desk/people/?{query}")
        assert response.status_code == 422
        assert said in response.text
    assert 'value="soon"' in desk.get("/desk/people/?since=soon").text


def test_pages_of_the_list_hold_everybody_once_and_lead_back(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    everybody = []
    for number in range(120):
        clock.at += timedelta(seconds=number % 3)  # some at the very same moment
        everybody.append(sign_up(rt).email)
    seen, path, pages = [], "/desk/people/", []
    while path:
        page = desk.get(path).text
        pages.append(re.findall(r'class="light">(reader\d+@example\.org)', page))
        seen += pages[-1]
        found = re.search(r'href="([^"]+)" rel="next"', page)
        path = found[1].replace("&amp;", "&") if found else ""
    assert [len(each) for each in pages] == [50, 50, 20]
    assert sorted(seen) == sorted(everybody)
    back = re.search(r'href="([^"]+)" rel="prev"', page)
    assert back
    before = desk.get(back[1].replace("&amp;", "&")).text
    assert re.findall(r'class="light">(reader\d+@example\.org)', before) == pages[1]
    first = re.search(r'href="([^"]+)" rel="prev"', before)
    assert first
    top = desk.get(first[1].replace("&amp;", "&")).text
    assert re.findall(r'class="light">(reader\d+@example\.org)', top) == pages[0]
    assert 'rel="prev"' not in top


def test_one_value_that_does_not_open_hides_nobody_else(desk: FlaskClient, rt: Runtime) -> None:
    broken = a_subscriber(rt, first_name="Ada")
    a_subscriber(rt, first_name="Bo")
    with rt.database.begin() as db:
        from sqlalchemy import update

        from nurture.store.core.schema import subscribers

        damaged = update(subscribers).where(subscribers.c.id == broken.id).values(first_name_encrypted=b"\x01damaged")
        db.execute(damaged)
    assert sorted(names(desk.get("/desk/people/").text)) == ["(cannot be read)", "Bo"]
