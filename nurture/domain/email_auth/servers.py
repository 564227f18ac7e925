"""What the list of servers that may send for a domain (SPF, RFC 7208) means for its letters."""

from nurture.domain.dns import SILENT, DnsCache, DnsQuestion, DnsStatus, RecordType
from nurture.domain.email_auth import spf
from nurture.domain.email_auth.findings import AGAIN, KEEPER, Case, DomainFinding, Level, Record, Topic


def judge(case: Case, found: DnsCache, signed: bool) -> DomainFinding | None:
    """SPF: RFC 7208. SendGrid's is at a name of its own below the domain, which belongs to what it signs with."""
    answer = found.get(DnsQuestion(case.domain, RecordType.TXT), SILENT)
    if answer.status is DnsStatus.SILENCE:
        return _say(Level.UNSURE, "Nobody answered when we asked which servers may send for you.", AGAIN)
    lists = spf.lists_of(answer)
    if len(lists) > 1:
        return _say(
            Level.TO_DO,
            f"Your domain has {len(lists)} lists of servers that may send for you. Mail services believe none.",
            f"Take them all out {KEEPER}, and add one in their place.",
            case,
            spf.merged(lists),
        )
    if not lists:
        return _no_list(case, signed)
    wrong = _wrong(case, found, lists[0])
    return wrong or _is_named(case, found, lists[0])


def _say(level: Level, said: str, do: str = "", case: Case | None = None, value: str = "") -> DomainFinding:
    return DomainFinding(Topic.SERVERS, level, said, do, (Record("TXT", case.domain, value),) if case and value else ())


def _no_list(case: Case, signed: bool) -> DomainFinding | None:
    if case.by_sendgrid or not case.carrier:
        good = _say(Level.GOOD, "SendGrid keeps the list of servers that may send for you, so you need none of your own.")
        return good if signed else None
    said = "Your domain does not say which servers may send for you, so anybody could pretend to be you."
    if case.service and case.service.include:
        return _say(Level.TO_DO, said, f"Add this {KEEPER}.", case, f"v=spf1 include:{case.service.include} ~all")
    return _say(
        Level.TO_DO,
        said,
        f"Look for “SPF” in the help pages of {case.carrier}: they show one line to add {KEEPER}.",
    )


def _wrong(case: Case, found: DnsCache, text: str) -> DomainFinding | None:
    """What spoils a list for every mail service, or for every honest sender."""
    drawn = spf.reach(case.domain, text, found)
    if term := spf.unreadable(text):
        return _say(
            Level.TO_DO,
            f"The list of servers that may send for you has a word that nobody understands: “{term[:80]}”. Mail "
            "services then believe none of it.",
            f"Correct or remove it {KEEPER}. The whole list is now: {text[:500]}",
        )
    if spf.lets_anybody(text):
        return _say(
            Level.TO_DO,
            "Your domain says that everybody in the world may send for you, so anybody can pretend to be you.",
            f"Replace the list {KEEPER} by this.",
            case,
            spf.without_anybody(text),
        )
    if drawn.empty:
        name = min(drawn.empty)
        fixed = spf.without(text, name)
        return _say(
            Level.TO_DO,
            f"The list of servers that may send for you refers to {name}, where there is no such list. Mail "
            "services then believe none of it.",
            f"If you no longer use that service, replace the list {KEEPER}.",
            case,
            fixed if fixed != text else "",
        )
    if drawn.lookups > spf.MOST_LOOKUPS:
        return _say(
            Level.TO_DO,
            f"The list of servers that may send for you refers to others {drawn.lookups} times; more than "
            f"{spf.MOST_LOOKUPS} is too much, and mail services then believe none of it.",
            f"Take out the services you no longer use {KEEPER}. The whole list is now: {text[:500]}",
        )
    if drawn.silent:
        said = f"Nobody answered when we asked {min(drawn.silent)}, to which your list of servers refers."
        return _say(Level.UNSURE, said, AGAIN)
    return None


def _is_named(case: Case, found: DnsCache, text: str) -> DomainFinding:
    """Whether a sound list names who carries the letters."""
    drawn = spf.reach(case.domain, text, found)
    service = case.service
    good = "Your domain says which servers may send for you"
    if case.by_sendgrid or not case.carrier:
        return _say(Level.GOOD, f"{good}, and the list is in order.")
    if service and service.include:
        if service.include in drawn.names:
            return _say(Level.GOOD, f"{good}, and {service.name} is among them.")
        return _say(
            Level.TO_DO,
            f"{good}, but {service.name}, which carries your letters, is not among them.",
            f"Replace the list {KEEPER} by this.",
            case,
            spf.with_include(text, service.include),
        )
    hosts = found.get(DnsQuestion(case.domain, RecordType.MX), SILENT).values if drawn.uses_mx else ()
    if any(_same_house(name, case.carrier) for name in drawn.names) or case.carrier in hosts:
        return _say(Level.GOOD, f"{good}, and {case.carrier} seems to be among them.")
    return _say(
        Level.UNSURE,
        f"{good}. Whether {case.carrier}, which carries your letters, is among them cannot be seen from here.",
        "Send yourself a test letter to a Gmail address, open it there, and choose “Show original” from its menu: beside SPF "
        "it must say PASS.",
    )


def _same_house(one: str, other: str) -> bool:
    return one.split(".")[-2:] == other.split(".")[-2:]
