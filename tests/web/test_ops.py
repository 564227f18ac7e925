"""Health and the outbox."""

from base64 import b64encode
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from nurture.letters.image_processing import develop
from nurture.mailers.base import InlineImage
from nurture.mailers.outbox import Outbox
from nurture.mailers.smtp import Smtp
from nurture.runtime import Runtime
from nurture.services.operations import send_blocks
from tests.clocks import ManualClock
from tests.mailers.test_outbox import a_mail, post
from tests.people import a_subscriber, inbox, run_tick
from tests.pictures import photograph
from tests.servers.postgres import Postgres

READY = {"database": "ok", "schema": "ok", "writes": "ok"}


def test_pages_are_ready_whatever_sending_does(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    """Another worker cannot be brought back by taking the pages out of service; but it is said."""
    assert client.get("/healthz").json == {"status": "ok"}
    fresh = client.get("/readyz")
    assert fresh.status_code == 200
    assert fresh.json and "nurture worker" in fresh.json["sending"]
    run_tick(rt)
    assert client.get("/readyz").json == {"status": "ok", "ready": True, "checks": READY, "sending": "ok"}
    clock.advance(minutes=5)
    late = client.get("/readyz")
    assert late.status_code == 200
    assert late.json and "300 s ago" in late.json["sending"]


def test_stopped_sending_is_named_without_what_a_person_typed(client: FlaskClient, rt: Runtime) -> None:
    run_tick(rt)
    send_blocks.stop_sending(rt, "robin@example.org complained", "dana@example.org")
    found = client.get("/readyz")
    assert found.status_code == 200
    assert found.json and found.json["sending"] == "stopped: by a person"
    assert "example.org" not in found.text


def test_overdue_mail_is_named(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    run_tick(rt)
    a_subscriber(rt)
    clock.advance(minutes=20)
    found = client.get("/readyz")
    assert found.status_code == 200
    assert found.json and found.json["sending"] == "overdue: mail is due for 20 minutes"


def test_a_database_that_does_not_answer_makes_pages_unready(client: FlaskClient, rt: Runtime, postgres: Postgres) -> None:
    if rt.database.is_sqlite:
        file = Path(rt.database.url.database or "")
        rt.database.close()
        file.rename(file.with_suffix(".away"))
        file.mkdir()
    else:
        rt.database.close()
        postgres.drop(rt.database.url.database or "")
    found = client.get("/readyz")
    assert found.status_code == 503
    assert found.json == {
        "status": "not ready", "ready": False, "checks": {"database": "does not answer"},
        "sending": "unknown: the database does not answer",
    }  # fmt: skip
    if not rt.database.is_sqlite:
        postgres.create(rt.database.url.database or "")  # for whoever drops it


def test_an_old_schema_is_not_ready_and_says_what_to_run(client: FlaskClient, rt: Runtime) -> None:
    rt.database.migrate("base")
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_the_outbox_shows_html_text_headers_and_source(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    (mail,) = inbox(rt, reader)
    listing = client.get("/outbox").text
    assert str(mail.message["Subject"]) in listing
    page = client.get(f"/outbox/{mail.id}").text
    assert "List-Unsubscribe-Post" in page
    assert f'src="/outbox/{mail.id}/html"' in page
    shown = client.get(f"/outbox/{mail.id}/html")
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    assert "Robin" in shown.text


@pytest.mark.parametrize(
    "given",
    [
        {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}},
        {"headers": {"X-Forwarded-For": "192.0.2.7"}},
        {"headers": {"X-Forwarded-Proto": "https"}},
        {"headers": {"Forwarded": "for=192.0.2.7"}},
        {"headers": {"Via": "1.1 proxy"}},
        {"environ_overrides": {"SERVER_PROTOCOL": "HTTP/1.0"}},  # nginx as it comes: no header, and not even the Host passed on
    ],
    ids=str,
)
def test_the_outbox_is_only_for_somebody_at_this_machine(client: FlaskClient, given: dict[str, dict[str, str]]) -> None:
    assert client.get("/outbox", **given).status_code == 404
    assert client.get("/outbox").status_code == 200


def test_with_a_real_mailer_there_is_no_outbox(client: FlaskClient, rt: Runtime) -> None:
    rt.mailer = Smtp("smtp://127.0.0.1:1")
    assert client.get("/outbox").status_code == 404


def test_the_outbox_reads_no_other_file(client: FlaskClient) -> None:
    for name in ("../secret", "..%2Fsecret", "nothing", ".hidden"):
        assert client.get(f"/outbox/{name}").status_code == 404


def test_the_api_description_lists_what_exists(client: FlaskClient) -> None:
    described = client.get("/api/v1/openapi.json").json
    assert described and described["openapi"].startswith("3.1")
    assert set(described["paths"]) == {"/subscribe", "/healthz", "/readyz"}


def test_a_picture_is_left_out_of_the_source_and_shown_in_the_mail(client: FlaskClient, rt: Runtime) -> None:
    assert isinstance(rt.mailer, Outbox)
    photo = develop(photograph(900, 700)).content
    mail = a_mail(html='<p><img src="cid:picture-1" alt="A cell"></p>\n', pictures=(InlineImage(photo, "jpeg", "picture-1"),))
    post(rt.mailer, mail)
    page = client.get(f"/outbox/{mail.delivery}").text
    assert "[a picture, left out here]" in page
    assert "Content-ID: &lt;picture-1&gt;" in page
    assert len(page) < 20_000
    assert b64encode(photo).decode() in client.get(f"/outbox/{mail.delivery}/html").text
