"""Whom a refusal concerns: the rows that matter most, each with a reply that a real server gives."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.domain.delivery import Concern, Refused, Rejected
from nurture.domain.refusals import SENDGRID_RULES, SMTP_RULES, Stage, outcome_of, sendgrid_rule, smtp_rule
from nurture.domain.server_words import MOST, masked, private_parts

SENDER, RECIPIENT, MAIL, NOBODY = Concern.SENDER, Concern.RECIPIENT, Concern.MAIL, Concern.NOBODY

REPLIES: list[tuple[Stage, str, Concern]] = [
    # Before any mail is named.
    (Stage.CONNECT, "554 no SMTP service here", SENDER),
    (Stage.CONNECT, "421 4.3.2 too busy", SENDER),
    (Stage.EHLO, "550 your name is not welcome", SENDER),
    (Stage.STARTTLS, "454 4.7.0 TLS not available", SENDER),
    (Stage.AUTH, "535 5.7.8 Username and Password not accepted", SENDER),
    (Stage.AUTH, "534 5.7.9 Application-specific password required", SENDER),
    (Stage.AUTH, "451 Authentication failed: Maximum credits exceeded", SENDER),
    (Stage.AUTH, "454 4.7.0 Temporary authentication failure", SENDER),
    # MAIL names the sender only.
    (Stage.MAIL, "553 5.7.1 <dana@example.org>: Sender address rejected: not owned by user dana", SENDER),
    (Stage.MAIL, "550 5.7.1 not allowed", SENDER),
    (Stage.MAIL, "550 5.1.1 unknown", SENDER),
    (Stage.MAIL, "530 5.7.0 Authentication required", SENDER),
    (Stage.MAIL, "550 5.4.5 Daily user sending limit exceeded", SENDER),
    (Stage.MAIL, "552 5.2.2 Over quota", SENDER),
    (Stage.MAIL, "503 5.5.1 bad sequence", SENDER),
    (Stage.MAIL, "451 4.7.1 try again later", SENDER),
    (Stage.MAIL, "552 5.3.4 Message size exceeds fixed limit", MAIL),
    (Stage.MAIL, "552 message too large", MAIL),
    (Stage.MAIL, "550 5.6.7 SMTPUTF8 needed", MAIL),
    (Stage.MAIL, "452 4.3.4 too big at the moment", NOBODY),
    # RCPT: what concerns the sender all the same.
    (Stage.RCPT, "554 5.7.1 <b@example.org>: Relay access denied", SENDER),
    (Stage.RCPT, "454 4.7.1 <b@example.org>: Relay access denied", SENDER),
    (Stage.RCPT, "550 relay not permitted", SENDER),
    (Stage.RCPT, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", SENDER),
    (Stage.RCPT, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", SENDER),
    (Stage.RCPT, "553 5.7.1 <dana@example.org>: Sender address rejected: not owned by user dana", SENDER),
    (Stage.RCPT, "450 4.1.8 <dana@example.org>: Sender address rejected: Domain not found", SENDER),
    (Stage.RCPT, "550 5.1.8 bad sender", SENDER),
    (Stage.RCPT, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example", SENDER),
    (Stage.RCPT, "530 5.7.57 Client was not authenticated to send anonymous mail", SENDER),
    (Stage.RCPT, "550 5.4.5 Daily user sending limit exceeded", SENDER),
    (Stage.RCPT, "450 4.2.1 Peak SMTP relay limit exceeded for customer", SENDER),
    (Stage.RCPT, "550 5.7.26 unauthenticated sender", SENDER),
    (Stage.RCPT, "421 4.7.0 closing connection", SENDER),
    (Stage.RCPT, "454 Throttling failure: Maximum sending rate exceeded", SENDER),
    # RCPT: the recipient.
    (Stage.RCPT, "550 5.1.1 User unknown", RECIPIENT),
    (Stage.RCPT, "554 5.1.1 <b@example.org>: Recipient address rejected: User unknown in virtual mailbox table", RECIPIENT),
    (Stage.RCPT, "550 5.1.2 Bad destination system", RECIPIENT),
    (Stage.RCPT, "501 5.1.3 Bad recipient address syntax", RECIPIENT),
    (Stage.RCPT, "550 5.1.6 moved", RECIPIENT),
    (Stage.RCPT, "556 5.1.10 Recipient address has null MX", RECIPIENT),
    (Stage.RCPT, "550 5.2.1 The email account that you tried to reach is disabled", RECIPIENT),
    (Stage.RCPT, "551 user not local", RECIPIENT),
    (Stage.RCPT, "553 5.1.3 mailbox name invalid", RECIPIENT),
    (Stage.RCPT, "550 No such user here", RECIPIENT),
    (Stage.RCPT, "550 #5.1.1 unknown", RECIPIENT),
    (Stage.RCPT, "550 5.4.1 Recipient address rejected: Access denied", RECIPIENT),
    (Stage.END, "550 5.1.1 no mailbox here by that name", RECIPIENT),
    # RCPT and later: this mail, or nobody yet.
    (Stage.RCPT, "550 5.7.1 Message refused by the policy of the recipient", MAIL),
    (Stage.RCPT, "550 mailbox unavailable", MAIL),
    (Stage.RCPT, "552 5.2.2 mailbox full", MAIL),
    (Stage.RCPT, "503 5.5.1 bad sequence", MAIL),
    (Stage.RCPT, "450 4.2.0 Greylisted", NOBODY),
    (Stage.RCPT, "450 4.2.1 The user you are trying to contact is receiving mail too quickly", NOBODY),
    (Stage.RCPT, "452 4.2.2 The email account that you tried to reach is over quota", NOBODY),
    (Stage.RCPT, "452 4.5.3 too many recipients", NOBODY),
    (Stage.RCPT, "451 local error", NOBODY),
    (Stage.DATA, "550 5.4.5 Daily user sending limit exceeded", SENDER),
    (Stage.DATA, "554 no valid recipients", MAIL),
    (Stage.END, "550 5.4.5 Daily user sending limit exceeded", SENDER),
    (Stage.END, "550 5.7.1 This message is likely unsolicited mail", MAIL),
    (Stage.END, "552 5.7.0 This message was blocked because of its content", MAIL),
    (Stage.END, "550 5.7.60 Client does not have permissions to send as this sender", SENDER),
    (Stage.END, "554 5.2.252 SendAsDenied", SENDER),
    (Stage.END, "554 Message rejected: Email address is not verified.", SENDER),
    (Stage.END, "550 Domain example.org has exceeded the max emails per hour (100/100) allowed", SENDER),
    (Stage.END, "552 5.3.4 too big", MAIL),
    (Stage.END, "552 5.2.3 too big for this mailbox", MAIL),
    (Stage.END, "554 5.6.0 cannot be read", MAIL),
    (Stage.END, "550 5.6.7 no", MAIL),
    (Stage.END, "554 transaction failed", MAIL),
    (Stage.END, "421 4.7.0 too many messages in this session", SENDER),
    (Stage.END, "451 4.3.0 temporary", NOBODY),
    (Stage.END, "451 4.7.1 greylisted", NOBODY),
    (Stage.END, "431 4.3.1 full", SENDER),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "said", "concerns"), REPLIES)
def test_whom_an_smtp_reply_concerns(stage: Stage, said: str, concerns: Concern) -> None:
    found = re.fullmatch(r"(\d{3}) (?:#?([245]\.\d+\.\d+) )?(.*?)(?: \(#([245]\.\d+\.\d+)\))?", said)
    assert found
    assert smtp_rule(stage, int(found[1]), found[2] or found[4] or "", found[3]).concerns is concerns


@given(
    st.sampled_from(Stage),
    st.integers(400, 599),
    st.from_regex(r"|[45]\.\d{1,3}\.\d{1,3}", fullmatch=True),
    st.text(max_size=80),
)
def test_every_reply_has_a_row_and_only_a_permanent_one_ends_a_mail(stage: Stage, code: int, enhanced: str, words: str) -> None:
    concerns = smtp_rule(stage, code, enhanced, words).concerns
    assert code >= 500 or concerns in (SENDER, NOBODY)
    assert concerns is not RECIPIENT or stage in (Stage.RCPT, Stage.DATA, Stage.END)


def test_every_row_has_a_source() -> None:
    sources = [*(rule.source for rule in SMTP_RULES), *(rule.source for rule in SENDGRID_RULES)]
    assert all(len(source) > 8 for source in sources)


@pytest.mark.parametrize(
    ("status", "errors", "concerns"),
    [
        (401, [("", "Maximum credits exceeded")], SENDER),
        (401, [("", "The provided authorization grant is invalid, expired, or revoked")], SENDER),
        (403, [("from", "The from address does not match a verified Sender Identity.")], SENDER),
        (403, [], SENDER),
        (400, [("from.email", "The from email does not contain a valid address.")], SENDER),
        (400, [("from", "The from object must be provided")], SENDER),
        (400, [("reply_to.email", "Does not contain a valid address.")], SENDER),
        (400, [("", "Your account has been suspended")], SENDER),
        (400, [("personalizations.0.to.0.email", "Does not contain a valid address.")], RECIPIENT),
        (400, [("personalizations.0.to", "The to array is required for all personalization objects")], MAIL),
        (400, [("content.0.value", "may not be empty"), ("personalizations.0.to.0.email", "no valid address")], MAIL),
        (400, [("from.email", "no"), ("personalizations.0.to.0.email", "no valid address")], SENDER),
        (400, [], MAIL),
        (413, [], MAIL),
        (404, [], SENDER),
        (302, [], SENDER),
        (408, [], NOBODY),
    ],
)
def test_whom_an_answer_of_sendgrid_concerns(status: int, errors: list[tuple[str, str]], concerns: Concern) -> None:
    assert sendgrid_rule(status, errors).concerns is concerns


def test_what_follows_from_a_refusal() -> None:
    limit = smtp_rule(Stage.MAIL, 550, "5.4.5", "Daily user sending limit exceeded")
    assert outcome_of(limit, "x", permanent=True) == Refused("x", timedelta(minutes=30), everyone=True, alarm=True)
    later = smtp_rule(Stage.RCPT, 450, "4.2.0", "Greylisted")
    assert outcome_of(later, "x", permanent=False) == Refused("x", None, everyone=False)
    unknown = smtp_rule(Stage.RCPT, 550, "5.1.1", "User unknown")
    assert outcome_of(unknown, "x", permanent=True) == Rejected("x", Concern.RECIPIENT)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("<dana@letters.example.org>: Sender address rejected", "‹address›: Sender address rejected"),
        ("Daily user sending limit exceeded. abc12-20020a05sm9 - gsmtp", "Daily user sending limit exceeded. ‹id› - gsmtp"),
        ("Client host [192.0.2.17] blocked", "Client host [‹ip›] blocked"),
        ("no\r\nsuch\x00 user\u202e", "no such user"),
        ("see https://example.org/help?for=robin@example.org now", "see https://example.org/help now"),
        ("robin.smith%40example.org unknown", "‹address› unknown"),
    ],
)
def test_the_servers_words_without_anything_that_identifies(said: str, kept: str) -> None:
    assert masked(said) == kept


@pytest.mark.parametrize(
    "said", ["User robin.smith unknown", "ROBIN SMITH'S mailbox", "mail for Smith at example.com", "=robin="]
)
def test_parts_of_an_address_are_masked_wherever_they_are_quoted(said: str) -> None:
    text = masked(said, private_parts("robin.smith@example.com")).lower()
    assert not any(part in text for part in ("robin", "smith", "example.com"))


def test_two_replies_of_one_cause_are_one_text() -> None:
    one, two = (masked(f"queue 4F{n}A9 is full, try in {n} s, size {n}0{n}", numbers=False) for n in (11, 97))
    assert one == two


@given(st.text(), st.emails())
def test_masked_words_are_short_printable_and_hold_no_address(text: str, address: str) -> None:
    found = masked(f"{text} <{address}> {text}", private_parts(address))
    assert len(found) <= MOST
    assert found.isprintable()
    assert address not in found
