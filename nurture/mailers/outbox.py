"""The embedded mailer: a local mailbox of one file per delivery, written once, read in the browser."""

import asyncio
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from email.utils import parsedate_to_datetime
from pathlib import Path

from nurture.domain.delivery import Accepted, Outcome, Refused
from nurture.ids import DeliveryId
from nurture.mailers.base import Mail, PreparedMail, SenderIdentity, as_bytes
from nurture.mailers.description import MailerDescription
from nurture.settings import Settings

_SHOWN = re.compile(r'src="cid:([^"]+)"')


@dataclass(frozen=True)
class Stored:
    """One captured mail."""

    id: DeliveryId
    message: EmailMessage
    source: str

    def part(self, subtype: str) -> str:
        """The `plain` or `html` part."""
        body = self.message.get_body((subtype,))
        return str(body.get_content()).replace("\r\n", "\n") if body else ""

    def pictures(self) -> dict[str, str]:
        """The pictures it carries: by Content-ID, each as a `data:` address (RFC 2397)."""
        found = {}
        for part in self.message.walk():
            if part["Content-ID"]:
                content = b64encode(part.get_payload(decode=True)).decode()  # type: ignore[arg-type]
                found[str(part["Content-ID"]).strip("<>")] = f"data:{part.get_content_type()};base64,{content}"
        return found

    def page(self) -> str:
        """The `html` part with the pictures it carries in it."""
        carried = self.pictures()
        return _SHOWN.sub(lambda found: f'src="{carried.get(found[1], f"cid:{found[1]}")}"', self.part("html"))


class Outbox:
    """Keeps mail in a folder. Storing is exactly once: the file is named by the delivery and never replaced."""

    name = "outbox"
    gives_evidence = False
    repeats_safely = True
    per_request = 1

    def __init__(self, folder: Path) -> None:
        """`folder` is made when the first mail comes."""
        self.folder = folder

    def prepare(self, mail: Mail) -> PreparedMail:
        """The bytes of its file."""
        return PreparedMail(mail, (as_bytes(mail),))

    async def post(self, mails: Sequence[PreparedMail], within: float) -> Outcome:
        """Store each mail durably (write, fsync, link), in at most `within` seconds; one stored before stays as it is, so that
        one whose storing took too long may be stored again.
        """
        try:
            async with asyncio.timeout(within):
                return await asyncio.to_thread(self._post, mails)
        except TimeoutError:
            return Refused("the outbox folder did not answer in time", wait=None)

    def _post(self, mails: Sequence[PreparedMail]) -> Outcome:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for each in mails:
                self._store(each.mail, each.content)
        except OSError as error:
            return Refused(f"the outbox folder: {error.strerror}", wait=None)
        return Accepted(mails[0].mail.delivery)

    def _store(self, mail: Mail, content: Iterable[bytes]) -> None:
        final = self.folder / f"{mail.delivery}.eml"
        if final.exists():
            return
        draft = self.folder / f".{mail.delivery}.{mail.request}"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, final)  # fails if another process was first: written once, whoever wins
        except FileExistsError:
            pass
        finally:
            draft.unlink()

    def index(self) -> list[Stored]:
        """All mails, newest first."""
        found = [self._read(path) for path in self.folder.glob("[0-9a-f]*.eml")] if self.folder.is_dir() else []
        return sorted(found, key=lambda mail: parsedate_to_datetime(mail.message["Date"]), reverse=True)

    def get(self, delivery: str) -> Stored | None:
        """One mail, or None."""
        path = self.folder / f"{delivery}.eml"
        return self._read(path) if delivery.isalnum() and path.is_file() else None

    def forget(self, deliveries: Iterable[DeliveryId]) -> None:
        """Delete these mails, if they are here, and what a process that was killed left of them."""
        gone = set(deliveries)
        for delivery in gone:
            (self.folder / f"{delivery}.eml").unlink(missing_ok=True)
        for draft in self.folder.glob(".*.*") if gone else ():
            if draft.name.split(".")[1] in gone:
                draft.unlink(missing_ok=True)

    def _read(self, path: Path) -> Stored:
        raw = path.read_bytes()
        message = message_from_bytes(raw, policy=default)
        return Stored(DeliveryId(path.stem), message, raw.decode("utf-8", "replace"))

    async def check(self, sender: SenderIdentity, within: float) -> Outcome:
        """Nothing to find out: it stays on this machine."""
        return Accepted()

    async def aclose(self) -> None:
        """Nothing is held open."""


class OutboxDescription(MailerDescription):
    """How the desk offers it."""

    title = "Nothing leaves yet"
    says = "Every mail stays on this machine, in the outbox, to look at."

    def create(self, settings: Settings, real_now: Callable[[], datetime]) -> Outbox:
        """In the instance folder."""
        return Outbox(settings.instance_dir / "outbox")

    def host(self, settings: Settings) -> str:
        """Nobody's."""
        return ""


DESCRIPTION = OutboxDescription()
