"""A letter can name a reader and ask whether something is known; it cannot compute, call, loop or reach anything else."""

import pytest
from jinja2 import UndefinedError

from nurture.letters.compiler import compile_letter
from nurture.letters.dialect import HTML, NAMES, PLAIN, check, missing_values, template
from nurture.letters.source import LetterRefused, read_letter

FILE, FIRST_LINE = "07-hope.md", 10
VALUES = {group: {name: f"‹{group} {name}›" for name in names} for group, names in NAMES.items()}


def refusal(source: str) -> LetterRefused:
    """What the author is told about `source`, standing on the third line of a letter's text."""
    with pytest.raises(LetterRefused) as refused:
        check(f"Dear reader,\n\n{source}\n", FILE, FIRST_LINE)
    return refused.value


@pytest.mark.parametrize(
    "source",
    [
        "",
        "No curly brackets at all, 100 % of it, { or } or #.",
        "{{ reader.first_name }}",
        "{{reader.first_name}}",
        "{{- reader.first_name -}}",
        "{{ reader.first_name | default('there') }}",
        "{{ reader.first_name | d('there', true) }}",
        "{{ practice.name }}, {{ practice.postal_address }}",
        "{{ links.unsubscribe }} {{ links.consultation }} {{ links.home }}",
        "{% if reader.first_name %}Dear {{ reader.first_name }}{% else %}Hello{% endif %}",
        "{% if reader.first_name and not practice.name %}a{% elif practice.name or links.home %}b{% endif %}",
        "{{ 'Dear ' if reader.first_name else 'Hello' }}",
        "{# a note to myself #}",
    ],
)
def test_what_a_letter_needs_is_allowed_and_can_be_filled(source: str) -> None:
    check(source, FILE)
    for html in (True, False):
        assert "{{" not in template(source, html).render(VALUES)


@pytest.mark.parametrize("group", NAMES)
def test_every_known_name_is_allowed(group: str) -> None:
    for name in NAMES[group]:
        check(f"{{{{ {group}.{name} }}}}", FILE)


ESCAPES = [
    # attribute chains
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ reader.__class__ }}",
    "{{ reader.__init__.__globals__ }}",
    "{{ reader.first_name.__class__ }}",
    "{{ reader.first_name.upper }}",
    "{{ reader['__class__'] }}",
    "{{ reader['first_name'] }}",
    "{{ reader[0] }}",
    "{{ reader.first_name[:5] }}",
    "{{ (reader or practice).first_name }}",
    "{{ (reader if reader else links).__class__ }}",
    "{{ (reader | default(1)).__class__ }}",
    "{{ reader.links }}",
    "{{ practice.first_name }}",
    # names that a template engine or a framework puts there
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ config }}",
    "{{ request.application }}",
    "{{ env }}",
    "{{ lipsum }}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler.__init__ }}",
    "{{ joiner }}",
    "{{ namespace }}",
    "{{ dict }}",
    "{{ loop }}",
    "{{ super }}",
    "{{ varargs }}",
    "{{ caller }}",
    "{{ __import__ }}",
    # calls
    "{{ reader() }}",
    "{{ reader.first_name() }}",
    "{{ lipsum(n=9999) }}",
    "{{ range(99999) }}",
    "{{ dict(a=1) }}",
    "{{ ''.join(['a']) }}",
    "{{ reader.first_name | default(range(9)) }}",
    "{{ reader.first_name | default(boolean=true, default_value=range(9)) }}",
    "{% call reader() %}{% endcall %}",
    # formatting
    "{{ '%099999999d' % 1 }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{{ '{a}'.format_map(reader) }}",
    "{{ '%s' | format(reader) }}",
    # filters
    "{{ reader | attr('__class__') }}",
    "{{ ('a' | attr('format'))('x') }}",
    "{{ reader | xmlattr }}",
    "{{ 'a' | wordwrap(1) }}",
    "{{ 'a' | center(99999999) }}",
    "{{ 'a' | indent(99999999) }}",
    "{{ 'a' | list | map('upper') }}",
    "{{ reader.first_name | safe }}",
    "{{ reader.first_name | upper }}",
    "{{ reader.first_name | e }}",
    "{{ reader | tojson }}",
    "{{ reader | pprint }}",
    "{{ reader.first_name | default('x') | replace('x', 'y') }}",
    "{% filter upper %}a{% endfilter %}",
    "{{ 1 is divisibleby(1) }}",
    "{% if reader.first_name is defined %}a{% endif %}",
    # arithmetic and containers
    "{{ 'a' * 100000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 1 + 1 }}",
    "{{ 1 - 1 }}",
    "{{ 1 / 0 }}",
    "{{ 1 // 0 }}",
    "{{ -1 }}",
    "{{ +1 }}",
    "{{ 'a' ~ 'b' }}",
    "{{ 'a' 'b' ~ reader.first_name }}",
    "{{ [1, 2] }}",
    "{{ (1, 2) }}",
    "{{ {'a': 1} }}",
    "{{ [reader] * 99999999 }}",
    # statements
    "{% for n in range(99999) %}{% endfor %}",
    "{% for n in reader %}{% endfor %}",
    "{% for a in 'aaaa' recursive %}{{ loop('a') }}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}",
    "{% set reader = 1 %}",
    "{% set x %}a{% endset %}",
    "{% set reader.first_name = 'x' %}",
    "{% include '/etc/passwd' %}",
    "{% include reader.first_name %}",
    "{% import 'os' as os %}",
    "{% from 'os' import path %}",
    "{% extends 'layout.html' %}",
    "{% block body %}{% endblock %}",
    "{% with reader = practice %}{{ reader.name }}{% endwith %}",
    "{% do reader.first_name %}",
    "{% trans %}a{% endtrans %}",
    "{% debug %}",
    "{% nothing %}",
    "{% break %}",
    # hidden in what is allowed
    "{% if reader.first_name %}{{ ''.__class__ }}{% endif %}",
    "{% if ''.__class__ %}{% endif %}",
    "{% if reader.first_name %}{% elif range(9) %}{% endif %}",
    "{{ 'a' if range(9) else 'b' }}",
    "{{ not range(9) }}",
    # what cannot be read
    "{{ reader.first_name",
    "{{ }}",
    "{% endif %}",
    "{{ reader.first_name }",
    "{{ reader. }}",
    "{{{ reader.first_name }}}",
    "{# no end",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_what_a_letter_must_not_do_is_refused_with_its_line_and_in_plain_words(source: str) -> None:
    refused = refusal(source)
    assert refused.where in (f"{FILE}, line 12", f"{FILE}, line 13")  # a part that is never closed is missed at the end
    assert str(refused) == f"{refused.where}: {refused.advice}"
    assert "Error" not in refused.advice
    assert "jinja" not in refused.advice.lower()


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("{{ range(9) }}", "This letter uses `range`, which letters cannot."),
        ("{% for n in reader %}{% endfor %}", "This letter uses loops, which letters cannot."),
        ("{% macro m() %}{% endmacro %}", "This letter uses macros, which letters cannot."),
        ("{% set a = 1 %}", "This letter uses `set`, which letters cannot."),
        ("{% include 'a' %}", "This letter uses `include`, which letters cannot."),
        ("{{ reader.first_name.upper() }}", "This letter uses calls, which letters cannot."),
        ("{{ reader.first_name | upper }}", "This letter uses `upper`, which letters cannot."),
    ],
)
def test_a_refusal_names_what_was_used(source: str, advice: str) -> None:
    assert refusal(source).advice == advice


def test_a_name_that_does_not_exist_is_answered_with_those_that_do() -> None:
    said = refusal("{{ user }}").advice
    assert said.startswith("This letter asks for `user`, which does not exist. Known are: ")
    for known in ("reader.first_name", "practice.name", "links.consultation"):
        assert known in said


def test_a_misspelt_name_is_answered_with_its_neighbours() -> None:
    said = refusal("{{ reader.firstname }}").advice
    assert said == "`reader.firstname` does not exist. Known are: reader.first_name, reader.signed_up_on."


@pytest.mark.parametrize("test", ["reader.first_name == 'Robin'", "practice.name != links.home", "'a' in reader.first_name"])
def test_comparisons_are_allowed(test: str) -> None:
    check(f"{{% if {test} %}}a{{% endif %}}", FILE)


@pytest.mark.parametrize(
    "source",
    [
        "{% if reader.first_name == 'a' * 99999999 %}{% endif %}",
        "{% if 'a' in ['a'] %}{% endif %}",
        "{{ 1 < range(9) }}",
        "{% autoescape false %}{{ reader.first_name }}{% endautoescape %}",
    ],
)
def test_what_is_hidden_in_a_comparison_or_an_argument_is_refused_with_its_line(source: str) -> None:
    assert refusal(source).where == f"{FILE}, line 12"


@pytest.mark.parametrize("source", ["{% if reader.first_name %}", "{% if reader.first_name %}{% endfor %}"])
def test_an_if_without_its_end_is_explained_in_plain_words(source: str) -> None:
    assert "jinja" not in refusal(source).advice.lower()


@pytest.mark.parametrize(
    "source", ["{{ user.name }}", "{{ (reader or practice).first_name }}", "{{ reader.first_name.upper }}"]
)
def test_a_name_in_a_group_that_does_not_exist_is_answered_with_those_that_do(source: str) -> None:
    assert "Known are: " in refusal(source).advice


@pytest.mark.parametrize("source", ["{{ reader }}", "{{ links }}", "{{ reader | default('x') }}"])
def test_a_group_of_names_alone_is_refused(source: str) -> None:
    assert "Known are: " in refusal(source).advice


@pytest.mark.parametrize(
    "source",
    ["{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}", "{{ " + "not " * 5_000 + "1 }}", "{{ " + "9" * 5_000 + " }}"],
    ids=["brackets", "not", "a long number"],
)
def test_a_part_that_is_endless_is_refused_like_any_other(source: str) -> None:
    assert refusal(source).advice


@pytest.mark.parametrize(
    "letter",
    [
        "subject: a\n---\n{% raw %}{{ 7 * 7 }}{% endraw %}\n",
        "subject: a\n---\n{ {#- a note #}{ 7 * 7 }}\n",
        "subject: a\n---\n\\{\\{ 7 * 7 }}\n",
        "subject: a\n---\n&#123;&#123; 7 * 7 }}\n",
        "subject: a\nsources: [{text: '{{ 7 * 7 }}', url: 'https://example.org'}]\n---\nHello\n",
    ],
    ids=["raw", "comment", "backslashes", "entities", "source"],
)
def test_brackets_that_come_about_on_the_way_are_refused_or_stay_text(letter: str) -> None:
    try:
        edition = compile_letter(read_letter(FILE, f"---\n{letter}"))
    except LetterRefused as refused:
        assert FILE in refused.where
        return
    for part, html in ((edition.html, True), (edition.text, False)):
        assert "7 * 7" in template(part, html).render(VALUES)


def test_the_first_line_counts_from_one_where_none_is_given() -> None:
    with pytest.raises(LetterRefused, match=r"^subject, line 1: "):
        check("{{ user }}", "subject")


def test_the_sandbox_under_the_list_has_nothing_to_call_either() -> None:
    for environment in (HTML, PLAIN):
        assert environment.globals == {}
        assert environment.sandboxed


def test_values_are_escaped_in_html_and_left_alone_in_plain_text() -> None:
    values = {"reader": {"first_name": "<b>&"}}
    assert template("{{ reader.first_name }}", True).render(values) == "&lt;b&gt;&amp;"
    assert template("{{ reader.first_name }}", False).render(values) == "<b>&"


def test_a_value_is_never_read_as_a_template() -> None:
    values = {"reader": {"first_name": "{{ practice.name }}"}}
    assert template("{{ reader.first_name }}", False).render(values) == "{{ practice.name }}"


def test_a_value_that_is_missing_is_an_error_and_no_gap() -> None:
    with pytest.raises(UndefinedError):
        template("Dear {{ reader.first_name }},", False).render(reader={})


@pytest.mark.parametrize(
    "source",
    [
        '{{ cite("berman-2000") }}',
        "{{ cite('a', 'b') }}",
        '{{ button("Ask for a call", links.consultation) }}',
        '{{ button("Read", "https://example.org") }}',
        "{{ crisis() }}",
        '{{ aside("A remark") }}',
        '{% if practice.fee %}{{ aside("A remark") }}{% endif %}',
    ],
)
def test_macros_are_allowed_in_the_text_and_nowhere_else(source: str) -> None:
    check(source, FILE, macros=True)
    with pytest.raises(LetterRefused, match="which only the text of a letter can"):
        check(source, FILE)


@pytest.mark.parametrize(
    "source",
    [
        "{{ cite() }}",
        "{{ cite(1) }}",
        "{{ cite('') }}",
        "{{ cite(reader.first_name) }}",
        "{{ crisis(1) }}",
        "{{ crisis(x=1) }}",
        "{{ crisis(*links) }}",
        "{{ aside() }}",
        "{{ aside(reader.first_name) }}",
        "{{ aside('a', 'b') }}",
        "{{ button('Go') }}",
        "{{ button('Go', reader.first_name) }}",
        "{{ button('Go', 'http://example.org') }}",
        "{{ button('Go', 'javascript:alert(1)') }}",
        "{{ button('Go', practice.name) }}",
        "{{ button('Go', links) }}",
        "{{ crisis() | default('') }}",
        "{{ crisis() if reader.first_name }}",
        "{{ 'a' ~ crisis() }}",
        "{% if crisis() %}a{% endif %}",
        "{{ aside(crisis()) }}",
        "{{ crisis()() }}",
        "{{ crisis().x }}",
        "{{ range(9) }}",
        "{{ reader.first_name.upper() }}",
        "{{ crisis }}",
        "{{ button('Go', links.nowhere) }}",
    ],
)
def test_a_macro_used_otherwise_is_refused_with_an_example_or_a_reason(source: str) -> None:
    with pytest.raises(LetterRefused) as refused:
        check(source, FILE, macros=True)
    assert refused.value.where.startswith(FILE)
    said = refused.value.advice
    assert "Write {{ " in said or "{{ " in said or "cannot" in said or "does not exist" in said, said


NOTHING = {"reader": {}, "practice": {"state": "Oregon"}}


@pytest.mark.parametrize(
    ("source", "holes"),
    [
        ("{{ reader.first_name }}", ["reader.first_name 1"]),
        ("a\n\n{{ practice.fee }}", ["practice.fee 3"]),
        ("{{ practice.fee }}{{ practice.fee }}", ["practice.fee 1"]),
        ("{{ practice.state }}", []),
        ("{% if reader.first_name %}{{ reader.first_name }}{% endif %}", []),
        ("{% if not reader.first_name %}{{ reader.first_name }}{% endif %}", ["reader.first_name 1"]),
        ("{% if not reader.first_name %}a{% else %}{{ reader.first_name }}{% endif %}", []),
        ("{% if practice.fee and reader.first_name %}{{ reader.first_name }}{{ practice.fee }}{% endif %}", []),
        ("{% if practice.fee or practice.state %}{{ practice.fee }}{% endif %}", ["practice.fee 1"]),
        ("{% if not (practice.fee or reader.first_name) %}{{ practice.fee }}{% endif %}", ["practice.fee 1"]),
        ("{% if practice.fee %}{{ practice.name }}{% endif %}", []),
        (
            "{% if practice.fee %}a{% elif practice.state %}{{ practice.state }}{{ practice.fee }}{% endif %}",
            ["practice.fee 1"],
        ),
        ("{% if practice.state %}a{% elif practice.fee %}b{% else %}{{ practice.fee }}{% endif %}", []),
        ("{{ reader.first_name if reader.first_name else 'you' }}", []),
        ("{{ 'you' if reader.first_name else reader.first_name }}", ["reader.first_name 1"]),
        ("{{ reader.first_name | default('you', true) }}", []),
        ("{{ reader.first_name | default('you', boolean=true) }}", []),
        ("{{ reader.first_name | default(practice.fee, true) }}", ["practice.fee 1"]),
        ("{{ reader.first_name | default('you') }}", ["reader.first_name 1"]),
        ("{{ reader.first_name | default('you', false) }}", ["reader.first_name 1"]),
        ("{% if practice.name %}{% if true %}{{ practice.name }}{% endif %}{% endif %}", []),
        ("{% if practice.fee == practice.state %}{{ practice.fee }}{% endif %}", ["practice.fee 1"]),
        ("{{ links.home }}", []),
        ('{{ button("Go", links.home) }}{{ cite("berman-2000") }}', []),
    ],
)
def test_what_would_leave_a_hole_is_found(source: str, holes: list[str]) -> None:
    letter = read_letter("01-try.md", f"---\nsubject: Try\nwait: 1 day\n---\n{source}\n")
    found = missing_values(letter, NOTHING)
    assert [f"{each.group}.{each.name} {each.line - letter.body_line + 1}" for each in found] == holes
    assert {each.part for each in found} <= {"line"}


def test_of_what_nobody_knows_yet_both_ways_are_looked_at() -> None:
    head = "---\nwait: 1 day\nsubject: For {{ reader.first_name }} of {{ practice.name }}\n---\n"
    text = f"{head}{{% if reader.first_name %}}{{{{ practice.fee }}}}{{% else %}}{{{{ practice.state }}}}{{% endif %}}\n"
    known = {"practice": dict.fromkeys(("name", "fee", "state"), "")}
    assert [(each.part, each.line, each.name) for each in missing_values(read_letter("01-try.md", text), known)] == [
        ("subject", 3, "name"), ("line", 5, "fee"), ("line", 5, "state"),
    ]  # fmt: skip
