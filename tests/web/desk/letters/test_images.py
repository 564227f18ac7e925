"""Pictures at the desk without a script, and as anybody's browser gets them."""

from io import BytesIO

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from nurture.domain.user import Role
from nurture.ids import StepKey
from nurture.letters.image_processing import MOST_READ
from nurture.runtime import Runtime
from nurture.services.accounts import accounts
from nurture.services.letters import drafts, images, publishing
from tests.clocks import ManualClock
from tests.desk import a_colleague, csrf, enter, log_in, log_in_as, post
from tests.pictures import ALT, a_picture, drawing, photograph

KEY, STEP = "ketamine-and-talk-therapy", StepKey("history")
LETTER = f"/desk/letters/{KEY}/{STEP}"
ASK = f"{LETTER}/picture"


def upload(client: FlaskClient, content: bytes | None, alt: str = ALT, *, live: bool = False, **more: str) -> TestResponse:
    form: dict[str, object] = {"csrf": csrf(client, "/desk/account/"), "alt": alt, **more}
    if content is not None:
        form["file"] = (BytesIO(content), "IMG_2041.jpeg")
    answer = client.post(ASK, data=form, content_type="multipart/form-data", headers={"HX-Request": "true"} if live else {})
    answer.request.environ["wsgi.input"].close()  # a large form lies in a file of the client's
    return answer


def body(rt: Runtime) -> str:
    return drafts.open_letter(rt, KEY, STEP).letter.body


def test_a_form_puts_a_picture_at_the_end_of_the_draft(client: FlaskClient, rt: Runtime) -> None:
    log_in(client, rt)
    asked = client.get(ASK)
    assert asked.status_code == 200
    assert 'enctype="multipart/form-data"' in asked.text
    answer = upload(client, photograph(1600, 1200))
    assert answer.status_code == 303, answer.text
    assert answer.headers["Location"] == LETTER
    assert body(rt).endswith(f"\n\n![{ALT}](picture:two-nerve-cells-and-the-narrow-gap.jpg)\n")
    shown = client.get(f"{LETTER}/preview").text
    assert 'src="/pictures/' in shown
    bare = client.get(f"{LETTER}/preview?view=bare").text
    assert "cid:" not in bare
    assert "/pictures/" not in bare
    assert f'alt="{ALT}"' in bare
    assert f"[Picture: {ALT}]" in client.get(f"{LETTER}/preview?view=plain").text


def test_a_script_gets_the_line_and_the_draft_stays_as_it_is(client: FlaskClient, rt: Runtime) -> None:
    log_in(client, rt)
    before = body(rt)
    answer = upload(client, drawing(), 'A "cell" & its <gap>', live=True)
    assert answer.status_code == 200
    assert 'data-line="![A &#34;cell&#34; \\&amp; its \\&lt;gap\\&gt;](picture:a-cell-its-gap.png)"' in answer.text
    assert body(rt) == before
    assert 'data-line="![decorative](picture:' in upload(client, drawing(), "", live=True, decorative="yes").text


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("content", "alt", "said"),
    [
        (None, ALT, "Please choose a picture first."),
        (b"<svg/>", ALT, "This file is no PNG or JPEG picture."),
        (drawing()[:300], ALT, "This file is broken"),
        (drawing(), "", "Please say what it shows"),
        (drawing(), "photo", "does not say what it shows"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where_it_is_and_what_was_typed_stays(
    client: FlaskClient, rt: Runtime, content: bytes | None, alt: str, said: str, live: bool
) -> None:
    log_in(client, rt)
    before = body(rt)
    answer = upload(client, content, alt, live=live)
    assert answer.status_code == 422
    assert said in answer.text
    assert live or f">{alt}</textarea>" in answer.text
    assert body(rt) == before


@pytest.mark.parametrize("live", [False, True])
def test_a_file_beyond_the_limit_is_not_read_and_other_forms_stay_small(client: FlaskClient, rt: Runtime, live: bool) -> None:
    log_in(client, rt)
    answer = upload(client, bytes(MOST_READ + 100_000), live=live)
    assert answer.status_code == 413
    assert "It is larger than 15 MB." in answer.text
    assert post(client, LETTER, body="x" * 100_000, version="0").status_code == 413


def test_a_viewer_and_a_stranger_put_in_nothing(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    assert client.post(ASK, data={"file": (BytesIO(drawing()), "x.png"), "alt": ALT}).status_code == 401
    a_colleague(rt)
    viewer = a_colleague(rt, "vic@example.org", Role.VIEWER)
    clock.advance(seconds=61)
    log_in_as(client, rt, viewer)
    assert client.get(ASK).status_code == 403
    assert upload(client, drawing()).status_code == 403
    enter(client, rt, Role.EDITOR)
    assert client.get(ASK).status_code == 200
    form = {"csrf": "forged", "alt": ALT, "file": (BytesIO(drawing()), "x.png")}
    assert client.post(ASK, data=form, content_type="multipart/form-data").status_code == 403
    assert images.known(rt, "picture:two-nerve-cells-and-the-narrow-gap.png") == {}
    assert upload(client, drawing()).status_code == 303


def test_a_letter_that_is_not_there_takes_no_picture(client: FlaskClient, rt: Runtime) -> None:
    log_in(client, rt)
    for path in (f"/desk/letters/{KEY}/none/picture", "/desk/letters/none/history/picture"):
        assert client.get(path).status_code == 404
        assert post(client, path, alt=ALT).status_code == 404


def test_anybody_gets_a_picture_by_its_id_and_nothing_in_it_can_run(client: FlaskClient, rt: Runtime) -> None:
    made = a_picture(rt)
    answer = client.get(f"/pictures/{made.id}")
    assert (answer.status_code, answer.data) == (200, drawing())
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("name", ["0" * 32, "x", "A" * 32, "0" * 33, "synapse.png", "%2e%2e"])
def test_any_other_address_is_no_picture(client: FlaskClient, rt: Runtime, name: str) -> None:
    a_picture(rt)
    assert client.get(f"/pictures/{name}").status_code == 404


def test_a_letter_s_page_shows_its_picture_from_this_site(client: FlaskClient, rt: Runtime) -> None:
    log_in(client, rt)
    upload(client, drawing())
    made = a_picture(rt)
    assert f"/pictures/{made.id}" not in client.get(f"/read/{KEY}/{STEP}").text, "not before it is published"
    now = drafts.open_letter(rt, KEY, STEP)
    drafts.publish(rt, KEY, STEP, now.version, accounts.everyone(rt)[0])
    assert publishing.work(rt)
    page = client.get(f"/read/{KEY}/{STEP}")
    assert f'<img src="/pictures/{made.id}" width="494"' in page.text
    assert "img-src 'self' data:" in page.headers["Content-Security-Policy"]
