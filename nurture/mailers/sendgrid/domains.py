"""The domains SendGrid may sign for, and what it wants to find at each (`GET /v3/whitelabel/domains`).

Source: SendGrid's OpenAPI description, tsg_domain_authentication_v3: `dns` holds records with `type`, `host` and `data`. A key
that may only send mail is refused, and that is nothing to alarm anybody: the records can be looked for without.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient

from nurture.domain.dns import RecordType
from nurture.domain.email_auth.findings import Record
from nurture.mailers.http_connection import ConnectionLost, HttpClient, NotConnected
from nurture.mailers.sendgrid.client import WireClient

_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class SignedDomain:
    """A domain that SendGrid was told of."""

    name: str
    records: tuple[Record, ...]
    """What it wants to find there."""


def read_domains(api_key: str, host: str, within: float) -> list[SignedDomain] | None:
    """All of them, in at most `within` seconds; None if SendGrid does not say, or this key may not ask. Raises nothing."""
    wire = HttpClient(host, most_bytes=_MOST_BYTES)
    with asyncio.Runner() as runner:
        headers = SendGridAPIClient(api_key, host=host)._default_headers
        client = WireClient(wire, runner, within, host=host, version=3, request_headers=headers)
        try:
            said = json.loads(client.whitelabel.domains.get(query_params={"limit": 100}).body)
            return [_domain(each) for each in said]
        except (
            HTTPError,
            NotConnected,
            ConnectionLost,
            TimeoutError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ):
            return None
        finally:
            runner.run(wire.aclose())


def _domain(said: Any) -> SignedDomain:
    records = [
        Record(one["type"].upper(), one["host"].rstrip(".").lower(), one["data"].rstrip("."))
        for name, one in said["dns"].items()
        if name != "domain_spf"  # for the domain itself: beside a list that is there it would make two, and so none
        and one["type"].upper() in set(RecordType)
    ]
    return SignedDomain(said["domain"].rstrip(".").lower(), tuple(records))
