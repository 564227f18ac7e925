"""Asks the name service (DNS), by UDP and, for long answers, TCP; always within a time, and never raises for an answer."""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from nurture.domain.dns import SILENT, DnsAnswer, DnsQuestion

_AT_ONCE = 8


class DnsClient:
    """Asks the servers this machine asks, or `servers`."""

    def __init__(self, servers: Sequence[tuple[str, int]] = ()) -> None:
        """`servers`: address and port of each; by default what /etc/resolv.conf says."""
        self._servers = servers

    def ask(self, questions: Iterable[DnsQuestion], within: float) -> dict[DnsQuestion, DnsAnswer]:
        """An answer to every question, in at most `within` seconds (real time) in all."""
        from nurture.mailers import dns_lookup  # here: few processes ever ask, and the library is large

        asked, until = list(questions), time.monotonic() + within
        resolver = dns_lookup.create_resolver(self._servers)  # anew, so that a changed /etc/resolv.conf is seen
        if resolver is None:
            return dict.fromkeys(asked, SILENT)
        with ThreadPoolExecutor(_AT_ONCE, "names") as pool:
            return dict(zip(asked, pool.map(lambda one: dns_lookup.ask(resolver, one, until), asked), strict=True))
