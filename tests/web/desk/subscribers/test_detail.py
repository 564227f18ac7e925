"""One person's page: consent, what they read, notes, tags, their data, erasure."""

import json
import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text, update

from nurture.domain.delivery import State
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.domain.user import Role
from nurture.ids import UserId
from nurture.runtime import Runtime
from nurture.services.accounts import accounts
from nurture.services.addresses import parse_address
from nurture.services.subscribers import consultations as goals
from nurture.services.subscribers import detail
from nurture.store.core.schema import deliveries, editions, metadata, subscribers
from nurture.store.subscribers import subscribers as stored
from tests.clocks import ManualClock
from tests.desk import enter, post
from tests.people import Reader, a_subscriber, confirm, due, inbox, rows, run_tick, sign_up, subjects


@pytest.fixture
def desk(client: FlaskClient, rt: Runtime) -> FlaskClient:
    enter(client, rt)
    return client


def page(desk: FlaskClient, reader: Reader) -> str:
    return desk.get(f"/desk/people/{reader.id}/").text


def test_consent_is_shown_as_it_was_given(desk: FlaskClient, rt: Runtime) -> None:
    shown = page(desk, a_subscriber(rt))
    assert re.search(r"Asked for the letters</strong> <span[^>]*>Monday 2 March, 10:00<", shown)
    assert "Ticked the box beside these words" in shown
    assert "<dt>Words shown</dt>" in shown
    assert "I am 18 or over. I ask Dana from Oak Street to e-mail me" in shown
    assert "version 2026-11" in shown
    assert "Pressed the button in the mail that asked to confirm" in shown


def test_every_mail_is_there_and_opens_in_the_edition_that_went_out(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt, first_name="Ada")
    run_tick(rt)
    with rt.database.begin() as db:  # somebody publishes other words afterwards
        old = db.scalar(select(deliveries.c.edition_id).where(deliveries.c.step_key == "welcome"))
        assert old
        db.execute(
            update(editions).where(editions.c.id == old).values(html=editions.c.html.concat("<p>THE WORDS OF THAT DAY</p>"))
        )
    shown = page(desk, reader)
    assert "The welcome</strong>: Thanks for signing up" in shown
    assert "Letter 1: where it came from" in shown
    link = re.search(rf"/desk/people/{reader.id}/mails/([0-9a-f]{{32}})", shown)
    assert link
    framed = desk.get(link[0])
    assert f'src="{link[0]}/html"' in framed.text
    assert "frame-src 'self'" in framed.headers["Content-Security-Policy"]
    mail = desk.get(f"{link[0]}/html")
    assert "THE WORDS OF THAT DAY" in mail.text
    assert "Ada" in mail.text
    assert "sandbox" in mail.headers["Content-Security-Policy"]
    assert "/unsubscribe/" not in mail.text  # the therapist must not be able to press it
    assert "?t=" not in mail.text


def test_a_mail_opens_only_on_its_reader_s_page_and_only_when_it_left(desk: FlaskClient, rt: Runtime) -> None:
    reader, other = a_subscriber(rt), a_subscriber(rt)
    with rt.database.read() as db:
        waiting = db.scalar(
            select(deliveries.c.id).where(deliveries.c.subscriber_id == reader.id, deliveries.c.kind == "letter")
        )
    assert desk.get(f"/desk/people/{reader.id}/mails/{waiting}").status_code == 404
    run_tick(rt)
    assert desk.get(f"/desk/people/{reader.id}/mails/{waiting}").status_code == 200
    assert desk.get(f"/desk/people/{other.id}/mails/{waiting}").status_code == 404
    for path in ("x", "0" * 32, f"{reader.id}/mails/x"):
        assert desk.get(f"/desk/people/{path}").status_code in (404, 308)
    assert desk.get(f"/desk/people/{'0' * 32}/").status_code == 404


def test_a_note_is_sealed_shown_and_deleted(desk: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    said = "Prefers calls after five.\nKnows <b>Kim</b>."
    assert post(desk, f"/desk/people/{reader.id}/notes", text=said).status_code == 303
    shown = page(desk, reader)
    assert "Prefers calls after five.\nKnows &lt;b&gt;Kim&lt;/b&gt;." in shown
    with rt.database.read() as db:
        (sealed,) = db.execute(text("SELECT text_encrypted FROM notes")).one()
    assert b"after five" not in bytes(sealed)
    assert "Monday 2 March, 15:00, by the first owner" in shown
    note = re.search(rf"/desk/people/{reader.id}/notes/([0-9a-f]{{32}})", shown)
    assert note
    other = a_subscriber(rt)
    assert post(desk, f"/desk/people/{other.id}/notes/{note[1]}").status_code == 404
    assert post(desk, note[0]).status_code == 303
    assert "after five" not in page(desk, reader)


def test_a_note_says_who_wrote_it_also_when_they_have_no_access_any_more(desk: FlaskClient, rt: Runtime) -> None:
    reader, vera = a_subscriber(rt), accounts.add(rt, parse_address("vera@example.org"), "Vera", Role.EDITOR)
    detail.add_note(rt, reader.id, "Called back.", vera)
    assert "15:00, by Vera" in page(desk, reader)
    accounts.remove(rt, vera)
    assert "15:00, by somebody who has no access any more" in page(desk, reader)


def test_a_note_that_cannot_be_kept_is_not_lost(desk: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    long = "x" * (detail.MOST_NOTE + 1)
    refused = post(desk, f"/desk/people/{reader.id}/notes", text=long)
    assert refused.status_code == 422
    assert "at most 4,000 characters" in refused.text
    assert long in refused.text
    assert post(desk, f"/desk/people/{reader.id}/notes", text="  ").status_code == 422


def test_tags_are_given_and_taken_off(desk: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    post(desk, f"/desk/people/{reader.id}/tags", tag="  Workshop   in Spring ")
    assert 'value="workshop in spring"' in page(desk, reader)
    post(desk, f"/desk/people/{reader.id}/tags", tag="", remove="workshop in spring")
    assert "workshop in spring" not in page(desk, reader).replace("“workshop in spring”", "")
    for wrong in ("", "kim@example.org", "x" * 41):
        refused = post(desk, f"/desk/people/{reader.id}/tags", tag=wrong)
        assert refused.status_code == 422
        assert f'value="{wrong}"' in refused.text


def test_everything_stored_about_somebody_comes_as_one_file(desk: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt, first_name="Ada")
    run_tick(rt)
    detail.add_note(rt, reader.id, "Likes tea.", UserId("0" * 32))
    detail.add_tag(rt, reader.id, "spring")
    asked = goals.ConsultationRequest("Ada Quill", reader.email, "Oregon", "email", "", False, "Tuesdays")
    goals.request_consultation(rt, asked, parse_address(reader.email), reader.id)
    response = desk.get(f"/desk/people/{reader.id}/export.json")
    assert response.headers["Content-Disposition"].startswith("attachment")
    found = json.loads(response.text)
    assert found["person"]["address"] == reader.email
    assert found["person"]["first_name"] == "Ada"
    assert [each["act"] for each in found["consents"]] == ["given", "confirmed"]
    assert found["notes"][0]["text"] == "Likes tea."
    assert found["tags"] == ["spring"]
    assert found["requests_for_a_call"][0]["details"]["times"] == "Tuesdays"
    assert found["sequences"][0]["reason"] == "consultation"
    assert {each["letter"] for each in found["mails"]} == {None, "welcome", "history"}


def test_erasing_asks_for_the_word(desk: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    refused = post(desk, f"/desk/people/{reader.id}/erase", word="erase")
    assert refused.status_code == 422
    assert "Nothing was erased." in refused.text
    assert reader.email in page(desk, reader)


def everything_stored(rt: Runtime) -> bytes:
    """Every value of every row, and every file beside the database."""
    found = b""
    with rt.database.read() as db:
        for table in metadata.sorted_tables:
            found += repr(
                [[bytes(v) if isinstance(v, bytes) else v for v in row] for row in db.execute(select(table))]
            ).encode()
    return found + b"".join(path.read_bytes() for path in (rt.settings.instance_dir / "outbox").glob("*"))


def test_after_erasing_nothing_leads_to_them_and_nothing_is_sent(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt, "Ada.Quill@example.org", first_name="Adaline")
    run_tick(rt)
    detail.add_note(rt, reader.id, "Likes tea.", UserId("0" * 32))
    detail.add_tag(rt, reader.id, "springtime")
    alone = goals.ConsultationRequest("Adaline Quill", "ada.quill@example.org", "Oregon", "email", "", False, "Tuesdays")
    with rt.database.begin() as db:
        from nurture.ids import ConsultationId, new_id
        from nurture.store.subscribers import consultations

        key = ConsultationId(new_id())
        details = rt.cipher.encrypt(json.dumps(alone.__dict__), goals.details_field(key))
        consultations.add(db, key, None, details, rt.clock.now())
    email_index = rt.cipher.blind_index("ada.quill@example.org")
    assert post(desk, f"/desk/people/{reader.id}/erase", word="ERASE").status_code == 200
    kept = everything_stored(rt)
    for trace in (b"Ada.Quill", b"ada.quill", b"Adaline", b"springtime"):
        assert trace not in kept, trace
    with rt.database.read() as db:
        assert stored.suppression(db, email_index) is Suppression.ERASED
        row = db.execute(select(subscribers)).one()
        assert row.state is SubscriberState.ERASED
        assert row.email_index != email_index
        assert row.first_name_encrypted is None
        assert rt.cipher.decrypt(row.email_encrypted, stored.email_field(reader.id)) == ""
        for table in ("notes", "tags", "consultations"):
            assert db.scalar(text(f"SELECT count(*) FROM {table}")) == 0
        assert all(row == (None, None) for row in db.execute(select(deliveries.c.email_index, deliveries.c.provider_message)))
    states = [state for _, state, _, _ in rows(rt, reader)]
    assert State.SCHEDULED not in states
    assert State.ACCEPTED in states  # the ledger's rows stay
    clock.advance(days=60)
    run_tick(rt)
    assert [state for _, state, _, _ in rows(rt, reader)] == states
    assert inbox(rt) == []
    enter(desk, rt)
    assert "This person was erased" in page(desk, reader)
    assert desk.get(f"/desk/people/{reader.id}/export.json").status_code == 404
    assert "Nobody has signed up yet" in desk.get("/desk/people/").text


def test_a_letter_that_was_claimed_when_they_were_erased_does_not_go_out(rt: Runtime, clock: ManualClock) -> None:
    from nurture.ids import BatchId, new_id
    from nurture.services.subscribers import personal_data
    from nurture.store.deliveries import ledger

    reader = a_subscriber(rt)
    now = rt.clock.now()
    with rt.database.begin() as db:
        claimed = ledger.claim(db, BatchId(new_id()), "somebody", now, now, now + timedelta(minutes=2), 10)
    assert claimed
    personal_data.erase(rt, reader.id)
    clock.advance(minutes=10)
    run_tick(rt)
    assert inbox(rt) == []


def test_a_mail_in_doubt_is_not_sent_again_after_erasing(rt: Runtime, clock: ManualClock) -> None:
    from nurture.services.operations import deliveries as settling
    from nurture.services.subscribers import personal_data

    reader = a_subscriber(rt)
    with rt.database.begin() as db:
        held = deliveries.c.subscriber_id == reader.id
        db.execute(update(deliveries).where(held).values(state=State.HELD, unknown_since=rt.clock.real_now()))
        (delivery, *_) = db.scalars(select(deliveries.c.id).where(held, deliveries.c.kind == "letter"))
    assert personal_data.erase(rt, reader.id) is True
    settling.resolve(rt, delivery, sent=False, who="a test")
    run_tick(rt)
    assert inbox(rt) == []


def test_somebody_erased_may_come_back_as_somebody_new(rt: Runtime) -> None:
    from nurture.services.subscribers import personal_data

    reader = a_subscriber(rt, "ada@example.org")
    run_tick(rt)
    personal_data.erase(rt, reader.id)
    again = sign_up(rt, "ada@example.org")
    assert again.id != reader.id
    run_tick(rt)
    confirm(rt, again)
    run_tick(rt)
    assert any("Thanks for signing up" in subject for subject in subjects(rt, again))
    assert due(rt, again)


def test_letters_are_paused_let_go_on_stopped_and_put_back_each_with_its_undo(desk: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    before = due(rt, reader)
    for act, undo, there in (
        ("pause", "resume", "After the welcome."), ("resume", "pause", "waiting for letter 1".capitalize()),
        ("stop", "put-back", "After the welcome: you stopped them."), ("put-back", "stop", "Waiting for letter 1"),
    ):  # fmt: skip
        done = post(desk, f"/desk/people/{reader.id}/letters", act=act)
        assert done.status_code == 303
        shown = desk.get(done.headers["Location"]).text
        assert f'name="act" value="{undo}">Undo' in shown
        assert there in shown
        assert ("Letter 1: where it came from" in shown) == (act != "stop")  # what comes next, paused or not
    assert due(rt, reader) == before


def test_the_next_letter_is_sent_now_or_it_says_why_not(desk: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    early = post(desk, f"/desk/people/{reader.id}/letters", act="send-now")
    assert early.status_code == 409
    assert "A letter went to them less than 20 hours ago" in early.text
    clock.advance(days=1)
    enter(desk, rt)
    before = due(rt, reader)
    done = post(desk, f"/desk/people/{reader.id}/letters", act="send-now")
    shown = desk.get(done.headers["Location"]).text
    assert "The next letter goes out within minutes." in shown
    needs = dict(re.findall(r'name="(before|delivery)" value="([^"]+)"', shown))
    post(desk, f"/desk/people/{reader.id}/letters", act="send-later", **needs)
    assert due(rt, reader) == before
    done = post(desk, f"/desk/people/{reader.id}/letters", act="send-now")
    run_tick(rt)
    assert "Letter 1: where it came from" in subjects(rt, reader)
    following = due(rt, reader)
    late = post(desk, f"/desk/people/{reader.id}/letters", act="send-later", **needs)
    assert late.status_code == 409
    assert "Times are on their own clock (America/New York)" in late.text
    assert "Too late: sent at 10:00 AM. Nothing was changed." in late.text
    assert due(rt, reader) == following
    shown = desk.get(done.headers["Location"]).text
    assert "The letter has left: sent at 10:00 AM." in shown
    assert 'value="send-later"' not in shown
    for wrong in ({"act": "dance"}, {"act": "send-later", "before": "soon"}, {"act": "send-later", "before": "2026-03-03"}):
        assert post(desk, f"/desk/people/{reader.id}/letters", **wrong).status_code == 400


def test_a_viewer_looks_an_editor_changes_and_only_an_owner_exports_and_erases(client: FlaskClient, rt: Runtime) -> None:
    reader = a_subscriber(rt)
    url = f"/desk/people/{reader.id}"
    for role, changes, owns in ((Role.VIEWER, 403, 403), (Role.EDITOR, 303, 403), (Role.OWNER, 303, 200)):
        enter(client, rt, role)
        shown = client.get(f"{url}/").text
        assert reader.email in shown
        assert ("Keep the note" in shown) == (changes == 303)
        assert ("Erase them" in shown) == (owns == 200)
        assert post(client, f"{url}/notes", text="A note.").status_code == changes
        for path in (f"{url}/export.json", f"{url}/erase", "/desk/people/export.csv"):
            assert client.get(path).status_code == owns, (role, path)
        assert client.get("/desk/people/import/").status_code == (403 if changes == 403 else 200)
    enter(client, rt, Role.EDITOR)
    assert post(client, f"{url}/erase", word="ERASE").status_code == 403
    assert reader.email in client.get(f"{url}/").text


def test_who_has_not_lately_shown_who_they_are_is_asked_before_data_leave_or_go(
    desk: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    reader = a_subscriber(rt)
    clock.advance(minutes=11)
    for path in ("export.json", "erase"):
        assert desk.get(f"/desk/people/{reader.id}/{path}").status_code == 303
    assert desk.get("/desk/people/export.csv").status_code == 303
    assert post(desk, f"/desk/people/{reader.id}/erase", word="ERASE").status_code == 303
    assert reader.email in page(desk, reader)
