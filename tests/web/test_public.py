"""The first page, sign-up, and the request for a consultation."""

import re
from html import unescape
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from nurture.app import create_app
from nurture.domain.delivery import DeliveryKind, State
from nurture.domain.limits import Suspicion
from nurture.ids import SubscriberId
from nurture.runtime import Runtime
from nurture.services.operations.dashboard import AttentionKind
from nurture.services.operations.dashboard import load as look_home
from nurture.services.settings import consent_texts
from nurture.services.subscribers import sign_up_queue
from nurture.store.core.schema import consultations, deliveries, sign_ups, subscribers
from nurture.store.subscribers.subscribers import first_name_field
from nurture.tokens import Purpose
from tests.desk import log_in
from tests.desk import post as post_at_desk
from tests.people import Reader, a_subscriber, confirm, inbox, rows, run_tick

GOOD = {"email": "robin@example.org", "first_name": "Robin", "time_zone": "Europe/Berlin", "consent": "on"}
CALL = {
    "name": "Robin Quill", "email": "robin@example.org", "region": "Oregon", "contact_way": "phone",
    "contact_detail": "+1 503 555 0100", "voicemail_ok": "on", "times": "Tuesdays after four",
}  # fmt: skip


def people(rt: Runtime) -> int:
    sign_up_queue.decide_on_sign_ups(rt)
    with rt.database.read() as db:
        return db.execute(select(func.count()).select_from(subscribers)).scalar_one()


def test_the_first_page_shows_the_form_with_an_unticked_box_and_the_recorded_wording(client: FlaskClient, rt: Runtime) -> None:
    page = unescape(client.get("/").text)
    assert "I ask Dana from Oak Street to e-mail me" in consent_texts.history(rt)[0].text
    assert consent_texts.history(rt)[0].text in page
    box = next(part for part in page.split("<input") if 'name="consent"' in part).split(">")[0]
    assert "checked" not in box
    assert "required" in box
    assert "988" in page


def test_a_good_form_leads_to_the_next_page_and_a_planned_confirmation(client: FlaskClient, rt: Runtime) -> None:
    answer = client.post("/subscribe", data=GOOD)
    assert (answer.status_code, answer.location) == (303, "/check-your-inbox")
    assert client.get(answer.location).status_code == 200
    sign_up_queue.decide_on_sign_ups(rt)
    assert [(row[0], row[1]) for row in rows(rt)] == [(DeliveryKind.CONFIRMATION, State.SCHEDULED)]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("email", "", "Please type your e-mail address"),
        ("email", "robin@", "does not look like an e-mail address"),
        ("email", '"robin quill"@example.org', "does not look like an e-mail address"),
        ("email", "robin@example.org\r\nBcc: x@example.org", "does not look like an e-mail address"),
        ("consent", "", "tick the box"),
        ("consent", "no", "tick the box"),
        ("consent", "0", "tick the box"),
    ],
)
def test_a_wrong_field_keeps_what_was_typed_and_says_beside_it_what_is_wrong(
    client: FlaskClient, rt: Runtime, field: str, value: str, said: str
) -> None:
    answer = client.post("/subscribe", data=GOOD | {field: value})
    page = unescape(answer.text)
    assert answer.status_code == 422
    assert said in page
    assert 'aria-invalid="true"' in page
    if field != "email":
        assert 'value="robin@example.org"' in page
    assert "<script>" not in answer.text.replace("<script src", "")
    assert people(rt) == 0


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"),
        ("\u0dc1\u0dca\u200d\u0dbb\u0dd3", "\u0dc1\u0dca\u200d\u0dbb\u0dd3"),
        ("Anne\u2011Marie", "Anne-Marie"),
        ("Anne\u2010Marie", "Anne-Marie"),
        ("D\u2018Angelo", "D’Angelo"),
        ("St.John", "St.John"),
        ("R" * 41, "R" * 40),
        ("visit www.example.com", None),
        ("<script>", None),
        ("\ud7ff\u202e", None),
        ("x" * 9_000, "x" * 40),
    ],
    ids=ascii,
)
def test_a_name_is_kept_as_far_as_it_is_one_and_stops_no_sign_up(
    client: FlaskClient, rt: Runtime, typed: str, kept: str | None
) -> None:
    assert client.post("/subscribe", data=GOOD | {"first_name": typed}).status_code == 303
    sign_up_queue.decide_on_sign_ups(rt)
    with rt.database.read() as db:
        who, sealed = db.execute(select(subscribers.c.id, subscribers.c.first_name_encrypted)).one()
    assert (rt.cipher.decrypt(sealed, first_name_field(who)) if sealed else None) == kept
    if kept:
        confirm(rt, Reader(SubscriberId(who), "robin@example.org"))
        run_tick(rt)
        (mail,) = [each for each in inbox(rt) if "Thanks for signing up" in str(each.message["Subject"])]
        assert f"Hello {kept}," in mail.part("plain")


@pytest.mark.parametrize("field", ["first_name", "time_zone", "sender", "wording"])
@pytest.mark.parametrize(
    "value", ["\t\r\n", "\u202e<b>", "x" * 9_000, "../../etc/passwd", "\ufffd", "'; DROP TABLE x; --"], ids=ascii
)
def test_no_optional_field_stops_a_sign_up(client: FlaskClient, rt: Runtime, field: str, value: str) -> None:
    assert client.post("/subscribe", data=GOOD | {field: value}).status_code == 303
    assert people(rt) == 1


@pytest.mark.parametrize("typed", [" robin@example.org. ", "mailto:robin@example.org", "Robin <robin@example.org>"])
def test_an_address_is_taken_however_it_was_copied(client: FlaskClient, rt: Runtime, typed: str) -> None:
    assert client.post("/subscribe", data=GOOD | {"email": typed}).status_code == 303
    run_tick(rt)
    assert [str(mail.message["To"]) for mail in inbox(rt)] == ["robin@example.org"]


def test_an_address_that_cannot_be_taken_stays_in_the_form(client: FlaskClient) -> None:
    answer = client.post("/subscribe", data=GOOD | {"email": "robin@@example.org"})
    assert answer.status_code == 422
    assert 'value="robin@@example.org"' in answer.text


def test_known_and_unknown_addresses_get_the_same_answer(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    known = client.post("/subscribe", data=GOOD | {"email": reader.email})
    unknown = client.post("/subscribe", data=GOOD)
    assert (known.status_code, known.data, dict(known.headers)) == (unknown.status_code, unknown.data, dict(unknown.headers))


def test_an_unknown_zone_falls_back_instead_of_failing(client: FlaskClient, rt: Runtime) -> None:
    client.post("/subscribe", data=GOOD | {"time_zone": "Mars/Olympus"})
    sign_up_queue.decide_on_sign_ups(rt)
    with rt.database.read() as db:
        assert db.execute(select(subscribers.c.time_zone)).scalar_one() == rt.settings.time_zone


def test_another_site_cannot_sign_people_up(client: FlaskClient, rt: Runtime) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert client.post("/subscribe", data=GOOD, headers=headers).status_code == 403
        assert client.post("/consultation", data=CALL, headers=headers).status_code == 403
    assert people(rt) == 0
    assert client.post("/subscribe", data=GOOD, headers={"Origin": "http://localhost"}).status_code == 303


def test_a_request_for_a_call_is_stored_and_the_therapist_is_told(client: FlaskClient, rt: Runtime) -> None:
    answer = client.post("/consultation", data=CALL)
    assert (answer.status_code, answer.location) == (303, "/consultation/sent")
    assert client.get("/consultation/sent").status_code == 200
    with rt.database.read() as db:
        assert db.execute(select(func.count()).select_from(consultations)).scalar_one() == 1
        assert list(db.scalars(select(deliveries.c.kind))) == [DeliveryKind.NOTICE]


def test_the_link_of_a_letter_says_who_asks_masked_and_ends_the_sequence(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, first_name="Zoë")
    token = rt.tokens.mint(Purpose.CONSULTATION, reader.id)
    page = unescape(client.get(f"/consultation?t={token}").text)
    assert "Z•••" in page
    assert reader.email not in page
    client.post("/consultation", data=CALL | {"t": token, "email": "elsewhere@example.org"})
    assert rows(rt, reader, DeliveryKind.LETTER)[0][1] is State.CANCELLED


def test_a_damaged_link_keeps_nobody_from_asking(client: FlaskClient) -> None:
    assert client.get("/consultation?t=rubbish").status_code == 200
    assert client.post("/consultation", data=CALL | {"t": "rubbish"}).status_code == 303


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", " ", "your name"),
        ("email", "x", "e-mail address"),
        ("region", "", "state or country"),
        ("times", "", "days and hours"),
        ("times", "x" * 301, "at most 300 characters"),
        ("contact_detail", "", "telephone number"),
        ("contact_way", "pigeon", "how we may reach you"),
    ],
)
def test_a_wrong_field_of_the_call_form_is_said_beside_it(client: FlaskClient, field: str, value: str, said: str) -> None:
    answer = client.post("/consultation", data=CALL | {field: value})
    assert answer.status_code == 422
    assert said in unescape(answer.text)


def test_the_call_form_asks_nothing_about_health_and_says_it_is_not_watched(client: FlaskClient) -> None:
    page = unescape(client.get("/consultation").text)
    names = set(re.findall(r"<(?:input|textarea|select)\b[^>]*\bname=\"([^\"]+)", page))
    assert names == {*CALL, "t"}
    assert "not watched around the clock" in " ".join(page.split())


def test_too_much_text_is_refused_before_it_is_read(client: FlaskClient) -> None:
    assert client.post("/subscribe", data=GOOD | {"first_name": "x" * 100_000}).status_code == 413


def test_every_page_carries_the_strict_headers(client: FlaskClient) -> None:
    for path in ("/", "/check-your-inbox", "/consultation", "/nowhere", "/healthz"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in headers


def test_an_unreachable_database_says_so_and_loses_nothing_silently(client: FlaskClient, rt: Runtime) -> None:
    rt.database.migrate("base")
    answer = client.post("/subscribe", data=GOOD)
    assert answer.status_code in (500, 503)
    assert "robin@example.org" not in answer.text


def test_what_a_visitor_does_reaches_the_mailbox(client: FlaskClient, rt: Runtime) -> None:
    client.post("/subscribe", data=GOOD)
    assert run_tick(rt).claimed == 1
    assert client.get("/outbox").status_code == 200


@pytest.mark.parametrize(
    ("chosen", "shown"), [("plain", "Letters"), ("usual", "Dana from Oak Street"), ("", "Dana from Oak Street")]
)
def test_a_reader_chooses_what_the_inbox_shows_as_the_sender(client: FlaskClient, rt: Runtime, chosen: str, shown: str) -> None:
    page = client.get("/").text
    assert page.count('name="sender"') == 2
    assert 'value="usual" checked' in page
    client.post("/subscribe", data=GOOD | {"sender": chosen})
    sign_up_queue.decide_on_sign_ups(rt)
    (reader,) = [Reader(SubscriberId(found), GOOD["email"]) for found in everybody(rt)]
    confirm(rt, reader)
    run_tick(rt)
    assert {str(mail.message["From"]).split(" <")[0] for mail in inbox(rt, reader)} == {shown}
    wrong = client.post("/subscribe", data=GOOD | {"sender": chosen, "email": "no"}).text
    assert f'value="{"plain" if chosen == "plain" else "usual"}" checked' in wrong, "what was chosen is kept"


def everybody(rt: Runtime) -> list[str]:
    with rt.database.read() as db:
        return list(db.scalars(select(subscribers.c.id)))


PROXY = {"REMOTE_ADDR": "10.0.0.7"}


def behind_a_proxy(rt: Runtime) -> FlaskClient:
    rt.settings = rt.settings.model_copy(update={"trusted_proxies": "10.0.0.0/8", "base_url": "https://letters.example.org"})
    return create_app(rt).test_client()


def test_one_network_is_told_plainly_when_it_has_signed_up_too_often_and_keeps_what_was_typed(rt: Runtime) -> None:
    client = behind_a_proxy(rt)

    def post(number: int, forwarded: str) -> TestResponse:
        form = GOOD | {"email": f"reader{number}@example.org"}
        headers = {"X-Forwarded-For": forwarded, "Host": "letters.example.org"}
        return client.post("/subscribe", data=form, headers=headers, environ_base=PROXY)

    taken = [post(number, f"{number}.1.2.3, 198.51.100.{number}").status_code for number in range(10)]
    assert taken == [303] * 10
    refused = post(10, "8.8.8.8, 198.51.100.77")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3600")
    assert "try again in an hour" in refused.text
    assert 'value="reader10@example.org"' in refused.text
    assert "checked" in next(part for part in refused.text.split("<input") if 'name="consent"' in part).split(">")[0]
    assert post(11, "203.0.113.5").status_code == 303, "others are not touched"
    assert people(rt) == 11


def test_the_form_carries_a_stamp_and_a_field_that_only_programs_fill_in(client: FlaskClient, rt: Runtime) -> None:
    page = client.get("/").text
    stamp = next(part for part in page.split("<input") if 'name="shown"' in part).split('value="')[1].split('"')[0]
    rt.clock.advance(seconds=20)  # type: ignore[attr-defined]
    again = client.post("/subscribe", data=GOOD | {"email": "no", "shown": stamp}).text
    assert stamp in again, "what came late is not made fresh by a mistake"
    for number, (typed, suspicion) in enumerate(
        [
            ({"shown": stamp}, Suspicion.NONE),
            ({}, Suspicion.STAMP),
            ({"shown": stamp[:-1]}, Suspicion.STAMP),
            ({"shown": stamp, "leave_empty": "https://example.com"}, Suspicion.HONEYPOT),
        ]
    ):
        assert client.post("/subscribe", data=GOOD | {"email": f"r{number}@example.org"} | typed).status_code == 303
        with rt.database.read() as db:
            found = db.scalar(select(sign_ups.c.suspicion).order_by(sign_ups.c.id.desc()).where(sign_ups.c.asked_at.is_(None)))
        assert found is suspicion, typed
        with rt.database.begin() as db:
            db.execute(sign_ups.delete())


def test_while_confirmations_wait_the_pages_say_what_to_do_and_one_press_lets_them_go_on(
    client: FlaskClient, rt: Runtime
) -> None:
    rt.settings = rt.settings.model_copy(update={"confirmations_per_hour": 4})
    assert "later than usual" not in client.get("/").text + client.get("/check-your-inbox").text
    for number in range(5):
        assert client.post("/subscribe", data=GOOD | {"email": f"reader{number}@example.org"}).status_code == 303
    run_tick(rt)
    for path in ("/", "/check-your-inbox"):
        assert "later than usual" in client.get(path).text
    log_in(client, rt)
    assert "3 sign-ups wait" in client.get("/desk/").text
    assert "Let them go on" in client.get("/desk/help/confirmations").text
    assert post_at_desk(client, "/desk/confirmations").status_code == 303
    run_tick(rt)
    assert "later than usual" not in client.get("/").text
    assert len(inbox(rt)) == 5


def test_the_desk_says_when_visitors_cannot_be_told_apart(rt: Runtime) -> None:
    def is_said() -> bool:
        return AttentionKind.NETWORKS in [need.kind for need in look_home(rt, 0, ZoneInfo("UTC")).needs]

    assert not is_said()
    rt.settings = rt.settings.model_copy(update={"base_url": "https://letters.example.org"})
    assert is_said()
    rt.settings = rt.settings.model_copy(update={"trusted_proxies": "127.0.0.1"})
    assert not is_said()
