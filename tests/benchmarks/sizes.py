"""How many bytes a program sends for one letter: a provider that counts, so that the comparison can be seen to be fair."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@contextmanager
def counting() -> Iterator[tuple[str, list[int]]]:
    """A provider's URL, and the sizes of the bodies that were posted to it, in bytes, in order."""
    found: list[int] = []

    class Provider(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            found.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(202)
            self.send_header("X-Message-Id", "counted")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", found
        finally:
            server.shutdown()
            thread.join()
