"""A toy mailer, as somebody would write it who follows the recipe: test_recipes.py puts it into a copy of the service."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from nurture.domain.delivery import Accepted, Outcome, Refused
from nurture.mailers.base import Mail, Mailer, PreparedMail, SenderIdentity, as_bytes
from nurture.mailers.description import MailerDescription, MailerField
from nurture.settings import Settings, as_text


class Ferry:
    """Carries mail by ferry, into a folder; a pier called closed takes none."""

    name = "ferry"
    gives_evidence = False
    repeats_safely = False
    per_request = 1

    def __init__(self, folder: Path, pier: str) -> None:
        self._folder, self._pier = folder, pier

    def prepare(self, mail: Mail) -> PreparedMail:
        return PreparedMail(mail, (as_bytes(mail),))

    async def post(self, mails: Sequence[PreparedMail], within: float) -> Outcome:
        outcome = self._look()
        if isinstance(outcome, Accepted):
            self._folder.mkdir(exist_ok=True)
            for each in mails:
                (self._folder / f"{each.mail.delivery}.eml").write_bytes(b"".join(each.content))
        return outcome

    async def check(self, sender: SenderIdentity, within: float) -> Outcome:
        return self._look()

    async def aclose(self) -> None:
        pass

    def _look(self) -> Outcome:
        return Refused("pier closed", wait=None) if self._pier.startswith("closed") else Accepted()


class FerryDescription(MailerDescription):
    title = "The ferry"
    says = "Slow, but it goes whatever the weather."
    fields = (
        MailerField(
            "ferry_pier", "The name of your pier", "Such as pier.example.", "Leave it empty to keep it.", is_secret=True
        ),
    )
    meanings = ((r"pier closed", "The ferry does not go."),)

    def create(self, settings: Settings, real_now: Callable[[], datetime]) -> Mailer:
        return Ferry(settings.instance_dir / "pier", self.host(settings))

    def host(self, settings: Settings) -> str:
        return as_text(getattr(settings, "ferry_pier", None))  # in the copy it is a setting


DESCRIPTION = FerryDescription()
