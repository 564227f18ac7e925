"""What people agree to: versions, and records that say what was really shown."""

import pytest
from sqlalchemy import select

from nurture.ids import UserId, new_id
from nurture.letters.pack_texts import pack_texts
from nurture.runtime import Runtime
from nurture.services.addresses import parse_address
from nurture.services.settings import consent_texts
from nurture.services.settings.consent_texts import ConsentTextRefused
from nurture.services.subscribers import sign_up_queue, signup, unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import consents
from tests.clocks import ManualClock
from tests.people import confirm, sign_up, undo_unsubscribe

SHIPPED_VERSION = pack_texts().consent.version
ME = UserId(new_id())
OTHER = "I ask Dana to send me six letters by e-mail. I can stop them at any time by the link in each of them."


def acts(rt: Runtime) -> list[tuple[str, str]]:
    with rt.database.read() as db:
        found = select(consents.c.act, consents.c.wording_version).order_by(consents.c.at, consents.c.id)
        return [(row[0], row[1]) for row in db.execute(found)]


def test_a_record_keeps_the_words_that_were_shown_whatever_is_shown_later(rt: Runtime, clock: ManualClock) -> None:
    reader = sign_up(rt)
    clock.advance(hours=1)
    fresh = consent_texts.change(rt, OTHER, ME)
    assert fresh.version == "2026-03-02"
    confirm(rt, reader)
    clock.advance(hours=1)
    unsubscribe.unsubscribe(rt, reader.id, Exit.PAGE)
    clock.advance(hours=1)
    undo_unsubscribe(rt, reader.id)
    assert acts(rt) == [(act, SHIPPED_VERSION) for act in ("given", "confirmed", "withdrawn", "restored")]


def test_whoever_had_the_form_open_agreed_to_what_they_saw(rt: Runtime) -> None:
    consent_texts.change(rt, OTHER, ME)
    slow = signup.SignUp(parse_address("slow@example.org"), "", "UTC", "/", wording=SHIPPED_VERSION)
    signup.subscribe(rt, slow)
    sign_up_queue.decide_on_sign_ups(rt)
    assert acts(rt) == [("given", SHIPPED_VERSION)]


@pytest.mark.parametrize("forged", ["", "2020-01", "x" * 500])
def test_a_version_that_never_was_counts_as_the_current_one(rt: Runtime, forged: str) -> None:
    consent_texts.change(rt, OTHER, ME)
    signup.subscribe(rt, signup.SignUp(parse_address("robin@example.org"), "", "UTC", "/", wording=forged))
    sign_up_queue.decide_on_sign_ups(rt)
    assert acts(rt) == [("given", "2026-03-02")]


def test_two_changes_on_a_day_have_names_of_their_own_and_the_same_again_has_none(rt: Runtime, clock: ManualClock) -> None:
    first = consent_texts.change(rt, OTHER, ME)
    assert consent_texts.change(rt, f"  {OTHER}\n", ME) == first
    clock.advance(minutes=1)
    consent_texts.change(rt, OTHER.replace("six", "five"), ME)
    assert [each.version for each in consent_texts.history(rt)] == ["2026-03-02.2", "2026-03-02", SHIPPED_VERSION]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Yes.", "60 to 900 characters"),
        (OTHER + " And more." * 100, "60 to 900 characters"),
        (OTHER.replace("e-mail", "post"), "come by e-mail"),
        ("I ask Dana to send me six letters by e-mail, for ever and ever and ever, whatever may come.", "stop at any time"),
    ],
)
def test_words_that_nobody_could_agree_to_are_refused(rt: Runtime, text: str, said: str) -> None:
    with pytest.raises(ConsentTextRefused, match=said):
        consent_texts.change(rt, text, ME)
    assert len(consent_texts.history(rt)) == 1
