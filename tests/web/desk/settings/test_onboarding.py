"""The first run's pages: what is done, what is not, and that nothing is open to the public before it begins."""

from html import unescape

from flask.testing import FlaskClient

from nurture.domain.user import Role
from nurture.runtime import Runtime
from nurture.services.settings import onboarding
from tests.clocks import ManualClock
from tests.desk import a_colleague, enter, log_in_as, post
from tests.people import a_subscriber, inbox, run_tick
from tests.servers.smtp import SmtpServer
from tests.services.settings.test_onboarding import choose_smtp, do_everything

START = "/desk/start"


def said(client: FlaskClient, path: str) -> str:
    return unescape(client.get(path).text)


def test_home_leads_to_the_first_run_until_letters_leave(client: FlaskClient, rt: Runtime) -> None:
    enter(client, rt)
    assert "You are trying things out: nothing leaves this machine. 0 of 9 things are done." in said(client, "/desk/")
    assert "Begin the first run" in said(client, "/desk/")
    with SmtpServer("plain", auth=("dana", "s3cret word")) as smtp:
        choose_smtp(rt, smtp)
        assert "The letters are not open yet" in said(client, "/desk/")
        onboarding.go_live(rt, do_everything(rt, smtp))
    assert "first run" not in said(client, "/desk/")
    assert "Your letters leave" in said(client, f"{START}/")


def test_nobody_can_sign_up_before_it_begins_and_nothing_is_kept(client: FlaskClient, rt: Runtime) -> None:
    with SmtpServer("plain", auth=("dana", "s3cret word")) as smtp:
        choose_smtp(rt, smtp)
        assert "The letters are not open yet" in said(client, "/")
        form = {"email": "robin@example.org", "consent": "on"}
        answer = client.post("/subscribe", data=form)
        assert answer.status_code == 503
        assert "Nothing you may have typed was kept" in answer.text
        assert onboarding.load_progress(rt, True).waiting == 0
        onboarding.go_live(rt, do_everything(rt, smtp))
        assert client.post("/subscribe", data=form).status_code == 303


def test_every_letter_is_read_one_after_the_other(client: FlaskClient, rt: Runtime) -> None:
    enter(client, rt)
    chapters = onboarding.load_progress(rt, True).chapters
    for number, each in enumerate(chapters):
        assert f'<h2 id="letter-heading">{each.letter.subject}</h2>' in said(client, f"{START}/letters?step=read")
        onward = post(client, f"{START}/letters", edition=each.edition).location
        assert ("letters" in onward) is (number + 1 < len(chapters))
    assert post(client, f"{START}/letters", edition=chapters[0].edition, act="unread").status_code == 303
    assert [each.read for each in onboarding.load_progress(rt, True).chapters] == [False, True, True, True, True, True]
    assert post(client, f"{START}/letters", edition="x").status_code == 400
    assert post(client, f"{START}/letters", edition="0" * 32).status_code == 303


def test_the_series_goes_to_oneself_letter_by_letter_as_it_will_go_out(
    client: FlaskClient, rt: Runtime, clock: ManualClock
) -> None:
    enter(client, rt)
    page = said(client, f"{START}/series")
    assert "Somebody who signs up now gets it on Monday 2 March, 15:00" in page
    assert post(client, f"{START}/series").location == f"{START}/series?step=series"
    assert said(client, f"{START}/series").count("on its way") == 6
    for _ in range(8):
        clock.advance(seconds=2)
        run_tick(rt)
    part = client.get(f"{START}/series", headers={"HX-Request": "true"}).text
    assert part.count("in the outbox") == 6
    assert "hx-get" not in part
    subjects = [str(mail.message["Subject"]) for mail in inbox(rt)]
    assert subjects == [each.letter.subject for each in onboarding.load_progress(rt, True).chapters]
    assert onboarding.load_progress(rt, False).done == frozenset(), "nothing that only reached the outbox counts"


def test_only_owners_let_it_begin_and_only_when_all_is_done(client: FlaskClient, rt: Runtime, clock: ManualClock) -> None:
    with SmtpServer("plain", auth=("dana", "s3cret word")) as smtp:
        do_everything(rt, smtp)
        enter(client, rt, Role.EDITOR)
        assert post(client, f"{START}/").status_code == 403
        enter(client, rt)
        assert "One line of the list is still open" in said(client, f"{START}/"), "this owner has no password"
        early = a_subscriber(rt)
        who = a_colleague(rt, "owner@example.org")
        clock.advance(minutes=1)
        log_in_as(client, rt, who)
        page = said(client, f"{START}/")
        assert "One person is on the list already" in page
        assert "Let letters leave" in page
        assert post(client, f"{START}/").location == f"{START}/?said=live"
        assert "It has begun" in said(client, f"{START}/?said=live")
        run_tick(rt)
        assert smtp.to(early.email)
