"""Our SendGrid's suppression lists do what SendGrid documents, and what it drops is in the judge's ledger as dropped."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.servers.sendgrid import KEY, READ_ONLY_KEY, Json, read_ledger, refuse_429, reset
from tests.servers.sendgrid_lists import MAIL_ONLY_KEY, SendGridWithLists

ROBIN, DANA = "Robin@Example.org", "dana@example.org"
GLOBAL = "/v3/asm/suppressions/global"


@pytest.fixture
def server() -> Iterator[SendGridWithLists]:
    with SendGridWithLists() as running:
        yield running


def ask(server: SendGridWithLists, method: str, path: str, body: Any = None, key: str = KEY) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            said = answer.read()
            return answer.status, json.loads(said) if said else None
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def mail(*people: str, **settings: Any) -> Json:
    return {
        "personalizations": [{"to": [{"email": one}]} for one in people], "from": {"email": "letters@example.org"},
        "subject": "A letter", "content": [{"type": "text/plain", "value": "Hello"}],
        "mail_settings": {name: {"enable": value} for name, value in settings.items()},
    }  # fmt: skip


def test_a_list_is_told_newest_first_in_pages_of_the_span_asked_for(server: SendGridWithLists) -> None:
    server.fill("bounces", [(f"reader{n}@example.org", 1000 + n) for n in range(10)])
    code, page = ask(server, "GET", "/v3/suppression/bounces?start_time=1001&end_time=1007&limit=3&offset=3")
    assert code == 200
    assert [entry["created"] for entry in page] == [1004, 1003, 1002]
    assert set(page[0]) == {"created", "email", "reason", "status"}
    assert ask(server, "GET", "/v3/suppression/bounces?offset=10") == (200, [])
    assert ask(server, "GET", "/v3/suppression/unsubscribes") == (200, [])


@pytest.mark.parametrize("query", ["limit=501", "limit=0", "limit=many", "offset=-1", "start_time=2026-03-02"])
def test_what_is_out_of_bounds_is_refused(server: SendGridWithLists, query: str) -> None:
    assert ask(server, "GET", f"/v3/suppression/bounces?{query}")[0] == 400


@pytest.mark.parametrize("path", ["/v3/suppression/others", "/v3/suppression/", "/v3/asm/suppressions/globally"])
def test_what_is_not_there_is_not_found(server: SendGridWithLists, path: str) -> None:
    assert ask(server, "GET", path)[0] == 404


@pytest.mark.parametrize(("key", "code"), [("SG.wrong", 401), (READ_ONLY_KEY, 403), (MAIL_ONLY_KEY, 403)])
def test_lists_want_a_key_with_the_right(server: SendGridWithLists, key: str, code: int) -> None:
    asked = [
        ("GET", "/v3/suppression/bounces", None),
        ("POST", GLOBAL, {"recipient_emails": [ROBIN]}),
        ("DELETE", f"{GLOBAL}/x", None),
    ]
    for method, path, body in asked:
        assert ask(server, method, path, body, key)[0] == code
    assert server.listed("unsubscribes") == []
    assert ask(server, "POST", "/v3/mail/send", mail(ROBIN), MAIL_ONLY_KEY)[0] == 202


def test_an_address_is_added_once_whatever_its_case_and_removed_once(server: SendGridWithLists) -> None:
    server.now = lambda: 1234.5
    assert ask(server, "POST", GLOBAL, {"recipient_emails": [ROBIN, DANA]}) == (201, {"recipient_emails": [ROBIN, DANA]})
    assert ask(server, "POST", GLOBAL, {"recipient_emails": [ROBIN.lower()]})[0] == 201
    _, listed = ask(server, "GET", "/v3/suppression/unsubscribes")
    assert sorted((entry["created"], entry["email"].lower()) for entry in listed) == [(1234, DANA), (1234, ROBIN.lower())]
    assert ask(server, "DELETE", f"{GLOBAL}/robin%40example.org")[0] == 204
    assert ask(server, "DELETE", f"{GLOBAL}/robin%40example.org")[0] == 404
    assert server.listed("unsubscribes") == [DANA]


@pytest.mark.parametrize(
    "body", [{}, [], {"recipient_emails": []}, {"recipient_emails": ["nobody"]}, {"recipient_emails": [1]}]
)
def test_a_request_without_addresses_is_refused(server: SendGridWithLists, body: Any) -> None:
    assert ask(server, "POST", GLOBAL, body)[0] == 400
    assert ask(server, "POST", GLOBAL, {"recipient_emails": [DANA, "nobody"]})[0] == 400
    assert server.listed("unsubscribes") == [], "all or nothing"


@pytest.mark.parametrize(
    ("name", "reason", "passes"),
    [
        ("bounces", "Bounced Address", "bypass_bounce_management"),
        ("spam_reports", "Spam Reporting Address", "bypass_spam_management"),
        ("unsubscribes", "Unsubscribed Address", "bypass_unsubscribe_management"),
        ("invalid_emails", "Invalid", "bypass_list_management"),
    ],
)
def test_who_is_on_a_list_gets_nothing_though_the_request_is_accepted(
    server: SendGridWithLists, name: Any, reason: str, passes: str
) -> None:
    server.fill(name, [(ROBIN, 1000)])
    server.fill("blocks", [(DANA, 1000)])
    assert ask(server, "POST", "/v3/mail/send", mail(ROBIN.lower(), DANA))[0] == 202
    assert {got.address: got.dropped for got in server.accepted} == {ROBIN.lower(): reason, DANA: ""}
    assert [got.address for got in server.arrived()] == [DANA]
    server.reset()
    others = {"bypass_bounce_management", "bypass_spam_management", "bypass_unsubscribe_management"} - {passes}
    ask(server, "POST", "/v3/mail/send", mail(ROBIN, **dict.fromkeys(others, True), **{passes: False}))
    ask(server, "POST", "/v3/mail/send", mail(ROBIN, **{passes: True}))
    assert [got.dropped for got in server.accepted] == [reason, ""]


def test_the_ledgers_file_remembers_what_was_dropped(tmp_path: Any) -> None:
    with SendGridWithLists(ledger=tmp_path / "ledger") as server:
        server.fill("bounces", [(ROBIN, 1000)])
        ask(server, "POST", "/v3/mail/send", mail(ROBIN, DANA))
    assert [got.dropped for got in read_ledger(tmp_path / "ledger")] == ["Bounced Address", ""]


def test_planned_faults_meet_requests_about_lists_and_no_mail(server: SendGridWithLists) -> None:
    server.plan_lists(refuse_429(5), None, reset(accepted=True))
    assert ask(server, "POST", "/v3/mail/send", mail(ROBIN))[0] == 202
    assert ask(server, "POST", GLOBAL, {"recipient_emails": [ROBIN]})[0] == 429
    assert server.listed("unsubscribes") == []
    assert ask(server, "GET", "/v3/suppression/bounces")[0] == 200
    with pytest.raises(ConnectionError):
        ask(server, "POST", GLOBAL, {"recipient_emails": [ROBIN]})
    assert server.listed("unsubscribes") == [ROBIN.lower()]
    assert list(server.list_requests) == [f"POST {GLOBAL}", "GET /v3/suppression/bounces", f"POST {GLOBAL}"]


def test_another_process_fills_and_reads_the_lists(server: SendGridWithLists) -> None:
    assert ask(server, "POST", "/_lists", {"bounces": [[ROBIN, 1000]]})[0] == 200
    _, lists = ask(server, "GET", "/_lists")
    assert [entry["email"] for entry in lists["bounces"]] == [ROBIN]
