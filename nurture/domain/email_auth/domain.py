"""Whether mail services can tell that letters come from the practice: what its domain says, and what it should.

The rules: a signature by the domain itself (DKIM, RFC 6376), a list of the servers that may send for it (SPF, RFC 7208), and a
policy that ties both to the address people see (DMARC, RFC 7489). Gmail, Yahoo and Microsoft ask all three of whoever sends
much ("Email sender guidelines", "Sender best practices", "requirements for high-volume senders"); the one-click link to leave
works only in signed mail (RFC 8058 section 4). Nothing here asks anything: `questions` says what to ask, until nothing is left.
"""

from collections.abc import Mapping, Sequence

from nurture.domain.dns import SILENT, DnsAnswer, DnsCache, DnsQuestion, DnsStatus, RecordType, parents
from nurture.domain.email_auth import servers as sender_servers
from nurture.domain.email_auth import spf
from nurture.domain.email_auth.findings import AGAIN, KEEPER, Case, DomainFinding, Level, Record, Topic
from nurture.domain.email_auth.mail_services import Service, gives_addresses_away, is_below

_PROVE = (
    "Send yourself a test letter to a Gmail address, open it there, and choose “Show original” from its menu: "
    "beside DKIM it must say PASS, with {domain}."
)


def _lacks_a_domain(case: Case) -> bool:
    return not case.domain or gives_addresses_away(case.domain)


def _key(selector: str, domain: str) -> str:
    return f"{selector}._domainkey.{domain}"


def questions(case: Case, found: DnsCache) -> list[DnsQuestion]:
    """What is still to be asked. Lists of servers draw in others, so answers may bring new questions."""
    if _lacks_a_domain(case):
        return []
    domain = case.domain
    wanted = [DnsQuestion(domain, kind) for kind in (RecordType.TXT, RecordType.MX, RecordType.A, RecordType.AAAA)]
    wanted += [DnsQuestion(f"_dmarc.{each}", RecordType.TXT) for each in parents(domain)]
    if case.service is not None:
        names = [_key(selector, each) for each in parents(domain) for selector in case.service.selectors]
        wanted += [DnsQuestion(name, kind) for name in names for kind in (RecordType.TXT, RecordType.CNAME)]
        wanted += [DnsQuestion(f"{_key(selector, domain)}.{domain}", RecordType.CNAME) for selector in case.service.selectors]
    wanted += [DnsQuestion(record.name, RecordType(record.kind)) for record in case.wanted or ()]
    lists = spf.lists_of(found.get(DnsQuestion(domain, RecordType.TXT), SILENT))
    if len(lists) == 1:
        drawn = spf.reach(domain, lists[0], found)
        wanted += [DnsQuestion(name, RecordType.TXT) for name in sorted(drawn.unasked)]
    return [each for each in dict.fromkeys(wanted) if each not in found]


def findings(case: Case, found: DnsCache) -> list[DomainFinding]:
    """How it stands, the weightiest first."""
    domain = _domain(case, found)
    if domain.level is not Level.GOOD:
        return [domain]
    at = _signed_at(case, found)
    policy, tags = _policy(case, found)
    signature = _signature(case, found, at, tags)
    if at and at != case.domain and tags.get("adkim", "").lower().startswith("s"):
        policy = _strict(case, at)
    servers = sender_servers.judge(case, found, signature.level is Level.GOOD)
    return [domain, signature, *([servers] if servers else []), policy, _replies(case, found)]


def _domain(case: Case, found: DnsCache) -> DomainFinding:
    """A domain of one's own that exists. RFC 8020: where nothing exists, no kind of record does."""
    if not case.domain:
        return DomainFinding(
            Topic.DOMAIN,
            Level.TO_DO,
            "There is no address yet that your letters come from.",
            "Choose an address at a domain of your own, such as letters@your-practice.com.",
        )
    if gives_addresses_away(case.domain):
        return DomainFinding(
            Topic.DOMAIN,
            Level.TO_DO,
            f"Your letters come from an address at {case.domain}. Anybody can have one there, so mail services cannot tell "
            "that a letter is really yours, and most will put it among spam or refuse it. Nothing you set up can change that.",
            "Use an address at a domain of your own, such as letters@your-practice.com. Answers may still go to your address "
            f"at {case.domain}.",
        )
    said = [
        found.get(DnsQuestion(case.domain, kind), SILENT).status
        for kind in (RecordType.TXT, RecordType.MX, RecordType.A, RecordType.AAAA)
    ]
    if DnsStatus.NO_SUCH_NAME in said:
        return DomainFinding(
            Topic.DOMAIN,
            Level.TO_DO,
            f"There is no domain {case.domain}. Mail services refuse letters from a domain that does not exist.",
            "Look whether it is spelled rightly, and whether it has been paid for.",
        )
    if set(said) == {DnsStatus.SILENCE}:
        return DomainFinding(Topic.DOMAIN, Level.UNSURE, f"Nobody answered when we asked about {case.domain}.", AGAIN)
    return DomainFinding(Topic.DOMAIN, Level.GOOD, f"{case.domain} exists, and is a domain of your own.")


def _has_key(answer: DnsAnswer) -> bool:
    """Whether a key stands there that has not been taken back (RFC 6376 section 3.6.1: an empty `p`)."""
    tags = [_tags(text) for text in answer.values]
    return any(each.get("p") and each.get("v", "DKIM1") == "DKIM1" for each in tags)


def _tags(text: str) -> dict[str, str]:
    """A list of tags and values (RFC 6376 section 3.2, RFC 7489 section 6.3)."""
    pairs = (part.split("=", 1) for part in text.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _keys(case: Case, found: DnsCache, domain: str) -> list[DnsAnswer]:
    selectors = case.service.selectors if case.service else ()
    return [found.get(DnsQuestion(_key(selector, domain), RecordType.TXT), SILENT) for selector in selectors]


def _signed_at(case: Case, found: DnsCache) -> str:
    """Which domain the service can sign for, the nearest first: one above fits too (RFC 7489 section 3.1.1, relaxed)."""
    enough = all if case.by_sendgrid else any  # SendGrid changes between its two keys by itself
    for domain in parents(case.domain):
        keys = _keys(case, found, domain)
        if keys and enough(_has_key(answer) for answer in keys):
            return domain
    return ""


_SIGNED = "Mail services can check that letters really come from you. That also lets them show a button for leaving the list."
_UNSIGNED = "Mail services cannot check that letters really come from you, so many letters will land among spam."


def _signature(case: Case, found: DnsCache, at: str, policy: Mapping[str, str]) -> DomainFinding:
    """DKIM: RFC 6376; that it must be the domain people see: RFC 7489 section 3.1."""
    service = case.service
    lacking = tuple(record for record in case.wanted or () if not _stands(record, found))
    if (at or case.wanted) and not lacking:
        return DomainFinding(Topic.SIGNATURE, Level.GOOD, _SIGNED)
    if not case.carrier:
        return DomainFinding(
            Topic.SIGNATURE,
            Level.UNSURE,
            "No letter leaves this machine yet, so nothing signs them.",
            "Choose a mail service first; then it is checked whether it can sign for you.",
        )
    if service is None:
        return DomainFinding(
            Topic.SIGNATURE,
            Level.UNSURE,
            f"Whether {case.carrier} signs your letters cannot be seen from here: only a letter shows it.",
            _PROVE.format(domain=case.domain),
        )
    asked = [DnsQuestion(record.name, RecordType(record.kind)) for record in lacking]
    if DnsStatus.SILENCE in {
        answer.status for answer in (*_keys(case, found, case.domain), *(found.get(one, SILENT) for one in asked))
    }:
        return DomainFinding(Topic.SIGNATURE, Level.UNSURE, "Nobody answered when we asked for the signature's key.", AGAIN)
    if not service.fixed:
        return DomainFinding(
            Topic.SIGNATURE,
            Level.UNSURE,
            f"We found no key where {service.name} usually puts it. It may stand elsewhere: only a letter shows it.",
            f"{_PROVE.format(domain=case.domain)} If it does not: {service.where}",
        )
    if at:
        said = "Mail services can check that letters come from you, but not all that SendGrid asks for is there."
        return DomainFinding(Topic.SIGNATURE, Level.TO_DO, said, f"Add what is missing {KEEPER}.", lacking)
    return _unsigned(case, found, service, lacking, policy)


def _stands(record: Record, found: DnsCache) -> bool:
    """Whether the domain says what it should."""
    values = found.get(DnsQuestion(record.name, RecordType(record.kind)), SILENT).values
    if record.kind == RecordType.TXT:
        return any("".join(value.split()) == "".join(record.value.split()) for value in values)
    return record.value.rstrip(".").lower() in values


def _unsigned(
    case: Case, found: DnsCache, service: Service, lacking: tuple[Record, ...], policy: Mapping[str, str]
) -> DomainFinding:
    said = _UNSIGNED
    if policy.get("p", "").lower() in ("quarantine", "reject"):
        said = (
            "Your domain tells mail services to refuse letters that are not signed, and yours are not signed: almost none will "
            "arrive."
        )
    records = lacking
    if service.target:
        records = tuple(
            Record("CNAME", _key(selector, case.domain), service.target.format(selector=selector, domain=case.domain))
            for selector in service.selectors
            if not _has_key(found.get(DnsQuestion(_key(selector, case.domain), RecordType.TXT), SILENT))
        )
    do = f"Add {'this' if len(records) == 1 else 'these'} {KEEPER}." if records else f"{service.where} {_SHOWN}"
    if case.by_sendgrid and case.wanted == ():
        do = f"{do} SendGrid has not been told of this domain yet."
    elif case.by_sendgrid:
        do = _slip(case, found, service) or (do if records else f"{do} {_three(case, found)}")
    return DomainFinding(Topic.SIGNATURE, Level.TO_DO, said, do, records)


_SHOWN = f"It shows what to add {KEEPER}."


def _three(case: Case, found: DnsCache) -> str:
    keys = zip(case.service.selectors if case.service else (), _keys(case, found, case.domain), strict=True)
    missing = [f"{selector}._domainkey" for selector, answer in keys if not _has_key(answer)]
    return (
        f"There are three lines; missing {'is' if len(missing) == 1 else 'are'} at least {' and '.join(missing)}. If that page "
        "says that your domain is verified, your account uses other names, and all is well."
    )


def _slip(case: Case, found: DnsCache, service: Service) -> str:
    """Two slips of the hand that are common: the domain written where the page adds it by itself, or a copy that is cut off."""
    for selector in service.selectors:
        name = _key(selector, case.domain)
        if found.get(DnsQuestion(f"{name}.{case.domain}", RecordType.CNAME), SILENT).values:
            return (
                f"A line was added under the name {name}.{case.domain}: the page on which you add it puts your domain at the "
                f"end by itself. Change its name to {selector}._domainkey, and the others likewise."
            )
        for target in found.get(DnsQuestion(name, RecordType.CNAME), SILENT).values:
            if target.endswith(f".sendgrid.net.{case.domain}"):
                return (
                    f"The line {name} leads to {target}: the page on which you added it put your domain at the end. Type the "
                    "value with a dot at its end, and the others likewise."
                )
            if is_below(target, "sendgrid.net") and not _has_key(found.get(DnsQuestion(name, RecordType.TXT), SILENT)):
                return (
                    f"The line {name} is there, but SendGrid does not answer for it yet. {service.where} Press Verify there. "
                    "If it says that something is wrong, copy the lines once more from that page."
                )
    return ""


def _policy(case: Case, found: DnsCache) -> tuple[DomainFinding, Mapping[str, str]]:
    """DMARC: RFC 7489 sections 6.3 and 6.6.3; the nearest name above that has one counts. Also its tags, as they apply."""
    for domain in parents(case.domain):
        name = f"_dmarc.{domain}"
        answer = found.get(DnsQuestion(name, RecordType.TXT), SILENT)
        if answer.status is DnsStatus.SILENCE:
            return DomainFinding(
                Topic.POLICY, Level.UNSURE, "Nobody answered when we asked what to do with forged letters.", AGAIN
            ), {}
        policies = [tags for text in answer.values if (tags := _tags(text)).get("v") == "DMARC1"]
        if policies or any("dmarc" in text.lower() for text in answer.values):
            return _judge(domain, case, policies)
    return DomainFinding(
        Topic.POLICY,
        Level.TO_DO,
        "Your domain does not say what to do with letters that only pretend to come from you. Gmail "
        "and Yahoo expect that it does.",
        f"Add this {KEEPER}. It changes nothing for your letters.",
        (_mild(case.domain),),
    ), {}


def _mild(domain: str) -> Record:
    return Record("TXT", f"_dmarc.{domain}", "v=DMARC1; p=none")


def _judge(domain: str, case: Case, policies: Sequence[Mapping[str, str]]) -> tuple[DomainFinding, Mapping[str, str]]:
    if len(policies) > 1:
        said = "Your domain says twice what to do with forged letters. Mail services then listen to neither."
        do = f"Keep one of the lines called _dmarc.{domain}, and take out the others."
        return DomainFinding(Topic.POLICY, Level.TO_DO, said, do), {}
    tags = dict(policies[0]) if policies else {}
    if domain != case.domain and "sp" in tags:
        tags["p"] = tags["sp"]
    if tags.get("p", "").lower() not in ("none", "quarantine", "reject"):
        said = "What your domain says about forged letters cannot be read, so mail services pass over it."
        return DomainFinding(Topic.POLICY, Level.TO_DO, said, f"Replace it {KEEPER} by this.", (_mild(domain),)), {}
    strict = " Forged ones are set aside." if tags["p"].lower() != "none" else ""
    above = f" It is said at {domain}, and counts for all below it." if domain != case.domain else ""
    said = f"Your domain says what to do with letters that only pretend to come from you.{strict}{above}"
    return DomainFinding(Topic.POLICY, Level.GOOD, said), tags


def _strict(case: Case, at: str) -> DomainFinding:
    """RFC 7489 section 3.1.1: with adkim=s the signature must be by the very domain of the address."""
    return DomainFinding(
        Topic.POLICY,
        Level.TO_DO,
        f"Letters are signed for {at}, but your domain asks for a signature by exactly {case.domain}, so they count as forged.",
        f"Use an address at {at} for your letters, or take “adkim=s” out of the line that begins with v=DMARC1.",
    )


def _replies(case: Case, found: DnsCache) -> DomainFinding:
    """RFC 5321 section 5.1 (no MX: the host itself), RFC 7505 (a null MX: no mail at all)."""
    mx = found.get(DnsQuestion(case.domain, RecordType.MX), SILENT)
    hosts = [host for host in mx.values if host]
    if mx.status is DnsStatus.SILENCE:
        return DomainFinding(
            Topic.REPLIES, Level.UNSURE, "Nobody answered when we asked where mail to your domain goes.", AGAIN
        )
    if hosts:
        return DomainFinding(Topic.REPLIES, Level.GOOD, "Mail to your domain arrives somewhere, so people can answer.")
    lost = "Answers to your letters are lost" if not case.answers_elsewhere else "Answers go to your other address, but"
    rest = ", and some" if not case.answers_elsewhere else " some"
    return DomainFinding(
        Topic.REPLIES,
        Level.TO_DO,
        f"No mail can be sent to {case.domain}. {lost}{rest} mail services distrust letters that cannot be answered.",
        "Set up a mailbox at this domain with whoever you have your mail from, or send your letters from the domain where you "
        "read mail.",
    )
