"""POST /webhooks/sendgrid/events, from the signature to what follows."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select, text
from werkzeug.test import TestResponse

from nurture import runtime
from nurture.app import create_app
from nurture.clock import SystemClock
from nurture.domain.delivery import Accepted, DeliveryKind, State
from nurture.ids import new_id
from nurture.mailers.base import Mail
from nurture.runtime import Runtime
from nurture.settings import SettingRefused
from nurture.store.core.schema import provider_events
from tests.conftest import settings_for
from tests.people import a_subscriber, rows, run_tick
from tests.scripted import Answering
from tests.servers.sendgrid_events import Entry, Signer, body, entry

URL = "/webhooks/sendgrid/events"


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
def rt(database_url: str, tmp_path: Path, signer: Signer) -> Iterator[Runtime]:
    built = runtime.build(settings_for(tmp_path, database_url, sendgrid_webhook_key=signer.public))
    yield built
    built.close()


@pytest.fixture
def client(rt: Runtime) -> FlaskClient:
    return create_app(rt).test_client()


def send(client: FlaskClient, signer: Signer, raw: bytes, stamp: float | None = None) -> TestResponse:
    headers = signer.headers(raw, str(int(time.time() if stamp is None else stamp)))
    return client.post(URL, data=raw, headers=headers, content_type="application/json")


def stored(rt: Runtime) -> int:
    with rt.database.read() as db:
        return db.execute(select(func.count()).select_from(provider_events)).scalar_one()


def report(event: str, mail: Mail, **given: Any) -> Entry:
    return entry(event, nurture_delivery_id=mail.delivery, nurture_request_id=mail.request, **given)


def a_sent_mail(rt: Runtime) -> tuple[Mail, list[object]]:
    reader = a_subscriber(rt)
    rt.mailer = mailer = Answering(lambda _: Accepted("m"))
    run_tick(rt)
    return next(mail for mail in mailer.given if mail.kind is DeliveryKind.LETTER and mail.to == reader.email), [reader]


def test_a_signed_report_settles_its_delivery(rt: Runtime, client: FlaskClient, signer: Signer) -> None:
    mail, _ = a_sent_mail(rt)
    answer = send(client, signer, body([report("delivered", mail)]))
    assert (answer.status_code, answer.data) == (204, b"")
    assert [row[1] for row in rows(rt) if row[2] == "welcome"] == [State.DELIVERED]


def test_a_forged_or_edited_bundle_is_403_and_writes_nothing(rt: Runtime, client: FlaskClient, signer: Signer) -> None:
    mail, _ = a_sent_mail(rt)
    raw = body([report("spamreport", mail)])
    headers = signer.headers(raw, str(int(time.time())))
    answers = [
        client.post(URL, data=raw, content_type="application/json"),
        client.post(URL, data=raw, headers=Signer().headers(raw, str(int(time.time())))),
        client.post(URL, data=raw.replace(b"spamreport", b"spamreporT"), headers=headers),
        client.post(URL, data=raw + b" ", headers=headers),
        send(client, signer, raw, stamp=time.time() - 27 * 3600),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert stored(rt) == 0
    assert [row[1] for row in rows(rt) if row[2] == "welcome"] == [State.ACCEPTED]


def test_a_late_repeat_of_yesterdays_bundle_is_taken(rt: Runtime, client: FlaskClient, signer: Signer) -> None:
    mail, _ = a_sent_mail(rt)
    assert send(client, signer, body([report("delivered", mail)]), stamp=time.time() - 25.9 * 3600).status_code == 204


@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_are_turned_away_before_anything_is_read(
    rt: Runtime, client: FlaskClient, signer: Signer, chunked: bool
) -> None:
    raw = b"[" + b" " * 10_000_000 + b"]"
    headers = signer.headers(raw, str(int(time.time())))
    if chunked:
        from io import BytesIO

        answer = client.post(URL, input_stream=BytesIO(raw), headers=headers, environ_overrides={"wsgi.input_terminated": True})
    else:
        answer = client.post(URL, data=raw, headers=headers)
    assert answer.status_code == 413


def test_five_thousand_at_once_are_stored_once_each(rt: Runtime, client: FlaskClient, signer: Signer) -> None:
    mail, _ = a_sent_mail(rt)
    entries = [report("open", mail, timestamp=1_700_000_000 + n) for n in range(4_990)]
    entries += [entry("delivered", nurture_delivery_id=new_id()) for _ in range(10)]
    assert send(client, signer, body(entries)).status_code == 204
    assert send(client, signer, body(entries[::-1])).status_code == 204
    assert stored(rt) == 5_000


@pytest.mark.parametrize("raw", [b"{}", b"[", b"", b"null"])
def test_what_is_signed_but_no_array_is_400(rt: Runtime, client: FlaskClient, signer: Signer, raw: bytes) -> None:
    assert send(client, signer, raw).status_code == 400


def test_entries_of_wrong_types_do_not_spoil_the_others(rt: Runtime, client: FlaskClient, signer: Signer) -> None:
    mail, _ = a_sent_mail(rt)
    odd: list[Any] = [1, None, [], {}, {"event": 1}, {"event": "open", "timestamp": "x"}, {"event": "open", "timestamp": True}]
    raw = json.dumps([*odd, report("delivered", mail)]).encode()
    assert send(client, signer, raw).status_code == 204
    assert stored(rt) == 1


def test_without_a_key_the_endpoint_says_so(tmp_path: Path, signer: Signer) -> None:
    bare = runtime.build(settings_for(tmp_path), migrate=True)
    answer = send(create_app(bare).test_client(), signer, body([]))
    assert answer.status_code == 503
    assert b"NURTURE_SENDGRID_WEBHOOK_KEY" in answer.data
    bare.close()


def test_a_database_that_fails_is_503_so_that_sendgrid_tries_again(rt: Runtime, client: FlaskClient, signer: Signer) -> None:
    with rt.database.begin() as db:
        db.execute(text("ALTER TABLE provider_events RENAME TO events_gone"))
    try:
        assert send(client, signer, body([entry("delivered", nurture_delivery_id=new_id())])).status_code in (500, 503)
    finally:
        with rt.database.begin() as db:
            db.execute(text("ALTER TABLE events_gone RENAME TO provider_events"))


def test_a_key_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingRefused, match="NURTURE_SENDGRID_WEBHOOK_KEY"):
        runtime.build(settings_for(tmp_path, sendgrid_webhook_key="SG.wrong"), migrate=True)


def test_no_address_reaches_a_log_line(
    rt: Runtime, client: FlaskClient, signer: Signer, capsys: pytest.CaptureFixture[str]
) -> None:
    from nurture import log

    log.configure()
    assert isinstance(rt.clock, SystemClock)
    entries = [
        entry("bounce", type="bounce", email="robin.secret@example.org", reason="550 robin.secret@example.org"),
        entry("dropped", reason="robin.secret@example.org"),
    ]
    send(client, signer, body(entries))
    send(client, Signer(), body(entries))
    said = capsys.readouterr().err
    assert "events_received" in said
    assert "events_refused" in said
    assert "robin.secret" not in said
