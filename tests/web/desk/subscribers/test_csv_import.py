"""Adding people from a file: what would happen is what happens, with their consent, and never to whom has left."""

import csv
import io
import re
from html import unescape

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from nurture.domain.delivery import DeliveryKind
from nurture.domain.subscriber import Suppression
from nurture.domain.subscriber_status import SubscriberStatus
from nurture.runtime import Runtime
from nurture.services.operations import retention
from nurture.services.subscribers import listing, personal_data, unsubscribe
from nurture.services.subscribers.csv_files import MOST_BYTES
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import consents
from nurture.store.subscribers import csv_imports
from nurture.store.subscribers import subscribers as stored
from nurture.store.subscribers.listing import Filter
from tests.clocks import ManualClock
from tests.desk import csrf, enter, post
from tests.people import Reader, a_subscriber, confirm, inbox, run_tick, sign_up, subjects

WHERE = "paper form at the open evening, 12 March"


@pytest.fixture
def desk(client: FlaskClient, rt: Runtime) -> FlaskClient:
    enter(client, rt)
    return client


def upload(desk: FlaskClient, text: str | bytes):  # type: ignore[no-untyped-def]
    content = text.encode() if isinstance(text, str) else text
    parts = (
        f'--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{csrf(desk)}\r\n'
        '--x\r\nContent-Disposition: form-data; name="file"; filename="people.csv"\r\n\r\n'
    )
    body = parts.encode() + content + b"\r\n--x--\r\n"
    return desk.post("/desk/people/import/", data=body, content_type="multipart/form-data; boundary=x")


def choices(**other: str) -> dict[str, str]:
    return {"address": "0", "name": "1", "mode": "ask", "where": WHERE, "tag": "", "agreed": "yes", "go": "add"} | other


def report(desk: FlaskClient, path: str) -> list[tuple[str, str]]:
    text = desk.get(f"{path}/report.csv").data.decode("utf-8-sig")
    return [(row["Line"], row["What happened"]) for row in csv.DictReader(io.StringIO(text, newline=""))]


def test_each_row_comes_to_what_was_said_before(desk: FlaskClient, rt: Runtime) -> None:
    there, waiting, left, bounced = a_subscriber(rt), sign_up(rt), a_subscriber(rt), a_subscriber(rt)
    unsubscribe.unsubscribe(rt, left.id, Exit.PAGE)
    with rt.database.begin() as db:
        email_index = rt.cipher.blind_index("locked@example.org")
        stored.suppress(db, email_index, Suppression.BOUNCED, rt.clock.now())
    run_tick(rt)
    addresses = [
        "new@example.org", there.email, waiting.email, left.email.upper(), "locked@example.org", "nonsense",
        "NEW@example.org", "",
    ]  # fmt: skip
    text = "E-mail,First name\n" + "\n".join(f"{address},Kim" for address in addresses)
    path = upload(desk, text).headers["Location"]
    page = desk.get(path).text
    assert 'value="0" selected>E-mail' in page
    assert 'value="1" selected>First name' in page
    expected = [
        "added", "already there", "already asked to confirm", *["not added: left, or must not be written to"] * 2,
        "not added: not an address", "not added: twice in this file", "not added: not an address",
    ]  # fmt: skip
    assert re.findall(r"<td>(added|already[^<]*|not added[^<]*)", page) == expected
    assert len(standings(rt)) == 4  # looking adds nobody
    assert post(desk, path, **choices(tag="open evening")).status_code == 303
    assert report(desk, path) == list(zip(map(str, range(2, 10)), expected, strict=True))
    assert "1 person was added" in desk.get(path).text
    (added,) = listing.list_people(rt, Filter(tag="open evening")).people
    assert (added.email, added.name, added.standing) == ("new@example.org", "Kim", SubscriberStatus.WAITING)
    assert standings(rt)[left.email] is SubscriberStatus.LEFT
    assert standings(rt)[bounced.email] is SubscriberStatus.READING
    assert "nonsense" in desk.get(f"{path}/report.csv").text


def standings(rt: Runtime) -> dict[str, SubscriberStatus]:
    return {each.email: each.standing for each in listing.list_people(rt, Filter()).people}


def test_they_get_one_mail_that_asks_and_nothing_else_until_they_confirm(
    desk: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    path = upload(desk, "new@example.org,Kim\n").headers["Location"]
    post(desk, path, **choices())
    run_tick(rt)
    clock.advance(days=5)
    run_tick(rt)
    (mail,) = inbox(rt)
    assert str(mail.message["To"]) == "new@example.org"
    (found,) = listing.list_people(rt, Filter()).people
    confirm(rt, Reader(found.id, found.email))
    run_tick(rt)
    assert "Thanks for signing up: here is what to expect" in subjects(rt)


def test_the_statement_is_kept_as_each_one_s_consent(desk: FlaskClient, rt: Runtime) -> None:
    path = upload(desk, "a@example.org\nb@example.org\n").headers["Location"]
    post(desk, path, **choices(name="", mode="confirmed"))
    with rt.database.read() as db:
        rows = db.execute(select(consents.c.subscriber_id, consents.c.act, consents.c.wording, consents.c.source)).all()
    assert sorted(row.act for row in rows) == ["confirmed", "confirmed", "given", "given"]
    assert {row.source for row in rows} == {f"import: {WHERE}"}
    assert all("and has confirmed it. I can show when and how." in row.wording and WHERE in row.wording for row in rows)
    (one, _) = listing.list_people(rt, Filter()).people
    shown = desk.get(f"/desk/people/{one.id}/").text
    assert "a list that was added here" in shown
    assert "Whoever added it stated that they had asked" in shown
    assert "Whoever added it stated that they had confirmed" in shown
    assert "<dt>Statement</dt>" in shown
    for untrue in ("Ticked the box", "Pressed the button", "Words shown"):
        assert untrue not in shown
    assert listing.list_people(rt, Filter(source=f"import: {WHERE}")).found == 2


def test_who_has_confirmed_elsewhere_gets_the_first_letter_in_its_window(
    desk: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    clock.advance(hours=12)  # 22:00 in New York, 03:00 by the clock of those who named none
    enter(desk, rt)
    path = upload(desk, "new@example.org\n").headers["Location"]
    post(desk, path, **choices(name="", mode="confirmed"))
    run_tick(rt)
    assert inbox(rt) == []
    clock.advance(hours=6)
    run_tick(rt)
    assert subjects(rt) == ["Thanks for signing up: here is what to expect"]
    assert not any(kind is DeliveryKind.CONFIRMATION for kind in kinds(rt))


def kinds(rt: Runtime) -> list[DeliveryKind]:
    from tests.people import rows

    return [kind for kind, *_ in rows(rt)]


def test_nobody_is_added_without_the_statement_and_nothing_typed_is_lost(desk: FlaskClient, rt: Runtime) -> None:
    path = upload(desk, "new@example.org,Kim\n").headers["Location"]
    refused = post(desk, path, **choices(agreed="", where="a talk", tag="Spring", mode="confirmed"))
    assert refused.status_code == 422
    assert "Without it nobody may be added." in refused.text
    assert "Please say where and when they agreed" in refused.text
    assert 'value="a talk"' in refused.text
    assert 'value="Spring"' in refused.text
    assert re.search(r'value="confirmed" checked', refused.text)
    assert standings(rt) == {}
    wrong = post(desk, path, **choices(address="", name="7", tag="kim@home", where="x" * 161))
    for said in ("which column holds the addresses", "choose another column", "only letters, digits", "at most 160 characters"):
        assert said in wrong.text, said
    assert standings(rt) == {}


def test_looking_again_with_other_columns_changes_what_would_happen(desk: FlaskClient, rt: Runtime) -> None:
    path = upload(desk, "home,work\na@example.org,\nb@example.org,c@example.org\n").headers["Location"]
    assert desk.get(path).text.count("<td>added") == 2
    post(desk, path, **choices(address="1", name="", go="look", where="", agreed=""))
    page = desk.get(path).text
    assert page.count("<td>added") == 1
    assert "The address is missing." in page


def test_adding_twice_adds_once(desk: FlaskClient, rt: Runtime) -> None:
    path = upload(desk, "new@example.org\n").headers["Location"]
    for _ in range(2):
        assert post(desk, path, **choices(name="")).status_code == 303
    again = upload(desk, "new@example.org\n").headers["Location"]
    assert "already asked to confirm" in desk.get(again).text
    assert len(standings(rt)) == 1


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"Name\nAda\n", 422, "No column of this file holds e-mail addresses"),
        (b"\xff\xfea\0", 422, "CSV UTF-8"),
        (b"a@example.org\n" + b"x" * (100 * 1024), 422, "characters"),
        (b"a-longer-address@example.org\r\n" * 4_500, 303, ""),
        (b"a@example.org\n" * (MOST_BYTES // 14 + 10_000), 413, "It is larger than 5 MB."),
    ],
)
def test_a_file_that_cannot_be_taken_says_why(desk: FlaskClient, content: bytes, status: int, said: str) -> None:
    response = upload(desk, content)
    assert response.status_code == status
    assert said in response.text


def test_only_this_form_may_be_large(desk: FlaskClient) -> None:
    assert post(desk, "/desk/people/find", email="x" * 70_000).status_code == 413
    nothing = desk.post("/desk/people/import/", data={"csrf": csrf(desk)})
    assert nothing.status_code == 422
    assert "Please choose a file first." in nothing.text


def test_a_file_is_sealed_and_forgotten(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    path = upload(desk, "new@example.org\n").headers["Location"]
    with rt.database.read() as db:
        (sealed,) = db.exec_driver_sql("SELECT content_encrypted FROM csv_imports").one()
    assert b"new@example.org" not in bytes(sealed)
    clock.advance(days=1, seconds=1)
    enter(desk, rt)
    upload(desk, "other@example.org\n")
    assert desk.get(path).status_code == 404
    for wrong in ("x", "0" * 32):
        assert desk.get(f"/desk/people/import/{wrong}").status_code == 404
        assert desk.get(f"/desk/people/import/{wrong}/report.csv").status_code == 404


def test_a_file_nobody_finishes_is_gone_after_a_day(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    upload(desk, "new@example.org\n")
    clock.advance(hours=23)
    retention.retain(rt)
    with rt.database.read() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM csv_imports").scalar() == 1
    clock.advance(hours=2)
    retention.retain(rt)
    with rt.database.read() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM csv_imports").scalar() == 0


def test_while_people_are_being_added_the_page_says_so(desk: FlaskClient, rt: Runtime) -> None:
    path = upload(desk, "new@example.org\n").headers["Location"]
    with rt.database.begin() as db:
        csv_imports.claim(db, path.rsplit("/", 1)[1], '{"address": 0}', "{}")
    assert "They are being added" in desk.get(path).text
    assert post(desk, path, **choices(name="")).status_code == 303
    assert standings(rt) == {}


MAILCHIMP = (
    "Email Address,First Name,Last Name,UNSUB_TIME,UNSUB_CAMPAIGN_TITLE,UNSUB_REASON\n"
    "ann@example.org,Ann,A,2025-03-01 10:00:00,May news,NORMAL\n"
    "bob@example.org,Bob,B,2025-03-02 10:00:00,May news,ABUSE\n"
)
LISTMONK = (
    "email,name,status,subscription_status\nann@example.org,Ann,unsubscribed,unsubscribed\n"
    "bob@example.org,Bob,enabled,confirmed\ncleo@example.org,Cleo,blocklisted,unsubscribed\n"
)


def locked(rt: Runtime, address: str) -> Suppression | None:
    with rt.database.read() as db:
        return stored.suppression(db, rt.cipher.blind_index(address))


@pytest.mark.parametrize("mode", ["ask", "confirmed"])
def test_who_left_another_program_s_list_is_never_written_to(desk: FlaskClient, rt: Runtime, mode: str) -> None:
    path = upload(desk, LISTMONK).headers["Location"]
    page = desk.get(path).text
    assert "Taken as each person's status there: status, subscription_status." in unescape(page)
    assert re.findall(r"<dt>(subscribed|unsubscribed)</dt><dd>(\d+)</dd>", page) == [("subscribed", "1"), ("unsubscribed", "2")]
    assert re.search(r"Add 1 person, and never write to 2 addresses that left", page)
    assert post(desk, path, **choices(mode=mode)).status_code == 303
    run_tick(rt)
    assert {str(mail.message["To"]) for mail in inbox(rt)} == {"bob@example.org"}
    assert list(standings(rt)) == ["bob@example.org"]
    assert [locked(rt, f"{name}@example.org") for name in ("ann", "bob", "cleo")] == [
        Suppression.UNSUBSCRIBED, None, Suppression.UNSUBSCRIBED,
    ]  # fmt: skip
    said = "never written to: unsubscribed there"
    assert report(desk, path) == [("2", said), ("3", "added"), ("4", said)]
    again = upload(desk, "email\nann@example.org\n").headers["Location"]
    assert "not added: left, or must not be written to" in desk.get(again).text


def test_a_file_of_people_who_left_adds_nobody_and_a_complaint_is_one(desk: FlaskClient, rt: Runtime) -> None:
    path = upload(desk, MAILCHIMP).headers["Location"]
    page = desk.get(path).text
    assert re.search(r'value="left" checked', page)
    assert "Never write to 2 addresses" in page
    assert post(desk, path, **choices(mode="left", where="", agreed="")).status_code == 303
    run_tick(rt)
    assert inbox(rt) == []
    assert standings(rt) == {}
    assert (locked(rt, "ann@example.org"), locked(rt, "bob@example.org")) == (Suppression.UNSUBSCRIBED, Suppression.COMPLAINED)
    assert "2 addresses that left are never written to from now on." in desk.get(path).text


def test_whoever_is_on_such_a_list_stops_getting_letters_here(desk: FlaskClient, rt: Runtime) -> None:
    active, waiting, other = a_subscriber(rt), sign_up(rt), a_subscriber(rt)
    path = upload(desk, f"email,created\n{active.email},1700000000\n{waiting.email},1700000000\n").headers["Location"]
    page = desk.get(path).text
    assert not re.search(r'name="mode" value="\w+" checked', page), "only a person can tell what this list is"
    assert "Please say what this file is" in post(desk, path, **choices(mode="", name="")).text
    post(desk, path, **choices(mode="left", reason="bounced", name="", go="look"))
    assert desk.get(path).text.count("They are on the list here: their letters end.") == 2
    assert standings(rt)[active.email] is SubscriberStatus.READING
    post(desk, path, **choices(mode="left", reason="bounced", name="", where="", agreed=""))
    assert standings(rt) == {
        active.email: SubscriberStatus.BOUNCED,
        waiting.email: SubscriberStatus.BOUNCED,
        other.email: SubscriberStatus.READING,
    }
    run_tick(rt)
    assert {str(mail.message["To"]) for mail in inbox(rt)} == {other.email}
    assert "Were on a list of people who left" in desk.get(f"/desk/people/{active.id}/").text


def test_a_status_nobody_knows_stops_the_whole_file_and_names_its_line(desk: FlaskClient, rt: Runtime) -> None:
    path = upload(desk, "email,status\nann@example.org,active\nbob@example.org,gone fishing\n").headers["Location"]
    page = unescape(desk.get(path).text)
    assert "Line 3: “gone fishing” in the column “status”." in page
    assert 'value="add"' not in page
    answer = post(desk, path, **choices(name=""))
    assert answer.status_code == 422
    assert standings(rt) == {}
    run_tick(rt)
    assert inbox(rt) == []


def test_the_worst_of_a_person_s_rows_counts(desk: FlaskClient, rt: Runtime) -> None:
    rows = "ann@example.org,active\nANN@example.org,bounced\nbob@example.org,bounced\nbob@example.org,active\n"
    path = upload(desk, f"email,status\n{rows}").headers["Location"]
    post(desk, path, **choices(name=""))
    assert standings(rt) == {}
    assert (locked(rt, "ann@example.org"), locked(rt, "bob@example.org")) == (Suppression.BOUNCED, Suppression.BOUNCED)


def test_who_never_confirmed_there_is_asked_and_not_taken_as_confirmed(desk: FlaskClient, rt: Runtime) -> None:
    text = "email,status\nann@example.org,unconfirmed\n"
    path = upload(desk, text).headers["Location"]
    post(desk, path, **choices(name="", mode="confirmed"))
    assert report(desk, path) == [("2", "not added: had not confirmed there")]
    path = upload(desk, text).headers["Location"]
    post(desk, path, **choices(name=""))
    assert standings(rt) == {"ann@example.org": SubscriberStatus.WAITING}


def test_a_column_somebody_names_holds_the_status(desk: FlaskClient, rt: Runtime) -> None:
    text = "email,what\nann@example.org,active\nbob@example.org,active\nkim@example.org,cancelled\nlee@example.org,friend\n"
    path = upload(desk, text).headers["Location"]
    assert desk.get(path).text.count("<td>added") == 4
    post(desk, path, **choices(name="", status="1", go="look", where="", agreed=""))
    page = unescape(desk.get(path).text)
    assert "Line 5: “friend” in the column “what”." in page
    assert "never written to: unsubscribed there" in page


def test_how_they_agreed_elsewhere_is_kept_locked_shown_exported_and_erased(desk: FlaskClient, rt: Runtime) -> None:
    text = (
        "Email Address,First Name,MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,TIMEZONE\n"
        "ann@example.org,Ann,2,2025-03-01 10:00:00,192.0.2.77,2025-03-01 10:05:00,nonsense,Europe/Berlin\n"
    )
    path = upload(desk, text).headers["Location"]
    assert "OPTIN_TIME, OPTIN_IP, CONFIRM_TIME, CONFIRM_IP, TIMEZONE" in desk.get(path).text
    post(desk, path, **choices())
    (ann,) = listing.list_people(rt, Filter()).people
    assert ann.time_zone == "Europe/Berlin"
    with rt.database.read() as db:
        (sealed,) = db.execute(select(consents.c.evidence_encrypted)).one()
    assert b"192.0.2.77" not in bytes(sealed)
    page = desk.get(f"/desk/people/{ann.id}/").text
    assert "2025-03-01 10:00:00" in page
    assert "192.0.2.77" in page
    assert "nonsense" not in page
    (line,) = personal_data.export(rt, ann.id)["consents"]
    assert line["evidence"] == {
        "asked": "2025-03-01 10:00:00", "asked from": "192.0.2.77", "confirmed": "2025-03-01 10:05:00", "zone": "Europe/Berlin",
    }  # fmt: skip
    personal_data.erase(rt, ann.id)
    with rt.database.read() as db:
        assert db.execute(select(consents.c.evidence_encrypted)).all() == [(None,)]


def test_addresses_and_names_are_taken_however_they_are_written(desk: FlaskClient, rt: Runtime) -> None:
    rows = "Ann <ann@example.org>,Anne\u2011Marie\nmailto:bob@example.org,St.John\ncleo@example.org;,http://evil.example\n"
    path = upload(desk, f"email,first name\n{rows}").headers["Location"]
    page = desk.get(path).text
    assert page.count("<td>added") == 3
    assert "The name was left out" in page
    post(desk, path, **choices())
    assert {each.email: each.name for each in listing.list_people(rt, Filter()).people} == {
        "ann@example.org": "Anne-Marie", "bob@example.org": "St.John", "cleo@example.org": "",
    }  # fmt: skip
