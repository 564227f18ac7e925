"""SendGrid's authenticated domains, beside its Mail Send.

In a test:  with SendGridWithDomains() as server: server.domains.append(authenticated("practice.test"))
Source: github.com/twilio/sendgrid-oai tsg_domain_authentication_v3.yaml, `GET /v3/whitelabel/domains`:
DomainAuthentication200 and, for records that the customer keeps, AuthenticatedDomainSpf.
"""

from collections import deque
from typing import Any

from tests.servers.sendgrid import KEY, Answer, Fault, Head, Json, SendGridServer, _json_answer, _planned_answer, status
from tests.servers.sendgrid_lists import MAIL_ONLY_KEY

_PATH = "/v3/whitelabel/domains"


def authenticated(domain: str, automatic: bool = True) -> Json:
    """A domain as SendGrid shows it; `automatic`: with keys that it changes by itself."""
    if automatic:
        dns = {
            "mail_cname": ("cname", f"em77.{domain}", "u1.wl.sendgrid.net"),
            "dkim1": ("cname", f"s1._domainkey.{domain}", "s1.domainkey.u1.wl.sendgrid.net"),
            "dkim2": ("cname", f"s2._domainkey.{domain}", "s2.domainkey.u1.wl.sendgrid.net"),
        }
    else:
        dns = {
            "mail_server": ("mx", f"em77.{domain}", "mx.sendgrid.net."),
            "subdomain_spf": ("txt", f"em77.{domain}", "v=spf1 include:sendgrid.net ~all"),
            "domain_spf": ("txt", domain, "v=spf1 include:em77.example.org -all"),
            "dkim": ("txt", f"m1._domainkey.{domain}", "k=rsa; t=s; p=AAAA"),
        }
    return {
        "id": 45373692, "user_id": 66036447, "subdomain": "em77", "domain": domain, "username": "dana", "ips": [],
        "custom_spf": False, "default": True, "legacy": False, "automatic_security": automatic, "valid": False,
        "dns": {name: {"valid": False, "type": kind, "host": host, "data": data} for name, (kind, host, data) in dns.items()},
    }  # fmt: skip


class SendGridWithDomains(SendGridServer):
    """SendGrid with the domains that it was told of."""

    def __init__(self, latency: float = 0.0, **given: Any) -> None:
        """As the server's."""
        super().__init__(latency, **{"keys": (KEY, MAIL_ONLY_KEY), **given})
        self.domains: list[Any] = []
        self.domain_faults: deque[Fault] = deque()

    def fault_elsewhere(self, head: Head) -> Fault | None:
        """The next planned one."""
        return self.domain_faults.popleft() if head.path == _PATH and self.domain_faults else super().fault_elsewhere(head)

    def route(self, head: Head, body: bytes) -> Answer:
        """Answer about domains."""
        if head.path != _PATH or head.method != "GET":
            return super().route(head, body)
        stopped = self._stopped_at_door(head)
        if stopped is None and head.headers.get("authorization") == f"Bearer {MAIL_ONLY_KEY}":
            stopped = _planned_answer(status(403))
        return stopped or _json_answer(200, self.domains)
