"""Whom a provider's refusal concerns: one table for SMTP replies, one for SendGrid's answers, each row with its source.

Rows are read from the top; the first that fits decides. `says` looks at the server's own words, for the many servers that give
no enhanced code, or the same one for different things.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from nurture.domain.delivery import Concern, Outcome, Refused, Rejected


class Stage(StrEnum):
    """How far an SMTP conversation had come when the server replied; the value is the command it replied to."""

    CONNECT = "connect"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    END = "end of data"


_BEFORE_ANY_MAIL = frozenset({Stage.CONNECT, Stage.EHLO, Stage.STARTTLS, Stage.AUTH})
_WITH_RECIPIENT = frozenset({Stage.RCPT, Stage.DATA, Stage.END})
_ALL = frozenset(Stage)
_SOON, _LATER = timedelta(minutes=5), timedelta(minutes=30)


class RefusalRule(Protocol):
    """What every row says, whatever it is found by. A mailer's own table may stand in its module."""

    @property
    def concerns(self) -> Concern:
        """Whom the refusal concerns."""
        ...

    @property
    def wait(self) -> timedelta | None:
        """How long sending rests after it; None: as `backoff` says."""
        ...


@dataclass(frozen=True)
class SmtpRule:
    """One row: which replies it is about, whom they concern, and where that is written."""

    concerns: Concern
    source: str
    stages: frozenset[Stage] = _ALL
    code: str = "..."
    """Pattern of the whole three-digit reply code."""
    enhanced: str = ""
    """Pattern of the whole enhanced code (RFC 3463); empty: any, or none."""
    says: str = ""
    """Pattern somewhere in the server's words, in any case; empty: whatever they are."""
    wait: timedelta | None = None
    """How long sending rests after it; None: as `backoff` says."""

    def fits(self, stage: Stage, code: int, enhanced: str, words: str) -> bool:
        """Whether a reply is of this kind."""
        return (
            stage in self.stages
            and re.fullmatch(self.code, str(code)) is not None
            and (not self.enhanced or re.fullmatch(self.enhanced, enhanced) is not None)
            and (not self.says or re.search(self.says, words, re.IGNORECASE) is not None)
        )


_GOOGLE = "Google, Gmail SMTP errors and codes (support.google.com/a/answer/3726730)"
_MICROSOFT = "Microsoft, Email non-delivery reports and SMTP errors in Exchange Online (learn.microsoft.com)"
_AMAZON = "Amazon SES, SMTP response codes and sending errors (docs.aws.amazon.com/ses)"
_POSTFIX = "postconf(5): smtpd_delay_reject names the sender's faults at RCPT only"

_RELAYING = (
    r"relay(ing)?\b.{0,20}\b(denied|not permitted|not allowed|prohibited)|(unable|not permitted|not allowed) to relay|rcpthosts"
)
_SENDER = (
    r"\bsender (address |domain |verify |e-?mail )?(is )?(rejected|denied|refused|invalid|unknown|failed|blocked)\b"
    r"|\bsender (address |domain )?(is )?not (verified|allowed|authori[sz]ed|owned|permitted)"
    r"|not owned by user|send ?as ?denied"
    r"|not (allowed|authori[sz]ed|permitted) to send (on behalf|as|from|mail)|does not have permissions? to send as"
    r"|(from )?address is not verified|authentication (is )?required|must (be authenticated|authenticate)"
)
_CLIENT = (
    r"client host\b.{0,60}\b(rejected|blocked)|blocked using|helo command rejected"
    r"|your (ip|host|server|network)\b.{0,60}\b(block|black|listed|banned|denied)"
)
_LIMIT = (
    r"\b(sending|daily|hourly|monthly|relay|submission|outgoing|rate)\b.{0,20}\b(limit|quota)"
    r"|\bmax(imum)? (sending rate|emails per|defers)|too many (messages|emails|mails|connections)|throttl|messaging limits"
    r"|credits exceeded"
)
_ACCOUNT = (
    r"\b(your|sender|sending)('s)? account\b.{0,40}\b(suspend|disabled|block|locked|paused|restricted|review)|account is paused"
)
_UNKNOWN_USER = (
    r"\b(no such|unknown|invalid|nonexistent|bad) (user|mailbox|recipient|address|account|person)\b"
    r"|\b(user|mailbox|recipient|address|account)\b.{0,50}\b(unknown|not found|does ?n[o']t exist|does not exist|no longer"
    r"|not known|is invalid|is disabled|is inactive|is closed)\b"
)

SMTP_RULES: tuple[SmtpRule, ...] = (
    # No mail has been named yet, so the next one would fare the same.
    SmtpRule(
        Concern.SENDER, "RFC 5321 section 3.1 (554), RFC 3207 section 4, RFC 4954 section 6 (530, 534, 535)", _BEFORE_ANY_MAIL,
        "5..", wait=_SOON,
    ),
    SmtpRule(Concern.SENDER, "RFC 5321 section 3.8 (421), RFC 4954 section 6 (432, 454)", _BEFORE_ANY_MAIL, "4.."),
    # What one mail or one address can cause, whatever else the server says of it.
    SmtpRule(Concern.MAIL, "RFC 3463 section 3.4: too big for the system", code="5..", enhanced=r"5\.3\.4"),
    SmtpRule(Concern.MAIL, "RFC 3463 section 3.3: full, or too big for it", _WITH_RECIPIENT, "5..", r"5\.2\.[23]"),
    SmtpRule(Concern.NOBODY, "RFC 3463 section 3.4 (4.3.4)", code="4..", enhanced=r"4\.3\.4"),
    SmtpRule(Concern.NOBODY, "RFC 3463 section 3.3", _WITH_RECIPIENT, "4..", r"4\.2\.[0234]"),
    SmtpRule(
        Concern.RECIPIENT, "RFC 3463 sections 3.2, 3.3; RFC 7505 section 4.2 (5.1.10); RFC 7293 section 15 (5.7.17, 5.7.18)",
        _WITH_RECIPIENT, "5..", r"5\.1\.([12346]|10)|5\.2\.1|5\.7\.1[78]",
    ),
    # The sender or the account, at whatever stage the server says so.
    SmtpRule(Concern.SENDER, "RFC 5321 section 3.8: the service closes the channel, in reply to any command", code="421"),
    SmtpRule(Concern.SENDER, "RFC 4954 sections 4 and 6", code="53[0458]", wait=_SOON),
    SmtpRule(Concern.SENDER, "RFC 4954 section 6 (454), RFC 5248 registry (4.7.12)", code="454|432"),
    SmtpRule(
        Concern.SENDER, "RFC 3463 section 3.2 (5.1.7, 5.1.8); RFC 4954 section 6 (5.7.8-5.7.11); RFC 5248 registry (5.7.13)",
        code="5..", enhanced=r"5\.1\.[78]|5\.7\.([89]|1[01]|1[34])", wait=_SOON,
    ),
    SmtpRule(
        Concern.SENDER, "RFC 7372 section 3 (5.7.20 to 5.7.26), RFC 7505 section 4.1 (5.7.27), RFC 5248 registry (5.7.28)",
        code="5..", enhanced=r"5\.7\.2[0-8]", wait=_SOON,
    ),
    SmtpRule(Concern.SENDER, f"RFC 3463 section 3.5 (congestion); {_GOOGLE}: sending limits", code="5..", enhanced=r"5\.4\.5",
             wait=_LATER),
    SmtpRule(Concern.SENDER, f"{_GOOGLE}: server busy, unusual rate", code="4..", enhanced=r"4\.4\.5|4\.7\.(0|2[0-8])"),
    SmtpRule(
        Concern.SENDER, _MICROSOFT, code="5..", wait=_LATER,
        enhanced=r"5\.1\.90|5\.2\.252|5\.7\.(57|60|64|50[1-36-9]|51[01]|705|708|750)",
    ),
    SmtpRule(Concern.SENDER, "RFC 3463 section 3.4: the system is full or takes no mail", code="4..", enhanced=r"4\.3\.[123]"),
    SmtpRule(Concern.SENDER, f"RFC 5321 section 7.9 (relaying); {_POSTFIX}", _WITH_RECIPIENT, says=_RELAYING, wait=_SOON),
    SmtpRule(Concern.SENDER, f"{_POSTFIX}; {_AMAZON}; {_MICROSOFT}", _WITH_RECIPIENT, says=_SENDER, wait=_SOON),
    SmtpRule(Concern.SENDER, f"{_POSTFIX}; RFC 5782 (lists of refused hosts)", _WITH_RECIPIENT, says=_CLIENT, wait=_SOON),
    SmtpRule(Concern.SENDER, f"{_GOOGLE}; {_AMAZON}", _WITH_RECIPIENT, "5..", says=_LIMIT, wait=_LATER),
    SmtpRule(Concern.SENDER, f"{_GOOGLE}; {_AMAZON}", _WITH_RECIPIENT, "4..", says=_LIMIT),
    SmtpRule(Concern.SENDER, _AMAZON, _WITH_RECIPIENT, says=_ACCOUNT, wait=_LATER),
    # At MAIL only the sender, and what the mail is like, have been named.
    SmtpRule(Concern.MAIL, "RFC 3463 section 3.7; RFC 6531 section 3.5 (5.6.7)", frozenset({Stage.MAIL}), "5..", r"5\.6\.\d+"),
    SmtpRule(Concern.MAIL, "RFC 1870 section 6: too big", frozenset({Stage.MAIL}), "552", enhanced="|5.3.4"),
    SmtpRule(Concern.SENDER, "RFC 5321 section 3.3: MAIL names the sender only", frozenset({Stage.MAIL}), "5..", wait=_SOON),
    SmtpRule(Concern.SENDER, "RFC 5321 section 3.3: MAIL names the sender only", frozenset({Stage.MAIL}), "4.."),
    # What is left concerns the recipient only where the reply says so beyond doubt: a reader must not be written off by guess.
    SmtpRule(Concern.RECIPIENT, "RFC 5321 section 4.2.2 (551, 553)", frozenset({Stage.RCPT}), "55[13]", enhanced=r"|5\.1\.\d+"),
    SmtpRule(Concern.RECIPIENT, _MICROSOFT, _WITH_RECIPIENT, "5..", r"5\.4\.1", "recipient address rejected"),
    SmtpRule(
        Concern.RECIPIENT, "RFC 5321 section 4.2.2 (550): mailbox unavailable has many causes, the words say which",
        _WITH_RECIPIENT, "55[04]", r"|5\.[05]\.0", _UNKNOWN_USER,
    ),
    SmtpRule(Concern.MAIL, "RFC 3463 section 3.8: 5.7.1 may be a filter of this recipient; sections 3.6, 3.7 (5.5.x, 5.6.x)",
             code="5.."),
    SmtpRule(Concern.NOBODY, "RFC 5321 section 4.2.1: 4yz, the same mail may be taken later", code="4.."),
)  # fmt: skip


def smtp_rule(stage: Stage, code: int, enhanced: str, words: str) -> SmtpRule:
    """The row for a refusal: `code` 400 to 599, `enhanced` as "5.7.1" or empty, `words` as the server wrote them."""
    return next(rule for rule in SMTP_RULES if rule.fits(stage, code, enhanced, words))


@dataclass(frozen=True)
class SendGridRule:
    """One row for an error in an answer of `POST /v3/mail/send`."""

    concerns: Concern
    source: str
    status: str = "4.."
    """Pattern of the whole HTTP status."""
    field: str = ""
    """Pattern of the whole `field` of the error; empty: any, or none."""
    says: str = ""
    """Pattern somewhere in its `message`, in any case; empty: whatever it is."""
    wait: timedelta | None = _SOON

    def fits(self, status: int, field: str, words: str) -> bool:
        """Whether an error is of this kind."""
        return (
            re.fullmatch(self.status, str(status)) is not None
            and (not self.field or re.fullmatch(self.field, field) is not None)
            and (not self.says or re.search(self.says, words, re.IGNORECASE) is not None)
        )


_SENDGRID_ERRORS = "SendGrid docs, Mail Send, Errors"
_SENDGRID_4XX = "SendGrid support, 4XX API errors (articles/18322114821403)"

SENDGRID_RULES: tuple[SendGridRule, ...] = (
    SendGridRule(Concern.SENDER, f"{_SENDGRID_4XX}: maximum credits", says=r"\bcredits?\b.{0,20}\bexceeded", wait=_LATER),
    SendGridRule(
        Concern.SENDER, "SendGrid support, Account under review (articles/360041790293)", wait=_LATER,
        says=r"account\b.{0,40}\b(suspended|disabled|banned|deactivated|frozen|under review|blocked|terminated)",
    ),
    SendGridRule(Concern.SENDER, f"{_SENDGRID_4XX}: sender identity", says="verified sender|sender identity"),
    SendGridRule(Concern.SENDER, f"{_SENDGRID_ERRORS}: 401, 403 (key, permission, too many bad requests)", status="40[13]"),
    SendGridRule(Concern.SENDER, "RFC 9110 sections 15.4, 15.5: the same for every request to this address",
                 status="3..|40[24567]|415|451"),
    SendGridRule(Concern.NOBODY, "RFC 9110 section 15.5.9: the request did not arrive whole", status="408", wait=None),
    SendGridRule(Concern.SENDER, f"{_SENDGRID_ERRORS}: 400 on from, reply_to", "400", r"(from|reply_to)(\..+)?"),
    SendGridRule(
        Concern.RECIPIENT, f"{_SENDGRID_ERRORS}: 400 on personalizations.to", "400", r"personalizations\.\d+\.to(\..+)?",
        r"valid (e-?mail )?address",
    ),
    SendGridRule(Concern.MAIL, f"{_SENDGRID_ERRORS}: 400, 413"),
)  # fmt: skip


def sendgrid_rule(status: int, errors: Iterable[tuple[str, str]]) -> SendGridRule:
    """The row for an answer of `status` 300 to 499 with these errors, each a field and a message.

    With several errors the sender's counts before all others, and the recipient's only where there is no other.
    """
    found = [
        next(rule for rule in SENDGRID_RULES if rule.fits(status, field, words)) for field, words in [*errors] or [("", "")]
    ]
    rank = [Concern.SENDER, Concern.NOBODY, Concern.MAIL, Concern.RECIPIENT]
    return min(found, key=lambda rule: rank.index(rule.concerns))


def outcome_of(rule: RefusalRule, why: str, permanent: bool) -> Outcome:
    """What follows from a refusal. `why`: for people, without anything personal; `permanent`: it is no matter of waiting."""
    match rule.concerns:
        case Concern.SENDER:
            return Refused(why, rule.wait, alarm=permanent)
        case Concern.NOBODY:
            return Refused(why, rule.wait, everyone=False)
        case Concern.RECIPIENT | Concern.MAIL:
            return Rejected(why, rule.concerns)
