"""Any stored draft opens and is a remark; one bad draft never breaks a list, a save or a page of the desk."""

from contextlib import suppress
from datetime import date

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from nurture.domain.user import Role
from nurture.ids import StepKey
from nurture.letters.authoring import Parts, composed, parts_of
from nurture.letters.compiler import compile_letter
from nurture.letters.gate import check, measure
from nurture.letters.markup import check_letter
from nurture.letters.source import LetterRefused, read_stored
from nurture.runtime import Runtime
from nurture.services.accounts import accounts
from nurture.services.accounts.accounts import Account
from nurture.services.addresses import parse_address
from nurture.services.letters import drafts as editing
from nurture.services.letters.drafts import DraftRefused
from nurture.store.core.schema import drafts, steps
from tests.desk import log_in, post
from tests.letters.samples import VALUES, a_sample

KEY = "ketamine-and-talk-therapy"
HISTORY = StepKey("history")
PAGE = f"/desk/letters/{KEY}/{HISTORY}"

NESTED = "{% if practice.fee %}" * 150 + "x" + "{% endif %}" * 150
BAD_BODIES = {
    "a space in an id": '# T\n\nSaid {{ cite("berman 2000") }}.\n',
    "an en dash in an id": '# T\n\nSaid {{ cite("berman–2000") }}.\n',
    "an unknown id": '# T\n\nSaid {{ cite("nobody-1999") }}.\n',
    "one known id, one not": '# T\n\nSaid {{ cite("berman-2000", "nobody 1999") }}.\n',
    "150 nested ifs": NESTED,
    "60 nested ifs": "{% if practice.fee %}" * 60 + "x" + "{% endif %}" * 60,
    "400 ands": "{% if " + " and ".join(["practice.fee"] * 400) + " %}x{% endif %}",
    "400 defaults": "{{ practice.fee" + '|default("x")' * 400 + " }}",
    "500 brackets": "{{ " + "(" * 500 + "practice.fee" + ")" * 500 + " }}",
    "3000 nots": "{% if " + "not " * 3000 + "practice.fee %}x{% endif %}",
    "300 elifs": "{% if practice.fee %}" + "{% elif practice.fee %}x" * 300 + "{% endif %}",
    "deep emphasis": "*a **b " * 600 + "c** d*" * 600,
    "3000 stars": "*" * 3000 + "a" + "*" * 3000,
    "deep quotations": "> " * 400 + "a",
    "deep lists": "".join(f"{'  ' * depth}- a\n" for depth in range(100)),
    "deep brackets": "[" * 2000 + "a" + "](https://example.org)" * 2000,
    "deep pictures": "![" * 900 + "a" + "](picture:a.png)" * 900,
    "a broken link": "[x](http://[y)",
    "two hundred thousand characters": "word " * 40_000,
    "an unclosed bracket": "{{ ",
    "raw": "{% raw %}{{ x }}{% endraw %}",
    "a huge number": "{{ " + "9" * 5000 + " }}",
    "an aside full of brackets": "{{ aside('{{ x }}{% if %}') }}",
    "a list number too large": "999999999. a\n",
}


@pytest.fixture
def me(rt: Runtime) -> Account:
    """Who is at the desk."""
    who = accounts.add(rt, parse_address("dana@example.org"), "Dana", Role.OWNER)
    return next(one for one in accounts.everyone(rt) if one.id == who)


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_draft_is_saved_opens_and_is_a_remark(rt: Runtime, me: Account, body: str) -> None:
    now = editing.open_letter(rt, KEY, HISTORY)
    kept = editing.save(rt, KEY, HISTORY, Parts("A subject", "A line below it", body), now.version, me.id)
    assert kept.parts.body.rstrip("\n") == body.rstrip("\n"), "nothing typed is lost"
    _, letters = editing.all_letters(rt)
    looks = {each.key: editing.review(rt, each.letter) for each in letters}
    assert len(looks) == 6
    assert looks[HISTORY].stops, "and it cannot go out"
    assert editing.FAILED not in looks[HISTORY].refused, "somebody is told what is wrong, not only that something is"
    with pytest.raises(DraftRefused):
        editing.publish(rt, KEY, HISTORY, kept.version, me)
    again = editing.save(rt, KEY, HISTORY, Parts("A subject", "", body + "\nmore\n"), kept.version, me.id)
    assert again.version == kept.version + 1, "it can be saved again"


@pytest.mark.parametrize("name", ["a space in an id", "an en dash in an id", "an unknown id"])
def test_an_unknown_source_is_a_remark_with_its_line_and_the_others_stay(rt: Runtime, me: Account, name: str) -> None:
    now = editing.open_letter(rt, KEY, HISTORY)
    kept = editing.save(rt, KEY, HISTORY, Parts("A subject", "", BAD_BODIES[name] + "It cures you.\n"), now.version, me.id)
    remarks = editing.review(rt, kept.letter).remarks
    found = [one for one in remarks if one.finding.rule == "T20"]
    assert [(one.line, one.stops) for one in found] == [(3, True)]
    assert "C01" in {one.finding.rule for one in remarks}, "the rest of the letter is looked at all the same"


@pytest.mark.parametrize("name", ["a space in an id", "150 nested ifs", "3000 stars", "a huge number", "an unclosed bracket"])
def test_every_page_of_a_bad_draft_answers(client: FlaskClient, rt: Runtime, name: str) -> None:
    log_in(client, rt)
    version = editing.open_letter(rt, KEY, HISTORY).version
    assert post(client, PAGE, subject="A subject", preheader="", body=BAD_BODIES[name], version=str(version)).status_code == 303
    for path in ("/desk/letters/", PAGE, f"{PAGE}/preview", f"{PAGE}/preview?view=plain", f"{PAGE}/publish", f"{PAGE}/editions",
                 "/desk/", "/desk/sequence/"):  # fmt: skip
        assert client.get(path, follow_redirects=True).status_code == 200, path
    assert post(client, f"{PAGE}/publish", version=str(version + 1)).status_code == 422
    assert post(client, f"{PAGE}/test-email", version=str(version + 1)).status_code in (200, 422)


BAD_FILES = {
    "empty": "",
    "no front matter": "# Only Markdown\n",
    "an open front matter": "---\nsubject: x\n",
    "no subject": "---\nwait: 3 days\n---\n# T\n",
    "no YAML": "---\nsubject: a: b: [\nwait: 3 days\n---\n# T\n\nThe text.\n",
    "a wait nobody understands": "---\nsubject: A subject\nwait: soon\n---\n# T\n\nThe text.\n",
    "a source that was taken out of the registry": "---\nsubject: A subject\nwait: 3 days\nsources:\n  - gone-1999\n---\n# T\n",
    "an alias bomb": "---\nsubject: A subject\na: &a [x, x]\nb: &b [*a, *a]\nsources: [*b, *b]\n---\n# T\n\nThe text.\n",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_stored_file_that_cannot_be_read_opens_and_can_be_mended(client: FlaskClient, rt: Runtime, name: str) -> None:
    log_in(client, rt)
    (me, *_) = accounts.everyone(rt)
    now = editing.open_letter(rt, KEY, HISTORY)
    kept = editing.save(rt, KEY, HISTORY, Parts("Other", now.parts.preheader, now.parts.body), now.version, me.id)
    with rt.database.begin() as db:
        db.execute(update(drafts).values(text=BAD_FILES[name]))
    for path in ("/desk/letters/", PAGE, f"{PAGE}/preview", f"{PAGE}/publish", f"{PAGE}/editions", "/desk/"):
        assert client.get(path, follow_redirects=True).status_code == 200, path
    bad = editing.open_letter(rt, KEY, HISTORY)
    assert editing.review(rt, bad.letter).stops
    parts = Parts("Mended", "", bad.parts.body + "\nMended.\n")
    mended = editing.save(rt, KEY, HISTORY, parts, kept.version, me.id)
    assert (mended.parts.subject, mended.parts.body) == (parts.subject, parts.body)
    assert not mended.letter.unreadable


def test_a_published_file_that_cannot_be_read_breaks_no_page(client: FlaskClient, rt: Runtime) -> None:
    log_in(client, rt)
    with rt.database.begin() as db:
        db.execute(update(steps).where(steps.c.key == HISTORY).values(source="---\nsubject: [\n---\n# T {{\n"))
    for path in ("/desk/letters/", PAGE, f"{PAGE}/preview?published=1", f"{PAGE}/publish", "/desk/", "/desk/sequence/",
                 "/desk/settings/practice", "/", "/read/" + KEY):  # fmt: skip
        assert client.get(path, follow_redirects=True).status_code == 200, path
    assert client.get(f"/read/{KEY}/{HISTORY}").status_code == 404


PIECES = st.sampled_from([
    "{{", "}}", "{%", "%}", "{#", "#}", " if ", " endif ", " else ", " not ", "practice.fee", "reader.first_name", "links.home",
    "cite(", '"berman-2000"', '"berman 2000"', "“x”", ")", "(", "|default(", '"x"', ",", "button(", "aside(", "crisis()", "raw",
    "\n", "\n\n", "# ", "> ", "- ", "1. ", "*", "**", "`", "```\n", "[", "](https://x.org)", "](http://[", "![", "---\n", ":",
    "](picture:a.png)", "<b>", "&amp;", "\\", "\t", "Cures depression. ", "word ", "[1]", "[99]", "é", "\u202e", "\ue0001", "☎",
])  # fmt: skip
BODIES = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=40).map("".join)


@settings(max_examples=80)
@given(BODIES, st.one_of(st.text(max_size=60), BODIES), BODIES)
def test_looking_at_any_draft_only_ever_refuses_it(body: str, subject: str, file: str) -> None:
    texts = [file, f"---\n{file}\n---\n{body}"]
    with suppress(LetterRefused):
        texts.append(composed("01-a.md", "---\nsubject: A\nwait: 3 days\n---\n# T\n", Parts(subject, subject, body)))
    for text in texts:
        letter = read_stored("01-a.md", text)
        check(letter, today=date(2026, 3, 2), facts=VALUES["practice"])
        check_letter(letter, VALUES)
        measure(letter)
        try:
            compile_letter(letter)
        except LetterRefused as refused:
            assert refused.advice
        try:
            composed("01-a.md", text, Parts("Other", "", body))
        except LetterRefused as refused:
            assert refused.advice
        assert parts_of(letter)


@settings(max_examples=25)
@given(st.text(alphabet=st.sampled_from("{}%()[]*_`>#-|&!\"'~<\\ \n.x1é"), max_size=400))
def test_a_preview_of_any_draft_is_shown_or_refused(text: str) -> None:
    letter = read_stored("01-a.md", f"---\nsubject: A\n---\n{text}")
    try:
        edition = compile_letter(letter)
    except LetterRefused:
        return
    assert a_sample(edition).html
