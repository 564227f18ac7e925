"""Letters in and out of the database."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from nurture.domain.timeline import NeverOpens
from nurture.letters.source import LetterRefused
from nurture.runtime import Runtime, shipped
from nurture.services import publishing
from nurture.services.publishing import ImportRefused
from nurture.store.schema import editions
from tests.people import a_subscriber, run_tick

KEY = "ketamine-and-talk-therapy"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edition_count(rt: Runtime) -> int:
    with rt.database.read() as db:
        return db.execute(select(func.count()).select_from(editions)).scalar_one()


def test_letters_come_out_byte_for_byte_as_they_went_in(rt: Runtime, tmp_path: Path) -> None:
    assert publishing.export_folder(rt, KEY, tmp_path / "out") == 6
    assert files(tmp_path / "out") == files(shipped("letters") / KEY)
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
