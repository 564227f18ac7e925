"""The list of servers that may send for a domain (SPF, RFC 7208): read, counted and mended. Every function is pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

from nurture.domain.dns import SILENT, DnsAnswer, DnsCache, DnsQuestion, DnsStatus, RecordType

MOST_LOOKUPS = 10
"""Terms that make a receiver ask further, over all lists that are drawn in (RFC 7208 section 4.6.4)."""
_MOST_LISTS = 40
"""Lists beyond this are not asked for: far more than may be."""
_MECHANISM = re.compile(r"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?:[:/](.+))?", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE)
_ASKS = {"include", "a", "mx", "ptr", "exists"}


def is_spf(text: str) -> bool:
    """Whether a TXT record is such a list (RFC 7208 section 4.5)."""
    return text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")


def lists_of(answer: DnsAnswer) -> list[str]:
    """The lists among the TXT records of a name. More than one is as good as none (RFC 7208 section 4.5)."""
    return [text for text in answer.values if is_spf(text)]


def terms(text: str) -> list[str]:
    """What a list says, term by term."""
    return text.split()[1:]


def _mechanism(term: str) -> tuple[str, str, str] | None:
    """Qualifier, name and argument, all but the argument in lower case; None for anything else."""
    found = _MECHANISM.fullmatch(term)
    return (found[1], found[2].lower(), (found[3] or "").lower().rstrip(".")) if found else None


def unreadable(text: str) -> str:
    """The first term no receiver understands, for which the whole list is thrown away (RFC 7208 section 4.6); empty if none."""
    for term in terms(text):
        mechanism = _mechanism(term)
        if mechanism is None:
            if not _MODIFIER.fullmatch(term):
                return term
            continue
        _, name, argument = mechanism
        if name in ("include", "exists", "ip4", "ip6") and not argument:
            return term
        if name in ("ip4", "ip6"):
            try:
                version = ip_network(argument, strict=False).version
            except ValueError:
                return term
            if version != int(name[-1]):
                return term
    return ""


def _is_all(term: str) -> bool:
    mechanism = _mechanism(term)
    return mechanism is not None and mechanism[1] == "all"


def lets_anybody(text: str) -> bool:
    """Whether everybody in the world may send for the domain: `+all`, or `all`."""
    return any(_is_all(term) and term[0] not in "?~-" for term in terms(text))


def _redirect(text: str) -> str:
    """Where the list goes on, if it has no `all` (RFC 7208 section 6.1)."""
    if any(_is_all(term) for term in terms(text)):
        return ""
    found = (_MODIFIER.fullmatch(term) for term in terms(text) if _mechanism(term) is None)
    return next((each[2].lower().rstrip(".") for each in found if each and each[1].lower() == "redirect"), "")


@dataclass
class Reach:
    """How far a list reaches, together with those it draws in."""

    lookups: int = 0
    names: set[str] = field(default_factory=set)
    """Names in it: of lists that it draws in, and of servers."""
    unasked: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    """Drawn in, and without a list of their own: a receiver throws the whole away (RFC 7208 section 5.2)."""
    uses_mx: bool = False


def reach(domain: str, text: str, found: DnsCache) -> Reach:
    """What the list `text` of `domain` draws in, as far as `found` tells."""
    seen = Reach()
    waiting, done = [text], {domain}
    while waiting and len(done) <= _MOST_LISTS:
        here = waiting.pop()
        onward = []
        for term in terms(here):
            mechanism = _mechanism(term)
            if mechanism is None:
                continue
            _, name, argument = mechanism
            seen.lookups += name in _ASKS
            seen.uses_mx |= name == "mx" and not argument
            if name in ("include", "a", "mx") and argument:
                seen.names.add(argument.split("/")[0])
            if name == "include":
                onward.append(argument)
        if redirect := _redirect(here):
            seen.lookups += 1
            seen.names.add(redirect)
            onward.append(redirect)
        for name in onward:
            if "%" in name or name in done:  # with a macro it is another name for each mail (RFC 7208 section 7)
                continue
            done.add(name)
            waiting += _next_list(seen, name, found)
    return seen


def _next_list(seen: Reach, name: str, found: DnsCache) -> list[str]:
    question = DnsQuestion(name, RecordType.TXT)
    answer = found.get(question, SILENT)
    if question not in found:
        seen.unasked.add(name)
    elif answer.status is DnsStatus.SILENCE:
        seen.silent.add(name)
    elif len(lists := lists_of(answer)) == 1:
        return lists
    else:
        seen.empty.add(name)
    return []


def without(text: str, name: str) -> str:
    """The list, without drawing in `name`."""
    kept = [term for term in terms(text) if (_mechanism(term) or ("", "", ""))[1:] != ("include", name)]
    return _written(kept)


def with_include(text: str, name: str) -> str:
    """The list, drawing in `name` too, before it ends."""
    said = terms(text)
    at = next((n for n, term in enumerate(said) if _is_all(term) or _mechanism(term) is None), len(said))
    return _written([*said[:at], f"include:{name}", *said[at:]])


def without_anybody(text: str) -> str:
    """The list, with doubt instead of a welcome for all others: `~all`."""
    return _written("~all" if _is_all(term) and term[0] not in "?~-" else term for term in terms(text))


def merged(texts: Sequence[str]) -> str:
    """Several lists as one; empty if one of them goes on elsewhere, for then it cannot be said in one line."""
    if any(_redirect(text) for text in texts):
        return ""
    every = list(dict.fromkeys(term for text in texts for term in terms(text)))
    ends = {term for term in every if _is_all(term)}
    end = next((mild for mild in ("~all", "?all", "-all") if mild in ends), "~all")  # what one list forbade, another may allow
    return _written([*(term for term in every if term not in ends), end])


def _written(said: Iterable[str]) -> str:
    return " ".join(["v=spf1", *said])
