"""One reader's finished mail, from the row and the edition: everything personal is opened here and nowhere before."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from nurture.domain.consultation import LETTER_LINK_LASTS, QUESTION_LASTS
from nurture.domain.delivery import DeliveryKind
from nurture.domain.picture import shown_in
from nurture.domain.subscriber import CONFIRM_WITHIN
from nurture.domain.timeline import ON_TIME, next_anchor
from nurture.encryption import DecryptionFailed, Encrypted
from nurture.ids import EditionId, ImageId, RequestId, SubscriberId
from nurture.letters.compiler import Edition, compile_letter
from nurture.letters.filling import Content, Unfillable, Values, fill
from nurture.letters.source import read_letter
from nurture.mailers.base import InlineImage, Mail, MailRefused, headers
from nurture.runtime import Runtime, shipped
from nurture.store.accounts import account_changes, users
from nurture.store.deliveries.claims import Claimed
from nurture.store.deliveries.subjects import GONE
from nurture.store.letters.drafts import TestEmail, field_of_test_email
from nurture.store.sequences.sequences import StoredEdition
from nurture.store.subscribers import subscribers
from nurture.tokens import Purpose

UNFIT = (Unfillable, DecryptionFailed, MailRefused, LookupError)
"""What makes one mail impossible, and no other."""


@cache
def own_mail(kind: DeliveryKind, name: str = "") -> Edition:
    """The edition of a mail that is no letter: templates/mail/<name or kind>.md, compiled like one."""
    name = f"{name or kind.value.replace('_', '-')}.md"
    return compile_letter(read_letter(name, (shipped("mail") / name).read_text("utf-8")), kind)


def mail_of(
    rt: Runtime,
    row: Claimed,
    editions: Mapping[EditionId, StoredEdition],
    pictures: Mapping[ImageId, InlineImage],
    request: RequestId,
) -> Mail:
    """The mail of a claimed row, to go in `request`, with the pictures that this reader's text shows. Raises one of UNFIT."""
    _check_subject(rt, row)
    if row.kind is DeliveryKind.LETTER:
        if row.edition is None:
            raise LookupError("the letter of this step is gone")
        stored = editions[row.edition]
        edition = Edition(stored.subject, stored.html, stored.text)
    else:
        edition = own_mail(row.kind, f"account-{row.change.what}" if row.change is not None else "")
    unsubscribe = None
    if row.subscriber is not None:
        unsubscribe = f"{rt.settings.base_url}/unsubscribe/{rt.tokens.mint(Purpose.UNSUBSCRIBE, row.subscriber)}"
    content = _content_of(rt, row.test) if row.test is not None else fill(edition, values(rt, row, unsubscribe or ""))
    to = _recipient(rt, row)
    sender = rt.plain_sender if row.plain_sender else rt.sender
    return Mail(
        row.id,
        request,
        row.kind,
        to,
        content.subject,
        content.html,
        content.text,
        sender,
        headers(sender, row.kind, row.id, unsubscribe),
        next_anchor(row.planned, rt.clock.now(), rt.clock.stretch(ON_TIME)),
        tuple(pictures[picture] for picture in shown_in(content.html)) if pictures else (),
    )


def _content_of(rt: Runtime, email: TestEmail) -> Content:
    """What a test mail says. Raises DecryptionFailed."""
    if email.content is None:  # an older version left it as it was
        return Content(*email.plain)
    return Content(**json.loads(rt.cipher.decrypt(email.content, field_of_test_email(email.id))))


def page_of(rt: Runtime, email: TestEmail) -> str:
    """The HTML of a test mail, to see which pictures it shows; empty if it cannot be opened, which `mail_of` says."""
    try:
        return _content_of(rt, email).html
    except DecryptionFailed:
        return ""


def _check_subject(rt: Runtime, row: Claimed) -> None:
    """Raises LookupError(GONE) for a mail about something that is gone, or a login link that has expired meanwhile."""
    match row.kind:
        case DeliveryKind.NOTICE | DeliveryKind.CONSULTATION_QUESTION:
            is_gone = row.consultation is None
        case DeliveryKind.LOGIN_LINK:
            is_gone = row.login is None or row.login.expires <= rt.clock.real_now()
        case DeliveryKind.TEST_EMAIL:
            is_gone = row.test is None
        case DeliveryKind.ACCOUNT_CHANGE:
            is_gone = row.change is None
        case _:
            is_gone = False
    if is_gone:
        raise LookupError(GONE)


def _recipient(rt: Runtime, row: Claimed) -> str:
    """Who gets a mail, by what the row says it is. A test email of an account without an address goes where notices go."""
    if row.subscriber is not None:
        if row.email is None:
            raise LookupError("the reader is gone")
        return rt.cipher.decrypt(row.email, subscribers.email_field(row.subscriber))
    if row.login is not None:
        return rt.cipher.decrypt(row.login.email, users.field_of("email", row.login.user))
    if row.test is not None and row.test.email is not None:
        return rt.cipher.decrypt(row.test.email, users.field_of("email", row.test.user))
    if row.change is not None and row.account_change is not None:
        return rt.cipher.decrypt(row.change.email, account_changes.email_field(row.account_change))
    return rt.settings.notices_to


def values(rt: Runtime, row: Claimed, unsubscribe: str) -> Values:
    """Everything a letter may ask for, as `dialect.NAMES` lists it, for the reader of one row."""
    base = rt.settings.base_url
    links = public_links(base) | {"unsubscribe": unsubscribe, "confirm": "", "desk": ""}
    reader = {"first_name": "", "signed_up_on": ""}
    if row.subscriber is not None:
        expires = rt.clock.real_now() + LETTER_LINK_LASTS
        links["consultation"] += "?t=" + rt.tokens.mint(Purpose.LETTER_CONSULTATION, row.id, expires)
        name = row.first_name
        if row.kind is DeliveryKind.CONFIRMATION:
            name = None
            links["confirm"] = f"{base}/confirm/{rt.tokens.mint(Purpose.CONFIRM, row.id, rt.clock.real_now() + CONFIRM_WITHIN)}"
        reader = about_reader(rt, row.subscriber, name, row.confirmed, row.time_zone)
    if row.login is not None and row.login_link is not None:
        links["desk"] = f"{base}/desk/login/{rt.tokens.mint(Purpose.DESK_LOGIN, row.login_link, row.login.expires)}"
    elif row.change is not None:
        links["desk"] = f"{base}/desk/login"
    elif row.consultation is not None and row.subscriber is not None:
        token = rt.tokens.mint(Purpose.CONFIRM_CONSULTATION, row.consultation, rt.clock.real_now() + QUESTION_LASTS)
        links["confirm"] = f"{base}/consultation/confirm/{token}"
    elif row.consultation is not None:
        links["desk"] = f"{base}/desk/consultations/{row.consultation}"
    return {**rt.template_globals, "reader": reader, "links": links}


def about_reader(
    rt: Runtime, subscriber_id: SubscriberId, first_name: Encrypted | None, confirmed: datetime | None, time_zone: str | None
) -> dict[str, str]:
    """What a letter may say of its reader. Raises DecryptionFailed."""
    day = confirmed.astimezone(ZoneInfo(time_zone or "UTC")) if confirmed is not None else None
    return {
        "first_name": rt.cipher.decrypt(first_name, subscribers.first_name_field(subscriber_id))
        if first_name is not None
        else "",
        "signed_up_on": f"{day.day} {_month(day.year, day.month)}" if day is not None else "",
    }


@lru_cache(maxsize=64)
def _month(year: int, month: int) -> str:
    return f"{date(year, month, 1):%B %Y}"


def public_links(base: str) -> dict[str, str]:
    """The links of a letter that are the same for everybody, and hold nothing about anybody."""
    return {
        "home": base,
        "consultation": f"{base}/consultation",
        "sources": f"{base}/pages/sources",
        "picture": f"{base}/pages/picture",
        "questions": f"{base}/pages/questions",
        "doctor_list": f"{base}/pages/list",
    }
