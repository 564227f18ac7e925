"""Faults 11 and 14: many schedulers at the same instant; one poisoned recipient among a thousand."""

import random
import threading
from collections import Counter
from collections.abc import Sequence

import pytest

from nurture.delivery.reconcile import reconcile
from nurture.delivery.sender import Sender
from nurture.delivery.tick import tick
from nurture.domain.delivery import Accepted, DeliveryKind, Outcome, Rejected, State
from nurture.mailers.base import Mail, PreparedMail
from nurture.runtime import Runtime
from tests.clocks import ManualClock
from tests.faults.conftest import Record
from tests.faults.harness import come
from tests.people import rows, run_tick
from tests.scripted import Answering


@pytest.mark.parametrize("schedulers", [2, 8])
def test_many_schedulers_give_the_result_of_one(
    rt: Runtime, clock: ManualClock, schedulers: int, full: bool, record: Record
) -> None:
    rounds, readers = (1000 // schedulers if full else 60), 20
    come(rt, readers)
    mailer = Answering(lambda _: Accepted("m"))
    rt.mailer = mailer
    senders = [Sender(rt) for _ in range(schedulers)]
    errors: list[BaseException] = []

    def look(sender: Sender, together: threading.Barrier) -> None:
        try:
            together.wait()
            tick(rt, sender.submit)
            reconcile(rt)
            sender.finish()
        except BaseException as error:
            errors.append(error)

    for _ in range(rounds):
        together = threading.Barrier(schedulers)
        threads = [threading.Thread(target=look, args=(sender, together)) for sender in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        clock.advance(days=1)
    for sender in senders:
        sender.close()
    assert errors == []
    letters = Counter(mail.to for mail in mailer.given)
    assert set(letters.values()) == {6}, "each reader got each of the six letters, each once"
    assert len({mail.delivery for mail in mailer.given}) == len(mailer.given) == 6 * readers
    assert {row[1] for row in rows(rt, kind=DeliveryKind.LETTER)} == {State.ACCEPTED}
    record(schedulers=schedulers, ticks=schedulers * rounds, mails=len(mailer.given), duplicates=0, lost=0)


class Bulk(Answering):
    """A provider that takes many mails in one request, and refuses it whole for one it does not like."""

    per_request = 1000

    def __init__(self, poisoned: str) -> None:
        super().__init__(lambda _: Accepted("m"))
        self.poisoned, self.requests = poisoned, 0
        self.arrived: list[Mail] = []

    async def post(self, mails: Sequence[PreparedMail], within: float) -> Outcome:
        self.requests += 1
        if any(each.mail.to == self.poisoned for each in mails):
            return Rejected("a recipient it does not like")
        self.arrived += (each.mail for each in mails)
        return Accepted("m")


def test_one_poisoned_recipient_among_a_thousand_costs_twenty_requests_and_only_itself(
    rt: Runtime, full: bool, seed: int, record: Record
) -> None:
    count = 1000 if full else 200
    readers = come(rt, count)
    mailer = Bulk(random.Random(seed).choice(readers).email)
    rt.mailer = mailer
    rt.settings = rt.settings.model_copy(update={"batch_size": 1000})
    run_tick(rt)
    assert Counter(row[1] for row in rows(rt)) == {State.ACCEPTED: count - 1, State.FAILED: 1, State.SCHEDULED: count - 1}
    assert {mail.to for mail in mailer.arrived} == {reader.email for reader in readers} - {mailer.poisoned}
    assert len(mailer.arrived) == count - 1
    assert mailer.requests - 1 <= 20
    record(seed=seed, mails=len(mailer.arrived), extra_requests=mailer.requests - 1, failed=1)
