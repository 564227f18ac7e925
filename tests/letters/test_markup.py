"""A finished mail that somebody could not read is found; the shipped ones pass."""

from dataclasses import replace

import pytest

from nurture.delivery.render import own_mail
from nurture.domain.delivery import DeliveryKind
from nurture.domain.picture import LetterImage, picture_id
from nurture.letters import markup
from nurture.letters.compiler import compile_letter
from nurture.letters.filling import fill
from nurture.letters.practice import Logo, Practice
from nurture.letters.source import read_folder
from nurture.resources import pack
from tests.letters.samples import FACTS, VALUES, a_sample

LETTERS = read_folder(pack().letters / "ketamine-and-talk-therapy")[1]
MAILS = {letter.key: compile_letter(letter) for letter in LETTERS} | {
    kind.value: own_mail(kind) for kind in (DeliveryKind.CONFIRMATION, DeliveryKind.ALREADY_SUBSCRIBED, DeliveryKind.NOTICE)
}
PICTURE = LetterImage(picture_id(b""), "synapse.png", "png", 1200, 900, 1000)
SHOWN = replace(LETTERS[1], body=f"{LETTERS[1].body}\n![Two nerve cells](picture:{PICTURE.name})\n")
MAILS["with a picture"] = compile_letter(SHOWN, known={PICTURE.name: PICTURE})
SOUND = a_sample(MAILS["what-to-expect"])


@pytest.mark.parametrize("color", ["#1f5f5b", "#7a1f1f", "#000000"])
@pytest.mark.parametrize("name", list(MAILS))
def test_every_shipped_mail_can_be_read_by_everybody(name: str, color: str) -> None:
    for logo in (None, Logo(b"", "png", 200, 50)):
        content = fill(MAILS[name], VALUES | Practice(FACTS, color, logo).values())
        assert markup.check(content.html, content.text) == []
        assert ("cid:logo" in content.html) == (logo is not None and name not in set(DeliveryKind))


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('lang="en"', "", "H01"),
        ("<h1", "<h2", "H02"),
        ("</h1>", "</h1><h3>Deep</h3>", "H02"),
        ('role="presentation"', "", "H02"),
        ("</h1>", '</h1><a href="https://example.org"></a>', "H03"),
        ("</h1>", '</h1><p><a href="https://example.org">here</a></p>', "H03"),
        ("</h1>", '</h1><p><a href="ftp://example.org">A long name</a></p>', "H04"),
        ("padding: 13px 30px", "padding: 3px 30px", "H05"),
        ("padding: 10px 0", "padding: 0", "H05"),
        ("</h1>", '</h1><img src="cid:logo" width="10" height="10">', "H06"),
        ("</h1>", '</h1><img src="cid:logo" alt="">', "H06"),
        ("</h1>", "</h1><script></script>", "H07"),
        ("</h1>", "</h1><form></form>", "H07"),
        ("<h1", '<h1 onclick="x"', "H07"),
        ("</h1>", '</h1><img src="https://example.org/x.png" alt="" width="1" height="1">', "H08"),
        ("</h1>", '</h1><p style="background: url(https://example.org/x.png)">Words</p>', "H08"),
        ("</style>", "@import 'x';</style>", "H08"),
        ("</h1>", '</h1><p style="color: #999999">Words</p>', "H09"),
        ("background-color: #1e2524 !important; color: #e9e6df", "background-color: #1e2524 !important; color: #22302e", "H09"),
        ("a { color: #", "a { color: #000000; border-color: #", "H09"),
        ("</h1>", '</h1><p style="position: absolute">Words</p>', "H10"),
        ("</style>", "p { display: flex; gap: 1px }</style>", "H10"),
        ("</h1>", f"</h1><p>{'words words ' * 8000}</p>", "H11"),
        ("</h1>", f"</h1><p>{'words ' * 200}</p>", "H12"),
        ("</h1>", "</h1><p>Xylophones</p>", "H13"),
    ],
)
def test_what_somebody_could_not_read_is_found(old: str, new: str, rule: str) -> None:
    assert old in SOUND.html
    found = {finding.rule for finding in markup.check(SOUND.html.replace(old, new, 1), SOUND.text)}
    assert rule in found


def test_a_picture_without_words_is_read_by_its_alternative() -> None:
    page = SOUND.html.replace("</h1>", '</h1><img src="cid:x" alt="Xylophones" width="1" height="1">')
    assert [finding.words for finding in markup.check(page, SOUND.text)] == ["xylophones"]


def test_every_grace_is_still_needed_and_says_what_readers_see_instead() -> None:
    used = set[str]().union(*(markup.features(a_sample(edition).html) for edition in MAILS.values()))
    needed = {name for name in used if markup.cannot()[name]}
    assert needed == set(markup.GRACEFUL)
    assert "css-max-height" in needed
    assert len(used) > 25


def test_a_letter_that_cannot_be_compiled_has_no_page_to_look_at() -> None:
    assert markup.check_letter(replace(LETTERS[0], body="{{ nothing }}"), VALUES) == []
    vague = replace(LETTERS[0], body="# A\n\n[here](https://x.example)")
    assert [finding.rule for finding in markup.check_letter(vague, VALUES)] == ["H03"]
