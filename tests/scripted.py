"""A mailer that answers as a test says, and counts what it was given."""

from collections.abc import Awaitable, Callable, Sequence

from nurture.domain.delivery import Accepted, Outcome
from nurture.mailers.base import Mail, PreparedMail, SenderIdentity


class Answering:
    """`answer`: what a request comes to, by its first mail; may be a coroutine."""

    name = "answering"
    repeats_safely = False
    per_request = 1

    def __init__(self, answer: Callable[[Mail], Outcome | Awaitable[Outcome]], gives_evidence: bool = True) -> None:
        self.answer, self.gives_evidence = answer, gives_evidence
        self.given: list[Mail] = []

    def prepare(self, mail: Mail) -> PreparedMail:
        return PreparedMail(mail, ())

    async def post(self, mails: Sequence[PreparedMail], within: float) -> Outcome:
        self.given += (each.mail for each in mails)
        found = self.answer(mails[0].mail)
        return await found if isinstance(found, Awaitable) else found

    async def check(self, sender: SenderIdentity, within: float) -> Outcome:
        return Accepted()

    async def aclose(self) -> None:
        pass
