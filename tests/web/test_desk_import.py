"""Adding people from a file: what would happen is what happens, with their consent, and never to whom has left."""

import csv
import io
import re

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from nurture.domain.delivery import Kind
from nurture.domain.standing import Standing
from nurture.domain.subscriber import Suppression
from nurture.runtime import Runtime
from nurture.services import people, preferences, privacy
from nurture.services.preferences import Exit
from nurture.services.sheets import MOST_BYTES
from nurture.store import imports
from nurture.store import subscribers as stored
from nurture.store.people import Filter
from nurture.store.schema import consents
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
    preferences.unsubscribe(rt, left.id, Exit.PAGE)
    with rt.database.begin() as db:
        bidx = rt.sealer.blind_index("locked@example.org")
        stored.suppress(db, bidx, Suppression.BOUNCED, rt.clock.now())
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
    (added,) = people.list_people(rt, Filter(tag="open evening")).people
    assert (added.email, added.name, added.standing) == ("new@example.org", "Kim", Standing.WAITING)
    assert standings(rt)[left.email] is Standing.LEFT
    assert standings(rt)[bounced.email] is Standing.READING
    assert "nonsense" in desk.get(f"{path}/report.csv").text


def standings(rt: Runtime) -> dict[str, Standing]:
    return {each.email: each.standing for each in people.list_people(rt, Filter()).people}


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
    (found,) = people.list_people(rt, Filter()).people
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
    (one, _) = people.list_people(rt, Filter()).people
    assert "a list that was added here" in desk.get(f"/desk/people/{one.id}/").text
    assert people.list_people(rt, Filter(source=f"import: {WHERE}")).found == 2


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
    assert not any(kind is Kind.CONFIRMATION for kind in kinds(rt))


def kinds(rt: Runtime) -> list[Kind]:
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
        (b"a@example.org\n" + b"x" * (100 * 1024), 303, ""),
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
        (sealed,) = db.exec_driver_sql("SELECT content_sealed FROM imports").one()
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
    privacy.retain(rt)
    with rt.database.read() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM imports").scalar() == 1
    clock.advance(hours=2)
    privacy.retain(rt)
    with rt.database.read() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM imports").scalar() == 0


def test_while_people_are_being_added_the_page_says_so(desk: FlaskClient, rt: Runtime) -> None:
    path = upload(desk, "new@example.org\n").headers["Location"]
    with rt.database.begin() as db:
        imports.claim(db, path.rsplit("/", 1)[1], '{"address": 0}', "{}")
    assert "They are being added" in desk.get(path).text
    assert post(desk, path, **choices(name="")).status_code == 303
    assert standings(rt) == {}
