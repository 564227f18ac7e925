"""The registry of sources: templates/letters/sources.yaml, what each found, its size and its limits, and when it was checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from nurture.words import NurtureError

SOURCES = Path(__file__).resolve().parents[2] / "templates" / "letters" / "sources.yaml"


class RegistryRefused(NurtureError):
    """An entry of the registry cannot be used; the message names it and says what to write."""


@dataclass(frozen=True)
class Work:
    """One source: who found what, when, where it can be read, and how far it carries."""

    id: str
    authors: str
    year: int
    title: str
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

    @property
    def url(self) -> str:
        """Where it can be read: the DOI's resolver, PubMed, or the agency's page."""
        if self.doi:
            return f"https://doi.org/{self.doi}"
        return f"https://pubmed.ncbi.nlm.nih.gov/{self.pmid}/" if self.pmid else self.address

    @property
    def text(self) -> str:
        """As it is listed under a letter."""
        where = f" {self.journal}." if self.journal else ""
        return f"{self.authors} ({self.year}). {self.title.rstrip('.')}.{where} {self.finding}"


_TEXTS = ("authors", "title", "journal", "doi", "pmid", "agency", "url", "finding", "size", "limits")


def read_registry(text: str, where: str = SOURCES.name) -> dict[str, Work]:
    """The registry by id, in the order of its file. Raises RegistryRefused."""
    works: dict[str, Work] = {}
    for number, entry in enumerate(yaml.safe_load(text) or [], 1):
        name = entry.get("id") if isinstance(entry, dict) else None
        place = f"{where}, source {name or number}"
        if not name or name in works:
            raise RegistryRefused(f"{place}: it needs an `id` of its own.")
        work = _work(entry, place)
        works[work.id] = work
    return works


def _work(entry: Mapping[str, Any], place: str) -> Work:
    found = {name: str(entry.get(name) or "").strip() for name in _TEXTS}
    year, verified = entry.get("year"), entry.get("verified-on")
    for name in ("authors", "title", "finding"):
        if not found[name]:
            raise RegistryRefused(f"{place}: `{name}` is missing.")
    if not isinstance(year, int):
        raise RegistryRefused(f"{place}: `year` must be a year such as 2021.")
    if verified is not None and type(verified) is not date:
        raise RegistryRefused(f"{place}: `verified-on` must be a date such as 2026-11-23, or null.")
    address = found.pop("url")
    if not (found["doi"] or found["pmid"] or (found["agency"] and address.startswith("https://"))):
        raise RegistryRefused(f"{place}: give a `doi`, a `pmid`, or an `agency` and a `url` that begins with https://.")
    return Work(id=str(entry["id"]), year=year, address=address, verified_on=verified, **found)


@cache
def shipped() -> Mapping[str, Work]:
    """The registry that comes with the service."""
    return read_registry(SOURCES.read_text("utf-8"))
