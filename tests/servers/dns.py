"""A name server of our own on a real socket, UDP and TCP: records that a test says, and every way it can fail.

In a test:  with NameServer({("practice.test", "TXT"): ["v=spf1 -all"]}) as server: Names([server.address])
"""

import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Deed = Literal["silence", "servfail", "refused", "garbage", "truncated"]
"""`truncated`: by UDP always, so that a client must come again by TCP (RFC 7766)."""
Zone = Mapping[tuple[str, str], Sequence[str]]


def text(value: str) -> str:
    """A TXT record as it is written in a zone: in pieces of at most 255 characters (RFC 1035 section 3.3.14)."""
    pieces = [value[at : at + 255] for at in range(0, len(value), 255)] or [""]
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)


class NameServer:
    """Answers for its zone as a resolver does: it follows CNAMEs, and says so when there is no such name."""

    def __init__(self, zone: Zone | None = None) -> None:
        """`zone`: name and kind of records, and their values; TXT without quotes, names without the last dot."""
        self.zone: dict[tuple[str, str], Sequence[str]] = dict(zone or {})
        self.deeds: dict[str, Deed] = {}
        """What goes wrong with a name; `*` for all."""
        self.asked: Counter[tuple[str, str, str]] = Counter()
        """How often a name and a kind were asked for, and by which way, `udp` or `tcp`."""
        self._lock = threading.Lock()

    def __enter__(self) -> "NameServer":
        """Listen on the same port by both ways."""
        outer = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                wire, at = self.request
                if (answer := outer._answer(wire, "udp")) is not None:
                    at.sendto(answer, self.client_address)

        class Tcp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                length = self.request.recv(2, socket.MSG_WAITALL)
                wire = self.request.recv(struct.unpack("!H", length)[0], socket.MSG_WAITALL)
                if (answer := outer._answer(wire, "tcp")) is not None:
                    self.request.sendall(struct.pack("!H", len(answer)) + answer)

        class Threads(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._tcp = Threads(("127.0.0.1", 0), Tcp)
        self.address = ("127.0.0.1", self._tcp.server_address[1])
        self._udp = socketserver.ThreadingUDPServer(self.address, Udp)
        self._udp.daemon_threads = True
        self._threads = [threading.Thread(target=each.serve_forever, args=(0.02,)) for each in (self._tcp, self._udp)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Close both."""
        for server in (self._tcp, self._udp):
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def _answer(self, wire: bytes, way: Literal["udp", "tcp"]) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        with self._lock:
            self.asked[name, kind, way] += 1
        deed = self.deeds.get(name, self.deeds.get("*"))
        answer = dns.message.make_response(query, recursion_available=True)
        match deed:
            case "silence":
                return None
            case "garbage":
                return wire[:2] + b"\xff" * 20
            case "servfail" | "refused":
                answer.set_rcode(dns.rcode.from_text(deed.upper()))
                return answer.to_wire()
        self._fill(answer, name, kind)
        size = query.payload or 512
        whole = answer.to_wire(max_size=65535)
        if way == "udp" and (deed == "truncated" or len(whole) > size):
            cut = dns.message.make_response(query, recursion_available=True)
            cut.flags |= dns.flags.TC
            return cut.to_wire()
        return whole

    def _fill(self, answer: dns.message.Message, name: str, kind: str) -> None:
        """The chain of CNAMEs, and what stands at its end (RFC 1034 section 4.3.2)."""
        for _ in range(9):
            here = f"{name}."
            leads = self.zone.get((name, "CNAME"))
            if leads and kind != "CNAME":
                answer.answer.append(dns.rrset.from_text(here, 300, "IN", "CNAME", f"{leads[0]}."))
                name = leads[0]
                continue
            values = self.zone.get((name, kind))
            if values:
                answer.answer.append(dns.rrset.from_text(here, 300, "IN", kind, *(_written(kind, one) for one in values)))
            elif not any(each == name or each.endswith(f".{name}") for each, _ in self.zone):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            return


def _written(kind: str, value: str) -> str:
    if kind == "TXT":
        return text(value)
    if kind == "MX":
        return f"10 {value}." if value else "0 ."
    return f"{value}." if kind == "CNAME" else value
