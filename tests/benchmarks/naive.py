"""What anyone would write first: Jinja2, the SDK's Mail and its own transport, one after the other. No ledger, no claim.

python -m tests.benchmarks.naive URL COUNT
"""

import hmac
import json
import sys
import time

from jinja2 import Template
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Content, Header, Mail

from tests.benchmarks.letter import HTML, SUBJECT, TEXT
from tests.servers.sendgrid import KEY


def main(url: str, count: int) -> float:
    """Seconds to send `count` letters."""
    page, text = Template(HTML, autoescape=True), Template(TEXT)
    client = SendGridAPIClient(KEY, host=url)
    begin = time.perf_counter()
    for number in range(count):
        token = hmac.digest(b"key", str(number).encode(), "sha256").hex()
        leave = f"https://letters.example.org/unsubscribe/{token}"
        values = {
            "reader": {"first_name": "Robin", "signed_up_on": "2 March 2026"}, "practice": {"name": "Dana"},
            "links": {"unsubscribe": leave},
        }  # fmt: skip
        mail = Mail("dana@example.org", f"reader{number}@example.org", SUBJECT)
        mail.content = [Content("text/plain", text.render(values)), Content("text/html", page.render(values))]
        mail.add_header(Header("List-Unsubscribe", f"<{leave}>"))
        mail.add_header(Header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
        client.send(mail)
    return time.perf_counter() - begin


if __name__ == "__main__":
    print(json.dumps({"seconds": main(sys.argv[1], int(sys.argv[2]))}))
