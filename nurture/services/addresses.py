"""What people type, made safe once: addresses and time zones."""

import unicodedata
from dataclasses import dataclass
from zoneinfo import available_timezones

from nurture.characters import normalize
from nurture.errors import NurtureError

MOST_TYPED = 400
"""Characters of an address, with what comes along when it is copied: RFC 5321 allows 254 octets (section 4.5.3.1.3)."""
_ZONES = frozenset(available_timezones())


class InputRefused(NurtureError):
    """A form's field cannot be taken as it is; the message is shown beside it."""


_NO_ADDRESS = "This does not look like an e-mail address. Please check it, for example name@example.org."
_LOOKALIKES = {"LATIN", "CYRILLIC", "GREEK"}


def _mixes_scripts(domain: str) -> bool:
    """Whether a label mixes alphabets whose letters look alike, as addresses made to deceive do (Unicode TR 39)."""
    for label in domain.split("."):
        scripts = {unicodedata.name(mark, "?").split()[0] for mark in label if unicodedata.category(mark)[0] == "L"}
        if len(scripts & _LOOKALIKES) > 1:
            return True
    return False


@dataclass(frozen=True)
class Address:
    """A checked address: where mail goes, and the canonical form it is found by."""

    send_to: str
    canonical: str

    def __repr__(self) -> str:
        """Never the address: it may end up in an error or a log."""
        return "Address(‹sealed›)"


def parse_address(typed: str, test_names: bool = False) -> Address:
    """Check an address (email-validator; no quoted local parts, no literals, international domains as A-labels).

    Nothing that reads as an encoded word is an address here. The canonical form is NFC, domain as A-label in lower case,
    local part in lower case: dots and +tags stay, because `a+b@` and `a@` are different addresses. `test_names` lets the
    reserved .test domains through (RFC 2606). Raises InputRefused.
    """
    from email_validator import EmailNotValidError, validate_email  # here: it loads a DNS library

    if len(typed) > MOST_TYPED:
        raise InputRefused(_NO_ADDRESS)
    text = normalize("NFC", typed).strip()
    if not text:
        raise InputRefused("Please type your e-mail address.")
    if "=?" in text:  # mail apps and servers that decode it would reach somebody else (RFC 2047)
        raise InputRefused(_NO_ADDRESS)
    try:
        found = validate_email(
            text,
            check_deliverability=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_smtputf8=False,
            test_environment=test_names,
        )
    except EmailNotValidError:
        raise InputRefused(_NO_ADDRESS) from None
    if _mixes_scripts(found.domain):
        raise InputRefused("The part after the @ mixes letters of different alphabets that look alike. Please type it again.")
    send_to = found.ascii_email or found.normalized
    local, _, domain = send_to.rpartition("@")
    return Address(send_to, f"{local.lower()}@{domain.lower()}")


def parse_time_zone(typed: str, otherwise: str) -> str:
    """A zone the page filled in, or `otherwise`: nobody should fail to sign up over a zone they never typed."""
    return typed if typed in _ZONES else otherwise
