"""What a list of another program says of each person: still subscribed, not confirmed, unsubscribed, bounced, complained.

Pure: the names of a table's columns and their values in, a status out. A value that is not known is an error of the whole file,
never a guess. The names are those of the exports of Mailchimp, Kit, listmonk, Keila, Ghost, Brevo, MailerLite, ActiveCampaign,
Substack, HubSpot, Shopify and SendGrid, and plain ones such as `opt_out`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nurture.domain.subscriber import Suppression


class ListStatus(StrEnum):
    """How somebody stands on a list of another program, from what lets them be written to, to what weighs most against it."""

    ACTIVE = "subscribed"
    UNCONFIRMED = "not confirmed"
    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"

    def outweighs(self, other: "ListStatus") -> bool:
        """Whether this says more against writing to somebody than `other`."""
        return _WEIGHT[self] > _WEIGHT[other]

    @property
    def suppression(self) -> Suppression | None:
        """Why they must not be written to; None for who may."""
        return _SUPPRESSION.get(self)


_SUPPRESSION = {
    ListStatus.UNSUBSCRIBED: Suppression.UNSUBSCRIBED,
    ListStatus.BOUNCED: Suppression.BOUNCED,
    ListStatus.COMPLAINED: Suppression.COMPLAINED,
}
_WEIGHT = {status: weight for weight, status in enumerate(ListStatus)}


class ColumnRole(StrEnum):
    """What a column of another program's export means here."""

    STATUS = "status"
    """A word such as `active` or `cancelled`."""
    LEFT = "left"
    """Yes, or a date, for who unsubscribed."""
    BOUNCED = "bounced"
    """Yes, or a date, where mail came back."""
    COMPLAINED = "complained"
    """Yes, or a date, for who reported mail as spam."""
    SUBSCRIBED = "subscribed"
    """No for who unsubscribed; yes, or a date, for who is subscribed."""
    DOUBLE_OPT_IN = "double opt-in"
    """No for who never confirmed."""
    LEAVING_REASON = "leaving reason"
    """Anything for who unsubscribed: Mailchimp's UNSUB_REASON, which is ABUSE for a complaint."""
    ASKED = "asked"
    """When they asked for mail."""
    CONFIRMED = "confirmed"
    """When they confirmed."""
    ASKED_FROM = "asked from"
    """The network address they asked from."""
    CONFIRMED_FROM = "confirmed from"
    """The network address they confirmed from."""
    ZONE = "zone"
    """Their time zone."""


EVIDENCE = (ColumnRole.ASKED, ColumnRole.ASKED_FROM, ColumnRole.CONFIRMED, ColumnRole.CONFIRMED_FROM, ColumnRole.ZONE)
"""Columns that say how and when somebody agreed."""

_NAMES = {
    ColumnRole.STATUS: (
        "status subscription_status subscriber_status subscribe_status member_status contact_status email_status list_status "
        "marketing_status email_marketing_status optin_status subscription_state email_state"
    ),
    ColumnRole.LEFT: (
        "unsub_time unsubscribed unsubscribed_at unsubscribe_date unsubscribed_date date_unsubscribed unsubscribe_time "
        "unsubscribed_on is_unsubscribed has_unsubscribed unsubscribed_from_all_email unsubscribed_from_all unsubscribe "
        "optout opted_out optout_date opted_out_at has_opted_out has_opted_out_of_email email_optout email_opted_out "
        "globally_unsubscribed do_not_mail do_not_email do_not_contact do_not_send donotmail donotemail donotcontact no_mail "
        "no_email blocklisted blacklisted email_blocklisted email_blacklisted is_blocklisted is_blacklisted blocked "
        "suppressed is_suppressed email_disabled emails_disabled deleted_at left left_at cancelled cancelled_at canceled "
        "canceled_at"
    ),
    ColumnRole.BOUNCED: (
        "bounced bounced_at bounce bounce_date bounce_time is_bounced has_bounced hard_bounced hard_bounce hardbounce "
        "hardbounced clean_time cleaned cleaned_at undeliverable"
    ),
    ColumnRole.COMPLAINED: (
        "complained complained_at complaint complaint_date complaint_time is_complained has_complained spam spam_complaint "
        "spam_report spam_reported marked_as_spam reported_as_spam junk marked_as_junk abuse"
    ),
    ColumnRole.SUBSCRIBED: (
        "subscribed is_subscribed email_subscribed subscribed_to_emails subscribed_to_newsletter newsletter "
        "newsletter_subscribed optin opted_in has_opted_in email_optin email_opted_in marketing_optin marketing_consent "
        "email_consent email_marketing_consent accepts_marketing accepts_email_marketing email_enabled"
    ),
    ColumnRole.DOUBLE_OPT_IN: "double_optin doubleoptin doi is_confirmed confirmed",
    ColumnRole.LEAVING_REASON: "unsub_reason unsubscribe_reason unsubscribed_reason optout_reason",
    ColumnRole.ASKED: (
        "optin_time optin_date opted_in_at subscribed_at subscribe_date subscribe_time subscription_date subscribed_date "
        "subscribed_on date_subscribed signup_date signup_time signed_up_at signup_at created_at created date_created "
        "created_time added_at added_time date_added joined joined_at date_joined consent_date consent_time "
        "accepts_marketing_updated_at"
    ),
    ColumnRole.CONFIRMED: (
        "confirm_time confirmed_at confirmation_date confirmation_time confirm_date date_confirmed confirmed_time "
        "optin_confirmed_at"
    ),
    ColumnRole.ASKED_FROM: "optin_ip signup_ip subscribe_ip subscription_ip ip ip_address consent_ip",
    ColumnRole.CONFIRMED_FROM: "confirm_ip confirmation_ip confirmed_ip",
    ColumnRole.ZONE: "timezone time_zone tz zone",
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}

_WORDS = {
    ListStatus.ACTIVE: (
        "active subscribed enabled confirmed optedin optin optedintoemail singleoptin doubleoptin verified cold current ok "
        "free paid comped valid"
    ),
    ListStatus.UNCONFIRMED: (
        "unconfirmed pending inactive notconfirmed awaitingconfirmation unverified notverified optinpending invited "
        "pendingconfirmation waiting waitingforconfirmation"
    ),
    ListStatus.UNSUBSCRIBED: (
        "unsubscribed unsubscribe unsub cancelled canceled disabled blocklisted blacklisted blocklist blacklist blocked "
        "optedout optout left removed deleted archived donotmail donotemail donotcontact suppressed nonsubscribed "
        "notsubscribed neversubscribed transactional globallyunsubscribed unsubscribedbyadmin excluded"
    ),
    ListStatus.BOUNCED: (
        "bounced bounce cleaned hardbounce hardbounced softbounce softbounced unreachable undeliverable undelivered invalid"
    ),
    ListStatus.COMPLAINED: (
        "complained complaint complaints abuse spam junk spamcomplaint spamreport markedasspam reportedasspam spamreported "
        "abusecomplaint"
    ),
}
_STATUSES = {word: status for status, words in _WORDS.items() for word in words.split()}
_YES = {"1", "yes", "y", "true", "t", "on", "x", "✓", "✔"}
_NO = {"", "0", "no", "n", "false", "f", "off", "never", "none", "null", "nil", "nan", "n/a", "na", "-", "–", "—", "0000-00-00"}
_FLAGS = {
    ColumnRole.LEFT: (ListStatus.UNSUBSCRIBED, None),
    ColumnRole.BOUNCED: (ListStatus.BOUNCED, None),
    ColumnRole.COMPLAINED: (ListStatus.COMPLAINED, None),
    ColumnRole.SUBSCRIBED: (ListStatus.ACTIVE, ListStatus.UNSUBSCRIBED),
    ColumnRole.DOUBLE_OPT_IN: (ListStatus.ACTIVE, ListStatus.UNCONFIRMED),
}
"""What yes and no say; None: nothing about them."""
_REFUSAL = re.compile(r"[45][0-9]{2}|[45]\.[0-9]{1,3}\.[0-9]{1,3}")
"""A reply or enhanced status code of a refusal (RFC 5321, RFC 3463), as SendGrid's list of bounces has under `status`."""
_DATE = re.compile(
    r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}(?![0-9]).*|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4}(?![0-9]).*"
    r"|[0-9]{8}(?:t[0-9]{4,6}z?)?|[0-9]{10}|[0-9]{13}"
    r"|(?:[a-z]+,? )?(?:[0-9]{1,2}(?:st|nd|rd|th)?\.? [a-z]{3,9}\.?,?|[a-z]{3,9}\.? [0-9]{1,2}(?:st|nd|rd|th)?,?) [0-9]{4}\b.*"
)

_LONGEST_DATE = 60
_DATES = {ColumnRole.SUBSCRIBED: ColumnRole.ASKED, ColumnRole.DOUBLE_OPT_IN: ColumnRole.CONFIRMED}
"""Columns of yes and no that hold a date in some programs: what that date is."""


class UnknownStatus(ValueError):
    """A value that no rule knows: nobody may guess what it says about a person."""

    def __init__(self, value: str, column: int = -1) -> None:
        """`value`: as it is written there; `column`: its place in the table."""
        super().__init__("unknown status")
        self.value, self.column = value, column


def role_of(name: str) -> ColumnRole | None:
    """What a column means, by its name; None for one that says nothing about status or consent."""
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).casefold()).strip("_")
    plain = re.sub(r"(?<![a-z])opt_(?=in|out)", "opt", plain).replace("e_mail", "email")
    return _ROLES.get(plain) or _ROLES.get(plain.removeprefix("email_"))


def is_status_word(value: str) -> bool:
    """Whether a value is one of the words that status columns hold."""
    return _plain(value) in _STATUSES


def _plain(value: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", value.casefold())


def read_value(role: ColumnRole, value: str) -> ListStatus | None:
    """What one cell says of somebody; None if it says nothing. Raises UnknownStatus."""
    text = value.strip().casefold()
    if role is ColumnRole.STATUS:
        return _read_status(text)
    if role is ColumnRole.LEAVING_REASON:
        if text in _NO:
            return None
        return ListStatus.COMPLAINED if re.search("abuse|complain|spam", text) else ListStatus.UNSUBSCRIBED
    if role not in _FLAGS:
        return None
    yes, no = _FLAGS[role]
    if text == "" or (text in _NO and no is None):
        return None
    if text in _NO:
        return no
    if text in _YES or _is_date(text):
        return yes
    return _read_status(text)


def _is_date(value: str) -> bool:
    return len(value) <= _LONGEST_DATE and bool(_DATE.fullmatch(value.strip().casefold()))


def _read_status(text: str) -> ListStatus | None:
    if text == "":
        return None
    if _REFUSAL.fullmatch(text):
        return ListStatus.BOUNCED
    found = _STATUSES.get(_plain(text))
    if found is None:
        raise UnknownStatus(text)
    return found


@dataclass(frozen=True)
class StatusColumns:
    """Which columns of a table, by their place, say how somebody stands, and which say how they agreed."""

    status: tuple[tuple[int, ColumnRole], ...] = ()
    evidence: tuple[tuple[int, ColumnRole], ...] = ()

    def evidence_of(self, row: Sequence[str]) -> dict[ColumnRole, str]:
        """What a row says about how somebody agreed, as it is written there."""
        dates = [(at, _DATES[role]) for at, role in self.status if role in _DATES and _is_date(row[at])]
        return {role: row[at] for at, role in reversed([*self.evidence, *dates]) if row[at]}

    def said_of(self, row: Sequence[str]) -> ListStatus | None:
        """How the person of a row stands: what weighs most of all its columns; None if they say nothing.

        Raises UnknownStatus, also for a row in which every column of status words is empty and no other says anything.
        """
        said = list[ListStatus]()
        for at, role in self.status:
            try:
                found = read_value(role, row[at])
            except UnknownStatus:
                raise UnknownStatus(row[at], at) from None
            if found is not None:
                said.append(found)
        words = [at for at, role in self.status if role is ColumnRole.STATUS]
        if not said and words:
            raise UnknownStatus("", words[0])
        return max(said, key=_WEIGHT.__getitem__, default=None)

    def status_of(self, row: Sequence[str]) -> ListStatus:
        """As `said_of`; of whom nothing is said is subscribed."""
        return self.said_of(row) or ListStatus.ACTIVE


def find_columns(
    names: Sequence[str], rows: Sequence[Sequence[str]], taken: Sequence[int] = (), chosen: int | None = None
) -> StatusColumns:
    """The columns that say how somebody stands, and how they agreed.

    By their names; and a column whose every value is a status word, one of them a reason not to write, whatever its name.
    `taken`: columns that hold something else. `chosen`: a column that somebody says holds the status.
    """
    status, evidence = list[tuple[int, ColumnRole]](), list[tuple[int, ColumnRole]]()
    for at, name in enumerate(names):
        role = role_of(name)
        if at == chosen or (at not in taken and role not in EVIDENCE and (role or _holds_status(at, rows))):
            status.append((at, role if role is not None and role not in EVIDENCE else ColumnRole.STATUS))
        elif at not in taken and role in EVIDENCE:
            evidence.append((at, role))
    return StatusColumns(tuple(status), tuple(evidence))


def _holds_status(at: int, rows: Sequence[Sequence[str]]) -> bool:
    values = set[str]()
    for row in rows:
        if row[at] and row[at] not in values:
            if not is_status_word(row[at]):
                return False
            values.add(row[at])
    return any(_STATUSES[_plain(value)].suppression for value in values)


_SENDGRID = ({"email", "created"}, {"email", "reason", "created"}, {"email", "ip", "created"})
"""The columns of SendGrid's lists of unsubscribes, of blocked and invalid addresses, and of spam reports."""


def may_be_list_of_who_left(names: Sequence[str]) -> bool:
    """Whether a table that says nothing about anybody's status has the very columns of SendGrid's lists of who left: only a
    person can tell it from a list of subscribers.
    """
    return {name.strip().casefold() for name in names} in _SENDGRID
