"""The floor of one Python thread: a bare keep-alive socket and a body built before.

python -m tests.benchmarks.floor URL COUNT
"""

import json
import socket
import sys
import time
from urllib.parse import urlsplit

from tests.mailers.test_outbox import a_mail
from tests.servers.sendgrid import KEY


def main(url: str, count: int) -> float:
    """Seconds for `count` requests, one after the other on one connection."""
    from nurture.mailers.sendgrid import written

    parts = urlsplit(url)
    content = written(a_mail(html="<p>Calm words.</p>" * 667, text="Calm words. " * 167))
    lines = (
        "POST /v3/mail/send HTTP/1.1",
        f"Host: {parts.netloc}",
        f"Authorization: Bearer {KEY}",
        "Content-Type: application/json",
    )
    request = "".join(line + "\r\n" for line in lines).encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = time.perf_counter()
        for _ in range(count):
            connection.sendall(request)
            if not connection.recv(65536).startswith(b"HTTP/1.1 202"):
                raise RuntimeError("the server refused")
        return time.perf_counter() - begin


if __name__ == "__main__":
    print(json.dumps({"seconds": main(sys.argv[1], int(sys.argv[2]))}))
