"""A proxy before PostgreSQL that cuts connections at COMMIT: before the server hears of it, or before its answer is heard."""

import random
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

_COMMIT = b"COMMIT\0"
_QUERY = ord("Q")


class CuttingProxy:
    """Listens on loopback and passes everything on to a PostgreSQL socket; of the commits after `start`, it cuts a share."""

    def __init__(self, server: Path, share: float, seed: int) -> None:
        """`share` of all commits is cut, half of them before the server gets them."""
        self._server, self._share, self._dice = server, share, random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock, self._threads = threading.Lock(), list[threading.Thread]()
        self.cutting = False
        self.unheard = self.unanswered = 0
        """Commits that never reached the server; commits whose answer never came back."""

    @property
    def port(self) -> int:
        """Where it listens."""
        found: int = self._listener.getsockname()[1]
        return found

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            try:
                server.connect(str(self._server))
            except OSError:
                return
            deaf = threading.Event()
            down = threading.Thread(target=self._down, args=(client, server, deaf), daemon=True)
            down.start()
            self._up(client, server, deaf)
            down.join()

    def _up(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        """From the service to the server, message by message (PostgreSQL documentation, "Message Formats")."""
        try:
            self._pass_on(client, server, deaf)
        except (OSError, struct.error):
            pass
        finally:
            _shut(client, *(() if deaf.is_set() else (server,)))

    def _pass_on(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        with client.makefile("rb") as source:
            (length,) = struct.unpack("!I", head := source.read(4))  # the start-up message has no type
            server.sendall(head + source.read(length - 4))
            while len(head := source.read(5)) == 5:
                kind, length = struct.unpack("!BI", head)
                body = source.read(length - 4)
                if kind == _QUERY and body == _COMMIT and self._cut():
                    if self._unheard():
                        return
                    deaf.set()
                server.sendall(head + body)

    def _down(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        try:
            while data := server.recv(65536):
                if deaf.is_set():  # it has committed, and nobody hears of it
                    break
                client.sendall(data)
        except OSError:
            pass
        finally:
            _shut(client, server)

    def _cut(self) -> bool:
        with self._lock:
            return self.cutting and self._dice.random() < self._share

    def _unheard(self) -> bool:
        with self._lock:
            unheard = self._dice.random() < 0.5
            if unheard:
                self.unheard += 1
            else:
                self.unanswered += 1
            return unheard


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
