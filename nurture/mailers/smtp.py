"""SMTP with STARTTLS or SMTPS. Honest about what it cannot know: once the final dot has been sent, only the reply tells."""

import asyncio
import ssl
import time
from collections.abc import Sequence

from nurture.domain.delivery import Accepted, Ambiguous, Concern, Outcome, Refused, Rejected
from nurture.domain.refusals import Stage, outcome_of, smtp_rule
from nurture.domain.server_words import masked, private_parts
from nurture.mailers.base import Mail, PreparedMail, SenderIdentity, as_bytes
from nurture.mailers.smtp_conversation import Conversation, NoSmtp, ServerRefused
from nurture.setting_values import SmtpAddress, ValueRefused, is_smtp_path, parse_smtp_url
from nurture.settings import SettingRefused, is_loopback

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
