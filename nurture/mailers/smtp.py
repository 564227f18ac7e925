"""SMTP with STARTTLS or SMTPS. Honest about what it cannot know: once the final dot has left, only the reply tells."""

import asyncio
import smtplib
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from urllib.parse import unquote, urlsplit

from nurture.domain.delivery import Accepted, Ambiguous, Outcome, Refused, Rejected
from nurture.mailers.base import Mail, MailRefused, Sender, as_bytes
from nurture.settings import SettingRefused, is_loopback

REPLY_SECONDS = 30.0
_IDLE_SECONDS = 10.0
_PORTS = {"smtp": 587, "smtps": 465}


class Smtp:
    """Carries mail by SMTP, over connections that are kept for a moment."""

    name = "smtp"
    gives_evidence = False
    repeats_safely = False
    per_request = 1

    def __init__(self, url: str, context: ssl.SSLContext | None = None, patience: float = REPLY_SECONDS) -> None:
        """`url`: smtp://user:password@host:587 (STARTTLS) or smtps://…; `context`: whom to trust. Raises SettingRefused.

        `patience`: seconds to wait for each reply.
        Without TLS only a host on this machine is spoken to.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise SettingRefused("NURTURE_SMTP_URL is not usable. Set it to smtp://user:password@host:587 or smtps://…@host.")
        self._scheme, self._host = parts.scheme, parts.hostname
        self._port = parts.port or _PORTS[parts.scheme]
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._context = context or ssl.create_default_context()
        self._patience = patience
        self._lock = threading.Lock()
        self._idle: list[tuple[smtplib.SMTP, float]] = []

    def _connect(self, patience: float) -> smtplib.SMTP:
        if self._scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=patience, context=self._context)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=patience)
        try:
            self._secure(server)
            if self._user:
                server.login(self._user, self._password)
        except BaseException:
            server.close()
            raise
        return server

    def _secure(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        if self._scheme == "smtps":
            return
        if server.has_extn("starttls"):
            server.starttls(context=self._context)
        elif not is_loopback(self._host):
            raise smtplib.SMTPNotSupportedError("the server offers no STARTTLS")

    def _take(self) -> smtplib.SMTP:
        """A kept connection that was used a moment ago, or a new one. A stale one shows before anything is handed over."""
        with self._lock:
            while self._idle:
                server, used = self._idle.pop()
                if time.monotonic() - used < _IDLE_SECONDS:
                    return server
                server.close()
        return self._connect(self._patience)

    def _keep(self, server: smtplib.SMTP) -> None:
        with self._lock:
            self._idle.append((server, time.monotonic()))

    async def post(self, mails: Sequence[Mail], within: float) -> Outcome:
        """Deliver one mail. Until the payload begins a failure is a refusal; after it, no reply is ambiguous."""
        return await asyncio.to_thread(self._post, mails)

    def _post(self, mails: Sequence[Mail]) -> Outcome:
        (mail,) = mails
        try:
            payload = as_bytes(mail)
        except MailRefused as refused:
            return Rejected(str(refused))
        server: smtplib.SMTP | None = None
        try:
            server = self._take()
            outcome = _envelope(server, mail)
        except smtplib.SMTPAuthenticationError:
            return _LOG_IN_REFUSED
        except OSError as error:  # SMTPException is one
            if server is not None:
                server.close()
            return _no_conversation(error)
        if outcome is None:
            outcome = _payload(server, payload)
        if isinstance(outcome, Accepted):
            self._keep(server)
        else:
            server.close()
        return outcome

    async def check(self, sender: Sender, within: float) -> Outcome:
        """Whether mail could leave: connect and log in; nothing is sent. Each reply is waited for at most `within` seconds."""
        return await asyncio.to_thread(self._check, within)

    def _check(self, within: float) -> Outcome:
        try:
            server = self._connect(within)
        except smtplib.SMTPAuthenticationError:
            return _LOG_IN_REFUSED
        except OSError as error:
            return _no_conversation(error)
        with suppress(OSError):
            server.quit()
        return Accepted()

    async def rest(self) -> None:
        """Close kept connections."""
        with self._lock:
            while self._idle:
                self._idle.pop()[0].close()


_LOG_IN_REFUSED = Refused("the SMTP server refused user or password", timedelta(minutes=5), alarm=True)


def _no_conversation(error: OSError) -> Refused:
    return Refused(f"no SMTP conversation ({type(error).__name__})", wait=None)


def _envelope(server: smtplib.SMTP, mail: Mail) -> Outcome | None:
    steps = (partial(server.mail, mail.sender.email), partial(server.rcpt, mail.to), partial(server.docmd, "DATA"))
    for step in steps:
        code, _ = step()
        if code >= 400:
            return _failure(code)
    return None


def _payload(server: smtplib.SMTP, payload: bytes) -> Outcome:
    stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in payload.split(b"\r\n"))
    try:
        server.send(stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n")
        server.send(b".\r\n")
        code, _ = server.getreply()
    except OSError as error:
        return Ambiguous(f"no SMTP reply after the mail ({type(error).__name__})")
    return Accepted() if code < 400 else _failure(code)


def _failure(code: int) -> Outcome:
    """RFC 5321 section 4.2.1: 4yz may succeed later, 5yz will not."""
    return Rejected(f"SMTP {code}") if code >= 500 else Refused(f"SMTP {code}", wait=None, everyone=False)
