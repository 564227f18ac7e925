"""SendGrid's suppression lists, beside its Mail Send: pages and filters as documented, and mail dropped by what is on them.

In a test:  with SendGridWithLists() as server: server.fill("bounces", [("robin@example.org", 1700000000)])
Source: "OAI" = github.com/twilio/sendgrid-oai tsg_suppressions_v3.yaml. Where it says nothing the stricter reading holds.
From another process: `GET /_lists`, `POST /_lists {"bounces": [["robin@example.org", 1700000000]]}`.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args
from urllib.parse import parse_qs, unquote

from tests.servers.sendgrid import (
    _ADDRESS,
    KEY,
    Answer,
    Fault,
    Head,
    Json,
    SendGridServer,
    _json_answer,
    _planned_answer,
    _refusal,
    status,
)

MOST_OF_A_PAGE = 500  # OAI, PaginationCommonLimit
MAIL_ONLY_KEY = "SG.mail-only-key"
"""Known, and may send mail, but not look at lists: 403 there."""

ListName = Literal["bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes"]
_DETAILS: dict[str, Json] = {
    "bounces": {
        "reason": f"550 5.1.1 The email account that you tried to reach does not exist. {'Please try again. ' * 20}",
        "status": "5.1.1",
    },
    "blocks": {"reason": "unable to resolve MX record", "status": "4.0.0"},
    "invalid_emails": {"reason": "Mail domain mentioned in email address is unknown"},
    "spam_reports": {"ip": "10.63.202.100"},
    "unsubscribes": {},
}  # OAI, the examples of each list
_DROPS = (  # reason, and what lets a mail past that list (OAI tsg_mail_v3: mail_settings)
    ("bounces", "Bounced Address", "bypass_bounce_management"),
    ("invalid_emails", "Invalid", ""),
    ("spam_reports", "Spam Reporting Address", "bypass_spam_management"),
    ("unsubscribes", "Unsubscribed Address", "bypass_unsubscribe_management"),
)
_SUPPRESSION, _GLOBAL = "/v3/suppression/", "/v3/asm/suppressions/global"


class SendGridWithLists(SendGridServer):
    """SendGrid with its suppression lists. The global suppressions of `asm` are the list `unsubscribes`."""

    def __init__(self, latency: float = 0.0, **given: Any) -> None:
        """As the server's."""
        super().__init__(latency, **{"keys": (KEY, MAIL_ONLY_KEY), **given})
        self.now: Callable[[], float] = time.time
        """Unix seconds at which something is added."""
        self.unwanted: set[str] = set()
        """Addresses that are refused as none, whatever they look like."""
        self.list_requests: deque[str] = deque()
        """Method and path, with the query, of every request about lists, answered or not."""
        self._lists: dict[str, dict[str, Json]] = {name: {} for name in get_args(ListName)}
        self._list_faults: deque[Fault | None] = deque()

    # What a test says and asks

    def fill(self, name: ListName, entries: Iterable[tuple[str, float]]) -> None:
        """Put addresses on a list, each with the unix second at which it came there."""
        for address, created in entries:
            self._put(name, address, int(created))

    def listed(self, name: ListName) -> list[str]:
        """The addresses on a list."""
        return list(self._lists[name])

    def plan_lists(self, *faults: Fault | None) -> None:
        """What the coming requests about lists meet, one each; None lets one through."""
        self._list_faults.extend(faults)

    # What SendGrid does

    def _put(self, name: str, address: str, created: int) -> None:
        entry = {"created": created, "email": address, **_DETAILS[name]}
        self._lists[name].setdefault(address.lower(), entry)

    def drops(self, mail: Json) -> dict[str, str]:
        """Whom the lists name, unless the mail says to pass over them."""
        settings: Mapping[str, Any] = mail.get("mail_settings") or {}
        passes = {name for name, value in settings.items() if value.get("enable") is True}
        people = [
            p["email"].lower() for one in mail["personalizations"] for kind in ("to", "cc", "bcc") for p in one.get(kind) or ()
        ]
        if "bypass_list_management" in passes:
            return {}
        return {
            address: reason
            for name, reason, bypass in reversed(_DROPS)
            for address in people
            if bypass not in passes and address in self._lists[name]
        }

    def fault_elsewhere(self, head: Head) -> Fault | None:
        """The next planned one."""
        if not head.path.startswith((_SUPPRESSION, _GLOBAL)):
            return super().fault_elsewhere(head)
        self.list_requests.append(f"{head.method} {head.path}" + (f"?{head.query}" if head.query else ""))
        return self._list_faults.popleft() if self._list_faults else None

    def route(self, head: Head, body: bytes) -> Answer:
        """Answer about lists."""
        if not head.path.startswith((_SUPPRESSION, _GLOBAL)):
            return super().route(head, body)
        stopped = self._stopped_at_door(head)
        if stopped is not None:
            return stopped
        if head.headers.get("authorization") == f"Bearer {MAIL_ONLY_KEY}":
            return _planned_answer(status(403))
        match head.method, head.path.removeprefix(_SUPPRESSION), head.path.removeprefix(_GLOBAL):
            case "GET", name, _ if name in self._lists:
                return self._page(name, head.query)
            case "POST", _, "":
                return self._add(head, body)
            case "DELETE", _, rest if rest.startswith("/"):
                gone = self._lists["unsubscribes"].pop(unquote(rest[1:]).lower(), None)
                return Answer(204) if gone else _refusal(404, "not found")
        return _refusal(404, "not found")

    def _page(self, name: str, query: str) -> Answer:
        asked = {key: values[-1] for key, values in parse_qs(query).items()}
        if not all(value.isascii() and value.isdigit() for key, value in asked.items() if key != "email"):
            return _refusal(400, "limit, offset, start_time and end_time must be integers")
        limit, offset = int(asked.get("limit", MOST_OF_A_PAGE)), int(asked.get("offset", 0))
        if not 1 <= limit <= MOST_OF_A_PAGE:
            return _refusal(400, f"limit must be between 1 and {MOST_OF_A_PAGE}")
        start, end = int(asked.get("start_time", 0)), int(asked.get("end_time", 1 << 60))  # OAI: both inclusive
        found = [entry for entry in self._lists[name].values() if start <= entry["created"] <= end]
        found.sort(key=lambda entry: entry["created"], reverse=True)
        return _json_answer(200, found[offset : offset + limit])

    def _add(self, head: Head, body: bytes) -> Answer:
        try:
            addresses = json.loads(body)["recipient_emails"]
        except (ValueError, LookupError, TypeError):
            return _refusal(400, "recipient_emails is required")
        if head.headers.get("content-type") != "application/json" or not isinstance(addresses, list) or not addresses:
            return _refusal(400, "recipient_emails is required")
        for address in addresses:
            if not isinstance(address, str) or not _ADDRESS.fullmatch(address) or address in self.unwanted:
                return _refusal(400, f"{address} is not a valid email address")
        for address in addresses:
            self._put("unsubscribes", address, int(self.now()))
        return _json_answer(201, {"recipient_emails": addresses})

    async def _control(self, head: Head, body: bytes) -> Answer:
        match head.method, head.path:
            case "GET", "/_lists":
                return _json_answer(200, {name: list(entries.values()) for name, entries in self._lists.items()})
            case "POST", "/_lists":
                for name, entries in json.loads(body).items():
                    self.fill(name, entries)
                return _json_answer(200, {})
        return await super()._control(head, body)
