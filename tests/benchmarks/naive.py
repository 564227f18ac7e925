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

from tests.benchmarks.letter import HTML, SUBJECT, TEXT, WARM_UP
from tests.servers.sendgrid import KEY


def main(url: str, count: int) -> dict[str, float]:
    """Seconds and CPU seconds to send `count` letters."""
    page, text = Template(HTML, autoescape=True), Template(TEXT)
    client = SendGridAPIClient(KEY, host=url)
    begin, cpu = 0.0, 0.0
    for number in range(WARM_UP + count):
        if number == WARM_UP:
            begin, cpu = time.perf_counter(), time.process_time()
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
    return {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
