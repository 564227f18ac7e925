"""What public pages say about the subject: read strictly, and in agreement with the rest of the pack."""

import pytest

from nurture.letters.pack_texts import PackRefused, pack_texts, read_pack_texts
from nurture.letters.source import read_folder
from nurture.resources import pack

TEXT = pack().texts.read_text("utf-8")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (TEXT.replace("\ntopic:", "\ntopics:"), "pages.yaml, topic: Field required."),
        (TEXT + "\nmore: words\n", "pages.yaml, more: Extra inputs are not permitted."),
        (
            TEXT.replace("  title: Five calm letters about ketamine and talk therapy", "  title: 5"),
            "pages.yaml, home.title: Input",
        ),
        (TEXT.replace('version: "2026-11"', "version: 2026-11-01"), "pages.yaml, consent.version: Input"),
        (TEXT + "\na: b: c\n", f"pages.yaml, line {len(TEXT.splitlines()) + 2}: This part cannot be read."),
        ("", "pages.yaml: Input"),
    ],
)
def test_texts_that_a_page_could_not_show_are_refused_with_their_place(changed: str, message: str) -> None:
    with pytest.raises(PackRefused) as refused:
        read_pack_texts(changed)
    assert str(refused.value).startswith(message)


def test_links_at_the_foot_and_whole_pages_are_the_same() -> None:
    there = {path.stem for path in (pack().folder / "pages").iterdir()}
    assert set(pack_texts().sheets) == there
    assert all(pack().page(name) for name in there)
    assert pack().page("nothing") is None


def test_sources_are_grouped_by_letters_that_there_are() -> None:
    keys = {letter.key for folder in pack().sequences() for letter in read_folder(folder)[1]}
    assert set(pack_texts().sources) <= keys


def test_the_shipped_consent_names_the_practice() -> None:
    consent = pack_texts().consent
    assert consent.text.count("{who}") == 1
    assert len(consent.version) <= 20
