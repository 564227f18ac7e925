"""An edition is compiled once; filling it gives what the whole pipeline would have given."""

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.delivery.render import own_mail
from nurture.domain.delivery import DeliveryKind
from nurture.letters import dialect
from nurture.letters.compiler import Edition, compile_letter
from nurture.letters.filling import Unfillable, fill
from nurture.letters.source import Letter, LetterRefused, read_folder, read_letter
from nurture.resources import pack
from tests.letters.samples import BASE, VALUES, a_sample

SHIPPED = read_folder(pack().letters / "ketamine-and-talk-therapy")[1]
OWN = (DeliveryKind.CONFIRMATION, DeliveryKind.ALREADY_SUBSCRIBED, DeliveryKind.NOTICE)
EDITIONS = {letter.key: compile_letter(letter) for letter in SHIPPED} | {kind.value: own_mail(kind) for kind in OWN}
TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
PREHEADERS = {letter.key: letter.preheader for letter in SHIPPED} | {
    kind.value: read_letter("x.md", (TEMPLATES / "mail" / f"{kind.value.replace('_', '-')}.md").read_text("utf-8")).preheader
    for kind in OWN
}


def a_letter(body: str, subject: str = "Letter") -> Letter:
    return read_letter("01-try.md", f"---\nsubject: {subject!r}\npreheader: 'x'\nwait: 1 day\n---\n# Title\n\n{body}\n")


class _Seen(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.shown: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] not in ("style", "title", "head"):
            self.shown.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.links += [value or "" for name, value in attrs if tag == "a" and name == "href"]


def _words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-zë]{4,}", text))


@pytest.mark.parametrize("name", list(EDITIONS))
def test_every_shipped_mail_is_sound(name: str) -> None:
    content = a_sample(EDITIONS[name])
    seen = _Seen(content.html)
    assert "{{" not in content.html + content.text + content.subject
    assert seen.tags.count("h1") == 1
    assert not {"script", "form", "img", "iframe", "link", "object"} & set(seen.tags)
    assert ("lang", "en") in seen.attributes
    assert all(("role", "presentation") in seen.attributes for tag in seen.tags if tag == "table")
    assert all(link.startswith((BASE, "https://", "tel:", "sms:", "mailto:")) for link in seen.links), seen.links
    assert not re.search(r"""(src|background)=|url\(|@import""", content.html)
    assert len(content.html.encode()) < 80_000
    assert max(len(line.encode()) for line in (content.html + content.text).splitlines()) <= 998
    assert "prefers-color-scheme" in content.html, "the rules for dark mode survive inlining"
    if name != DeliveryKind.NOTICE:
        assert f"{BASE}/unsubscribe/TOKEN" in seen.links
        assert f"{BASE}/unsubscribe/TOKEN" in content.text
        assert "PO Box 12, Portland" in content.text
        assert "PO Box 12, Portland" in content.html


@pytest.mark.parametrize("name", list(EDITIONS))
def test_both_parts_say_the_same(name: str) -> None:
    content = a_sample(EDITIONS[name])
    missing = _words(" ".join(_Seen(content.html).shown)) - _words(content.text + PREHEADERS[name])
    assert not missing, missing


@pytest.mark.parametrize("letter", SHIPPED, ids=lambda letter: letter.key)
def test_what_a_lock_screen_shows_is_discreet(letter: Letter) -> None:
    shown = f"{letter.subject} {letter.preheader}".lower()
    for word in (
        "ketamine",
        "depress",
        "suicid",
        "mental",
        "psych",
        "therap",
        "trauma",
        "treatment",
        "patient",
        "crisis",
        "mood",
    ):
        assert word not in shown
    assert len(letter.subject) <= 50
    assert 60 <= len(letter.preheader) <= 90


@pytest.mark.parametrize("letter", SHIPPED, ids=lambda letter: letter.key)
def test_every_citation_has_its_source_and_every_source_is_cited(letter: Letter) -> None:
    content = a_sample(EDITIONS[letter.key])
    body, _, rest = content.text.partition("\nSources\n")
    assert {int(number) for number in re.findall(r"\[(\d+)\]", body)} == {source.number for source in letter.sources}
    for source in letter.sources:
        assert f"{source.number}. {source.text}\n   {source.url}\n" in rest


@pytest.mark.parametrize("letter", SHIPPED, ids=lambda letter: letter.key)
def test_every_letter_asks_for_one_thing(letter: Letter) -> None:
    assert a_sample(EDITIONS[letter.key]).html.count('<a class="button"') == 1


def test_the_series_holds_the_facts_that_must_not_be_left_out() -> None:
    bodies = {letter.key: letter.body.lower() for letter in SHIPPED}
    for letter in SHIPPED[1:]:
        assert "off-label" in bodies[letter.key], letter.key
    for fact in ("blood pressure", "breathing", "bladder", "misuse", "pregnan", "psychosis", "driv"):
        assert fact in bodies[SHIPPED[4].key], fact
    assert "i do not prescribe" in bodies[SHIPPED[5].key]
    everything = " ".join(bodies.values())
    for wrong in ("gaba from binding", "johns hopkins", "overdose", "lasting relief", "cure"):
        assert wrong not in everything


def test_a_welcome_goes_at_once_and_every_other_letter_waits_days() -> None:
    assert SHIPPED[0].step.at_once
    assert all(letter.step.wait.days >= 3 for letter in SHIPPED[1:])
    assert len(SHIPPED) == 6


def test_the_confirmation_holds_no_user_text_and_no_word_about_health() -> None:
    content = a_sample(EDITIONS["confirmation"], first_name="BUY NOW")
    said = content.subject + content.text + content.html
    assert "BUY NOW" not in said
    assert not re.search(r"ketamine|therap|depress|988|crisis", said, re.IGNORECASE)


def test_a_first_name_cannot_become_html_a_link_or_a_header() -> None:
    edition = compile_letter(a_letter("Hello {{ reader.first_name }}", "Hi {{ reader.first_name }}"))
    content = a_sample(edition, first_name="<b onclick=x>\r\nBcc: a@b.org [x](https://evil.example) &amp;")
    assert "<b onclick" not in content.html
    assert "&lt;b onclick" in content.html
    assert "\n" not in content.subject
    assert "\r" not in content.subject
    assert "https://evil.example" not in _Seen(content.html).links


def test_a_missing_value_fails_for_that_reader_and_says_where() -> None:
    edition = compile_letter(a_letter("Hello"))
    with pytest.raises(Unfillable, match="the page needs something"):
        fill(Edition(edition.subject, edition.html + "{{ reader.shoe }}", edition.text), VALUES)


def test_a_button_is_a_button_in_html_and_words_with_an_address_in_text() -> None:
    page = a_sample(compile_letter(a_letter('{{ button("Call <us> & ask", links.consultation) }}')))
    assert page.html.count('class="button"') == 2  # the paragraph and its link
    assert f'href="{BASE}/consultation?t=TOKEN&amp;a=b"' in page.html
    assert ">Call &lt;us&gt; &amp; ask</a>" in page.html
    assert f"Call <us> & ask:\n{BASE}/consultation?t=TOKEN&a=b" in page.text


def test_a_source_is_cited_by_its_id_and_numbered_in_the_order_of_the_list() -> None:
    body = 'First {{ cite("own") }}, then {{ cite("berman-2000", "own") }}.'
    letter = read_letter(
        "01-try.md",
        "---\nsubject: Letter\nsources:\n  - {id: own, text: Mine, url: 'https://example.org'}\n---\n# Title\n\n" + body,
    )
    assert [source.id for source in letter.sources] == ["own", "berman-2000"]
    content = a_sample(compile_letter(letter))
    assert "First [1], then [2][1]." in content.text
    assert "First [1], then [2][1]." in content.html
    with pytest.raises(LetterRefused, match=r"no source 'bermann-2000' in the registry\. Did you mean 'berman-2000'"):
        compile_letter(a_letter('{{ cite("bermann-2000") }}'))


def test_an_aside_and_the_crisis_lines_stand_beside_the_text() -> None:
    content = a_sample(compile_letter(a_letter('Before\n\n{{ aside("A **remark** & more") }}\n\n{{ crisis() }}\n\nAfter')))
    assert "A <strong" in content.html
    assert "remark</strong> &amp; more" in content.html
    assert "| A remark & more" in content.text
    assert content.text.count("call or text 988 at any hour") == 1
    assert content.html.count('href="sms:988"') == 2, "in the letter, and at its foot"


@pytest.mark.parametrize(
    "body",
    [
        'Words {{ button("Call", links.home) }} and more',
        '- {{ crisis() }}',
        '> {{ aside("x") }}',
        "{{ crisis() }} {{ crisis() }}",
    ],
)  # fmt: skip
def test_a_block_inside_something_else_is_refused(body: str) -> None:
    with pytest.raises(LetterRefused, match="stands on a line of its own"):
        compile_letter(a_letter(body))


def test_a_part_in_brackets_where_it_would_get_lost_is_refused() -> None:
    with pytest.raises(LetterRefused, match="got lost"):
        compile_letter(a_letter('[a link](https://example.org "{{ reader.first_name }}")'))


def test_lists_quotes_and_rules_read_well_as_plain_text() -> None:
    text = a_sample(compile_letter(a_letter("1. one\n2. two\n\n- a\n- b\n\n> said\n\n---\n\n## Part\n\nEnd"))).text
    assert "1. one\n2. two" in text
    assert "- a\n- b" in text
    assert "> said" in text
    assert "Part\n----" in text


def test_a_paragraph_of_any_length_keeps_its_words_and_its_lines_within_the_limit() -> None:
    long = " ".join(f"w\u00e4rd{number} [l{number}](https://example.org/{number})" for number in range(400))
    content = a_sample(compile_letter(a_letter(f"{long}\n\n{'x' * 700} {'y' * 700}")))
    for part in (content.html, content.text):
        assert max(len(line.encode()) for line in part.splitlines()) <= 998
        assert len(re.findall(r"w\u00e4rd\d+|x{700}|y{700}", part)) == 402
    assert "https://example.org/399" in content.text
    assert content.html.count("<a ") - a_sample(compile_letter(a_letter("x"))).html.count("<a ") == 400


NAMES = st.text(st.characters(categories=("L", "M", "Zs"), include_characters="'-.’"), max_size=40)


_KEPT = {name: lambda *given, name=name: f"{{{{ {name}({', '.join(map(json.dumps, given))}) }}}}" for name in dialect.MACROS}


def _smooth(page: str) -> str:
    """Without what does not show: where lines break between tags, and which way a character is escaped."""
    return re.sub(r"\s*\n\s*", " ", re.sub(r">\s+<", "><", html.unescape(page)))


@pytest.mark.parametrize("letter", SHIPPED, ids=lambda letter: letter.key)
@settings(max_examples=20)
@given(name=NAMES, day=st.sampled_from(["2 March 2026", "31 December 2025"]), fee=st.sampled_from(["", "20 dollars"]))
def test_filling_an_edition_equals_running_the_whole_pipeline_on_the_filled_source(
    letter: Letter, name: str, day: str, fee: str
) -> None:
    values = VALUES | {
        "reader": {"first_name": " ".join(name.split()), "signed_up_on": day}, "practice": VALUES["practice"] | {"fee": fee},
    }  # fmt: skip
    late = fill(EDITIONS[letter.key], values)

    def first(source: str) -> str:  # the reader's source: filled, with the macros still in it
        return dialect.PLAIN.from_string(source).render(values | _KEPT)

    own = replace(letter, subject=first(letter.subject), preheader=first(letter.preheader), body=first(letter.body))
    early = fill(compile_letter(own), values)
    assert late.subject == early.subject
    assert late.text == early.text
    assert _smooth(late.html) == _smooth(early.html)


def test_an_edition_published_with_names_of_before_is_filled_as_it_was() -> None:
    edition = next(iter(EDITIONS.values()))
    old = edition.html.replace("look.color ", "look.colour ").replace("look.dark_color ", "look.colour_in_the_dark ")
    assert old != edition.html
    asks = "{{ practice.licence }}"
    assert fill(Edition(edition.subject, old, f"{edition.text}{asks}"), VALUES).html == fill(edition, VALUES).html
    assert (
        fill(Edition(edition.subject, old, asks), VALUES | {"practice": {**VALUES["practice"], "licence": "L-1"}}).text == "L-1"
    )
