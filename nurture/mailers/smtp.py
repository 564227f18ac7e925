"""SMTP with STARTTLS or SMTPS. Honest about what it cannot know: once the final dot has been sent, only the reply tells."""

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from nurture.domain.delivery import Accepted, Ambiguous, Concern, Outcome, Refused, Rejected
from nurture.domain.refusals import Stage, outcome_of, smtp_rule
from nurture.domain.server_words import masked, private_parts
from nurture.mailers.base import Mail, PreparedMail, SenderIdentity, as_bytes
from nurture.mailers.description import ASKS_TO_WAIT, LIMIT_REACHED, FieldsRefused, MailerDescription, MailerField
from nurture.mailers.smtp_conversation import Conversation, NoSmtp, ServerRefused
from nurture.setting_values import (
    SMTP_PORTS,
    SmtpAddress,
    ValueRefused,
    is_smtp_path,
    parse_smtp_url,
    smtp_credential,
    write_smtp_url,
)
from nurture.settings import SettingRefused, Settings, as_text, is_loopback

_IDLE_SECONDS = 10.0


class Smtp:
    """Carries mail by SMTP, over connections that are kept for a moment. Connections belong to the loop they were made in."""

    name = "smtp"
    gives_evidence = False
    repeats_safely = False
    per_request = 1

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        """`url`: as `parse_smtp_url` reads it; `context`: whom to trust, by default as the system does (SSL_CERT_FILE), and on
        this machine anybody. Raises SettingRefused.

        Without TLS only a host on this machine is spoken to.
        """
        try:
            self._address = parse_smtp_url(url)
        except ValueRefused as refused:
            raise SettingRefused(
                f"NURTURE_SMTP_URL {refused}. Set it to smtp://user:password@host:587 or smtps://user:password@host."
            ) from None
        self._is_local = is_loopback(self._address.host)
        self._context = context or trusted_for(self._address)
        self._idle: list[tuple[Conversation, float]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def prepare(self, mail: Mail) -> PreparedMail:
        """The mail as it follows DATA."""
        return PreparedMail(mail, (as_bytes(mail),))

    async def post(self, mails: Sequence[PreparedMail], within: float) -> Outcome:
        """Deliver one mail, in at most `within` seconds in all. Until the mail itself begins, a failure is a refusal; after
        that, no reply is ambiguous.
        """
        (prepared,) = mails
        mail = prepared.mail
        if not is_smtp_path(mail.sender.email):
            return Refused("the sender's address cannot be written in SMTP: see NURTURE_FROM_EMAIL", wait=None, alarm=True)
        if not is_smtp_path(mail.to):
            return Rejected("the recipient's address cannot be written in SMTP", Concern.RECIPIENT)
        open_now: list[Conversation] = []
        try:
            async with asyncio.timeout(within):
                return await self._deliver(mail, b"".join(prepared.content), open_now)
        except ServerRefused as refused:
            for each in open_now:
                each.end()
            sender = private_parts(mail.sender.email) - {mail.sender.email.rpartition("@")[2]}
            return self._meaning(refused, private_parts(mail.to) | sender)
        except (NoSmtp, OSError) as error:  # TimeoutError is one
            if any(each.stage is Stage.END for each in open_now):
                return Ambiguous(f"no SMTP reply after the mail ({_name(error)})")
            return _no_conversation(error)
        finally:
            for each in open_now:
                each.abort()

    async def _deliver(self, mail: Mail, payload: bytes, open_now: list[Conversation]) -> Accepted:
        """`open_now`: gets the conversations that are to be closed."""
        conversation = self._take()
        if conversation is not None:
            open_now.append(conversation)
            try:
                await conversation.name_envelope(mail.sender.email, mail.to)
            except (NoSmtp, ServerRefused) as error:
                if not _is_stale(conversation, error):
                    raise
                conversation = None  # closed while nobody used it: nothing of this mail was said
        if conversation is None:
            conversation = await Conversation.start(self._address, self._context, self._is_local)
            open_now.append(conversation)
            await conversation.name_envelope(mail.sender.email, mail.to)
        await conversation.send_mail(payload)
        open_now.remove(conversation)
        self._idle.append((conversation, time.monotonic()))
        return Accepted()

    def _take(self) -> Conversation | None:
        """A kept conversation that was used a moment ago."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # another sender, or a child after a fork
            self._idle, self._loop = [], loop
        while self._idle:
            conversation, used = self._idle.pop()
            if conversation.is_open and time.monotonic() - used < _IDLE_SECONDS:
                return conversation
            conversation.end()
        return None

    async def check(self, sender: SenderIdentity, within: float) -> Outcome:
        """Whether mail could leave: connect and log in, in at most `within` seconds; nothing is sent."""
        try:
            async with asyncio.timeout(within):
                conversation = await Conversation.start(self._address, self._context, self._is_local)
        except ServerRefused as refused:
            return self._meaning(refused, set())
        except (NoSmtp, OSError) as error:
            return _no_conversation(error)
        conversation.end()
        return Accepted()

    async def aclose(self) -> None:
        """Close kept connections."""
        while self._idle:
            self._idle.pop()[0].end()

    def _meaning(self, refused: ServerRefused, private: set[str]) -> Outcome:
        stage, reply = refused.stage, refused.reply
        rule = smtp_rule(stage, reply.code, reply.enhanced, reply.words)
        private = {*private, self._address.user, self._address.password, *private_parts(self._address.user)}
        is_about_sender = rule.concerns is Concern.SENDER
        words = masked(reply.words, private, numbers=is_about_sender)
        code = f"{reply.code} {reply.enhanced}".strip()
        said = f": {words}" if words else ""
        if stage is Stage.AUTH and reply.code == 535:
            why = f"the SMTP server refused user or password ({code}{said})"
        else:
            why = f"SMTP {code} at {stage.value}{said}"
        return outcome_of(rule, why, permanent=reply.code >= 500)


def trusted_for(address: SmtpAddress) -> ssl.SSLContext:
    """Whose certificate is believed: for a host on this machine, which nobody else can be, any; else what the system trusts."""
    context = ssl.create_default_context()
    if is_loopback(address.host):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _is_stale(conversation: Conversation, error: Exception) -> bool:
    """Whether a kept connection turned out closed, or about to be, before it took anything of a mail."""
    closing = isinstance(error, NoSmtp) or (isinstance(error, ServerRefused) and error.reply.code == 421)
    return closing and conversation.stage is Stage.MAIL


def _name(error: Exception) -> str:
    return str(error) if isinstance(error, NoSmtp) else type(error).__name__


def _no_conversation(error: Exception) -> Refused:
    return Refused(f"no SMTP conversation ({_name(error)})", wait=None)


class SmtpDescription(MailerDescription):
    """How the desk offers it, and what its answers mean. Its one setting is several fields there."""

    title = "A mail server"
    says = "Any provider that gives you a server, a user name and a password (SMTP)."
    heading = "The mail server"
    hint = "Your provider names these under “SMTP” or “outgoing mail”."
    fields = (
        MailerField("smtp_host", "Its name", "Such as smtp.example.org."),
        MailerField("smtp_port", "Port", "Usually 587, sometimes 465.", max_length=5),
        MailerField("smtp_user", "User name", optional=True),
        MailerField(
            "smtp_password",
            "Password",
            "It is kept encrypted.",
            "It is kept encrypted. Leave it empty to keep the one that is here.",
            optional=True,
            max_length=300,
            is_secret=True,
        ),
        MailerField("smtp_secure", "Encrypted from the start (port 465)", optional=True, checked_value="at once"),
    )
    meanings = (
        (
            r"refused user or password",
            "The mail server does not accept this user name and password. Please type them again; some services want a "
            "password made for apps, not the one you log in with.",
        ),
        (r"gaierror", "There is no mail server by that name. Please check it."),
        (r"ConnectionRefused", "The server is there, but takes no mail at this port. Most use 587, some 465."),
        (
            r"Timeout",
            "The server did not answer. Is the port right? Some networks let no mail out by themselves; whoever hosts "
            "this service can tell.",
        ),
        (
            r"SSLCertVerification",
            "The server could not prove who it is: its certificate does not fit its name. Please check the name.",
        ),
        (
            r"SSLError|SMTPServerDisconnected",
            "The server and we did not understand each other. With port 465 choose “encrypted from the start”, with 587 do "
            "not.",
        ),
        (
            r"SMTPNotSupported",
            "The server offers no encryption. Letters of this kind must not travel in the open: please choose another "
            "port, or another service.",
        ),
        LIMIT_REACHED,
        (r"SMTP 4\d\d\b", ASKS_TO_WAIT[1]),
        (r"SMTP 5\d\d\b.* at RCPT", "The mail server takes no mail to this address, or none from you to it."),
        (r"SMTP 55[0-4]", "The mail service refused this mail. Most often it does not know your sender address as yours."),
        (
            r"no SMTP conversation",
            "We could not talk with the mail server. Please check its name, its port and the encryption.",
        ),
        (
            r"no SMTP reply",
            "The mail server did not say whether it took the mail. Look into your inbox; if nothing has come, try again.",
        ),
    )

    def create(self, settings: Settings, real_now: Callable[[], datetime]) -> Smtp:
        """With the address of the settings."""
        return Smtp(as_text(settings.smtp_url))

    def host(self, settings: Settings) -> str:
        """That of the mail server."""
        address = kept_address(settings)
        return address.host if address is not None else ""

    def form(self, settings: Settings) -> dict[str, str]:
        """The parts of the address but its password."""
        address = kept_address(settings)
        return {
            "smtp_host": address.host if address else "",
            "smtp_port": str(address.port if address else SMTP_PORTS["smtp"]),
            "smtp_user": address.user if address else "",
            "smtp_password": "",
            "smtp_secure": "at once" if address and address.encrypted else "",
        }

    def keeps(self, field: MailerField, settings: Settings) -> bool:
        """The password of the address."""
        address = kept_address(settings)
        return field.is_secret and address is not None and bool(address.password)

    def read_form(self, typed: Mapping[str, str], settings: Settings) -> dict[str, str]:
        """The fields as one address; a password that is left empty stays what it is."""
        address = kept_address(settings)
        url = url_from_parts(
            typed["smtp_host"].strip(),
            typed["smtp_port"].strip(),
            typed["smtp_user"].strip(),
            typed["smtp_password"] or (address.password if address else ""),
            typed["smtp_secure"] == "at once",
        )
        return {"smtp_url": url}

    def check_values(self, changes: Mapping[str, str]) -> None:
        """Nothing that `url_from_parts` has not checked."""


def kept_address(settings: Settings) -> SmtpAddress | None:
    """Where the settings say mail is delivered; None without."""
    url = as_text(settings.smtp_url)
    return parse_smtp_url(url) if url else None


def url_from_parts(host: str, port: str, user: str, password: str, at_once: bool) -> str:
    """The address of a mail server as one setting. `at_once`: encrypted from the first byte (port 465).

    Raises FieldsRefused.
    """
    errors = {}
    if not re.fullmatch(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]", host):
        errors["smtp_host"] = "Please type the name of the mail server, such as smtp.example.org."
    if not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) < 65536:
        errors["smtp_port"] = "Please type a port: 587 for most services, or 465."
    for name, value, what in (("smtp_user", user, "user name"), ("smtp_password", password, "password")):
        try:
            smtp_credential(value, what)
        except ValueRefused:
            errors[name] = f"A {what} cannot hold a line break. Please type it again."
    if errors:
        raise FieldsRefused(errors)
    return write_smtp_url(SmtpAddress(host.strip("[]"), int(port), user, password, at_once))


DESCRIPTION = SmtpDescription()
