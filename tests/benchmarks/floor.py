"""The floor of one Python thread: a bare keep-alive socket and a body built before.

python -m tests.benchmarks.floor URL COUNT
"""

import json
import socket
import sys
import time
from urllib.parse import urlsplit

from nurture.mailers.sendgrid.mailer import written
from tests.benchmarks.letter import HTML, TEXT, WARM_UP
from tests.mailers.test_outbox import a_mail
from tests.servers.sendgrid import KEY


def main(url: str, count: int) -> dict[str, float]:
    """Seconds and CPU seconds for `count` requests, one after the other on one connection."""
    parts = urlsplit(url)
    content = written(a_mail(html=HTML, text=TEXT))
    lines = (
        "POST /v3/mail/send HTTP/1.1",
        f"Host: {parts.netloc}",
        f"Authorization: Bearer {KEY}",
        "Content-Type: application/json",
    )
    request = "".join(line + "\r\n" for line in lines).encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin, cpu = 0.0, 0.0
        for number in range(WARM_UP + count):
            if number == WARM_UP:
                begin, cpu = time.perf_counter(), time.process_time()
            connection.sendall(request)
            if not connection.recv(65536).startswith(b"HTTP/1.1 202"):
                raise RuntimeError("the server refused")
        return {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
