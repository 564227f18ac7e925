"""Health and the outbox."""

from base64 import b64encode

import pytest
from flask.testing import FlaskClient

from nurture.letters.imaging import develop
from nurture.mailers.base import Picture
from nurture.mailers.outbox import Outbox
from nurture.mailers.smtp import Smtp
from nurture.runtime import Runtime
from tests.clocks import ManualClock
from tests.mailers.test_outbox import a_mail, post
from tests.people import a_subscriber, inbox, run_tick
from tests.pictures import photograph


def test_ready_means_database_schema_and_a_recent_tick(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    fresh = client.get("/readyz")
    assert fresh.status_code == 503
    assert fresh.json and "nurture worker" in fresh.json["checks"]["scheduler"]
    run_tick(rt)
    assert client.get("/readyz").json == {
        "status": "ok", "checks": {"database": "ok", "schema": "ok", "scheduler": "ok"},
    }  # fmt: skip
    clock.advance(minutes=5)
    late = client.get("/readyz")
    assert late.status_code == 503
    assert late.json and "300 s ago" in late.json["checks"]["scheduler"]


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
        {"headers": {"Host": "letters.example.org"}},
    ],
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
    mail = a_mail(html='<p><img src="cid:picture-1" alt="A cell"></p>\n', pictures=(Picture(photo, "jpeg", "picture-1"),))
    post(rt.mailer, mail)
    page = client.get(f"/outbox/{mail.delivery}").text
    assert "[a picture, left out here]" in page
    assert "Content-ID: &lt;picture-1&gt;" in page
    assert len(page) < 20_000
    assert b64encode(photo).decode() in client.get(f"/outbox/{mail.delivery}/html").text
