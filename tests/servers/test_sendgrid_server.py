"""The judge is judged: our SendGrid answers as documented, fails as planned, and its ledger never lies."""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from python_http_client.exceptions import (
    BadRequestsError,
    ForbiddenError,
    HTTPError,
    TooManyRequestsError,
    UnauthorizedError,
)
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import CustomArg, Header, Mail, MailSettings, SandBoxMode

from tests.servers import Certificate, self_signed
from tests.servers.sendgrid import (
    KEY,
    READ_ONLY_KEY,
    Fault,
    RemoteSendGrid,
    SendGridServer,
    another_process,
    close_after,
    half_body,
    hang,
    junk_body,
    late,
    read_ledger,
    refuse_429,
    reset,
    reset_unread,
    slow,
    status,
)

Json = dict[str, Any]
MAIL: Json = {
    "personalizations": [{"to": [{"email": "ada@example.com", "name": "Ada"}], "custom_args": {"delivery_id": "d1"}}],
    "from": {"email": "letters@example.org", "name": "Letters"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "Hi"}, {"type": "text/html", "value": "<p>Hi</p>"}],
}


@pytest.fixture
def server() -> Iterator[SendGridServer]:
    with SendGridServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _closed_clients() -> Iterator[None]:
    yield
    while Client.opened:
        Client.opened.pop().http.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("certificate"))


def a_mail(**changes: object) -> Json:
    """A valid body with keys replaced, or removed if None."""
    mail = deepcopy(MAIL) | changes
    return {key: value for key, value in mail.items() if value is not None}


def a_personal_mail(**changes: object) -> Json:
    """A valid body with keys of its personalization replaced."""
    return a_mail(personalizations=[deepcopy(MAIL["personalizations"][0]) | changes])


def mails_to(*addresses: str) -> Json:
    return a_mail(personalizations=[{"to": [{"email": address}]} for address in addresses])


class Client:
    """A plain HTTP client on one connection, closed at the end of the test."""

    opened: ClassVar[list["Client"]] = []

    def __init__(self, url: str, timeout: float = 10) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self.http = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        self.opened.append(self)

    def send(self, mail: object = MAIL, **headers: str) -> http.client.HTTPResponse:
        """POST to mail/send; `headers` replace the good ones, with _ for -; an empty one is left out."""
        good = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        good |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = mail if isinstance(mail, bytes) else json.dumps(mail).encode()
        self.http.request("POST", "/v3/mail/send", body, {name: value for name, value in good.items() if value})
        return self.http.getresponse()

    def answer(self, mail: object = MAIL, **headers: str) -> tuple[int, bytes]:
        answer = self.send(mail, **headers)
        return answer.status, answer.read()


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=10)


def as_bytes(mail: object = MAIL, extra: str = "") -> bytes:
    """A whole request."""
    body = mail if isinstance(mail, bytes) else json.dumps(mail).encode()
    head = f"POST /v3/mail/send HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    return (head + extra + f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def all_of(sock: socket.socket) -> bytes:
    """Everything until the other side closes."""
    read = b""
    while more := sock.recv(65_536):
        read += more
    return read


def errors(body: bytes) -> list[Json]:
    found: list[Json] = json.loads(body)["errors"]
    assert all(set(error) == {"message", "field", "help"} for error in found)
    return found


# --- Accepted


def test_a_valid_mail_is_accepted_with_202_no_body_and_an_x_message_id(server: SendGridServer) -> None:
    answer = Client(server.url).send()
    assert (answer.status, answer.read()) == (202, b"")
    message_id = answer.headers["X-Message-Id"]
    assert len(message_id) == 22
    assert set(message_id) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    (mail,) = server.accepted
    assert mail.message_id == message_id


def test_the_ledger_holds_one_entry_a_recipient_with_merged_headers_and_arguments(server: SendGridServer) -> None:
    tracking = {"click_tracking": {"enable": False, "enable_text": False}, "open_tracking": {"enable": False}}
    before = time.time(), time.monotonic()
    Client(server.url).answer(
        a_mail(
            personalizations=[
                {
                    "to": [{"email": "Ada@Example.com", "name": "Ada"}],
                    "bcc": [{"email": "bob@example.com"}],
                    "subject": "Own",
                },
                {
                    "to": [{"email": "eve@example.com"}],
                    "headers": {"X-A": "own", "X-B": "b"},
                    "custom_args": {"delivery_id": "d2"},
                },
            ],
            headers={"X-A": "shared"},
            custom_args={"delivery_id": "d0", "batch": "b"},
            reply_to={"email": "reply@example.org"},
            tracking_settings=tracking,
        )
    )
    ada, bob, eve = server.accepted
    assert (ada.kind, ada.address, ada.name, ada.subject) == ("to", "Ada@Example.com", "Ada", "Own")
    assert (bob.kind, bob.address, bob.custom_args) == ("bcc", "bob@example.com", {"delivery_id": "d0", "batch": "b"})
    assert (eve.subject, eve.headers, eve.header("x-a")) == ("Hello", {"X-A": "own", "X-B": "b"}, "own")
    assert eve.custom_args == {"delivery_id": "d2", "batch": "b"}
    assert (eve.text, eve.html, eve.sender["email"]) == ("Hi", "<p>Hi</p>", "letters@example.org")
    assert (eve.reply_to, eve.tracking_settings) == ({"email": "reply@example.org"}, tracking)
    assert ada.message_id == bob.message_id == eve.message_id
    assert (eve.request, eve.connection) == (1, 1)
    assert before[0] <= eve.received_at <= time.time()
    assert before[1] <= eve.received_monotonic <= time.monotonic()
    assert server.to("ada@example.com") == [ada]


def test_duplicates_names_exactly_the_deliveries_that_came_twice(server: SendGridServer) -> None:
    client = Client(server.url)
    for delivery in ("a", "b", "a", "c"):
        assert client.answer(a_personal_mail(custom_args={"delivery_id": delivery}))[0] == 202
    assert server.by_delivery() == {"a": 2, "b": 1, "c": 1}
    assert server.duplicates() == {"a": 2}


def test_the_real_sdk_gets_its_mail_through(server: SendGridServer) -> None:
    mail = Mail("letters@example.org", "ada@example.com", "Hello", "Hi", "<p>Hi</p>")
    mail.add_header(Header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    mail.add_custom_arg(CustomArg("delivery_id", "d1"))
    answer = SendGridAPIClient(KEY, host=server.url).send(mail)
    assert (answer.status_code, answer.body) == (202, b"")
    (kept,) = server.accepted
    assert kept.message_id == answer.headers["X-Message-Id"]
    assert kept.header("list-unsubscribe-post") == "List-Unsubscribe=One-Click"
    assert kept.delivery_id == "d1"


def test_the_sandbox_answers_200_and_keeps_nothing(server: SendGridServer) -> None:
    mail = Mail("letters@example.org", "ada@example.com", "Hello", "Hi")
    mail.mail_settings = MailSettings(sandbox_mode=SandBoxMode(True))
    assert SendGridAPIClient(KEY, host=server.url).send(mail).status_code == 200
    assert Client(server.url).answer(a_mail(subject="", mail_settings={"sandbox_mode": {"enable": True}}))[0] == 400
    assert server.accepted == []


@pytest.mark.parametrize(
    "mail",
    [
        pytest.param(mails_to(*(f"r{n}@example.com" for n in range(1000))), id="1000 personalizations"),
        pytest.param(a_personal_mail(to=[{"email": f"r{n}@example.com"} for n in range(1000)]), id="1000 recipients in one"),
        pytest.param(a_mail(categories=["c" * 255, *"abcdefghi"]), id="10 categories of 255"),
        pytest.param(a_mail(send_at=int(time.time()) + 72 * 3600 - 5), id="72 hours ahead"),
        pytest.param(a_mail(send_at=1), id="send_at in the past"),
        pytest.param(a_personal_mail(custom_args={"k": "v" * 9_990}), id="10000 bytes of custom_args"),
        pytest.param(a_personal_mail(substitutions={"k": "v" * 9_990}), id="10000 bytes of substitutions"),
        pytest.param(a_mail(subject=None, template_id="d-1", content=None), id="template"),
        pytest.param(a_mail(subject=None, personalizations=[MAIL["personalizations"][0] | {"subject": "S"}]), id="own subject"),
        pytest.param(a_mail(reply_to_list=[{"email": "a@example.com"}]), id="reply_to_list"),
        pytest.param(a_mail(content=[{"type": "text/html", "value": "x"}]), id="html alone"),
        pytest.param(
            a_mail(content=[{"type": t, "value": "x"} for t in ("text/plain", "text/html", "text/calendar")]),
            id="third part",
        ),
        pytest.param(a_mail(**{"from": {"email": "a@example.org", "name": "Dr. Ö, MD"}}), id="comma and Ö in from.name"),
        pytest.param(mails_to("a.b+c_d'e@sub.xn--bcher-kva.example"), id="odd but valid address"),
        pytest.param(mails_to("a" * 64 + "@example.com"), id="local part of 64"),
        pytest.param(a_mail(subject="Grüße 🌱"), id="emoji"),
    ],
)
def test_what_is_at_a_limit_is_accepted(server: SendGridServer, mail: Json) -> None:
    assert Client(server.url).answer(mail) == (202, b"")
    assert server.accepted


# --- Refused

SURROGATE = "\ud83c"
RESERVED = "x-sg-id X-SG-EID Received DKIM-Signature Content-Type content-transfer-encoding To From SUBJECT reply-to Cc Bcc"
REFUSED: list[tuple[str, Json, str | None, str]] = [
    ("no personalizations", a_mail(personalizations=None), "personalizations", "at least one"),
    ("empty personalizations", a_mail(personalizations=[]), "personalizations", "at least one"),
    ("personalizations object", a_mail(personalizations={}), "personalizations", "at least one"),
    ("1001 personalizations", mails_to(*(f"r{n}@example.com" for n in range(1001))), "personalizations", "1001"),
    (
        "1001 recipients",
        a_personal_mail(
            to=[{"email": f"r{n}@example.com"} for n in range(500)],
            bcc=[{"email": f"b{n}@example.com"} for n in range(501)],
        ),
        "personalizations",
        "1000 total recipients",
    ),
    ("no to", a_mail(personalizations=[{"cc": [{"email": "a@example.com"}]}]), "personalizations.0.to", "required"),
    ("empty to", a_personal_mail(to=[]), "personalizations.0.to", "required"),
    ("to without email", a_personal_mail(to=[{"name": "A"}]), "personalizations.0.to.0.email", "required"),
    (
        "to is a string",
        a_personal_mail(to=["a@example.com"]),
        "personalizations.0.to.0",
        "Expected: object, given: string",
    ),
    ("email not a string", a_personal_mail(to=[{"email": False}]), "personalizations.0.to.0.email", "given: boolean"),
    *(
        (
            f"address {address[:30]!r}",
            mails_to("good@example.com", address),
            "personalizations.1.to.0.email",
            "valid address",
        )
        for address in (
            "",
            "nobody",
            "a b@example.com",
            "a@b@example.com",
            "@example.com",
            "a@",
            "a@example",
            "a..b@example.com",
            ".a@example.com",
            "a@-x.com",
            "a@example.com\n",
            "a@example.com\r\nBcc: b@example.com",
            "a\0@example.com",
            "Ada <a@example.com>",
            "ä@example.com",
            "a@bücher.example",
            "a" * 65 + "@example.com",
            "a@" + "b." * 160 + "com",
            "a" * 10_000,
        )
    ),
    (
        "same address twice",
        mails_to("a@example.com", "b@example.com", "A@Example.COM"),
        "personalizations",
        "a@example.com",
    ),
    ("same in to and bcc", a_personal_mail(bcc=[{"email": "ADA@example.com"}]), "personalizations", "more than once"),
    ("no from", a_mail(**{"from": None}), "from.email", "must be provided"),
    ("from without email", a_mail(**{"from": {"name": "L"}}), "from.email", "must be provided"),
    ("non-ASCII from", a_mail(**{"from": {"email": "grüße@example.org"}}), "from.email", "valid address"),
    ("no subject", a_mail(subject=None), "subject", "The subject is required"),
    ("empty subject", a_mail(subject=""), "subject", "at least one character"),
    ("subject not a string", a_mail(subject=5), "subject", "at least one character"),
    ("empty own subject", a_personal_mail(subject=""), "personalizations.0.subject", "at least one character"),
    ("line break in subject", a_mail(subject="a\r\nBcc: b@example.com"), "subject", "CRLF"),
    ("surrogate in subject", a_mail(subject=SURROGATE), "subject", "Invalid UTF8"),
    ("no content", a_mail(content=None), "content", "required"),
    ("empty content", a_mail(content=[]), "content", "at least one defined"),
    ("empty value", a_mail(content=[{"type": "text/plain", "value": ""}]), "content.0.value", "at least one character"),
    ("no type", a_mail(content=[{"value": "x"}]), "content.0.type", "content type"),
    ("type with ;", a_mail(content=[{"type": "text/plain;x", "value": "x"}]), "content.0.type", "';'"),
    (
        "surrogate in text",
        a_mail(content=[{"type": "text/plain", "value": SURROGATE}]),
        "content.0.value",
        "Invalid UTF8",
    ),
    ("html first", a_mail(content=MAIL["content"][::-1]), "content", "text/plain needs to be first"),
    *((f"reserved header {name}", a_mail(headers={name: "x"}), "headers", "reserved") for name in RESERVED.split()),
    ("own reserved header", a_personal_mail(headers={"To": "x"}), "personalizations.0.headers", "reserved"),
    ("header not a string", a_mail(headers={"X-A": 1}), "headers.X-A", "must be strings"),
    ("header injection", a_mail(headers={"X-A": "a\r\nBcc: b@c.de"}), "headers.X-A", "CRLF"),
    ("own header injection", a_personal_mail(headers={"X-A": "a\nb"}), "personalizations.0.headers.X-A", "CRLF"),
    ("header name with space", a_mail(headers={"X A": "a"}), "headers", "empty spaces"),
    ("header name non-ASCII", a_mail(headers={"X-Ä": "a"}), "headers", "non-ASCII"),
    ("header twice", a_mail(headers={"X-A": "a", "x-a": "b"}), "headers", "duplicate keys"),
    ("custom_args a string", a_mail(custom_args="x"), "custom_args", "Expected: object, given: string"),
    (
        "custom_args with a number",
        a_personal_mail(custom_args={"a": 1}),
        "personalizations.0.custom_args",
        "must be strings",
    ),
    ("custom_args empty", a_personal_mail(custom_args={}), "personalizations.0.custom_args", "empty"),
    ("custom_args too long", mails_to("a@b.de") | {"custom_args": {"k": "v" * 9_995}}, "custom_args", "10,000 bytes"),
    (
        "custom_args too long together",
        a_mail(
            custom_args={"a": "v" * 6_000},
            personalizations=[{"to": [{"email": "a@example.com"}], "custom_args": {"b": "ü" * 2_000}}],
        ),
        "personalizations.0.custom_args",
        "10,000 bytes",
    ),
    (
        "substitution not a string",
        a_personal_mail(substitutions={"k": 1}),
        "personalizations.0.substitutions",
        "strings",
    ),
    (
        "substitutions too long",
        a_personal_mail(substitutions={"k": "v" * 9_995}),
        "personalizations.0.substitutions",
        "10000",
    ),
    ("11 categories", a_mail(categories=list("abcdefghijk")), "categories", "11 categories"),
    ("category of 256", a_mail(categories=["c" * 256]), "categories", "255"),
    ("category twice", a_mail(categories=["a", "a"]), "categories", "more than once"),
    ("category a number", a_mail(categories=[1]), "categories", "array of strings"),
    ("send_at in 73 hours", a_mail(send_at=int(time.time()) + 73 * 3600), "send_at", "72 hours"),
    (
        "send_at in milliseconds",
        a_personal_mail(send_at=int(time.time() * 1000)),
        "personalizations.0.send_at",
        "72 hours",
    ),
    ("send_at a string", a_mail(send_at="1"), "send_at", "UNIX timestamp"),
    ("; in to.name", a_personal_mail(to=[{"email": "a@b.de", "name": "A;B"}]), "personalizations.0.to.0.name", "';'"),
    (", in cc.name", a_personal_mail(cc=[{"email": "a@b.de", "name": "A,B"}]), "personalizations.0.cc.0.name", "','"),
    ("line break in name", a_mail(**{"from": {"email": "a@b.de", "name": "A\nB"}}), "from.name", "CRLF"),
    ("unknown key", a_mail(templateId="x"), "templateId", "not allowed"),
    ("unknown key inside", a_personal_mail(customArgs={}), "personalizations.0.customArgs", "not allowed"),
    ("unknown tracking", a_mail(tracking_settings={"clicks": {}}), "tracking_settings.clicks", "not allowed"),
    (
        "enable not a boolean",
        a_mail(tracking_settings={"open_tracking": {"enable": "false"}}),
        "tracking_settings.open_tracking.enable",
        "boolean",
    ),
    (
        "reply_to and reply_to_list",
        a_mail(reply_to={"email": "a@example.com"}, reply_to_list=[{"email": "b@example.com"}]),
        "reply_to_list",
        "mutually exclusive",
    ),
    ("bad reply_to", a_mail(reply_to={"email": "x"}), "reply_to.email", "valid address"),
    ("26 groups", a_mail(asm={"group_id": 1, "groups_to_display": [1] * 26}), "asm.groups_to_display", "25"),
]


@pytest.mark.parametrize(("mail", "field", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_sendgrid_refuses_is_a_400_that_names_the_field(
    server: SendGridServer, mail: Json, field: str, words: str
) -> None:
    code, body = Client(server.url).answer(mail)
    assert code == 400
    (error,) = errors(body)
    assert (error["field"], words in error["message"]) == (field, True), error
    assert server.accepted == []
    assert server.answers == {400: 1}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"[]", id="array"),
        pytest.param(json.dumps(MAIL).encode()[:-1] + b', "send_at": NaN}', id="NaN"),
        pytest.param(json.dumps(MAIL).encode().replace(b"Hello", b"Hell\xff"), id="not UTF-8"),
        pytest.param(json.dumps(MAIL).encode("utf-16"), id="UTF-16"),
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(b"x=1", id="form"),
    ],
)
def test_a_body_that_is_no_json_object_is_a_400(server: SendGridServer, body: bytes) -> None:
    code, said = Client(server.url).answer(body)
    assert code == 400
    (error,) = errors(said)
    assert error["field"] is None
    assert error["message"] in ("Bad Request", "Invalid UTF8 in request.")


def test_a_bad_recipient_refuses_the_whole_batch(server: SendGridServer) -> None:
    assert Client(server.url).answer(mails_to(*(f"r{n}@example.com" for n in range(999)), "poison"))[0] == 400
    assert server.accepted == []


@pytest.mark.parametrize("grant", ["", "Bearer SG.wrong", f"Basic {KEY}", KEY, f"bearer{KEY}"])
def test_a_wrong_key_is_a_401_in_sendgrids_words(server: SendGridServer, grant: str) -> None:
    code, body = Client(server.url).answer(Authorization=grant)
    assert code == 401
    assert json.loads(body) == {
        "errors": [{"message": "The provided authorization grant is invalid, expired, or revoked", "field": None, "help": None}]
    }
    assert server.accepted == []


def test_the_sdk_raises_its_own_errors(server: SendGridServer) -> None:
    mail = Mail("letters@example.org", "ada@example.com", "Hello", "Hi")
    good = SendGridAPIClient(KEY, host=server.url)
    with pytest.raises(UnauthorizedError):
        SendGridAPIClient("SG.wrong", host=server.url).send(mail)
    with pytest.raises(ForbiddenError):
        SendGridAPIClient(READ_ONLY_KEY, host=server.url).send(mail)
    with pytest.raises(BadRequestsError) as refused:
        good.send(Mail("letters@example.org", "ada@localhost", "Hello", "Hi"))
    assert refused.value.to_dict["errors"][0]["field"] == "personalizations.0.to.0.email"
    server.plan(refuse_429(reset_in=30))
    with pytest.raises(TooManyRequestsError) as later:
        good.send(mail)
    assert 29 < int(later.value.headers["X-RateLimit-Reset"]) - time.time() <= 31
    assert later.value.headers["X-RateLimit-Remaining"] == "0"
    assert server.accepted == []


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_another_content_type_is_a_415(server: SendGridServer, kind: str) -> None:
    assert Client(server.url).answer(Content_Type=kind)[0] == 415
    assert Client(server.url).answer(Content_Type="Application/JSON; charset=utf-8")[0] == 202


def test_more_than_30_mb_is_refused_by_the_header_alone_with_html(server: SendGridServer) -> None:
    with connect(server.url) as sock:
        sock.sendall(as_bytes(b"").replace(b"Content-Length: 0", b"Content-Length: 30000001"))
        head = sock.recv(65_536)
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"text/html" in head
        assert b"<html>" in head
    assert server.accepted == []


def test_a_client_that_sends_31_mb_first_still_gets_to_read_its_413(server: SendGridServer) -> None:
    code, body = Client(server.url).answer(a_mail(subject="x" * 31_000_000))
    assert (code, body[:6]) == (413, b"<html>")


def test_a_large_request_below_the_limit_is_read_whole(server: SendGridServer) -> None:
    html = "x" * 20_000_000
    assert Client(server.url).answer(a_mail(content=[{"type": "text/html", "value": html}]))[0] == 202
    assert server.accepted[0].html == html


def test_other_paths_and_methods_are_404_and_405(server: SendGridServer) -> None:
    client = Client(server.url)
    for method, path, code in (("GET", "/v3/mail/send", 405), ("POST", "/v3/mail/batch", 404)):
        client.http.request(method, path, headers={"Authorization": f"Bearer {KEY}"})
        answer = client.http.getresponse()
        assert (answer.status, len(errors(answer.read()))) == (code, 1)
    client.http.request("GET", "/v3/suppression/bounces")
    assert client.http.getresponse().status == 401


# --- HTTP


def test_a_kept_connection_serves_many_requests(server: SendGridServer) -> None:
    client = Client(server.url)
    for _ in range(100):
        assert client.answer()[0] == 202
    assert (server.requests, server.connections) == (100, 1)
    assert Client(server.url).answer()[0] == 202
    assert [mail.connection for mail in server.accepted] == [1] * 100 + [2]


def test_requests_in_one_packet_are_answered_in_order(server: SendGridServer) -> None:
    with connect(server.url) as sock:
        good, bad = as_bytes(), as_bytes(a_mail(subject=None))
        sock.sendall(good + bad + good + as_bytes(extra="Connection: close\r\n"))
        codes = [part[:3] for part in all_of(sock).split(b"HTTP/1.1 ")[1:]]
    assert codes == [b"202", b"400", b"202", b"202"]


def test_a_request_that_comes_byte_by_byte_is_one_request(server: SendGridServer) -> None:
    with connect(server.url) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in as_bytes(extra="Connection: close\r\n"):
            sock.send(bytes([byte]))
        assert all_of(sock).startswith(b"HTTP/1.1 202 ")
    assert server.requests == 1


def test_header_names_are_read_in_any_case(server: SendGridServer) -> None:
    with connect(server.url) as sock:
        head, body = as_bytes().split(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        swapped = b"\r\n".join(
            [lines[0], *(name.upper() + b":" + rest for name, _, rest in (x.partition(b":") for x in lines[1:]))]
        )
        sock.sendall(swapped + b"\r\n\r\n" + body)
        assert sock.recv(65_536).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize("how", ["HTTP/1.1 with close", "HTTP/1.0"])
def test_who_asks_to_close_is_closed_upon(server: SendGridServer, how: str) -> None:
    request = as_bytes(extra="Connection: close\r\n")
    if how == "HTTP/1.0":
        request = as_bytes().replace(b"HTTP/1.1", b"HTTP/1.0")
    with connect(server.url) as sock:
        sock.sendall(request)
        said = all_of(sock)
    assert b"\r\nConnection: close\r\n" in said


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"POST /v3/mail/send HTTP/1.1", b"POST /v3/mail/send", b"400"),
        (b"HTTP/1.1", b"HTTP/2.0", b"400"),
        (b"Host: x", b"Host : x", b"400"),
        (b"Host: x", b"Host: x\r\n folded", b"400"),
        (b"Host: x", b"Content-Length: 1", b"400"),
        (b"Content-Length: ", b"Content-Length: +", b"400"),
        (b"Host: x", b"Transfer-Encoding: chunked", b"411"),
        (b"Host: x", b"Host: " + b"x" * 70_000, b"400"),
    ],
)
def test_what_is_not_http_is_refused_and_the_connection_ends(
    server: SendGridServer, old: bytes, new: bytes, code: bytes
) -> None:
    with connect(server.url) as sock:
        sock.sendall(as_bytes(b"").replace(old, new))
        said = all_of(sock)
    assert said.startswith(b"HTTP/1.1 " + code)
    assert server.accepted == []


def test_a_request_that_never_arrives_whole_is_never_accepted(server: SendGridServer) -> None:
    with connect(server.url) as sock:
        sock.sendall(as_bytes()[:-1])
        sock.shutdown(socket.SHUT_WR)
        assert all_of(sock) == b""
    assert server.requests == 1
    assert server.accepted == []


def test_a_request_that_arrived_whole_is_accepted_even_if_its_sender_is_dead(server: SendGridServer) -> None:
    server.latency = 60
    with connect(server.url) as sock:
        sock.sendall(as_bytes())
    assert len(server.wait_for(1)) == 1


def test_who_closes_its_half_after_the_request_still_gets_the_answer(server: SendGridServer) -> None:
    server.latency = 0.05
    with connect(server.url) as sock:
        sock.sendall(as_bytes())
        sock.shutdown(socket.SHUT_WR)
        assert all_of(sock).startswith(b"HTTP/1.1 202 ")


def test_many_connections_at_once_lose_and_repeat_nothing(server: SendGridServer) -> None:
    def work(worker: int) -> None:
        client = Client(server.url)
        for n in range(50):
            assert client.answer(a_personal_mail(custom_args={"delivery_id": f"{worker}-{n}"}))[0] == 202

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(server.by_delivery()), server.duplicates()) == (400, {})
    assert len({mail.message_id for mail in server.accepted}) == 400
    assert (server.requests, server.connections) == (400, 8)


def test_latency_delays_each_answer_but_not_the_others_or_the_ledger(server: SendGridServer) -> None:
    server.latency = 0.3
    begun = time.monotonic()
    socks = [connect(server.url) for _ in range(10)]
    for sock in socks:
        sock.sendall(as_bytes())
    server.wait_for(10, timeout=5)
    accepted = time.monotonic() - begun
    for sock in socks:
        assert sock.recv(65_536).startswith(b"HTTP/1.1 202")
        sock.close()
    assert accepted < 0.3 <= time.monotonic() - begun < 2.5


# --- Faults


def outcome(server: SendGridServer, timeout: float = 0.3) -> str:
    """What a client sees of one request."""
    try:
        code, body = Client(server.url, timeout).answer()
    except http.client.RemoteDisconnected:
        return "closed"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "timeout"
    except http.client.IncompleteRead:
        return "cut off"
    kind = "empty" if not body else "html" if body.startswith(b"<html>") else "json" if body[:1] == b"{" else "junk"
    return f"{code} {kind}"


@pytest.mark.parametrize(
    ("fault", "seen", "kept"),
    [
        (refuse_429(), "429 json", 0),
        (status(401), "401 json", 0),
        (status(403), "403 json", 0),
        (status(413), "413 html", 0),
        (status(500), "500 json", 0),
        (status(502), "502 html", 0),
        (status(503), "503 html", 0),
        (status(504), "504 html", 0),
        (status(500, accepted=True), "500 json", 1),
        (status(502, accepted=True), "502 html", 1),
        (status(503, accepted=True), "503 html", 1),
        (status(504, accepted=True), "504 html", 1),
        (reset_unread(), "reset", 0),
        (reset(accepted=False), "reset", 0),
        (reset(accepted=True), "reset", 1),
        (hang(accepted=False), "timeout", 0),
        (hang(accepted=True), "timeout", 1),
        (hang(accepted=False, seconds=0.01), "closed", 0),
        (hang(accepted=True, seconds=0.01), "closed", 1),
        (half_body(202), "cut off", 1),
        (half_body(202, accepted=False), "cut off", 0),
        (half_body(500, accepted=True), "cut off", 1),
        (half_body(500), "cut off", 0),
        (junk_body(), "202 junk", 1),
        (slow(0.0), "202 empty", 1),
        (slow(0.5), "timeout", 1),
        (late(0.01), "202 empty", 1),
        (late(5), "timeout", 1),
        (close_after(), "202 empty", 1),
        (close_after(silent=True), "202 empty", 1),
    ],
    ids=lambda value: value.label if isinstance(value, Fault) else "",
)
def test_a_planned_fault_happens_once_and_the_ledger_knows_the_truth(
    server: SendGridServer, fault: Fault, seen: str, kept: int
) -> None:
    server.plan(fault)
    assert outcome(server) == seen
    assert len(server.accepted) == kept
    assert server.faults.spent == {fault.label: 1}
    assert outcome(server, timeout=10) == "202 empty"
    assert len(server.accepted) == kept + 1


def test_reset_unread_does_not_wait_for_the_body(server: SendGridServer) -> None:
    server.plan(reset_unread())
    with connect(server.url) as sock:
        sock.sendall(as_bytes()[:-5])
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_a_slow_answer_comes_byte_by_byte(server: SendGridServer) -> None:
    server.plan(slow(0.002))
    with connect(server.url) as sock:
        begun = time.monotonic()
        sock.sendall(as_bytes(extra="Connection: close\r\n"))
        said = all_of(sock)
    assert said.startswith(b"HTTP/1.1 202")
    assert time.monotonic() - begun >= 0.002 * (len(said) - 1)


def test_a_429_may_say_nothing_of_when(server: SendGridServer) -> None:
    server.plan(refuse_429(reset_in=None))
    assert "X-RateLimit-Reset" not in Client(server.url).send().headers


def test_closing_is_announced_or_silent(server: SendGridServer) -> None:
    for silent, said in ((False, "close"), (True, "keep-alive")):
        server.plan(close_after(silent))
        with connect(server.url) as sock:
            sock.sendall(as_bytes())
            assert f"\r\nConnection: {said}\r\n".encode() in all_of(sock)


def test_a_broken_answer_to_an_invalid_mail_is_still_a_400(server: SendGridServer) -> None:
    server.plan(status(500, accepted=True))
    assert Client(server.url).answer(a_mail(subject=None))[0] == 400
    assert server.accepted == []


def test_faults_queue_up_and_none_lets_one_through(server: SendGridServer) -> None:
    server.plan(status(500), None, status(503), refuse_429())
    client = Client(server.url)
    assert [client.answer()[0] for _ in range(5)] == [500, 202, 503, 429, 202]


def test_a_fault_for_an_address_meets_only_batches_that_hold_it(server: SendGridServer) -> None:
    server.plan_for("Poison@example.com", status(400), times=2)
    client = Client(server.url)
    batches = [
        mails_to("a@example.com"),
        mails_to("b@example.com", "poison@example.com"),
        mails_to("poison@example.com"),
    ]
    assert [client.answer(batch)[0] for batch in batches] == [202, 400, 400]
    assert client.answer(batches[2])[0] == 202


def test_a_fault_by_predicate_sees_the_whole_request(server: SendGridServer) -> None:
    server.plan_when(lambda mail: bool(mail["subject"] == "Welcome"), status(503, accepted=True), times=None)
    client = Client(server.url)
    assert [client.answer(a_mail(subject=s))[0] for s in ("Hi", "Welcome", "Welcome")] == [202, 503, 503]
    assert len(server.accepted) == 3
    with pytest.raises(ValueError, match="before the body"):
        server.plan_when(lambda mail: True, reset_unread())


def test_chaos_with_one_seed_is_the_same_every_time(server: SendGridServer) -> None:
    def run(seed: int) -> list[int]:
        server.reset()
        server.plan_chaos(0.5, [status(500), status(503, accepted=True), refuse_429()], seed)
        client = Client(server.url)
        return [client.answer()[0] for _ in range(60)]

    first = run(7)
    assert first == run(7) != run(8)
    assert set(first) == {202, 500, 503, 429}
    assert 15 < first.count(202) < 45


def test_reset_forgets_mails_counts_and_plans(server: SendGridServer) -> None:
    Client(server.url).answer()
    server.plan(status(500))
    server.reset()
    assert (server.accepted, server.requests, server.answers) == ([], 0, {})
    assert Client(server.url).answer()[0] == 202


def test_waiting_in_vain_says_how_many_came(server: SendGridServer) -> None:
    Client(server.url).answer()
    with pytest.raises(TimeoutError, match=r"1 mails were accepted in 0\.01 s, 2 were awaited"):
        server.wait_for(2, timeout=0.01)


def test_a_judge_that_breaks_says_so() -> None:
    class Broken(SendGridServer):
        def on_accepted(self, mails: object) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Broken() as server:
        assert Client(server.url).answer()[0] == 500


# --- TLS, the file, other processes


def test_https_with_a_certificate_that_the_sdk_can_trust_or_not(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail = Mail("letters@example.org", "ada@example.com", "Hello", "Hi")
    with SendGridServer(tls=(certificate.cert, certificate.key)) as server:
        assert server.url.startswith("https://127.0.0.1:")
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            SendGridAPIClient(KEY, host=server.url).send(mail)
        assert server.accepted == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.cert))
        assert SendGridAPIClient(KEY, host=server.url).send(mail).status_code == 202
        server.plan(reset(accepted=True), status(503))
        with pytest.raises(ConnectionError):  # an RST, which OpenSSL may report as an end of file
            SendGridAPIClient(KEY, host=server.url).send(mail)
        with pytest.raises(HTTPError):
            SendGridAPIClient(KEY, host=server.url).send(mail)
        assert len(server.accepted) == 2


def test_the_file_holds_the_mail_before_any_answer(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with SendGridServer(ledger=path) as server:
        server.plan(hang(accepted=True))
        with connect(server.url) as sock:
            sock.sendall(as_bytes(json.dumps(MAIL, indent=1).encode()))
            in_memory = server.wait_for(1)
            assert read_ledger(path) == in_memory
        Client(server.url).answer(a_mail(subject=None))
        Client(server.url).answer(a_mail(subject="Two\u2028Ü"))
        assert read_ledger(path) == server.accepted
        assert len(server.accepted) == 2
        server.reset()
        assert read_ledger(path) == []


def test_a_killed_server_goes_on_from_its_file_without_the_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with another_process("--ledger", str(path)) as remote:
        assert Client(remote.url).answer()[0] == 202
    path.write_bytes(path.read_bytes() + b'{"message_id": "x", "requ')
    assert [mail.delivery_id for mail in read_ledger(path)] == ["d1"]
    with another_process("--ledger", str(path)) as remote:
        assert Client(remote.url).answer()[0] == 202
        assert remote.duplicates() == {"d1": 2}
    assert len(read_ledger(path)) == 2


def test_without_bodies_ledger_and_file_keep_all_but_the_texts(tmp_path: Path) -> None:
    with SendGridServer(bodies=False, ledger=tmp_path / "ledger") as server:
        Client(server.url).answer()
        (mail,) = server.accepted
        assert (mail.subject, mail.delivery_id, mail.text, mail.html) == ("Hello", "d1", "", "")
        assert read_ledger(tmp_path / "ledger") == [mail]


def test_another_process_can_be_asked_and_told_the_same_things(certificate: Certificate) -> None:
    with another_process("--latency-ms", "1") as remote:
        client = Client(remote.url)
        remote.plan(None, status(500), hang(accepted=True))
        remote.plan_for("poison@example.com", status(400), times=None)
        assert [client.answer()[0] for _ in range(2)] == [202, 500]
        with pytest.raises(TimeoutError):
            Client(remote.url, timeout=0.2).answer()
        assert client.answer(mails_to("poison@example.com"))[0] == 400
        assert client.answer(mails_to("poison@example.com"))[0] == 400
        first, second = remote.wait_for(2)
        assert (first.address, first.html, second.delivery_id) == ("ada@example.com", "<p>Hi</p>", "d1")
        assert (remote.by_delivery(), remote.duplicates()) == ({"d1": 2}, {"d1": 2})
        assert (remote.requests, remote.connections) == (5, 2)
        assert remote.counts()["answers"] == {"202": 2, "500": 1, "400": 2}
        with pytest.raises(TimeoutError, match="2 mails were accepted"):
            remote.wait_for(3, timeout=0.01)
        remote.reset()
        remote.plan_chaos(1.0, [refuse_429()], seed=1)
        assert client.answer()[0] == 429
        assert remote.accepted == []


def test_a_program_with_tls_and_a_key_of_its_own(certificate: Certificate) -> None:
    arguments = ("--tls", str(certificate.cert), str(certificate.key), "--key", "SG.mine")
    with another_process(*arguments, ca_file=certificate.cert) as remote:
        parts = urlsplit(remote.url)
        assert parts.scheme == "https"
        assert parts.hostname
        context = ssl.create_default_context(cafile=certificate.cert)
        client = Client("http://127.0.0.1:1")
        client.http = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=10, context=context)
        assert [client.answer(Authorization=f"Bearer {key}")[0] for key in (KEY, "SG.mine")] == [401, 202]
        assert len(remote.accepted) == 1


def test_a_senseless_plan_from_another_process_is_refused(server: SendGridServer) -> None:
    good = asdict(status(500))
    plans: list[Callable[[], Json]] = [
        lambda: {"queue": [good, good | {"how": "explode"}]},
        lambda: {"queue": [{"nonsense": 1}]},
        lambda: {"for": [{"address": "a@example.com", "fault": asdict(reset_unread())}], "queue": [good]},
    ]
    for plan in plans:
        with pytest.raises(OSError, match="400"):
            RemoteSendGrid(server.url)._ask("/_faults", plan())
    assert Client(server.url).answer()[0] == 202, "nothing of a refused plan may happen"
