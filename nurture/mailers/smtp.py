"""SMTP with STARTTLS or SMTPS. Honest about what it cannot know: once the final dot has left, only the reply tells."""

import smtplib
import ssl
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from urllib.parse import unquote, urlsplit

from nurture.domain.delivery import Accepted, Ambiguous, Outcome, Refused, Rejected
from nurture.mailers.base import Mail, as_message
from nurture.settings import SettingRefused, is_loopback

CONNECT_SECONDS = 10
_IDLE_SECONDS = 10.0
_PORTS = {"smtp": 587, "smtps": 465}


class Smtp:
    """Carries mail by SMTP, one kept connection per sending thread."""

    name = "smtp"
    gives_evidence = False

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        """`url`: smtp://user:password@host:587 (STARTTLS) or smtps://…; `context`: whom to trust. Raises SettingRefused.

        Without TLS only a host on this machine is spoken to.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise SettingRefused("NURTURE_SMTP_URL is not usable. Set it to smtp://user:password@host:587 or smtps://…@host.")
        self._scheme, self._host = parts.scheme, parts.hostname
        self._port = parts.port or _PORTS[parts.scheme]
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._context = context or ssl.create_default_context()
        self._mine = threading.local()

    def _connect(self) -> smtplib.SMTP:
        if self._scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=CONNECT_SECONDS, context=self._context)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=CONNECT_SECONDS)
            server.ehlo_or_helo_if_needed()
            if server.has_extn("starttls"):
                server.starttls(context=self._context)
            elif not is_loopback(self._host):
                server.close()
                raise smtplib.SMTPNotSupportedError("the server offers no STARTTLS")
        if self._user:
            server.login(self._user, self._password)
        return server

    def _server(self) -> smtplib.SMTP:
        server: smtplib.SMTP | None = getattr(self._mine, "server", None)
        if server is not None and time.monotonic() - self._mine.used < _IDLE_SECONDS:
            return server
        self._drop()
        self._mine.server = server = self._connect()
        return server

    def _drop(self) -> None:
        server: smtplib.SMTP | None = getattr(self._mine, "server", None)
        self._mine.server = None
        if server is not None:
            server.close()

    def post(self, mails: Sequence[Mail], deadline: float) -> Outcome:
        """Deliver one mail. Until the payload begins a failure is a refusal; after it, no reply is ambiguous."""
        (mail,) = mails
        payload = as_message(mail).as_bytes()
        try:
            outcome = self._envelope(mail)
        except smtplib.SMTPAuthenticationError:
            self._drop()
            return Refused("the SMTP server refused user or password", timedelta(minutes=5))
        except (OSError, smtplib.SMTPException) as error:  # SMTPException is no OSError when the server is impolite
            self._drop()
            return Refused(f"no SMTP conversation ({type(error).__name__})", wait=None)
        return outcome or self._payload(payload)

    def _envelope(self, mail: Mail) -> Outcome | None:
        server = self._server()
        steps = (partial(server.mail, mail.sender.email), partial(server.rcpt, mail.to), partial(server.docmd, "DATA"))
        for step in steps:
            code, _ = step()
            if code >= 400:
                self._drop()
                # RFC 5321 section 4.2.1: 4yz may succeed later, 5yz will not.
                return Rejected(f"SMTP {code}") if code >= 500 else Refused(f"SMTP {code}", wait=None, everyone=False)
        return None

    def _payload(self, payload: bytes) -> Outcome:
        server = self._mine.server
        stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in payload.split(b"\r\n"))
        try:
            server.send(stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n")
            server.send(b".\r\n")
            code, _ = server.getreply()
        except (OSError, smtplib.SMTPException) as error:
            self._drop()
            return Ambiguous(f"no SMTP reply after the mail ({type(error).__name__})")
        self._mine.used = time.monotonic()
        if code < 400:
            return Accepted()
        return Rejected(f"SMTP {code}") if code >= 500 else Refused(f"SMTP {code}", wait=None, everyone=False)

    def close(self) -> None:
        """Close this thread's connection; those of others close with their threads."""
        self._drop()
