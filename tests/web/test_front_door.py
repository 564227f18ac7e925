"""What a stranger sends to any door: refused, calmly, before anything has looked at its text."""

import io
import re
import sys
import unicodedata
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import FrameType
from typing import Literal
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from nurture import runtime
from nurture.app import create_app
from nurture.runtime import Runtime
from nurture.store.core.schema import metadata, sign_ups
from nurture.tokens import Purpose
from nurture.web.front_door import FORM_BYTES, MOST_CHARACTERS, MOST_FIELDS, read_fields
from tests.conftest import settings_for
from tests.desk import a_session, csrf, enter
from tests.people import a_subscriber

GOOD = {"email": "robin@example.org", "first_name": "Robin", "time_zone": "Europe/Berlin", "consent": "on"}
CONTROLS = ["\0", "\x01", "\x08", "\x0b", "\x0c", "\x1b", "\x1f", "\x7f"]
PUBLIC_FORMS = {
    "/subscribe": ("email", "first_name", "time_zone", "consent", "sender", "wording"),
    "/consultation": ("name", "email", "region", "contact_way", "contact_detail", "voicemail_ok", "times", "t"),
    "/desk/login": ("email", "password", "next"),
    "/desk/login/code": ("code", "next"),
    "/desk/login/mail": ("email",),
    "/confirm/x": ("anything",),
    "/unsubscribe/x": ("List-Unsubscribe",),
    "/unsubscribe/x/undo": ("anything",),
    "/desk/login/x": ("anything",),
}
HEAVY = {
    "marks that are put in order": "\u0301\u0316" * 4_000,
    "marks of one class": "e" + "\u0301" * 8_000,
    "letters that become many": "\ufdfa" * 9_000,
    "Hangul": "\u1100\u1161\u11a8" * 3_000,
    "at signs": "@" * 9_000,
    "dots": "a." * 4_500,
    "brackets": "<" * 9_000,
    "spaces": " " * 9_000,
    "international labels": "é." * 4_500,
}


def everything(rt: Runtime) -> list[int]:
    with rt.database.read() as db:
        return [db.execute(select(func.count()).select_from(table)).scalar_one() for table in metadata.sorted_tables]


def texts_to_normalize(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is handed to Unicode's normal forms from now on."""
    given: list[str] = []
    normalize = unicodedata.normalize

    def noted(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
        given.append(text)
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", noted)
    return given


def marks_in_a_row(text: str) -> int:
    longest = row = 0
    for character in text:
        row = row + 1 if unicodedata.combining(character) else 0
        longest = max(longest, row)
    return longest


@pytest.fixture
def public(database_url: str, tmp_path: Path) -> Iterator[FlaskClient]:
    """An installation with an address of its own, behind a proxy."""
    rt = runtime.build(settings_for(tmp_path, database_url, base_url="https://letters.example.org", listen="0.0.0.0:8000"))
    yield create_app(rt).test_client()
    rt.close()


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_a_control_character_is_refused_in_every_field_of_every_public_form(
    client: FlaskClient, rt: Runtime, control: str
) -> None:
    before = everything(rt)
    for path, fields in PUBLIC_FORMS.items():
        for name in fields:
            answer = client.post(path, data={**GOOD, name: f"Ro{control}bin"})
            assert answer.status_code == 400, (path, name)
            assert f"U+{ord(control):04X}" in answer.text
            as_parts = client.post(path, data={name: f"Ro{control}bin"}, content_type="multipart/form-data")
            assert as_parts.status_code == 400, (path, name)
    assert client.post("/subscribe", data={**GOOD, f"x{control}": "y"}).status_code == 400
    assert everything(rt) == before


@pytest.mark.parametrize("control", [*CONTROLS, "\t", "\r", "\n"], ids=ascii)
def test_a_control_character_is_refused_in_every_path_and_query(client: FlaskClient, rt: Runtime, control: str) -> None:
    enter(client, rt)
    escaped = f"%{ord(control):02X}"
    before = everything(rt)
    for path in (
        "/confirm/",
        "/unsubscribe/",
        "/read/",
        "/read/x/",
        "/pictures/",
        "/desk/login/",
        "/desk/people/",
        "/nowhere/",
    ):
        for method in ("GET", "POST"):
            assert client.open(f"{path}{escaped}", method=method).status_code == 400, path
    for path in (
        "/",
        "/consultation",
        "/desk/",
        "/desk/people/",
        "/desk/letters/",
        "/desk/numbers",
        "/outbox",
        "/desk/simulator",
    ):
        for query in (f"?t={escaped}", f"?{escaped}=t", f"?a=b&letter=x{escaped}"):
            assert client.get(path + query).status_code == 400, path
    assert everything(rt) == before


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_a_control_character_is_refused_in_forms_of_the_desk(client: FlaskClient, rt: Runtime, control: str) -> None:
    enter(client, rt)
    reader = a_subscriber(rt)
    token = csrf(client, "/desk/account/")
    before = everything(rt)
    for path, name in (
        ("/desk/people/find", "email"), (f"/desk/people/{reader.id}/notes", "text"), (f"/desk/people/{reader.id}/tags", "tag"),
        ("/desk/access/", "name"), ("/desk/settings/practice", "name"), ("/desk/settings/consent", "wording"),
        ("/desk/settings/keys", "label"), ("/desk/people/many/", "who"), ("/desk/sequence/save", "title"),
        ("/desk/sending", "why"), ("/desk/account/password", "old"), ("/desk/prove", "password"),
    ):  # fmt: skip
        assert client.post(path, data={"csrf": token, name: f"a{control}b"}).status_code == 400, path
    file = (io.BytesIO(b"email\na@example.org\n"), f"li{control}st.csv")
    if control not in "\0\x0b\x0c":  # which the client itself cannot write there
        sent = client.post("/desk/people/import/", data={"csrf": token, "file": file}, content_type="multipart/form-data")
        assert sent.status_code == 400
    assert everything(rt) == before


def test_the_page_of_a_refusal_says_which_field_and_repeats_nothing(client: FlaskClient) -> None:
    page = unescape(client.post("/subscribe", data=GOOD | {"first_name": "Ro\0bin"}).text)
    assert "invisible control character (U+0000) in the field “first name”" in page
    assert "Nothing was stored" in page
    assert "Ro\0" not in page
    odd = client.post("/subscribe", data=GOOD | {"<script>": "\0"})
    assert odd.status_code == 400
    assert "&lt;script" not in odd.text


def test_tabs_and_line_breaks_that_come_along_when_copying_stop_nobody(client: FlaskClient) -> None:
    assert (
        client.post("/subscribe", data=GOOD | {"email": "\trobin@example.org\r\n", "first_name": "Robin\n"}).status_code == 303
    )


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_fields_are_counted_before_they_are_read(client: FlaskClient, rt: Runtime, kind: str) -> None:
    many = {f"f{n}": "x" for n in range(MOST_FIELDS)}
    before = everything(rt)
    for more in (many, {"first_name": "x" * (MOST_CHARACTERS + 1)}, {"x" * 101: "y"}):
        assert client.post("/subscribe", data=GOOD | more, content_type=kind).status_code == 413
    assert client.get("/?" + "&".join(many) + "&x").status_code == 400
    assert client.get("/?x=" + "y" * 5_000).status_code == 413
    assert client.post("/subscribe", data=b"&" * 60_000, content_type=kind).status_code in (413, 422)
    assert everything(rt) == before


def test_a_form_without_a_length_is_no_way_around(client: FlaskClient) -> None:
    endless = client.post(
        "/subscribe",
        input_stream=io.BytesIO(b"email=" + b"x" * 100_000),
        content_type="application/x-www-form-urlencoded",
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )
    assert endless.status_code == 413


@pytest.mark.parametrize("text", HEAVY.values(), ids=HEAVY.keys())
def test_no_field_of_a_public_form_makes_work_beyond_its_own_limit(
    client: FlaskClient, rt: Runtime, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Counted, not timed: Python orders combining marks in time that grows with their square."""
    given = texts_to_normalize(monkeypatch)
    for path, fields in PUBLIC_FORMS.items():
        for name in fields:
            assert client.post(path, data={**GOOD, name: text[:MOST_CHARACTERS]}).status_code < 500
    assert max(map(len, given), default=0) <= 400
    assert max(map(marks_in_a_row, given), default=0) <= 30


@pytest.mark.parametrize("unit", [b"%FF", b"%ED%A0%80", b"%", b"%a", b"%CC%81"], ids=ascii)
def test_no_bytes_make_reading_a_form_more_work_than_letters_do(client: FlaskClient, unit: bytes) -> None:
    """Counted in calls of functions: Werkzeug's own parser makes some for each byte that is no UTF-8, and for each `%`."""
    client.post("/desk/login/code", data={"code": "1"})
    calls = 0

    def count(_frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    body = b"code=" + unit * ((FORM_BYTES - 5) // len(unit))
    sys.setprofile(count)
    try:
        answer = client.post("/desk/login/code", data=body, content_type="application/x-www-form-urlencoded")
    finally:
        sys.setprofile(None)
    assert answer.status_code in (413, 422)
    assert calls < 40_000


def test_a_form_on_a_page_in_another_encoding_signs_up_without_the_name(client: FlaskClient, rt: Runtime) -> None:
    body = b"email=robin%40example.org&first_name=J%F6rg&consent=on&time_zone=Europe%2FBerlin"
    assert client.post("/subscribe", data=body, content_type="application/x-www-form-urlencoded").status_code == 303
    with rt.database.read() as db:
        assert db.execute(select(sign_ups.c.first_name_encrypted, sign_ups.c.time_zone)).one() == (None, "Europe/Berlin")


FIELDS = st.lists(st.tuples(st.text(max_size=12), st.text(max_size=30)), min_size=1, max_size=5)


@given(FIELDS)
def test_what_a_form_holds_is_read_as_it_was_typed(fields: list[tuple[str, str]]) -> None:
    assert read_fields(urlencode(fields).encode()) == fields


@given(st.text("%0123456789aAfFxX+&=é\ufffd ", max_size=60))
def test_a_form_that_is_written_oddly_is_read_as_the_standard_says(typed: str) -> None:
    """As Python's own parser of it does."""
    assert read_fields(typed.encode()) == parse_qsl(typed, keep_blank_values=True, errors="replace")


def test_a_cap_holds_at_the_desk_too(client: FlaskClient, rt: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(client, rt)
    reader = a_subscriber(rt)
    token = csrf(client, "/desk/account/")
    given = texts_to_normalize(monkeypatch)
    marks = "\u0301\u0316" * (MOST_CHARACTERS // 2)
    for path, name in (
        ("/desk/people/find", "email"), (f"/desk/people/{reader.id}/tags", "tag"), ("/desk/access/", "email"),
        ("/desk/settings/practice", "name"), ("/desk/settings/practice", "fee"), ("/desk/settings/sender", "from_name"),
        ("/desk/settings/sender", "from_email"), ("/desk/settings/sender", "postal_address"),
        ("/desk/settings/consent", "wording"), ("/desk/sequence/insert", "title"), ("/desk/people/many/", "tag_for_them"),
        ("/desk/account/protect", "email"), ("/desk/settings/mail", "smtp_host"),
    ):  # fmt: skip
        answer = client.post(path, data={"csrf": token, "act": "add", "do": "tag", "for": "all", name: marks})
        assert answer.status_code < 500, (path, name)
    assert given
    assert max(map(marks_in_a_row, given)) <= 30


def test_a_letter_of_nothing_but_marks_is_read_in_time_that_grows_with_its_length(
    client: FlaskClient, rt: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(client, rt)
    letter = "/desk/letters/ketamine-and-talk-therapy/history"
    token = csrf(client, "/desk/account/")
    given = texts_to_normalize(monkeypatch)
    marks = "\u0301\u0316" * 5_000
    form = {
        "csrf": token,
        "version": "0",
        "subject": "A start",
        "preheader": "More of it",
        "body": f"Hello {uuid4()},\n\n{marks}\n",
    }
    assert client.post(letter, data=form).status_code in (303, 422)
    assert client.get(letter).status_code == 200
    assert given
    assert max(map(marks_in_a_row, given)) <= 30


def test_only_names_of_this_service_are_answered(public: FlaskClient) -> None:
    for host in (
        "evil.example",
        "letters.example.org.evil.example",
        "letters.example.org@evil.example",
        "192.0.2.1",
        "x y",
        "",
    ):
        refused = public.get("/", headers={"Host": host})
        assert refused.status_code == 400, host
        assert "evil" not in refused.text
        assert public.post("/subscribe", data=GOOD, headers={"Host": host}).status_code == 400
        for path in ("/healthz", "/readyz"):
            assert public.get(path, headers={"Host": host}).status_code in (200, 503), host
    for host in (
        "letters.example.org",
        "LETTERS.example.org.",
        "letters.example.org:443",
        "localhost",
        "127.0.0.1:8000",
        "[::1]",
    ):
        assert public.get("/", headers={"Host": host}).status_code == 200, host


def test_a_listener_on_an_address_of_its_own_is_answered_under_it(database_url: str, tmp_path: Path) -> None:
    rt = runtime.build(settings_for(tmp_path, database_url, base_url="https://letters.example.org", listen="192.0.2.1:8000"))
    client = create_app(rt).test_client()
    assert client.get("/", headers={"Host": "192.0.2.1:8000"}).status_code == 200
    assert client.get("/", headers={"Host": "192.0.2.2:8000"}).status_code == 400
    rt.close()


def test_no_redirect_follows_the_host_of_a_request(public: FlaskClient, client: FlaskClient) -> None:
    assert public.get("/desk?a=b%20c", headers={"Host": "letters.example.org"}).headers["Location"] == "/desk/?a=b%20c"
    assert client.get("/desk", headers={"Host": "localhost:1"}).headers["Location"] == "/desk/"
    assert client.get("/desk//account/", headers={"Host": "localhost:1"}).headers["Location"] == "/desk/account/"


def test_a_page_of_another_site_can_embed_no_page_of_the_desk(client: FlaskClient, rt: Runtime) -> None:
    enter(client, rt)
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert client.get("/desk/", headers=embedded).status_code == 403
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/desk/", headers=followed).status_code == 200


def test_an_origin_counts_by_the_address_of_the_service_too(public: FlaskClient) -> None:
    """A proxy that leaves the Host header out does not make the own pages foreign."""
    own = {"Host": "127.0.0.1:8000", "Origin": "https://letters.example.org"}
    assert public.post("/desk/login", data={"email": "x"}, headers=own).status_code == 422
    foreign = {"Host": "127.0.0.1:8000", "Origin": "https://evil.example"}
    assert public.post("/desk/login", data={"email": "x"}, headers=foreign).status_code == 403


def test_every_answer_has_the_headers_also_a_refusal(client: FlaskClient) -> None:
    for answer in (
        client.get("/%00"), client.get("/", headers={"Host": "evil.example"}), client.post("/subscribe", data={"x": "\0"}),
        client.get("/desk/"), client.post("/webhooks/sendgrid/events"),
    ):  # fmt: skip
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "letters.example.org"])
def test_there_is_no_outbox_where_the_service_has_a_public_address(public: FlaskClient, host: str) -> None:
    assert public.get("/outbox", headers={"Host": host}).status_code == 404


def test_one_click_goes_through_from_anywhere(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    path = f"/unsubscribe/{rt.tokens.mint(Purpose.UNSUBSCRIBE, reader.id)}"
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://mail.example"}
    assert client.post(path, data={"List-Unsubscribe": "One-Click"}, headers=foreign).status_code == 200


def test_logging_out_deletes_the_cookie_as_a_browser_wants_it(public: FlaskClient) -> None:
    """A cookie with the prefix is set and deleted only with Secure and Path=/ (RFC 6265bis section 4.1.3.2)."""
    site = "https://letters.example.org"
    public.set_cookie("__Host-desk", a_session(public.application.extensions["nurture"]), domain="letters.example.org")
    token = re.search(r'name="csrf" value="([^"]+)"', public.get("/desk/account/", base_url=site).text)
    assert token
    answer = public.post("/desk/logout", data={"csrf": token[1]}, base_url=site)
    (deleted,) = answer.headers.getlist("Set-Cookie")
    assert deleted.startswith("__Host-desk=;")
    assert {"Secure", "Path=/", "Max-Age=0"} <= set(deleted.split("; "))
