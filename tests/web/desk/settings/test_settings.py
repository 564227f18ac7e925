"""Settings at the desk: forms that say what is wrong and lose nothing, for owners; what is dangerous asks again."""

import re
from html import unescape
from io import BytesIO

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from nurture import runtime
from nurture.domain.user import Role
from nurture.ids import UserId, new_id
from nurture.runtime import Runtime
from nurture.services.settings import consent_texts, desk_settings
from nurture.settings import on_page
from tests.clocks import ManualClock
from tests.desk import enter, post
from tests.letters.test_practice import png
from tests.people import run_tick
from tests.pictures import photograph
from tests.servers.smtp import SmtpServer
from tests.services.settings.test_desk_settings import SENDER

SETTINGS = "/desk/settings"
WHO = dict.fromkeys(on_page("practice"), "") | {
    "practice_name": "Dana Oak",
    "practice_credential": "LCSW",
    "practice_state": "Oregon",
}


@pytest.fixture
def desk(client: FlaskClient, rt: Runtime) -> FlaskClient:
    enter(client, rt)
    return client


def said(client: FlaskClient, path: str) -> str:
    return unescape(client.get(path).text)


@pytest.mark.parametrize("path", ["", "practice", "sender", "look", "hours", "consent", "mail"])
def test_settings_are_for_owners_and_everybody_of_the_desk_sees_how_they_are(
    client: FlaskClient, rt: Runtime, path: str
) -> None:
    assert client.get(f"{SETTINGS}/{path}").status_code == 401
    enter(client, rt, Role.EDITOR)
    assert client.get(f"{SETTINGS}/{path}").status_code == (200 if not path else 403)
    if path:
        assert post(client, f"{SETTINGS}/{path}").status_code == 403


@pytest.mark.parametrize("path", ["practice", "sender", "look", "hours", "consent", "mail", "mail/test-email"])
def test_a_form_from_elsewhere_changes_nothing(desk: FlaskClient, path: str) -> None:
    assert desk.post(f"{SETTINGS}/{path}", data=WHO).status_code == 403


def test_the_practice_is_saved_and_shown(desk: FlaskClient, rt: Runtime) -> None:
    assert post(desk, f"{SETTINGS}/practice", **WHO).location == f"{SETTINGS}/practice?said=saved"
    assert "Saved. The next letters say it." in said(desk, f"{SETTINGS}/practice?said=saved")
    assert rt.practice.facts["credential"] == "LCSW"
    assert "Dana Oak, LCSW, Oregon" in said(desk, f"{SETTINGS}/")


def test_what_is_wrong_is_said_beside_its_field_and_what_was_typed_stays(desk: FlaskClient, rt: Runtime) -> None:
    answer = post(desk, f"{SETTINGS}/practice", **WHO | {"practice_name": "", "practice_fee": "a <b>fair</b> fee"})
    assert answer.status_code == 422
    page = answer.text
    assert "readers must know who writes" in page
    assert 'aria-invalid="true"' in page
    assert "a &lt;b&gt;fair&lt;/b&gt; fee" in page
    assert rt.practice.facts["credential"] == ""


def test_the_sender_is_saved(desk: FlaskClient, rt: Runtime) -> None:
    answer = post(desk, f"{SETTINGS}/sender", **SENDER, plain_from_name="Letters", reply_to="")
    assert answer.status_code == 303
    assert (rt.sender.email, rt.sender.name) == ("dana@oak.example", "Dana")
    assert "Dana · dana@oak.example" in said(desk, f"{SETTINGS}/")


def with_logo(client: FlaskClient, content: bytes, color: str = "#2d5a87") -> TestResponse:
    answer = post(client, f"{SETTINGS}/look", color=color, logo=(BytesIO(content), "IMG_0001.jpg"), act="try")
    answer.request.environ["wsgi.input"].close()  # a large form lies in a file of the client's
    return answer


def test_color_and_logo_are_saved_and_the_letter_shows_them(desk: FlaskClient, rt: Runtime) -> None:
    assert with_logo(desk, png(200, 48), "#2D5A87").status_code == 303
    assert rt.settings.color == "#2d5a87"
    page = said(desk, f"{SETTINGS}/look")
    assert "data:image/png;base64," in page
    found = re.search(r'<iframe[^>]* src="([^"]+)"', page)
    assert found
    assert "#2d5a87" in desk.get(found[1]).text
    assert post(desk, f"{SETTINGS}/look", color="#2d5a87", act="remove").status_code == 303
    assert rt.practice.logo is None
    assert with_logo(desk, photograph()).status_code == 303
    assert rt.practice.logo is not None
    answer = with_logo(desk, b"\xff\xd8\xff" + bytes(16_000_000))
    assert answer.status_code == 413
    assert "larger than 15 MB" in answer.text


def test_a_color_nobody_could_read_is_refused_and_shown_again(desk: FlaskClient) -> None:
    answer = post(desk, f"{SETTINGS}/look", color="#ffeeaa", act="try")
    assert answer.status_code == 422
    assert "too light to be read" in answer.text
    assert 'value="#ffeeaa"' in answer.text


def test_the_clock_of_the_desk_is_saved(desk: FlaskClient, rt: Runtime) -> None:
    assert post(desk, f"{SETTINGS}/hours", time_zone="America/Los_Angeles").status_code == 303
    assert rt.settings.time_zone == "America/Los_Angeles"
    assert '<option value="America/Los_Angeles" selected>' in said(desk, f"{SETTINGS}/hours")
    assert post(desk, f"{SETTINGS}/hours", time_zone="Oregon").status_code == 422


def test_the_form_shows_the_new_wording_and_sends_its_version(desk: FlaskClient, rt: Runtime) -> None:
    other = "I ask Dana to send me six letters by e-mail. I can stop them at any time by the link in each of them."
    assert post(desk, f"{SETTINGS}/consent", wording=other).status_code == 303
    page = said(desk, "/")
    assert other in page
    assert f'name="wording" value="{consent_texts.history(rt)[0].version}"' in page
    past = said(desk, f"{SETTINGS}/consent")
    assert "Shown before · version 2026-11 · came with the service" in past
    assert post(desk, f"{SETTINGS}/consent", wording="Yes!").status_code == 422


def test_how_mail_leaves_asks_again_who_one_is(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    assert desk.get(f"{SETTINGS}/mail").status_code == 200
    clock.advance(minutes=11)
    assert desk.get(f"{SETTINGS}/mail").status_code == 303
    assert post(desk, f"{SETTINGS}/mail", mailer="outbox").status_code == 303


def by_smtp(port: int, password: str) -> dict[str, str]:
    return {"mailer": "smtp", "smtp_host": "127.0.0.1", "smtp_port": str(port), "smtp_user": "dana", "smtp_password": password}


def test_a_mail_server_is_tried_before_it_is_kept_and_its_password_is_never_shown(desk: FlaskClient, rt: Runtime) -> None:
    with SmtpServer("plain", auth=("dana", "hush now")) as server:
        refused = post(desk, f"{SETTINGS}/mail", **by_smtp(server.port, "hush now"))
        assert "Fill in the page “Sender” first" in unescape(refused.text)
        post(desk, f"{SETTINGS}/sender", **SENDER, plain_from_name="Letters", reply_to="")
        wrong = post(desk, f"{SETTINGS}/mail", **by_smtp(server.port, "wrong"))
        assert wrong.status_code == 422
        assert "does not accept this user name and password" in wrong.text
        assert "Keep it all the same" in wrong.text
        assert 'value="127.0.0.1"' in wrong.text
        assert rt.mailer.name == "outbox"
        assert post(desk, f"{SETTINGS}/mail", **by_smtp(server.port, "hush now")).status_code == 303
        assert rt.mailer.name == "smtp"
        assert "hush now" not in said(desk, f"{SETTINGS}/mail")
        assert post(desk, f"{SETTINGS}/mail", **by_smtp(server.port, "")).status_code == 303, "the password is kept"
        trial = post(desk, f"{SETTINGS}/mail/test-email").location
        assert "On its way to" in said(desk, trial)
        run_tick(rt)
        part = desk.get(trial, headers={"HX-Request": "true"}).text
        assert "Your mail service took it" in part
        assert "<html" not in part
        assert len(server.mails) == 1
    assert desk.get(f"{SETTINGS}/mail/test-email/{'0' * 32}").status_code == 404
    assert desk.get(f"{SETTINGS}/mail/test-email/x").status_code == 404


def test_it_may_be_kept_although_the_door_does_not_open(desk: FlaskClient, rt: Runtime) -> None:
    post(desk, f"{SETTINGS}/sender", **SENDER, plain_from_name="Letters", reply_to="")
    assert post(desk, f"{SETTINGS}/mail", **by_smtp(1, "x"), act="anyway").status_code == 303
    assert rt.settings.mailer == "smtp"


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ({"mailer": "sendgrid"}, "paste the key"),
        ({"mailer": "smtp", "smtp_port": "587"}, "name of the mail server"),
        ({"mailer": "pigeon"}, "choose what carries"),
        ({}, "choose what carries"),
    ],
)
def test_half_a_mail_service_is_refused(desk: FlaskClient, form: dict[str, str], wanted: str) -> None:
    answer = post(desk, f"{SETTINGS}/mail", **form)
    assert answer.status_code == 422
    assert wanted in answer.text


def test_a_page_of_settings_can_be_a_step_and_leads_on(desk: FlaskClient) -> None:
    page = said(desk, f"{SETTINGS}/practice?step=who")
    assert "step 1 of 7" in page
    assert post(desk, f"{SETTINGS}/practice", **WHO, step="who").location == f"{SETTINGS}/sender?step=sender"
    assert post(desk, f"{SETTINGS}/practice", **WHO, step="nonsense").location == f"{SETTINGS}/practice?said=saved"


def test_what_another_process_has_saved_is_shown_at_once(desk: FlaskClient, rt: Runtime) -> None:
    other = runtime.build(rt.env_settings)
    desk_settings.save(other, {"practice_name": "Dana Elm"}, UserId(new_id()))
    other.close()
    assert "Dana Elm" in said(desk, f"{SETTINGS}/practice")
