"""The registry of sources, sources.yaml of the pack: what each found, its size, its limits, and when it was checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from nurture import resources
from nurture.errors import NurtureError
from nurture.letters.bounded_yaml import YamlRefused, read_yaml

TEXT_LIMIT = 220
"""A line under a letter that would grow longer than this goes without the title; the page of sources has it."""
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DOI = re.compile(r"10\.[0-9]{4,9}/[^\s\"<>]+")
_TEXTS = ("authors", "title", "journal", "doi", "pmid", "agency", "url", "finding", "size", "limits")
_FIELDS = {"id", "year", "verified-on", "topics", *_TEXTS}


class RegistryRefused(NurtureError):
    """An entry of the registry cannot be used; the message names it and says what to write."""


@dataclass(frozen=True)
class Work:
    """One source: who found what, when, where it can be read, and how far it carries."""

    id: str
    authors: str
    year: int | None
    """None: a page of an agency that is kept up to date."""
    title: str
    """Empty where nobody is sure of it."""
    journal: str
    """Journal, volume and page; for an agency's page, the kind of document."""
    doi: str
    pmid: str
    agency: str
    address: str
    """For what has neither DOI nor PMID."""
    finding: str
    """One line, in plain words."""
    size: str
    limits: str
    verified_on: date | None
    """The day somebody read the source itself; None: only accounts of it were read."""
    topics: tuple[str, ...] = ()
    """Keys of the letters it belongs to."""

    @property
    def url(self) -> str:
        """Where it can be read: the DOI's resolver, PubMed, or the agency's page."""
        if self.doi:
            return f"https://doi.org/{self.doi}"
        return f"https://pubmed.ncbi.nlm.nih.gov/{self.pmid}/" if self.pmid else self.address

    @property
    def cited(self) -> str:
        """Who and when: "Berman RM and others (2000)"."""
        return f"{self.authors} ({self.year})" if self.year else self.authors

    @property
    def text(self) -> str:
        """As it is listed under a letter."""
        pubmed = f"PMID {self.pmid}" if self.pmid and not self.doi else ""
        rest = (self.journal, self.finding, self.size, pubmed)
        full = _sentences(self.cited, self.title, *rest)
        return full if len(full) <= TEXT_LIMIT else _sentences(self.cited, *rest)


def _sentences(*parts: str) -> str:
    return " ".join(part if part.endswith(("?", "!", ".")) else f"{part}." for part in parts if part)


def read_registry(text: str, where: str = "sources.yaml") -> dict[str, Work]:
    """The registry by id, in the order of its file. Raises RegistryRefused."""
    works: dict[str, Work] = {}
    for number, entry in enumerate(_entries(text, where), 1):
        name = entry.get("id") if isinstance(entry, dict) else None
        place = f"{where}, source {name or number}"
        if not isinstance(entry, dict):
            raise RegistryRefused(f"{place}: expected lines of the form `name: value`, the first of them `id`.")
        if not isinstance(name, str) or not _ID.fullmatch(name):
            raise RegistryRefused(f"{place}: it needs an `id` of small letters, digits and hyphens, such as berman-2000.")
        if name in works:
            raise RegistryRefused(f"{place}: there are two of this `id`. Each source needs an `id` of its own.")
        works[name] = _work(name, entry, place)
    return works


def _entries(text: str, where: str) -> list[Any]:
    try:
        found = read_yaml(text)
    except YamlRefused as refused:
        said = str(refused)
        line = f", line {refused.line}" if refused.line else ""
        raise RegistryRefused(f"{where}{line}: {said[0].lower()}{said[1:]}") from None
    if found is not None and not isinstance(found, list):
        raise RegistryRefused(f"{where}: expected a list of sources, each beginning with `- id:`.")
    return found or []


def _line(entry: Mapping[str, Any], name: str, place: str) -> str:
    value = entry.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int) or "\n" in str(value).strip():
        raise RegistryRefused(f"{place}: `{name}` must be one line of text.")
    return str(value).strip()


def _work(name: str, entry: Mapping[str, Any], place: str) -> Work:
    for field in entry:
        if field not in _FIELDS:
            raise RegistryRefused(f"{place}: `{field}` is not a field of a source. There are {', '.join(sorted(_FIELDS))}.")
    found = {field: _line(entry, field, place) for field in _TEXTS}
    for field in ("authors", "finding"):
        if not found[field]:
            raise RegistryRefused(f"{place}: `{field}` is missing.")
    address = found.pop("url")
    if found["doi"] and not _DOI.fullmatch(found["doi"]):
        raise RegistryRefused(f"{place}: `doi` begins with 10. and has no https:// before it.")
    if found["pmid"] and not (found["pmid"].isascii() and found["pmid"].isdigit()):
        raise RegistryRefused(f"{place}: `pmid` is a number such as 10686270.")
    published = bool(found["doi"] or found["pmid"])
    if not published and not (found["agency"] and address.startswith("https://")):
        raise RegistryRefused(f"{place}: give a `doi`, a `pmid`, or an `agency` and a `url` that begins with https://.")
    year, verified = entry.get("year"), entry.get("verified-on")
    if not (type(year) is int and 1800 <= year <= 2100) and (published or year is not None):
        raise RegistryRefused(f"{place}: `year` must be a year such as 2021. Only an agency's page may go without.")
    if verified is not None and type(verified) is not date:
        raise RegistryRefused(f"{place}: `verified-on` must be a date such as 2026-11-23, or null.")
    topics = entry.get("topics") or []
    if not isinstance(topics, list) or not all(isinstance(topic, str) and _ID.fullmatch(topic) for topic in topics):
        raise RegistryRefused(f"{place}: `topics` must be a list of keys of letters, such as [history, why-talk].")
    return Work(id=name, year=year, address=address, verified_on=verified, topics=tuple(dict.fromkeys(topics)), **found)


@cache
def shipped() -> Mapping[str, Work]:
    """The registry of the pack."""
    return read_registry(resources.pack().sources.read_text("utf-8"))
