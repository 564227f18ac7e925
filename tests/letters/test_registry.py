"""Every source can be read somewhere, says what it found, and belongs to a letter; an entry that cannot be used is named."""

from datetime import date
from functools import cache

import pytest

from nurture.letters.registry import TEXT_LIMIT, RegistryRefused, Work, read_registry, shipped
from nurture.letters.source import Letter, read_folder
from nurture.resources import pack

ONLY_ACCOUNTS_READ = {"lifeline-988", "zarate-2006", "fda-records", "murrough-2013", "fda-2023", "va-dod-2022", "rush-2006"}
ENTRY = """
- id: doe-2021
  authors: Doe J and others
  year: 2021
  title: "A trial: of something?"
  journal: Journal 1:2
  doi: 10.1000/j.2021
  finding: Some people felt better.
  size: 12 people
  limits: Small.
  verified-on: 2026-11-23
  topics: [history]
"""


@cache
def letters() -> tuple[Letter, ...]:
    return tuple(read_folder(pack().letters / "ketamine-and-talk-therapy")[1])


def the_only(text: str) -> Work:
    (work,) = read_registry(text).values()
    return work


def test_an_entry_is_read_whole() -> None:
    assert the_only(ENTRY) == Work(
        "doe-2021", "Doe J and others", 2021, "A trial: of something?", "Journal 1:2", "10.1000/j.2021", "", "", "",
        "Some people felt better.", "12 people", "Small.", date(2026, 11, 23), ("history",),
    )  # fmt: skip
    assert the_only(ENTRY).url == "https://doi.org/10.1000/j.2021"
    assert (
        the_only(ENTRY).text
        == "Doe J and others (2021). A trial: of something? Journal 1:2. Some people felt better. 12 people."
    )


def test_without_a_doi_it_is_read_at_pubmed() -> None:
    work = the_only(ENTRY.replace("doi: 10.1000/j.2021", "pmid: 123"))
    assert work.url == "https://pubmed.ncbi.nlm.nih.gov/123/"
    assert work.text.endswith("12 people. PMID 123.")


def test_an_agencys_page_needs_no_year() -> None:
    work = the_only("[{id: a, authors: Agency, agency: Agency, url: 'https://agency.example/a', finding: Words}]")
    assert (work.url, work.text) == ("https://agency.example/a", "Agency. Words.")
    assert (work.year, work.verified_on, work.topics) == (None, None, ())


def test_a_title_nobody_is_sure_of_is_left_out_and_so_is_one_that_makes_the_line_too_long() -> None:
    short = "Doe J and others (2021). Journal 1:2. Some people felt better. 12 people."
    title = '  title: "A trial: of something?"\n'
    assert the_only(ENTRY.replace(title, "")).text == short
    long = the_only(ENTRY.replace(title, f"  title: {'word ' * 30}end\n"))
    assert long.text == short
    assert long.title.endswith("end"), "the page of sources has it"


@pytest.mark.parametrize("text", ["", "[]", "# nothing yet\n"])
def test_a_registry_may_be_empty(text: str) -> None:
    assert read_registry(text) == {}


@pytest.mark.parametrize(
    ("instead_of", "written", "advice"),
    [
        ("  finding: Some people felt better.\n", "", "source doe-2021: `finding` is missing."),
        ("finding: Some people felt better.", "finding: '  '", "source doe-2021: `finding` is missing."),
        ("finding: Some people felt better.", "finding: [a]", "source doe-2021: `finding` must be one line of text."),
        (
            "finding: Some people felt better.",
            "finding: |\n    a\n    b",
            "source doe-2021: `finding` must be one line of text.",
        ),
        ("finding: Some people felt better.", "finding: yes", "source doe-2021: `finding` must be one line of text."),
        ("  authors: Doe J and others\n", "", "source doe-2021: `authors` is missing."),
        ("year: 2021", "year: soon", "source doe-2021: `year` must be a year such as 2021."),
        ("year: 2021", "year: '2021'", "source doe-2021: `year` must be a year such as 2021."),
        ("year: 2021", "year: 21", "source doe-2021: `year` must be a year such as 2021."),
        ("year: 2021", "year: true", "source doe-2021: `year` must be a year such as 2021."),
        ("  year: 2021\n", "", "source doe-2021: `year` must be a year such as 2021."),
        ("  doi: 10.1000/j.2021\n", "", "source doe-2021: give a `doi`, a `pmid`, or an `agency` and a `url`"),
        ("doi: 10.1000/j.2021", "agency: Agency", "source doe-2021: give a `doi`, a `pmid`, or an `agency` and a `url`"),
        ("doi: 10.1000/j.2021", "url: https://a.example", "source doe-2021: give a `doi`, a `pmid`, or an `agency`"),
        (
            "doi: 10.1000/j.2021",
            "agency: A\n  url: http://a.example",
            "source doe-2021: give a `doi`, a `pmid`, or an `agency`",
        ),
        ("doi: 10.1000/j.2021", "doi: https://doi.org/10.1000/j", "source doe-2021: `doi` begins with 10."),
        ("doi: 10.1000/j.2021", "pmid: PMC12", "source doe-2021: `pmid` is a number such as 10686270."),
        ("verified-on: 2026-11-23", "verified-on: lately", "source doe-2021: `verified-on` must be a date such as 2026-11-23"),
        ("verified-on: 2026-11-23", "verified-on: 2026", "source doe-2021: `verified-on` must be a date such as 2026-11-23"),
        ("verified-on: 2026-11-23", "verified-on: 2026-11-23 09:00:00", "source doe-2021: `verified-on` must be a date"),
        ("topics: [history]", "topics: history", "source doe-2021: `topics` must be a list of keys of letters"),
        ("topics: [history]", "topics: [1]", "source doe-2021: `topics` must be a list of keys of letters"),
        ("limits: Small.", "limit: Small.", "source doe-2021: `limit` is not a field of a source."),
        ("id: doe-2021", "id: Doe 2021", "source Doe 2021: it needs an `id` of small letters, digits and hyphens"),
        ("id: doe-2021", "id: 2021", "source 2021: it needs an `id`"),
        ("id: doe-2021", "id:", "source 1: it needs an `id`"),
    ],
)
def test_an_entry_that_cannot_be_used_is_named(instead_of: str, written: str, advice: str) -> None:
    assert instead_of in ENTRY
    with pytest.raises(RegistryRefused) as refused:
        read_registry(ENTRY.replace(instead_of, written))
    assert str(refused.value).startswith(f"sources.yaml, {advice}")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (ENTRY + ENTRY, "sources.yaml, source doe-2021: there are two of this `id`."),
        (ENTRY + "- just words\n", "sources.yaml, source 2: expected lines of the form `name: value`"),
        ("id: doe-2021\n", "sources.yaml: expected a list of sources"),
        ("just words", "sources.yaml: expected a list of sources"),
        ("0", "sources.yaml: expected a list of sources"),
        (ENTRY + "  a: b: c\n", "sources.yaml, line 13: this part cannot be read."),
        (ENTRY.replace("2026-11-23", "2026-02-30"), "sources.yaml: this part cannot be read."),
        ("[" * 3000, "sources.yaml"),
        ("\0", "sources.yaml: this part cannot be read."),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_plain_words(text: str, advice: str) -> None:
    with pytest.raises(RegistryRefused) as refused:
        read_registry(text)
    assert str(refused.value).startswith(advice)
    assert "yaml." not in str(refused.value).replace("sources.yaml", "")


@pytest.mark.parametrize("work", shipped().values(), ids=shipped())
def test_every_source_can_be_read_somewhere_and_says_how_far_it_carries(work: Work) -> None:
    assert work.url.startswith("https://")
    assert work.doi or work.pmid or work.agency
    assert f"{work.year}" in work.id or work.agency
    assert len(work.text) <= TEXT_LIMIT
    assert work.cited in work.text
    assert work.finding in work.text
    assert work.limits
    for sentence in (work.finding, work.limits):
        assert sentence[0].isupper()
        assert sentence.endswith(".")


@pytest.mark.parametrize("work", shipped().values(), ids=shipped())
def test_every_source_belongs_to_the_letters_that_cite_it(work: Work) -> None:
    citing = {str(letter.key) for letter in letters() if work.id in [source.id for source in letter.sources]}
    assert work.topics
    assert set(work.topics) <= {str(letter.key) for letter in letters()}
    assert not citing or set(work.topics) == citing


def test_every_source_of_the_letters_is_in_the_registry() -> None:
    listed = [source for letter in letters() for source in letter.sources]
    assert len(listed) >= 24
    for source in listed:
        assert (source.text, source.url) == (shipped()[source.id].text, shipped()[source.id].url)


def test_what_nobody_has_read_yet_does_not_say_it_was() -> None:
    assert {work.id for work in shipped().values() if work.verified_on is None} == ONLY_ACCOUNTS_READ


def test_no_two_sources_are_the_same_paper() -> None:
    for field in ("doi", "pmid"):
        given = [value for work in shipped().values() if (value := getattr(work, field))]
        assert len(given) == len(set(given))
