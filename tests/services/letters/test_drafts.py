"""Letters edited at the desk: nothing typed is lost, nothing goes out that the gate stops, and only what was meant changes."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from nurture.domain.sequence import PublicationState
from nurture.domain.user import Role
from nurture.ids import StepKey
from nurture.letters.authoring import Parts, compared, composed, differs, fix_of, parts_of
from nurture.letters.practice import Logo
from nurture.letters.source import LetterRefused, read_letter
from nurture.mailers.base import InlineImage
from nurture.runtime import Runtime
from nurture.services.accounts import accounts
from nurture.services.accounts.accounts import Account
from nurture.services.addresses import parse_address
from nurture.services.letters import drafts, previews, publishing
from nurture.services.letters.drafts import Conflict, DraftRefused, OpenLetter
from nurture.services.letters.previews import NAMELESS
from nurture.services.letters.publishing import load_folder
from nurture.store.core.schema import steps
from tests.clocks import ManualClock
from tests.letters.test_practice import png
from tests.people import a_subscriber, due, inbox, run_tick, subjects

KEY = "ketamine-and-talk-therapy"
HISTORY, TALK = StepKey("history"), StepKey("why-talk")


@pytest.fixture
def me(rt: Runtime) -> Account:
    who = accounts.add(rt, parse_address("dana@example.org"), "Dana", Role.OWNER)
    return next(one for one in accounts.everyone(rt) if one.id == who)


def with_body(now: OpenLetter, old: str, new: str) -> Parts:
    assert old in now.letter.body
    return Parts(now.letter.subject, now.letter.preheader, now.letter.body.replace(old, new))


def finish(rt: Runtime, number: int) -> tuple[PublicationState, tuple[str, ...]]:
    while publishing.work(rt):
        pass
    found = drafts.publication(rt, number)
    assert found is not None
    return found.state, tuple(trouble.said for trouble in found.troubles)


def sources(rt: Runtime) -> dict[str, str]:
    with rt.database.read() as db:
        return {row[0]: row[1] for row in db.execute(select(steps.c.key, steps.c.source))}


def test_what_is_not_edited_of_a_file_stays_byte_for_byte() -> None:
    text = '---\nsubject: "One"   # a remark\npreheader: old\nwait: 3 days\nsources:\n  - domino-2010\n---\n# Title\n\nText.\n'
    letter = read_letter("01-a.md", text)
    assert composed("01-a.md", text, parts_of(letter)) == text
    new = composed("01-a.md", text, Parts("One", "a: “new” one", "# Title\n\nOther.\n"))
    assert new == text.replace("preheader: old", 'preheader: "a: “new” one"').replace("Text.", "Other.")
    windows = text.replace("\n", "\r\n")
    assert composed("01-a.md", windows, Parts("Two", "old", "# Title\n\nText.\n")) == windows.replace(
        'subject: "One"   # a remark', 'subject: "Two"'
    )
    with pytest.raises(LetterRefused, match="needs a subject"):
        composed("01-a.md", text, Parts(" ", "", ""))


def test_a_draft_changes_nothing_for_readers_until_it_is_published(rt: Runtime, clock: ManualClock, me: Account) -> None:
    reader = a_subscriber(rt)
    run_tick(rt)
    now = drafts.open_letter(rt, KEY, HISTORY)
    assert not now.changed
    clock.advance(minutes=1)
    saved = drafts.save(rt, KEY, HISTORY, with_body(now, "The lab.", "The first lab."), now.version, me.id)
    assert saved.changed
    assert saved.version == 1
    assert "The lab." in sources(rt)[HISTORY]
    number = drafts.publish(rt, KEY, HISTORY, saved.version, me)
    assert finish(rt, number) == (PublicationState.PUBLISHED, ())
    after = drafts.open_letter(rt, KEY, HISTORY)
    assert not after.changed
    assert after.version == 0
    coming = due(rt, reader)
    assert coming is not None
    clock.advance(seconds=(coming - clock.now()).total_seconds())
    run_tick(rt)
    assert "The first lab." in inbox(rt, reader)[-1].part("plain")
    past = drafts.editions(rt, KEY, HISTORY)
    (mine,) = [one for one in past if one.source == after.letter.text]
    assert len(past) == 2
    assert accounts.names(rt)[mine.by] == "Dana"


def test_two_people_who_edit_one_letter_lose_nothing(rt: Runtime, me: Account) -> None:
    now = drafts.open_letter(rt, KEY, HISTORY)
    mine, theirs = with_body(now, "The lab.", "My lab."), with_body(now, "The lab.", "Their lab.")
    drafts.save(rt, KEY, HISTORY, theirs, now.version, me.id)
    with pytest.raises(Conflict) as caught:
        drafts.save(rt, KEY, HISTORY, mine, now.version, me.id)
    assert "Their lab." in caught.value.theirs.letter.body
    kept = drafts.save(rt, KEY, HISTORY, mine, caught.value.theirs.version, me.id)
    assert "My lab." in kept.letter.body
    with pytest.raises(Conflict):
        drafts.publish(rt, KEY, HISTORY, caught.value.theirs.version, me)
    with pytest.raises(Conflict):
        drafts.discard(rt, KEY, HISTORY, 1)
    drafts.discard(rt, KEY, HISTORY, kept.version)
    assert not drafts.open_letter(rt, KEY, HISTORY).changed


def test_two_people_who_publish_different_letters_do_not_undo_each_other(rt: Runtime, me: Account) -> None:
    numbers = []
    for step, old, new in ((HISTORY, "The lab.", "The first lab."), (TALK, "Letter 3", "Our letter 3")):
        now = drafts.open_letter(rt, KEY, step)
        saved = drafts.save(rt, KEY, step, with_body(now, old, new), now.version, me.id)
        numbers.append(drafts.publish(rt, KEY, step, saved.version, me))
    assert [finish(rt, number)[0] for number in numbers] == [PublicationState.PUBLISHED] * 2
    assert "The first lab." in sources(rt)[HISTORY]
    assert "Our letter 3" in sources(rt)[TALK]


def test_the_gate_stops_a_letter_and_says_at_which_line_and_one_click_mends_it(rt: Runtime, me: Account) -> None:
    now = drafts.open_letter(rt, KEY, HISTORY)
    wrong = with_body(
        now, "**The long middle.**", "It is a miracle for some. It cures depression fast.\n\n**The long middle.**"
    )
    saved = drafts.save(rt, KEY, HISTORY, wrong, now.version, me.id)
    found = drafts.review(rt, saved.letter)
    assert found.stops
    cure = next(remark for remark in found.remarks if remark.finding.rule == "C01")
    assert cure.line is not None
    assert "It cures depression fast." in saved.letter.body.split("\n")[cure.line - 1]
    with pytest.raises(DraftRefused, match="must be changed"):
        drafts.publish(rt, KEY, HISTORY, saved.version, me)
    assert cure.fix is not None
    body = saved.letter.body
    mended = body[: cure.fix.begin] + cure.fix.put + body[cure.fix.end :]
    assert "It is a miracle for some. It may ease symptoms for some people.\n" in mended
    again = drafts.save(rt, KEY, HISTORY, Parts(now.letter.subject, now.letter.preheader, mended), saved.version, me.id)
    assert not [each for each in drafts.review(rt, again.letter).remarks if each.finding.rule == "C01"]


def test_brackets_that_cannot_be_read_are_said_and_never_lost(rt: Runtime, me: Account) -> None:
    now = drafts.open_letter(rt, KEY, HISTORY)
    saved = drafts.save(rt, KEY, HISTORY, with_body(now, "The lab.", "The {{ lab."), now.version, me.id)
    assert drafts.review(rt, saved.letter).refused
    assert "{{ lab." in drafts.open_letter(rt, KEY, HISTORY).letter.body
    with pytest.raises(previews.CannotShow):
        previews.shown(rt, saved.letter)
    with pytest.raises(DraftRefused):
        drafts.publish(rt, KEY, HISTORY, saved.version, me)


def test_a_letter_that_would_have_a_hole_for_somebody_is_refused_and_the_draft_stays(rt: Runtime, me: Account) -> None:
    a_subscriber(rt, first_name="")
    now = drafts.open_letter(rt, KEY, HISTORY)
    saved = drafts.save(rt, KEY, HISTORY, with_body(now, "The lab.", "{{ reader.first_name }}, the lab."), now.version, me.id)
    state, troubles = finish(rt, drafts.publish(rt, KEY, HISTORY, saved.version, me))
    assert state is PublicationState.REFUSED
    assert "1 of 1 readers would see a hole" in troubles[0]
    assert drafts.open_letter(rt, KEY, HISTORY).letter.text == saved.letter.text
    assert "The lab." in sources(rt)[HISTORY]


def test_an_earlier_edition_comes_back_as_a_draft_and_keeps_the_wait_of_today(
    rt: Runtime, clock: ManualClock, me: Account
) -> None:
    clock.advance(hours=1)
    now = drafts.open_letter(rt, KEY, HISTORY)
    saved = drafts.save(rt, KEY, HISTORY, with_body(now, "The lab.", "The first lab."), now.version, me.id)
    finish(rt, drafts.publish(rt, KEY, HISTORY, saved.version, me))
    (first,) = [one for one in drafts.editions(rt, KEY, HISTORY) if one.source == now.letter.text]
    back = drafts.put_back(rt, KEY, HISTORY, first.id, 0, me.id)
    assert back.letter.body == now.letter.body
    assert back.letter.wait == now.letter.wait
    pieces = drafts.compare(back.published, back.letter.text)
    assert differs(pieces)
    assert [piece.text.strip() for paragraph in pieces for piece in paragraph if piece.kind == "removed"] == ["first"]


def test_editions_are_in_the_order_in_which_they_were_published_also_when_the_clock_was_set_back(
    rt: Runtime, clock: ManualClock, me: Account
) -> None:
    said = []
    for words in ("One more line.", "Another line.", "A third line."):
        now = drafts.open_letter(rt, KEY, HISTORY)
        parts = Parts(now.letter.subject, now.letter.preheader, f"{now.letter.body}\n{words}\n")
        now = drafts.save(rt, KEY, HISTORY, parts, now.version, me.id)
        assert finish(rt, drafts.publish(rt, KEY, HISTORY, now.version, me))[0] is PublicationState.PUBLISHED
        said.append(now.letter.text)
        clock.advance(days=-1)
    assert [one.source for one in drafts.editions(rt, KEY, HISTORY)][:3] == said[::-1]


def test_a_trial_arrives_at_whoever_asked_as_a_reader_would_get_it_and_holds_nobody_s_links(rt: Runtime, me: Account) -> None:
    letter = drafts.open_letter(rt, KEY, HISTORY).letter
    assert previews.send_to_self(rt, [letter], me) == "dana@example.org"
    run_tick(rt)
    (mail,) = inbox(rt)
    assert str(mail.message["To"]) == "dana@example.org"
    assert str(mail.message["Subject"]) == letter.subject
    assert "Hello Robin," in mail.part("plain")
    assert "/unsubscribe/" not in mail.part("plain") + mail.part("html")
    assert "List-Unsubscribe" not in mail.message


def test_the_whole_series_is_tried_within_seconds_and_in_its_order(rt: Runtime, me: Account, clock: ManualClock) -> None:
    _, letters = drafts.all_letters(rt)
    previews.send_to_self(rt, [each.letter for each in letters], me, NAMELESS)
    for _ in letters:
        run_tick(rt)
        clock.advance(seconds=2)
    assert subjects(rt) == [each.letter.subject for each in letters]


def test_facts_that_were_looked_at_again_are_due_in_half_a_year(rt: Runtime, me: Account, clock: ManualClock) -> None:
    now = drafts.reviewed(rt, KEY, HISTORY, 0, me.id)
    assert now.letter.reviewed_on == clock.now().date()
    assert not [each for each in drafts.review(rt, now.letter).remarks if each.finding.rule == "T12"]


def test_what_an_inbox_shows_is_filled_for_the_reader_chosen(rt: Runtime) -> None:
    letter = read_letter(
        "01-a.md", "---\nsubject: \"For {{ reader.first_name|default('you', true) }}\"\npreheader: p\n---\n# A\n"
    )
    assert previews.inbox(rt, letter).subject == "For Robin"
    assert previews.inbox(rt, letter, NAMELESS).subject == "For you"
    assert previews.inbox(rt, letter, a_subscriber(rt, first_name="Zoë").id).subject == "For Zoë"


def test_comparisons_show_words_not_whole_paragraphs() -> None:
    pieces = compared("One two three.\n\nSame.\n\nGone.", "One four three.\n\nSame.\n\nNew.")
    assert [[(piece.kind, piece.text) for piece in paragraph] for paragraph in pieces] == [
        [("same", "One "), ("removed", "two"), ("added", "four"), ("same", " three.")],
        [("same", "Same.")],
        [("removed", "Gone"), ("added", "New"), ("same", ".")],
    ]
    assert not differs(compared("a\n\nb", "a\n\nb\n"))


def test_a_button_that_is_missing_is_put_in_by_one_click(rt: Runtime, me: Account) -> None:
    now = drafts.open_letter(rt, KEY, HISTORY)
    lines = [line for line in now.letter.body.split("\n") if "button(" not in line]
    saved = drafts.save(rt, KEY, HISTORY, Parts(now.letter.subject, now.letter.preheader, "\n".join(lines)), now.version, me.id)
    finding = next(each for each in drafts.review(rt, saved.letter).remarks if each.finding.rule == "T02")
    assert finding.fix is not None
    assert fix_of(saved.letter, finding.finding) == finding.fix
    body = saved.letter.body
    mended = body[: finding.fix.begin] + finding.fix.put + body[finding.fix.end :]
    again = drafts.save(rt, KEY, HISTORY, Parts(now.letter.subject, now.letter.preheader, mended), saved.version, me.id)
    assert not [each for each in drafts.review(rt, again.letter).remarks if each.finding.rule == "T02"]


def test_letters_loaded_from_files_and_from_the_desk_are_the_same_letters(rt: Runtime, me: Account, tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "letters"
    now = drafts.open_letter(rt, KEY, HISTORY)
    saved = drafts.save(rt, KEY, HISTORY, with_body(now, "The lab.", "The first lab."), now.version, me.id)
    finish(rt, drafts.publish(rt, KEY, HISTORY, saved.version, me))
    publishing.export_folder(rt, KEY, folder)
    assert (folder / now.letter.file_name).read_text("utf-8") == saved.letter.text
    loaded = load_folder(rt, folder)
    assert loaded is not None
    assert loaded.published == 0


def test_a_trial_shows_the_practice_s_logo_as_a_letter_does(rt: Runtime, me: Account) -> None:
    logo = Logo(png(200, 48), "png", 200, 48)
    rt.practice = replace(rt.practice, logo=logo)
    rt.template_globals = rt.practice.values()
    rt.sender = replace(rt.sender, logo=InlineImage(logo.content, logo.subtype))
    previews.send_to_self(rt, [drafts.open_letter(rt, KEY, HISTORY).letter], me)
    run_tick(rt)
    (mail,) = inbox(rt)
    assert mail.pictures()["logo"] == logo.address
