"""Passkeys (WebAuthn level 3): where they can be used, and what one is asked for."""

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Site:
    """What passkeys are bound to: the host, which browsers call the id of the relying party, and the origin of the pages."""

    rp_id: str
    origin: str


def site_of(base_url: str) -> Site | None:
    """The site of an installation; None where browsers take no passkeys: its host is an address and no name, or the way to it
    is not encrypted. `base_url`: scheme, host and port, checked and in small letters.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if host != "localhost" and (parts.scheme != "https" or _is_address(host)):
        return None
    default = {"http": 80, "https": 443}[parts.scheme]
    port = f":{parts.port}" if parts.port not in (None, default) else ""
    return Site(host, f"{parts.scheme}://{host}{port}")


def _is_address(host: str) -> bool:
    """Whether a browser takes a host for an IP address (URL standard, "ends in a number checker")."""
    return ":" in host or re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rstrip(".").rpartition(".")[2]) is not None


class PasskeyUse(StrEnum):
    """What a browser is asked to use a passkey for. A challenge for one use is refused for every other."""

    LOG_IN = "log-in"
    SECOND_PROOF = "second-proof"
    AGAIN = "again"
    NEW = "new"
