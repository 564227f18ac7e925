"""Pictures where letters put them: ours, with words, on a line of their own. Everything else is refused in plain words."""

import re
from datetime import date

import pytest

from nurture.domain.picture import MOST_BYTES, LetterImage, LetterImages, content_id, picture_id
from nurture.letters import gate, markup
from nurture.letters.authoring import fix_of
from nurture.letters.compiler import PictureMisplaced, compile_letter, compile_page
from nurture.letters.image_rules import says_nothing
from nurture.letters.source import Letter, read_letter
from tests.letters.samples import VALUES, a_sample

ID = picture_id(b"synapse")
WORDS = "Two nerve cells, and the narrow gap between them"
KNOWN: LetterImages = {
    "synapse.png": LetterImage(ID, "synapse.png", "png", 1200, 900, 90_000),
    "leaf.jpg": LetterImage(picture_id(b"leaf"), "leaf.jpg", "jpeg", 300, 200, 20_000),
}
LINE = f"![{WORDS}](picture:synapse.png)"


def a_letter(body: str) -> Letter:
    return read_letter("01-a.md", f"---\nsubject: Letter 1 of 5\npreheader: x\n---\n{body}\n")


def rules(letter: Letter, known: LetterImages = KNOWN) -> list[tuple[int | None, str]]:
    found = gate.check(letter, today=date(2026, 3, 2), pictures=known)
    return [(each.line, each.words) for each in found if each.rule == "T19"]


def test_a_picture_is_shown_as_wide_as_the_letter_and_as_high_as_it_must_be() -> None:
    letter = a_letter(f"# Title\n\nBefore.\n\n{LINE}\n\nAfter.\n\n![A leaf](picture:leaf.jpg)")
    content = a_sample(compile_letter(letter, known=KNOWN))
    first, second = re.findall("<img[^>]*>", content.html)
    assert f'src="cid:{content_id(ID)}"' in first
    assert 'width="494" height="370"' in first
    assert f'alt="{WORDS}"' in first
    for style in ("max-width: 100%", "height: auto"):
        assert style in first, "on a telephone it is as wide as the screen has room for"
    assert 'width="300" height="200"' in second
    assert f"Before.\n\n[Picture: {WORDS}]\n\nAfter.\n\n[Picture: A leaf]" in content.text
    assert rules(letter) == []
    assert markup.check_letter(letter, VALUES, KNOWN) == []


def test_in_the_dark_a_picture_stays_as_it_is() -> None:
    page = a_sample(compile_letter(a_letter(LINE), known=KNOWN)).html
    dark = page[page.index("prefers-color-scheme: dark") : page.index("</style>")]
    assert not re.search(r"filter|invert|\bimg\b(?! \{)", dark.replace(".brand img", ""))


def test_a_page_of_the_site_shows_it_too() -> None:
    assert f'<img src="cid:{content_id(ID)}" width="494"' in compile_page(a_letter(LINE), KNOWN)


def test_decoration_has_no_words_anywhere() -> None:
    letter = a_letter("# Title\n\nBefore.\n\n![decorative](picture:leaf.jpg)\n\nAfter.")
    content = a_sample(compile_letter(letter, known=KNOWN))
    assert 'alt=""' in content.html
    assert "Before.\n\nAfter." in content.text
    assert "decorative" not in content.html + content.text
    assert rules(letter) == []
    assert markup.check_letter(letter, VALUES, KNOWN) == []


def test_words_may_hold_anything_a_letter_may_and_are_escaped() -> None:
    odd = a_letter('![A "pair" of <cells> & *{{ reader.first_name }}*](picture:leaf.jpg)')
    content = a_sample(compile_letter(odd, known=KNOWN), first_name='"><b>')
    assert content.html.count("<b>") == 0
    assert '[Picture: A "pair" of <cells> & "><b>]' in content.text


def test_a_picture_may_depend_on_the_reader() -> None:
    letter = a_letter(f"Hi.\n\n{{% if reader.first_name %}}\n{LINE}\n{{% endif %}}\n\nBye.")
    edition = compile_letter(letter, known=KNOWN)
    assert "<img" in a_sample(edition).html
    assert "<img" not in a_sample(edition, first_name="").html
    assert rules(letter) == []


REFUSED = [
    ("![A cell](https://example.org/x.png)", "tell somebody that the letter was opened"),
    ("![A cell](//example.org/x.png)", "tell somebody that the letter was opened"),
    ("![A cell](data:image/png;base64,AAAA)", "tell somebody that the letter was opened"),
    ("![A cell](cid:logo)", "tell somebody that the letter was opened"),
    ("![A cell](/pictures/x)", "tell somebody that the letter was opened"),
    ("![A cell][x]\n\n[x]: https://example.org/x.png", "tell somebody that the letter was opened"),
    ("![A cell](picture:none.png)", "no picture of this name"),
    ("![A cell](picture:{{ reader.first_name }})", "no picture of this name"),
    ("![](picture:synapse.png)", "would not know what it shows"),
    ("![ ](picture:synapse.png)", "would not know what it shows"),
    ("![image](picture:synapse.png)", "do not say what it shows"),
    ("![IMG_2041.jpeg](picture:synapse.png)", "do not say what it shows"),
    (f"![{'word ' * 60}](picture:synapse.png)", "299 characters long"),
    ('![A cell](picture:synapse.png "A cell")', "shown nowhere"),
    ("Words ![A cell](picture:synapse.png)", "a line of its own"),
    ("![A cell](picture:synapse.png)\nwords", "a line of its own"),
    ("- ![A cell](picture:synapse.png)", "a line of its own"),
    ("> ![A cell](picture:synapse.png)", "a line of its own"),
    ("## ![A cell](picture:synapse.png)", "a line of its own"),
    ("[![A cell](picture:synapse.png)](https://example.org)", "a line of its own"),
]


@pytest.mark.parametrize(("body", "why"), REFUSED)
def test_whatever_else_is_refused_with_its_line_by_the_gate_and_by_publishing(body: str, why: str) -> None:
    letter = a_letter(f"# Title\n\n{body}")
    with pytest.raises(PictureMisplaced) as refused:
        compile_letter(letter, known=KNOWN)
    assert why in str(refused.value)
    assert re.match(r"01-a\.md, line \d+", refused.value.where)
    assert [line for line, _ in rules(letter)] == [7]
    with pytest.raises(PictureMisplaced):
        compile_page(letter, KNOWN)


@pytest.mark.parametrize("inner", ["![A cell](https://example.org/x.png)", "![A cell](picture:synapse.png)"])
def test_a_box_holds_none(inner: str) -> None:
    with pytest.raises(PictureMisplaced, match="A box cannot hold a picture"):
        compile_letter(a_letter(f'Hi.\n\n{{{{ aside("{inner}") }}}}'), known=KNOWN)


def test_all_of_a_letter_s_pictures_together_have_a_limit_and_one_shown_twice_counts_once() -> None:
    many = {f"p{n}.png": LetterImage(picture_id(bytes([n])), f"p{n}.png", "png", 10, 10, MOST_BYTES) for n in range(3)}
    two = a_letter("\n\n".join(f"![Cell number {n}](picture:p{n}.png)" for n in (0, 1, 1, 0)))
    assert rules(two, many) == []
    three = a_letter("\n\n".join(f"![Cell number {n}](picture:p{n}.png)" for n in range(3)))
    assert rules(three, many) == [(None, "600 kB of pictures")]
    with pytest.raises(PictureMisplaced, match=r"600 kB of pictures: .* take one out"):
        compile_letter(three, known=many)


def test_a_picture_from_elsewhere_is_taken_out_by_one_click_and_one_of_ours_is_not() -> None:
    body = "# T\n\nOne ![A cell](https://example.org/x.png) two."
    (finding,) = [one for one in gate.check(a_letter(body), today=date(2026, 3, 2)) if one.rule == "T19"]
    fix = fix_of(a_letter(body), finding)
    assert fix is not None
    assert body[: fix.begin] + fix.put + body[fix.end :] == "# T\n\nOne  two."
    bare = a_letter("# T\n\n![](picture:synapse.png)")
    (finding,) = [one for one in gate.check(bare, today=date(2026, 3, 2), pictures=KNOWN) if one.rule == "T19"]
    assert fix_of(bare, finding) is None


def test_the_language_rules_read_the_words_of_a_picture() -> None:
    found = gate.check(
        a_letter("# T\n\n![A drug that cures depression](picture:leaf.jpg)"), today=date(2026, 3, 2), pictures=KNOWN
    )
    assert "C01" in {each.rule for each in found}


@pytest.mark.parametrize(
    ("alt", "nothing"),
    [
        ("photo", True),
        ("a picture", True),
        ("Image 3", True),
        ("x.PNG", True),
        ("12", True),
        ("A leaf", False),
        ("大脑", False),
    ],
)
def test_words_that_would_fit_any_picture(alt: str, nothing: bool) -> None:
    assert says_nothing(alt) == nothing
