"""A mailer as tests use it: one loop from its first mail to its last, so that its connections live as in the sender."""

import asyncio
from types import TracebackType

from nurture.domain.delivery import Outcome
from nurture.mailers.base import Mail, Mailer


class Posting:
    """Posts mails one by one, or several at once."""

    def __init__(self, mailer: Mailer, within: float = 20) -> None:
        self.mailer, self._within, self._runner = mailer, within, asyncio.Runner()

    def post(self, *mails: Mail) -> Outcome:
        """One request."""
        return self._runner.run(self.mailer.post([self.mailer.prepare(mail) for mail in mails], self._within))

    def post_each(self, mails: list[Mail], at_once: int) -> list[Outcome]:
        """One request a mail, so many in flight."""

        async def lane(part: list[Mail]) -> list[Outcome]:
            return [await self.mailer.post([self.mailer.prepare(mail)], 10) for mail in part]

        async def all_lanes() -> list[list[Outcome]]:
            return list(await asyncio.gather(*(lane(mails[n::at_once]) for n in range(at_once))))

        return [outcome for part in self._runner.run(all_lanes()) for outcome in part]

    def __enter__(self) -> "Posting":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._runner.run(self.mailer.aclose())
        self._runner.close()
