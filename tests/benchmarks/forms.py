"""The slowest answer of every public form to a field of 64 kB, and to one of as many characters as a field may have.

python -m tests.benchmarks.forms DATABASE FOLDER
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, urlencode

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete

from nurture import log, runtime
from nurture.app import create_app
from nurture.runtime import Runtime
from nurture.services.letters import publishing
from nurture.store.core.desk_schema import login_attempts
from nurture.store.core.schema import limit_counters
from nurture.web.front_door import FORM_BYTES, MOST_CHARACTERS, OpenTo, policy_of
from tests.conftest import settings_for

_AGAIN = 5
"""How often the slowest of a form is repeated; its fastest answer counts, because other work only makes one slower."""
_SUSPECTS = 5

_SIGN_UP = {"email": "robin@example.org", "first_name": "Robin", "time_zone": "Europe/Berlin", "consent": "on"}
_CALL = {"name": "Robin", "email": "robin@example.org", "region": "Oregon", "contact_way": "phone", "times": "Mondays"}
FORMS: dict[str, dict[str, str]] = {
    "/subscribe": {**_SIGN_UP, "sender": "", "wording": "", "shown": "", "leave_empty": ""},
    "/consultation": {**_CALL, "contact_detail": "555 0100", "voicemail_ok": "on", "t": ""},
    "/desk/login": {"email": "robin@example.org", "password": "wrong", "next": "/desk/"},
    "/desk/login/code": {"code": "123456", "next": "/desk/"},
    "/desk/login/mail": {"email": "robin@example.org"},
    "/desk/login/<token>": {},
    "/confirm/<token>": {},
    "/unsubscribe/<token>": {"List-Unsubscribe": "One-Click"},
    "/unsubscribe/<token>/undo": {},
    "/consultation/confirm/<token>": {},
}
"""Every form that a stranger can send, with what a person types into it."""

_FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
_UNITS: dict[str, str | bytes] = {
    "letters": "a", "combining marks": "\u0301", "marks of two classes": "\u0301\u0316", "zalgo": "e" + "\u0301\u0316" * 40,
    "NULs": "\0", "percent signs": "%", "percent-encoded bytes": "%41", "at signs": "@", "dots": ".", "labels": "a.",
    "addresses": "a@b.", "commas": ",", "spaces": " ", "wide spaces": "\u3000", "line breaks": "\n", "separators": "\u2028",
    "right-to-left marks": "\u200f", "right-to-left overrides": "\u202e", "surrogates": b"\xed\xa0\x80",
    "carriage returns": "\r", "escaped and not": b"%41a",
    "stray bytes": b"\xff", "families": _FAMILY + "\u200d", "joiners": "a\u200d", "brackets": "(", "angle brackets": "<",
    "address in brackets": "<a@b", "encoded words": "=?utf-8?q?", "letters that become many": "\ufdfa",
    "Hangul": "\u1100\u1161\u11a8", "digits": "9", "hyphens": "-", "apostrophes": "'", "quotes": '"', "backslashes": "\\",
    "ampersands": "&", "A-labels": "xn--a.", "international labels": "é.", "names with dots": "Ab.Cdef", "templates": "{{a}}",
    "mailto": "mailto:",
}  # fmt: skip
TEXTS = {name: unit if isinstance(unit, bytes) else unit.encode() for name, unit in _UNITS.items()}


@dataclass(frozen=True)
class Sent:
    """One request: `what` it tries."""

    form: str
    what: str
    body: bytes
    kind: str


def sendings(form: str) -> Iterator[Sent]:
    """Every heavy request to one form."""
    plain = FORMS[form]
    for field in [*plain, "any other field"]:
        rest = {name: value for name, value in plain.items() if name != field}
        for name, unit in TEXTS.items():
            full = unit * (FORM_BYTES // len(unit) + 1)
            cut = full.decode("utf-8", "surrogateescape")[:MOST_CHARACTERS].encode("utf-8", "surrogateescape")
            for size, text in (("64 kB", full), (f"{MOST_CHARACTERS:,} characters", cut)):
                for way, made in (("raw", _raw), ("encoded", _encoded), ("in parts", _in_parts)):
                    yield Sent(form, f"{name}, {size}, {way}, in {field}", *made(rest, field, text))
    for name, body in {"fields": b"a=b&", "empty fields": b"&", "equal signs": b"=", "the same field": b"email=a&"}.items():
        for many in (FORM_BYTES // len(body), 39):
            yield Sent(form, f"{many:,} {name}", body * many, _URLENCODED)
    parts = b"".join(b'--x\r\nContent-Disposition: form-data; name="a%d"\r\n\r\nb\r\n' % n for n in range(1_200))
    yield Sent(form, "1,200 parts", parts[:FORM_BYTES], _MULTIPART)
    yield Sent(form, "boundaries", (b"--x\r\n" * FORM_BYTES)[:FORM_BYTES], _MULTIPART)
    yield Sent(form, "headers of a part", (b"--x\r\n" + b"a: b\r\n" * FORM_BYTES)[:FORM_BYTES], _MULTIPART)
    yield Sent(form, "JSON", (b"[" * FORM_BYTES)[:FORM_BYTES], "application/json")


_URLENCODED, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"


def _raw(rest: dict[str, str], field: str, text: bytes) -> tuple[bytes, str]:
    body = urlencode(rest).encode() + b"&" + field.replace(" ", "_").encode() + b"="
    return body + text[: FORM_BYTES - len(body)], _URLENCODED


def _encoded(rest: dict[str, str], field: str, text: bytes) -> tuple[bytes, str]:
    return _raw(rest, field, quote_from_bytes(text).encode())


def _in_parts(rest: dict[str, str], field: str, text: bytes) -> tuple[bytes, str]:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in rest.items()
    ]
    parts.append(f'--x\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n'.encode())
    head, end = b"".join(parts), b"\r\n--x--\r\n"
    return head + text[: FORM_BYTES - len(head) - len(end)] + end, _MULTIPART


def missing(app: Flask) -> set[str]:
    """Public forms that FORMS does not have."""
    rules = {rule.rule: policy_of(app, rule.endpoint) for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    public = {rule for rule, policy in rules.items() if policy and policy.open_to in (OpenTo.EVERYBODY, OpenTo.TOKEN)}
    return public ^ FORMS.keys()


@dataclass(frozen=True)
class Worst:
    """The slowest answer of one form."""

    form: str
    what: str
    milliseconds: float
    cpu: float
    """Milliseconds of the processor for it: other work on the machine moves it far less."""
    plain: float
    """What an ordinary request of this form takes."""
    plain_cpu: float
    tried: int


class Measuring:
    """One process that lives on, with its pages."""

    def __init__(self, rt: Runtime) -> None:
        self.rt, self.app = rt, create_app(rt)
        self.client: FlaskClient = self.app.test_client()

    def time(self, sent: Sent) -> tuple[float, float]:
        """How long one answer takes, in milliseconds of the clock, and of the processor."""
        with self.rt.database.begin() as db:
            db.execute(delete(limit_counters))
            db.execute(delete(login_attempts))
        path = sent.form.replace("<token>", "x")
        begin, cpu = time.perf_counter(), time.thread_time()
        answer = self.client.post(path, data=sent.body, content_type=sent.kind)
        took = (time.perf_counter() - begin) * 1000, (time.thread_time() - cpu) * 1000
        if answer.status_code >= 500:
            raise RuntimeError(f"{sent.form}: {sent.what}: {answer.status_code}")
        return took

    def fastest(self, sent: Sent) -> tuple[float, float]:
        """The fastest of some, by the clock and by the processor."""
        clock, cpu = zip(*(self.time(sent) for _ in range(_AGAIN)), strict=True)
        return min(clock), min(cpu)

    def worst(self, form: str) -> Worst:
        """The slowest answer of a form: those that took longest are repeated, and the fastest of each counts."""
        plain = self.fastest(Sent(form, "plain", urlencode(FORMS[form]).encode(), _URLENCODED))
        once = {sent: self.time(sent) for sent in sendings(form)}
        suspects = {
            *sorted(once, key=lambda sent: -once[sent][0])[:_SUSPECTS],
            *sorted(once, key=lambda sent: -once[sent][1])[:_SUSPECTS],
        }
        found = {sent: self.fastest(sent) for sent in suspects}
        slowest = max(found, key=lambda sent: found[sent][0])
        return Worst(form, slowest.what, *found[slowest], *plain, len(once))


def main(url: str, folder: Path) -> list[dict[str, object]]:
    """Send everything to a fresh installation."""
    log.quiet()
    rt = runtime.build(settings_for(folder, url), migrate=True)
    publishing.load_shipped(rt)
    measuring = Measuring(rt)
    if unknown := missing(measuring.app):
        raise RuntimeError(f"tests/benchmarks/forms.py has to know the forms {', '.join(sorted(unknown))}")
    found = [vars(measuring.worst(form)) for form in FORMS]
    rt.close()
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
