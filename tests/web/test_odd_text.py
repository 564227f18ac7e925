"""Whatever characters somebody types: they are kept, or refused with a sentence beside what was typed; nothing is lost.

Control characters below U+0020, which no keyboard types, are refused with a page of their own, and change nothing.
"""

import re

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import escape

from nurture.ids import StepKey
from nurture.runtime import Runtime
from nurture.services.letters import drafts
from tests.desk import csrf, enter

KEY, STEP = "ketamine-and-talk-therapy", StepKey("history")
HISTORY = f"/desk/letters/{KEY}/{STEP}"
MARKS = [
    "\x92",
    "\x7f",
    "\ufffe",
    "\uffff",
    "\x85",
    "\u2028",
    "\u202e",
    "\x00",
    "\x1b",
    "\x0b",
    "\ufeff",
    "\U0001fffe",
]
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
ANYTHING = st.text(max_size=60) | st.text(st.sampled_from([*MARKS, "a", " ", "\n", '"', "'", ":", "#", "{", "-"]), max_size=20)


@pytest.fixture
def desk(client: FlaskClient, rt: Runtime) -> FlaskClient:
    enter(client, rt)
    return client


def typed(desk: FlaskClient, rt: Runtime, token: str, live: bool = False, **parts: str) -> int:
    """Save as the page does; what was not kept must still be in the page."""
    now = drafts.open_letter(rt, KEY, STEP)
    form = {"subject": now.letter.subject, "preheader": now.letter.preheader, "body": now.letter.body, **parts}
    headers = {"HX-Request": "true"} if live else {}
    answer = desk.post(HISTORY, data={"csrf": token, "version": str(now.version), **form}, headers=headers)
    kept = drafts.open_letter(rt, KEY, STEP)
    if CONTROL.search("".join(parts.values())):
        assert answer.status_code == 400
        assert kept == now
        return 400
    assert answer.status_code in (200, 303, 422), answer.status_code
    if answer.status_code == 422:
        assert kept.letter.text == now.letter.text
        if not live:
            for text in parts.values():
                assert str(escape(text.replace("\r\n", "\n"))) in answer.text
        return 422
    assert kept.letter.subject == " ".join(form["subject"].split())
    assert kept.letter.preheader == " ".join(form["preheader"].split())
    assert kept.letter.body.replace("\r\n", "\n").rstrip("\n") == form["body"].replace("\r\n", "\n").rstrip("\n")
    for path in ("", "/preview", "/publish", "/editions"):
        assert desk.get(HISTORY + path).status_code == 200
    assert desk.get("/desk/letters/").status_code == 200
    return answer.status_code


@pytest.mark.parametrize("mark", MARKS, ids=ascii)
def test_a_character_nobody_can_see(desk: FlaskClient, rt: Runtime, mark: str) -> None:
    token = csrf(desk, "/desk/account/")
    for live in (False, True):
        for name in ("subject", "preheader"):
            status = typed(desk, rt, token, live, **{name: f"Letter 1: it{mark}s a start"})
            expected = 400 if CONTROL.match(mark) else 422
            assert (status == expected) == (mark not in ("\x85", "\u2028", "\ufeff"))
        typed(desk, rt, token, live, body=f"Hello,\n\nit{mark}s a start.\n")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(subject=ANYTHING, preheader=ANYTHING, body=ANYTHING, live=st.booleans())
def test_any_text_in_any_field_of_a_letter(
    desk: FlaskClient, rt: Runtime, subject: str, preheader: str, body: str, live: bool
) -> None:
    typed(desk, rt, csrf(desk, "/desk/account/"), live, subject=subject, preheader=preheader, body=body)
