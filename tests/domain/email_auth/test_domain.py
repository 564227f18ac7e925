"""What a domain says, and what it means for letters: every rule, without asking anybody."""

from collections.abc import Mapping, Sequence

import pytest

from nurture.domain.dns import SILENT, DnsAnswer, DnsCache, DnsQuestion, DnsStatus, RecordType, parents
from nurture.domain.email_auth.domain import findings, questions
from nurture.domain.email_auth.findings import Case, DomainFinding, Level, Record, Topic, asks_for_something, domain_of
from nurture.domain.email_auth.mail_services import gives_addresses_away, service_of

KEY = "k=rsa; t=s; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ"
Zone = Mapping[tuple[str, str], Sequence[str]]
SOUND: Zone = {
    ("practice.com", "TXT"): ["google-site-verification=1", "v=spf1 include:_spf.google.com ~all"],
    ("practice.com", "MX"): ["mx.practice.com"],
    ("practice.com", "A"): ["192.0.2.1"],
    ("_dmarc.practice.com", "TXT"): ["v=DMARC1; p=none"],
    ("_spf.google.com", "TXT"): ["v=spf1 ip4:192.0.2.0/24 ~all"],
    ("google._domainkey.practice.com", "TXT"): [f"v=DKIM1; {KEY}"],
    ("s1._domainkey.practice.com", "CNAME"): ["s1.domainkey.u1.wl.sendgrid.net"],
    ("s2._domainkey.practice.com", "CNAME"): ["s2.domainkey.u1.wl.sendgrid.net"],
    ("s1._domainkey.practice.com", "TXT"): [KEY],
    ("s2._domainkey.practice.com", "TXT"): [KEY],
}
SENDGRID, GOOGLE = Case("practice.com", "sendgrid"), Case("practice.com", "smtp-relay.gmail.com")
OTHER = Case("practice.com", "smtp.mailbox.test")


def answered(case: Case, zone: Zone, silent: Sequence[str] = ()) -> DnsCache:
    """Ask until nothing is left, of a zone that is a value."""
    found: dict[DnsQuestion, DnsAnswer] = {}
    for _ in range(20):
        asked = questions(case, found)
        if not asked:
            return found
        for one in asked:
            values = zone.get((one.name, one.kind.value))
            known = any(name == one.name or name.endswith(f".{one.name}") for name, _ in zone)
            answer = (
                DnsAnswer(DnsStatus.SOMETHING, tuple(values))
                if values
                else DnsAnswer(DnsStatus.NOTHING if known else DnsStatus.NO_SUCH_NAME)
            )
            found[one] = SILENT if one.name in silent or "*" in silent else answer
    raise AssertionError("it never stops asking")


def look(
    case: Case, changed: Mapping[tuple[str, str], Sequence[str] | None] = {}, silent: Sequence[str] = ()
) -> list[DomainFinding]:
    zone = {key: values for key, values in {**SOUND, **changed}.items() if values is not None}
    return findings(case, answered(case, zone, silent))


def about(topic: Topic, found: Sequence[DomainFinding]) -> DomainFinding:
    (one,) = [each for each in found if each.topic is topic]
    return one


def levels(found: Sequence[DomainFinding]) -> dict[Topic, Level]:
    return {each.topic: each.level for each in found}


def spf_of(value: str, case: Case = GOOGLE, **more: Sequence[str]) -> DomainFinding:
    lists = {(name.replace("__", "."), "TXT"): values for name, values in more.items()}
    return about(Topic.SERVERS, look(case, {("practice.com", "TXT"): [value], **lists}))


@pytest.mark.parametrize("case", [SENDGRID, GOOGLE])
def test_a_domain_that_says_all_it_should_is_good_in_every_way(case: Case) -> None:
    found = look(case)
    assert levels(found) == dict.fromkeys(Topic, Level.GOOD)
    assert not asks_for_something(found)


# The domain itself


@pytest.mark.parametrize(
    "domain",
    ["gmail.com", "yahoo.com", "yahoo.co.uk", "yahoo.com.br", "outlook.com", "outlook.fr", "hotmail.it", "gmx.de", "gmx.net",
     "icloud.com", "aol.com", "proton.me", "web.de", "comcast.net"],
)  # fmt: skip
def test_an_address_that_anybody_can_have_is_said_to_be_no_good_and_nobody_is_asked(domain: str) -> None:
    case = Case(domain, "sendgrid")
    assert questions(case, {}) == []
    (only,) = findings(case, {})
    assert only.level is Level.TO_DO
    assert domain in only.said
    assert "domain of your own" in only.do


@pytest.mark.parametrize(
    "domain", ["practice.com", "my-gmail.com", "gmail.practice.com", "outlook-therapy.com", "yahoo.practice"]
)
def test_a_domain_of_ones_own_is_not_taken_for_such(domain: str) -> None:
    assert not gives_addresses_away(domain)


@pytest.mark.parametrize(
    ("address", "domain"),
    [("Dana@Practice.COM", "practice.com"), ("d@practice.com.", "practice.com"), ("letters@localhost.localdomain", ""),
     ("letters@localhost", ""), ("", ""), ("d@praxis-köln.de", "praxis-köln.de")],
)  # fmt: skip
def test_the_domain_of_an_address(address: str, domain: str) -> None:
    assert domain_of(address) == domain


def test_without_an_address_one_is_asked_for() -> None:
    (only,) = findings(Case("", "sendgrid"), {})
    assert (only.topic, only.level) == (Topic.DOMAIN, Level.TO_DO)


def test_a_domain_that_does_not_exist_is_the_only_thing_said() -> None:
    case = Case("practise.com", "sendgrid")
    (only,) = findings(case, answered(case, SOUND))
    assert (only.topic, only.level) == (Topic.DOMAIN, Level.TO_DO)
    assert "There is no domain practise.com" in only.said


def test_when_nobody_answers_nothing_is_claimed() -> None:
    (only,) = look(SENDGRID, silent=["*"])
    assert (only.topic, only.level) == (Topic.DOMAIN, Level.UNSURE)
    (unasked,) = findings(SENDGRID, {})
    assert unasked.level is Level.UNSURE


@pytest.mark.parametrize(
    ("silent", "topic"),
    [("s1._domainkey.practice.com", Topic.SIGNATURE), ("_dmarc.practice.com", Topic.POLICY),
     ("_spf.google.com", Topic.SERVERS)],
)  # fmt: skip
def test_one_question_without_an_answer_makes_one_thing_unsure(silent: str, topic: Topic) -> None:
    case = GOOGLE if topic is Topic.SERVERS else SENDGRID
    found = look(case, silent=[silent])
    assert [each.topic for each in found if each.level is Level.UNSURE] == [topic]
    assert not asks_for_something(found)


# The signature (DKIM)

NO_KEYS: dict[tuple[str, str], None] = {key: None for key in SOUND if "_domainkey" in key[0]}


def test_without_its_lines_sendgrid_cannot_sign_and_says_where_they_are() -> None:
    found = about(Topic.SIGNATURE, look(SENDGRID, NO_KEYS))
    assert found.level is Level.TO_DO
    assert "Sender Authentication" in found.do
    assert "missing are at least s1._domainkey and s2._domainkey" in found.do
    assert "other names, and all is well" in found.do  # a selector of one's own is possible, and cannot be guessed


def test_one_of_two_keys_is_not_enough() -> None:
    gone = {("s2._domainkey.practice.com", "TXT"): None, ("s2._domainkey.practice.com", "CNAME"): None}
    found = about(Topic.SIGNATURE, look(SENDGRID, gone))
    assert found.level is Level.TO_DO
    assert "missing is at least s2._domainkey" in found.do


def test_a_key_that_was_taken_back_is_none() -> None:
    found = look(SENDGRID, {("s1._domainkey.practice.com", "TXT"): ["k=rsa; p="]})
    assert about(Topic.SIGNATURE, found).level is Level.TO_DO


def test_a_domain_above_may_sign_too() -> None:
    case = Case("letters.practice.com", "sendgrid")
    found = look(case, {("letters.practice.com", "MX"): ["mx.practice.com"]})
    assert levels(found) == dict.fromkeys(Topic, Level.GOOD)
    assert "said at practice.com" in about(Topic.POLICY, found).said


def test_a_domain_above_may_not_sign_where_exactly_this_one_is_asked_for() -> None:
    case = Case("letters.practice.com", "sendgrid")
    strict = {
        ("_dmarc.practice.com", "TXT"): ["v=DMARC1; p=reject; adkim=s"],
        ("letters.practice.com", "MX"): ["mx.practice.com"],
    }
    found = about(Topic.POLICY, look(case, strict))
    assert found.level is Level.TO_DO
    assert "exactly letters.practice.com" in found.said
    assert about(Topic.POLICY, look(SENDGRID, strict)).level is Level.GOOD


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ({("s1._domainkey.practice.com.practice.com", "CNAME"): ["s1.domainkey.u1.wl.sendgrid.net"]}, "at the end by itself"),
        ({("s1._domainkey.practice.com", "CNAME"): ["s1.domainkey.u1.wl.sendgrid.net.practice.com"]}, "with a dot at its end"),
        ({("s1._domainkey.practice.com", "CNAME"): ["s1.domainkey.u1.wl.sendgrid.net"]}, "Press Verify"),
    ],
)
def test_common_slips_are_named(added: Mapping[tuple[str, str], list[str]], says: str) -> None:
    found = about(Topic.SIGNATURE, look(SENDGRID, {**NO_KEYS, **added}))
    assert found.level is Level.TO_DO
    assert says in found.do


WANTED = (
    Record("CNAME", "em77.practice.com", "u1.wl.sendgrid.net"),
    Record("CNAME", "s1._domainkey.practice.com", "s1.domainkey.u1.wl.sendgrid.net"),
    Record("CNAME", "s2._domainkey.practice.com", "s2.domainkey.u1.wl.sendgrid.net"),
)


def test_what_sendgrid_wants_is_shown_to_the_letter_and_only_what_is_missing() -> None:
    case = Case("practice.com", "sendgrid", wanted=WANTED)
    nothing = about(Topic.SIGNATURE, look(case, NO_KEYS))
    assert (nothing.level, nothing.records) == (Level.TO_DO, WANTED)
    partly = about(Topic.SIGNATURE, look(case))
    assert (partly.level, partly.records) == (Level.TO_DO, WANTED[:1])
    assert "not all that SendGrid asks for" in partly.said
    whole = about(Topic.SIGNATURE, look(case, {("em77.practice.com", "CNAME"): ["u1.wl.sendgrid.net"]}))
    assert (whole.level, whole.records) == (Level.GOOD, ())
    silent = about(Topic.SIGNATURE, look(case, silent=["em77.practice.com"]))
    assert silent.level is Level.UNSURE


def test_sendgrid_without_its_automatic_keys_wants_text_and_a_mail_host() -> None:
    wanted = (
        Record("TXT", "m1._domainkey.practice.com", "k=rsa; t=s; p=AAAA"),
        Record("MX", "em77.practice.com", "mx.sendgrid.net"),
    )
    case = Case("practice.com", "sendgrid", wanted=wanted)
    stands = {("m1._domainkey.practice.com", "TXT"): ["k=rsa;t=s;p=AAAA"], ("em77.practice.com", "MX"): ["mx.sendgrid.net"]}
    assert about(Topic.SIGNATURE, look(case, {**NO_KEYS, **stands})).level is Level.GOOD
    assert about(Topic.SIGNATURE, look(case, NO_KEYS)).records == wanted


def test_a_domain_sendgrid_was_never_told_of() -> None:
    found = about(Topic.SIGNATURE, look(Case("practice.com", "sendgrid", wanted=()), NO_KEYS))
    assert "not been told of this domain" in found.do


def test_unsigned_letters_of_a_strict_domain_are_said_to_be_lost() -> None:
    found = look(SENDGRID, {**NO_KEYS, ("_dmarc.practice.com", "TXT"): ["v=DMARC1; p=reject"]})
    assert "almost none will arrive" in about(Topic.SIGNATURE, found).said


def test_where_the_key_stands_is_unknown_only_a_letter_proves_it() -> None:
    unknown = about(Topic.SIGNATURE, look(OTHER))
    moved = about(Topic.SIGNATURE, look(GOOGLE, NO_KEYS))
    for found in (unknown, moved):
        assert found.level is Level.UNSURE
        assert "Show original" in found.do
        assert "practice.com" in found.do


def test_what_every_customer_of_a_service_adds_is_shown() -> None:
    found = about(Topic.SIGNATURE, look(Case("practice.com", "smtp.fastmail.com"), NO_KEYS))
    assert found.level is Level.TO_DO
    assert found.records[0] == Record("CNAME", "fm1._domainkey.practice.com", "fm1.practice.com.dkim.fmhosted.com")
    assert len(found.records) == 3
    proton = about(Topic.SIGNATURE, look(Case("practice.com", "smtp.protonmail.ch"), NO_KEYS))
    assert (proton.level, proton.records) == (Level.TO_DO, ())
    assert "Domain names" in proton.do


def test_the_same_service_by_smtp_is_the_same_service() -> None:
    case = Case("practice.com", "smtp.sendgrid.net")
    assert levels(look(case)) == dict.fromkeys(Topic, Level.GOOD)
    assert service_of("evilsendgrid.net") is None


def test_while_no_mail_leaves_the_machine_nothing_is_asked_for() -> None:
    found = look(Case("practice.com"), {**NO_KEYS, ("practice.com", "TXT"): None})
    assert levels(found)[Topic.SIGNATURE] is Level.UNSURE
    assert Topic.SERVERS not in levels(found)
    assert not asks_for_something(found)


# Servers (SPF)


def test_without_a_list_a_line_is_shown_where_it_is_known() -> None:
    google = about(Topic.SERVERS, look(GOOGLE, {("practice.com", "TXT"): ["other"]}))
    assert google.records == (Record("TXT", "practice.com", "v=spf1 include:_spf.google.com ~all"),)
    other = about(Topic.SERVERS, look(OTHER, {("practice.com", "TXT"): None}))
    assert (other.level, other.records) == (Level.TO_DO, ())
    assert "smtp.mailbox.test" in other.do
    assert about(Topic.SERVERS, look(SENDGRID, {("practice.com", "TXT"): None})).level is Level.GOOD


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("v=spf1 mx -all", "v=spf1 mx include:_spf.google.com -all"),
        ("v=spf1 mx", "v=spf1 mx include:_spf.google.com"),
        ("v=spf1", "v=spf1 include:_spf.google.com"),
        ("v=spf1 mx +all", "v=spf1 mx ~all"),
        ("v=spf1 all", "v=spf1 ~all"),
        ("v=spf1 include:gone.test include:_spf.google.com ~all", "v=spf1 include:_spf.google.com ~all"),
    ],
)
def test_a_list_that_needs_something_is_shown_as_it_should_be(text: str, becomes: str) -> None:
    found = spf_of(text)
    assert found.level is Level.TO_DO
    assert [each.value for each in found.records] == [becomes]


def test_two_lists_become_one() -> None:
    two = ["v=spf1 mx include:_spf.google.com -all", "v=spf1 mx ip4:192.0.2.1 ~all"]
    found = about(Topic.SERVERS, look(GOOGLE, {("practice.com", "TXT"): two}))
    assert found.level is Level.TO_DO
    assert "2 lists" in found.said
    assert found.records[0].value == "v=spf1 mx include:_spf.google.com ip4:192.0.2.1 ~all"
    elsewhere = ["v=spf1 redirect=_spf.google.com", "v=spf1 mx -all"]
    assert about(Topic.SERVERS, look(GOOGLE, {("practice.com", "TXT"): elsewhere})).records == ()


@pytest.mark.parametrize(
    "term", ["ip4:192.0.2.256", "ip4:2001:db8::1", "ip6:192.0.2.1", "include", "inclde:x.test", "hello", "ip4"]
)
def test_a_term_nobody_understands_is_quoted(term: str) -> None:
    found = spf_of(f"v=spf1 include:_spf.google.com {term} ~all")
    assert found.level is Level.TO_DO
    assert f"“{term}”" in found.said


@pytest.mark.parametrize(
    "text",
    [
        "v=spf1 INCLUDE:_SPF.google.com ip4:192.0.2.0/24 a:x.test/24 exp=why.test -ALL",
        "v=spf1 redirect=_spf.google.com",
        "v=spf1 include:_spf.google.com. ~all",
    ],
)
def test_what_is_allowed_is_not_found_fault_with(text: str) -> None:
    assert spf_of(text).level is Level.GOOD


def test_look_ups_are_counted_over_all_lists_that_are_drawn_in() -> None:
    inner = " ".join(f"a:{n}.test" for n in range(8))
    just = spf_of(
        "v=spf1 include:_spf.google.com include:many__test ~all".replace("__", "."), many__test=[f"v=spf1 {inner} ~all"]
    )
    assert just.level is Level.GOOD
    over = spf_of("v=spf1 mx include:_spf.google.com include:many.test ~all", many__test=[f"v=spf1 {inner} ~all"])
    assert over.level is Level.TO_DO
    assert "11 times" in over.said
    onward = spf_of("v=spf1 mx include:_spf.google.com redirect=many.test", many__test=[f"v=spf1 {inner} ~all"])
    assert "11 times" in onward.said


def test_lists_that_draw_each_other_in_come_to_an_end() -> None:
    loop = spf_of(
        "v=spf1 include:one.test ~all", one__test=["v=spf1 include:two.test ~all"], two__test=["v=spf1 include:one.test ~all"]
    )
    assert loop.level is Level.TO_DO  # Google is not in it


def test_a_name_that_changes_with_each_mail_is_not_asked_for() -> None:
    assert spf_of("v=spf1 include:%{i}.spf.test include:_spf.google.com ~all").level is Level.GOOD


@pytest.mark.parametrize(
    ("text", "level"),
    [("v=spf1 include:spf.mailbox.test ~all", Level.GOOD), ("v=spf1 a:smtp.mailbox.test ~all", Level.GOOD),
     ("v=spf1 ip4:192.0.2.1 ~all", Level.UNSURE), ("v=spf1 mx ~all", Level.UNSURE)],
)  # fmt: skip
def test_a_service_we_do_not_know_is_found_by_its_name_or_not_at_all(text: str, level: Level) -> None:
    assert spf_of(text, OTHER, spf__mailbox__test=["v=spf1 ip4:192.0.2.1 -all"]).level is level


def test_a_server_that_takes_the_mail_of_the_domain_may_be_the_one_that_sends_it() -> None:
    assert spf_of("v=spf1 mx ~all", Case("practice.com", "mx.practice.com")).level is Level.GOOD


# The policy (DMARC)


@pytest.mark.parametrize(
    "text", ["v=DMARC1; p=none", "v=DMARC1;p=quarantine; rua=mailto:a@b.test", " v = DMARC1 ; P = Reject ;"]
)
def test_any_policy_that_can_be_read_is_good(text: str) -> None:
    assert about(Topic.POLICY, look(SENDGRID, {("_dmarc.practice.com", "TXT"): [text]})).level is Level.GOOD


@pytest.mark.parametrize(
    "texts", [None, ["v=DMARC1"], ["v=DMARC1; p=maybe"], ["v=DMARC1 p=none"], ["DMARC1; p=none"]]
)  # fmt: skip
def test_a_policy_that_is_missing_or_cannot_be_read_is_written_out(texts: list[str] | None) -> None:
    found = about(Topic.POLICY, look(SENDGRID, {("_dmarc.practice.com", "TXT"): texts}))
    assert found.level is Level.TO_DO
    assert found.records == (Record("TXT", "_dmarc.practice.com", "v=DMARC1; p=none"),)


def test_two_policies_are_none() -> None:
    found = about(Topic.POLICY, look(SENDGRID, {("_dmarc.practice.com", "TXT"): ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}))
    assert found.level is Level.TO_DO
    assert "twice" in found.said


def test_below_a_domain_its_policy_for_those_below_it_counts() -> None:
    case = Case("letters.practice.com", "sendgrid")
    zone = {
        **NO_KEYS,
        ("_dmarc.practice.com", "TXT"): ["v=DMARC1; p=none; sp=reject"],
        ("letters.practice.com", "A"): ["192.0.2.1"],
    }
    assert "almost none will arrive" in about(Topic.SIGNATURE, look(case, zone)).said


def test_where_a_policy_is_looked_for() -> None:
    assert parents("a.b.practice.co.uk") == ["a.b.practice.co.uk", "b.practice.co.uk", "practice.co.uk", "co.uk"]
    assert parents("practice.com") == ["practice.com"]
    deep = parents(".".join("abcdefghijkl"))
    assert deep[0] == "a.b.c.d.e.f.g.h.i.j.k.l"
    assert deep[1] == "f.g.h.i.j.k.l"
    assert deep[-1] == "k.l"


# Answers


@pytest.mark.parametrize(
    ("mx", "level"), [(["mx.practice.com"], Level.GOOD), (None, Level.TO_DO), ([""], Level.TO_DO)]
)  # fmt: skip
def test_whether_mail_to_the_domain_arrives(mx: list[str] | None, level: Level) -> None:
    found = about(Topic.REPLIES, look(SENDGRID, {("practice.com", "MX"): mx}))
    assert found.level is level
    if level is Level.TO_DO:
        assert "are lost" in found.said
        away = look(Case("practice.com", "sendgrid", answers_elsewhere=True), {("practice.com", "MX"): mx})
        assert "your other address" in about(Topic.REPLIES, away).said


def test_a_silent_question_about_mail_is_unsure() -> None:
    found = dict(answered(SENDGRID, SOUND))
    found[DnsQuestion("practice.com", RecordType.MX)] = SILENT
    assert about(Topic.REPLIES, findings(SENDGRID, found)).level is Level.UNSURE
