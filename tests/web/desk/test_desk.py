"""The desk: a one-time link, a session kept by the server, and what it shows."""

import re
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, select, update

from nurture.domain.delivery import State
from nurture.domain.edit import Choice
from nurture.domain.sequence import EnrollmentState
from nurture.domain.subscriber import SubscriberState
from nurture.domain.user import Role
from nurture.ids import UserId
from nurture.runtime import Runtime
from nurture.services.accounts import login
from nurture.services.addresses import parse_address
from nurture.services.operations import dashboard, send_blocks
from nurture.services.operations.dashboard import AttentionKind
from nurture.services.sequences import schedule
from nurture.services.subscribers import consultations
from nurture.store.core.schema import deliveries, enrollments, sequences, subscribers
from nurture.store.deliveries import send_blocks as gates
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.state import heartbeats
from nurture.store.subscribers.subscribers import email_field
from tests.clocks import ManualClock
from tests.desk import a_colleague, log_in, log_in_as, path_of, post
from tests.people import a_subscriber, due, run_tick, sign_up, subjects


def test_nobody_gets_in_without_a_link(client: FlaskClient) -> None:
    for path in ("/desk/", "/desk/consultations/" + "0" * 32):
        assert client.get(path).status_code == 401
    assert client.post("/desk/logout").status_code == 401


def test_a_link_survives_being_opened_and_works_once_when_pressed(client: FlaskClient, rt: Runtime) -> None:
    path = path_of(login.login_link(rt))
    for _ in range(3):
        assert client.get(path).status_code == 200
    assert client.post(path).status_code == 303
    assert client.get("/desk/").status_code == 200
    assert client.post(path).status_code == 404


def test_a_link_works_for_ten_minutes(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    path = path_of(login.login_link(rt))
    clock.advance(minutes=10, seconds=1)
    assert client.get(path).status_code == 404
    assert client.post(path).status_code == 404


def test_a_session_ends_after_half_an_hour_of_rest_and_after_twelve_hours(
    client: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    log_in(client, rt)
    for _ in range(23):
        clock.advance(minutes=29)
        assert client.get("/desk/").status_code == 200
    clock.advance(hours=1)
    assert client.get("/desk/").status_code == 401
    log_in(client, rt)
    clock.advance(minutes=31)
    assert client.get("/desk/").status_code == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites(client: FlaskClient, rt: Runtime) -> None:
    cookie = client.post(path_of(login.login_link(rt))).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_today_in_one_look(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt, first_name="Zoë")
    run_tick(rt)
    coming = due(rt, reader)
    assert coming is not None
    clock.advance(seconds=(coming - clock.now()).total_seconds() - 3600)
    asked = consultations.ConsultationRequest("Robin Quill", "robin@example.org", "Oregon", "email", "", False, "Tuesdays")
    consultation = consultations.request_consultation(rt, asked, parse_address(asked.email), None)
    log_in(client, rt)
    page = client.get("/desk/").text
    assert "One person asks for a call" in page
    assert re.search(r'class="big">1</p>\s*<p class="light">letter goes out', page)
    assert ">Z.</a>" in page
    assert f"/desk/people/{reader.id}" in page
    detail = client.get(f"/desk/consultations/{consultation}").text
    assert "Robin Quill" in detail
    assert "robin@example.org" in detail
    assert client.get("/desk/consultations/" + "0" * 32).status_code == 404
    assert client.get("/desk/consultations/x").status_code == 404


def test_the_stop_switch_stops_everything_and_is_undone_by_one_press(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    log_in(client, rt)
    assert post(client, "/desk/sending", act="stop").status_code == 303
    run_tick(rt)
    assert subjects(rt, reader) == []
    page = client.get("/desk/?said=stopped").text
    assert "All sending is stopped" in page
    assert "Undo: start again" in page
    assert "Stop all sending" not in page
    assert post(client, "/desk/sending", act="start").status_code == 303
    run_tick(rt)
    assert subjects(rt, reader)


def test_an_undo_of_the_stop_opens_nothing_that_has_stopped_since(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    log_in(client, rt)
    assert post(client, "/desk/sending", act="stop").status_code == 303
    with rt.database.begin() as db:
        gates.block(db, BlockKind.DATABASE_RESTORED, "a restored copy", "test", clock.real_now())
    assert post(client, "/desk/sending", act="start").status_code == 303
    assert [each.kind for each in send_blocks.what_stops(rt)] == [BlockKind.DATABASE_RESTORED]


def needs(client: FlaskClient) -> list[tuple[str, str]]:
    """Each need on home as what its one button says, and where that leads; that place must be there."""
    found = []
    for need in re.findall(r'<div class="need.*?</div>', client.get("/desk/").text, re.DOTALL):
        assert need.count('class="button') == 1, need
        for url, act in re.findall(r'<a class="button quiet" href="([^"]+)">([^<]+)</a>', need):
            path, _, part = url.partition("#")
            there = client.get(path, follow_redirects=True)
            assert there.status_code == 200
            assert not part or f'id="{part}"' in there.text, url
            found.append((act, url))
    return [each for each in found if each[1] != "/desk/account/protect"]


def test_each_thing_that_stops_mail_leads_to_what_to_do_about_it(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    log_in(client, rt)
    run_tick(rt)
    for gate, which in ((BlockKind.PROVIDER, "refused"), (BlockKind.CLOCK, "clock"), (BlockKind.DATABASE_RESTORED, "clock")):
        with rt.database.begin() as db:
            gates.block(db, gate, "a test", "a test", rt.clock.real_now())
        assert needs(client) == [("What to do", f"/desk/help/{which}")]
        shown = client.get(f"/desk/help/{which}").text
        assert "For whoever runs the service" in shown
        assert "not so" not in shown
        with rt.database.begin() as db:
            gates.unblock(db, gate)
    a_subscriber(rt)
    clock.advance(hours=1)
    with rt.database.begin() as db:
        heartbeats.beat(db, heartbeats.TICK, rt.clock.real_now())
    log_in(client, rt)
    assert needs(client) == [("What to do", "/desk/help/late")]
    for which in ("x", "held"):
        assert client.get(f"/desk/help/{which}").status_code == 404


def test_a_mail_that_failed_and_people_who_wait_are_one_press_away(
    client: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    a_subscriber(rt)
    run_tick(rt)
    log_in(client, rt)
    now = schedule.load(rt, "ketamine-and-talk-therapy")
    slots = tuple(replace(slot, wait="1 day") if slot.key == "history" else slot for slot in now.edited.slots)
    schedule.save(rt, now.key, replace(now.edited, slots=slots), Choice.HOLD, UserId("a" * 32), now.version)
    assert needs(client) == [("See who", "/desk/sequence/?sequence=ketamine-and-talk-therapy#held")]
    schedule.release(rt, now.key, UserId("a" * 32))
    with rt.database.begin() as db:
        db.execute(update(deliveries).where(deliveries.c.state == State.SCHEDULED).values(state=State.FAILED))
    assert needs(client) == [("Look at it", "/desk/mails#failed")]


@pytest.mark.parametrize(("state", "part"), [(State.BOUNCED, "mail-2"), (State.COMPLAINED, "mail-1")])
def test_mail_that_comes_back_or_is_disliked_leads_to_its_figure(
    client: FlaskClient, rt: Runtime, clock: ManualClock, state: State, part: str
) -> None:
    for _ in range(100):
        sign_up(rt)
    run_tick(rt)
    with rt.database.begin() as db:
        db.execute(update(deliveries).values(state=state))
    clock.advance(seconds=1)
    log_in(client, rt)
    assert needs(client) == [("See numbers", f"/desk/numbers?back=30-days#{part}")]


def test_what_needs_a_person_is_said_with_one_thing_to_do(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    log_in(client, rt)
    assert "not running" in client.get("/desk/").text
    assert needs(client) == [("What to do", "/desk/help/silent")]
    assert "not so" not in client.get("/desk/help/silent").text
    run_tick(rt)
    assert "At the moment this is not so" in client.get("/desk/help/silent").text
    assert "Nothing needs you" in client.get("/desk/").text
    with rt.database.begin() as db:
        db.execute(update(deliveries).where(deliveries.c.state == State.SCHEDULED).values(state=State.HELD))
    assert "One mail may have been sent" in client.get("/desk/").text
    assert needs(client) == [("Decide", "/desk/mails#held")]
    listed = client.get("/desk/mails").text
    found = re.search(r'action="(/desk/mails/[0-9a-f]{32})"', listed)
    assert found
    assert post(client, found[1], act="again").status_code == 303
    assert post(client, found[1], act="again").status_code == 409
    assert post(client, "/desk/mails/x", act="again").status_code == 404
    assert "No mail needs a look" in client.get("/desk/mails").text
    assert due(rt, reader) is not None
    clock.advance(days=420)
    run_tick(rt)
    log_in(client, rt)
    said = client.get("/desk/").text
    assert "are due for another look" in said
    page = f"/desk/letters/{dashboard.first_sequence(rt)}/history"
    assert ("Open the letter", page) in needs(client)
    assert client.get(page).status_code == 200


def test_a_viewer_sees_today_and_stops_nothing(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    a_colleague(rt)
    viewer = a_colleague(rt, "vic@example.org", Role.VIEWER)
    clock.advance(seconds=61)
    log_in_as(client, rt, viewer)
    assert "Stop all sending" not in client.get("/desk/").text
    assert post(client, "/desk/sending", act="stop").status_code == 403


def test_logging_out_needs_the_page_s_own_token_and_ends_the_session(client: FlaskClient, rt: Runtime) -> None:
    log_in(client, rt)
    csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/desk/").text)
    assert csrf
    assert client.post("/desk/logout").status_code == 403
    assert client.post("/desk/logout", data={"csrf": csrf[1]}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    cookie = client.get_cookie("desk")
    assert client.post("/desk/logout", data={"csrf": csrf[1]}).status_code == 303
    assert cookie is not None
    client.set_cookie("desk", cookie.value)
    assert client.get("/desk/").status_code == 401


def test_home_counts_everybody_who_waits_and_says_of_which_sequence(rt: Runtime) -> None:
    e, s = enrollments.c, subscribers.c
    with rt.database.begin() as db:
        (sequence,) = db.scalars(select(sequences.c.id)).all()
        db.execute(insert(sequences).values(id="f" * 32, key="another", title="Another", rules="", version=0))
        for number in range(103):
            who, now = f"{number:032x}", rt.clock.now()
            sealed = rt.cipher.encrypt(f"a{number}@example.org", email_field(who))
            values = {s.id: who, s.email_index: rt.cipher.blind_index(who), s.email_encrypted: sealed, s.time_zone: "UTC"}
            db.execute(insert(subscribers).values({**values, s.state: SubscriberState.ACTIVE, s.created_at: now}))
            paused = {e.state: EnrollmentState.PAUSED, e.reason: "edit", e.paused_at: now, e.anchor_at: now, e.started_at: now}
            place = {e.id: who, e.subscriber_id: who, e.sequence_id: sequence if number < 101 else "f" * 32}
            db.execute(insert(enrollments).values(paused | place))
    needs = dashboard.load(rt, 0, ZoneInfo("UTC")).needs
    waiting = {(each.sequence, each.count) for each in needs if each.kind is AttentionKind.WAITING}
    assert waiting == {("another", 2), ("ketamine-and-talk-therapy", 101)}
