"""Letters in and out of the database."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from nurture.domain.problem import ProblemKind
from nurture.domain.sequence import PublicationState
from nurture.domain.timeline import NeverOpens
from nurture.letters.source import LetterRefused
from nurture.resources import pack
from nurture.runtime import Runtime
from nurture.services.letters import publishing
from nurture.services.letters.publishing import ImportRefused, PublishingRefused
from nurture.services.subscribers import unsubscribe
from nurture.services.subscribers.unsubscribe import Exit
from nurture.store.core.schema import editions, subscribers
from nurture.store.letters import publications
from nurture.store.subscribers import subscribers as subscribers_of
from tests.people import a_subscriber, run_tick, sign_up

KEY = "ketamine-and-talk-therapy"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edition_count(rt: Runtime) -> int:
    with rt.database.read() as db:
        return db.execute(select(func.count()).select_from(editions)).scalar_one()


def test_letters_come_out_byte_for_byte_as_they_went_in(rt: Runtime, tmp_path: Path) -> None:
    assert publishing.export_folder(rt, KEY, tmp_path / "out") == 6
    assert files(tmp_path / "out") == files(pack().letters / KEY)
    odd = tmp_path / "out" / "01-history.md"
    odd.write_bytes(odd.read_bytes().replace(b"\n\n", b"\n\n\n", 1) + b"\xc3\xa9 \t\n\n")
    publishing.load_folder(rt, tmp_path / "out")
    publishing.export_folder(rt, KEY, tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "out")


def test_loading_again_changes_nothing_and_a_changed_letter_gets_one_new_edition(rt: Runtime, tmp_path: Path) -> None:
    before = edition_count(rt)
    assert publishing.load_shipped(rt) == []
    publishing.export_folder(rt, KEY, tmp_path)
    loaded = publishing.load_folder(rt, tmp_path)
    assert loaded and (loaded.letters, loaded.published) == (6, 0)
    letter = tmp_path / "01-history.md"
    letter.write_text(letter.read_text("utf-8") + "\nOne more line.\n", "utf-8")
    loaded = publishing.load_folder(rt, tmp_path)
    assert loaded and loaded.published == 1
    assert edition_count(rt) == before + 1


def test_a_letter_that_cannot_be_used_changes_nothing(rt: Runtime, tmp_path: Path) -> None:
    publishing.export_folder(rt, KEY, tmp_path)
    before = edition_count(rt)
    for name in ("01-history.md", "02-how-it-may-work.md"):
        path = tmp_path / name
        path.write_text(path.read_text("utf-8") + "\n{{ reader.shoe_size }}\n", "utf-8")
    with pytest.raises(LetterRefused, match=r"01-history\.md, line \d+: `reader\.shoe_size` does not exist"):
        publishing.load_folder(rt, tmp_path)
    assert edition_count(rt) == before


def test_a_letter_does_not_disappear_under_readers_who_are_under_way(rt: Runtime, tmp_path: Path) -> None:
    publishing.export_folder(rt, KEY, tmp_path)
    (tmp_path / "03-why-talk.md").unlink()
    a_subscriber(rt)
    run_tick(rt)
    with pytest.raises(ImportRefused, match="1 readers are in the middle"):
        publishing.load_folder(rt, tmp_path)


def test_rules_that_leave_no_moment_to_send_in_are_refused(rt: Runtime, tmp_path: Path) -> None:
    publishing.export_folder(rt, KEY, tmp_path)
    rules = tmp_path / "sequence.yaml"
    for good, bad in (('opens: "09:00"', 'opens: "18:00"'), ('from: "21:00"', 'from: "08:01"')):
        shipped_rules = rules.read_text("utf-8")
        assert good in shipped_rules
        rules.write_text(shipped_rules.replace(good, bad), "utf-8")
        with pytest.raises(NeverOpens, match="Give the window at least one day"):
            publishing.load_folder(rt, tmp_path)
        rules.write_text(shipped_rules, "utf-8")


def test_a_letter_saved_on_windows_is_read_and_kept_as_it_is(rt: Runtime, tmp_path: Path) -> None:
    publishing.export_folder(rt, KEY, tmp_path / "in")
    letter = tmp_path / "in" / "01-history.md"
    letter.write_bytes(b"\xef\xbb\xbf" + letter.read_bytes().replace(b"\n", b"\r\n"))
    publishing.load_folder(rt, tmp_path / "in")
    publishing.export_folder(rt, KEY, tmp_path / "out")
    assert files(tmp_path / "out") == files(tmp_path / "in")


def test_exporting_something_unknown_names_what_is_known(rt: Runtime, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=KEY):
        publishing.export_folder(rt, "nothing", tmp_path)


HOLE = "Dear {{ reader.first_name }},"


def with_hole(rt: Runtime, folder: Path, words: str = HOLE) -> Path:
    publishing.export_folder(rt, KEY, folder)
    letter = folder / "01-history.md"
    letter.write_text(letter.read_text("utf-8") + f"\n{words}\n", "utf-8")
    return folder


def test_a_hole_that_somebody_would_see_is_counted_and_nothing_is_published(rt: Runtime, tmp_path: Path) -> None:
    before = edition_count(rt)
    for first_name in ("Ann", "", "Zoë", ""):
        a_subscriber(rt, first_name=first_name)
    sign_up(rt, first_name="")  # who has not confirmed yet will get it too
    left = a_subscriber(rt, first_name="")
    unsubscribe.unsubscribe(rt, left.id, Exit.PAGE)
    seen: list[tuple[int, int]] = []
    with pytest.raises(PublishingRefused, match=r"^3 of 5 readers would see a hole where 01-history\.md, line \d+, names"):
        publishing.load_folder(
            rt, with_hole(rt, tmp_path), by="Dana", on_progress=lambda done, total: seen.append((done, total))
        )
    assert seen == [(5, 5)]
    assert edition_count(rt) == before
    last = publishing.under_way(rt)[0]
    assert (last.state, last.by, last.done, last.total) == (PublicationState.REFUSED, "Dana", 5, 5)
    assert last.troubles[0].said.startswith("3 of 5 readers")
    assert (last.troubles[0].what, last.troubles[0].readers, last.troubles[0].tried) == (ProblemKind.HOLE, 3, 5)
    with rt.database.begin() as db:
        db.execute(delete(subscribers).where(subscribers.c.first_name_encrypted.is_(None)))
    loaded = publishing.load_folder(rt, tmp_path)
    assert loaded and loaded.published == 1
    assert publishing.under_way(rt)[0].state is PublicationState.PUBLISHED


def test_a_fact_that_nobody_has_told_us_keeps_the_letter_from_being_published(rt: Runtime, tmp_path: Path) -> None:
    folder = with_hole(rt, tmp_path, "It costs {{ practice.fee }}, or {{ practice.reply_days }}.")
    with pytest.raises(PublishingRefused) as refused:
        publishing.load_folder(rt, folder)
    fee, days = str(refused.value).splitlines()
    assert re.match(r"01-history\.md, line \d+: `practice\.fee` is empty, so .* Set NURTURE_PRACTICE_FEE \(docs/", fee)
    assert "NURTURE_REPLY_DAYS" in days
    facts = {**rt.practice.facts, "fee": "free", "reply_days": "3"}
    rt.template_globals = replace(rt.practice, facts=facts).values()
    assert publishing.load_folder(rt, folder)


def test_a_reader_whose_name_cannot_be_read_is_named_as_a_trouble(rt: Runtime, tmp_path: Path) -> None:
    reader = a_subscriber(rt)
    with rt.database.begin() as db:
        db.execute(update(subscribers).where(subscribers.c.id == reader.id).values(first_name_encrypted=b"damaged"))
    with pytest.raises(PublishingRefused, match=r"^1 of 1 readers cannot be written to"):
        publishing.load_folder(rt, with_hole(rt, tmp_path, "Well."))


def test_the_scheduler_publishes_what_was_handed_over(rt: Runtime, tmp_path: Path) -> None:
    before = edition_count(rt)
    assert not publishing.work(rt)
    publishing.ask(rt, with_hole(rt, tmp_path, "One more line."), by="Dana")
    (waiting,) = [each for each in publishing.under_way(rt) if each.state is PublicationState.CHECKING]
    assert waiting.by == "Dana"
    assert edition_count(rt) == before
    assert publishing.work(rt)
    assert edition_count(rt) == before + 1
    assert not publishing.work(rt)
    a_subscriber(rt, first_name="")
    publishing.ask(rt, with_hole(rt, tmp_path / "again"))
    assert publishing.work(rt)
    assert publishing.under_way(rt)[0].troubles
    assert edition_count(rt) == before + 1


def test_what_a_process_left_half_done_another_takes_up_and_the_first_may_not_end_it(rt: Runtime, tmp_path: Path) -> None:
    publishing.ask(rt, with_hole(rt, tmp_path, "One more line."))
    real_now = rt.clock.real_now()
    with rt.database.begin() as db:
        taken = publications.take(db, "gone", real_now, real_now + timedelta(seconds=60))
    assert taken is not None
    assert not publishing.work(rt), "its owner may still be at it"
    with rt.database.begin() as db:
        assert publications.take(db, "next", real_now + timedelta(seconds=61), real_now + timedelta(seconds=121))
        assert not publications.progress(db, taken.id, "gone", 1, 1, real_now)
        assert not publications.finish(db, taken.id, "gone", PublicationState.PUBLISHED, [], real_now)


def test_readers_are_tried_in_pages_and_each_once(rt: Runtime) -> None:
    for _ in range(7):
        sign_up(rt)
    with rt.database.read() as db:
        pages = [subscribers_of.mailable(db, None, 3)]
        while pages[-1]:
            pages.append(subscribers_of.mailable(db, pages[-1][-1].id, 3))
        assert subscribers_of.count_mailable(db) == 7
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert len({reader.id for page in pages for reader in page}) == 7
