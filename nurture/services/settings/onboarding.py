"""The first run: what has to be done before letters may leave for others, and the word that lets them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from nurture import log
from nurture.config import is_on_this_machine
from nurture.errors import NurtureError
from nurture.ids import EditionId, StepKey, UserId
from nurture.letters.compiler import Edition
from nurture.letters.filling import fill
from nurture.letters.source import Letter, read_stored
from nurture.runtime import Runtime
from nurture.services.accounts.accounts import Account
from nurture.services.accounts.security_events import note
from nurture.services.letters import previews
from nurture.services.sequences.simulation import simulate_stored
from nurture.services.settings import sender_domain
from nurture.services.settings.mailer_check import DeliveryResult, delivery_result
from nurture.settings import MAIL_AT_THE_DESK, is_loopback
from nurture.store.letters import drafts, letter_reviews
from nurture.store.letters.drafts import TestEmailStatus
from nurture.store.sequences import sequences
from nurture.store.sequences.sequences import StoredSequence
from nurture.store.state import launch as live
from nurture.store.state import setting_overrides
from nurture.store.subscribers import subscribers

_log = log.get(__name__)


class Task(StrEnum):
    """What has to be done before letters may leave."""

    PROTECT = "protect"
    PRACTICE = "practice"
    SENDER = "sender"
    MAIL = "mail"
    LINKS = "links"
    TEST_EMAIL = "test-email"
    DOMAIN = "domain"
    READ = "read"
    SERIES = "series"


class NotReady(NurtureError):
    """Something is still to be done before letters may leave."""


@dataclass(frozen=True)
class Chapter:
    """One letter on its way to be read before all others: which edition, when a reader would get it, what became of it."""

    step: StepKey
    edition: EditionId
    letter: Letter
    at: datetime | None
    """When somebody who signed up now would get it (timeline, UTC)."""
    read: bool
    sent: DeliveryResult | None


@dataclass(frozen=True)
class OnboardingProgress:
    """How far the first run has come."""

    live: bool
    open: bool
    """Whether letters leave: also before, where nothing can reach anybody else."""
    done: frozenset[Task]
    chapters: tuple[Chapter, ...]
    waiting: int
    """People on the list already, who get their letters from the moment they may leave."""

    @property
    def missing(self) -> list[Task]:
        """What is still to be done, in order."""
        return [task for task in Task if task not in self.done]


def load_progress(rt: Runtime, protected: bool) -> OnboardingProgress:
    """How far the first run has come. `protected`: whether whoever looks has a password and a second proof."""
    with rt.database.read() as db:
        begun = live.since(db) is not None
        key = sequences.sign_up_key(db)
        stored = sequences.load(db, key) if key else None
        steps = stored.steps if stored else []
        read = letter_reviews.reviewed(db, {step.edition for step in steps})
        tried = [each for each in drafts.all_test_emails(db) if each.mailer == rt.mailer.name]
        said = setting_overrides.all_overrides(db)
        waiting = subscribers.count_mailable(db)
    chapters = tuple(_chapters(rt, stored, read, tried)) if stored else ()
    changed = max((said[name].set_at for name in said.keys() & MAIL_AT_THE_DESK), default=None)
    fresh = [each for each in tried if changed is None or each.made >= changed]
    done = _done(rt, protected, chapters, any(delivery_result(each).arrived for each in fresh))
    return OnboardingProgress(begun, begun or not rt.requires_launch, frozenset(done), chapters, waiting)


def progress(rt: Runtime, protected: bool) -> OnboardingProgress | None:
    """How far the first run has come; None once letters leave by somebody's word."""
    with rt.database.read() as db:
        if live.since(db) is not None:
            return None
    return load_progress(rt, protected)


def _done(rt: Runtime, protected: bool, chapters: Sequence[Chapter], tried: bool) -> list[Task]:
    """What is done. Links lead to this very machine only in a try, where the mail stays on it as well."""
    now, carried = rt.settings, not rt.settings.mail_stays_here
    holds = {
        Task.PROTECT: protected,
        Task.PRACTICE: bool(now.practice_name and now.practice_credential and now.practice_state),
        Task.SENDER: bool(now.from_name and now.from_email and now.postal_address),
        Task.MAIL: carried,
        Task.LINKS: not is_loopback(urlsplit(rt.settings.base_url).hostname) or (carried and stays_here(rt)),
        Task.TEST_EMAIL: carried and tried,
        Task.DOMAIN: carried and (stays_here(rt) or _is_known(rt)),
        Task.READ: bool(chapters) and all(chapter.read for chapter in chapters),
        Task.SERIES: carried and bool(chapters) and all(chapter.sent and chapter.sent.arrived for chapter in chapters),
    }
    return [task for task, is_done in holds.items() if is_done]


def _is_known(rt: Runtime) -> bool:
    """Whether the domain of the sender's address says that letters come from here, as far as a check could tell."""
    checked = sender_domain.last(rt, rt.sender.email)
    return checked is not None and not checked.asks_for_something


def stays_here(rt: Runtime) -> bool:
    """Whether what carries mail is on this very machine, as in a try."""
    return is_on_this_machine(rt.settings)


def _chapters(rt: Runtime, stored: StoredSequence, read: set[EditionId], tried: list[TestEmailStatus]) -> list[Chapter]:
    zone = ZoneInfo(rt.settings.time_zone)
    when = {each.step: each.due for each in simulate_stored(rt, stored.key, rt.clock.now(), zone).letters}
    newest = {each.edition: each for each in reversed(tried) if each.edition}
    return [
        Chapter(
            step.key,
            step.edition,
            read_stored(step.file_name, step.source),
            when.get(step.key),
            step.edition in read,
            delivery_result(newest[step.edition]) if step.edition in newest else None,
        )
        for step in stored.steps
    ]


def mark_read(rt: Runtime, edition: EditionId, by: UserId, read: bool) -> None:
    """Somebody has read a letter that goes out now, or takes that back. Any other edition changes nothing."""
    with rt.database.begin() as db:
        stored = [sequences.load(db, key) for key in sequences.all_keys(db)]
        if edition not in {step.edition for one in stored if one is not None for step in one.steps}:
            return
        if read:
            letter_reviews.record_review(db, edition, by, rt.clock.real_now())
        else:
            letter_reviews.take_back(db, edition)


def send_series(rt: Runtime, me: Account) -> int:
    """Mail every letter that goes out now to whoever is at the desk, within seconds instead of weeks; what has arrived already
    is left out, unless all of it has. Returns how many.
    """
    chapters = load_progress(rt, me.protected).chapters
    lacking = [each for each in chapters if not (each.sent and each.sent.arrived)] or list(chapters)
    with rt.database.read() as db:
        editions = sequences.read_editions(db, {each.edition for each in lacking})
    values = previews.values(rt)
    mails = []
    for each in lacking:
        kept = editions[each.edition]
        mails.append((fill(Edition(kept.subject, kept.html, kept.text), values), each.edition))
    previews.plan_test_emails(rt, me, mails)
    return len(mails)


def go_live(rt: Runtime, me: Account) -> None:
    """From now on letters leave for readers. Raises NotReady while something is to be done."""
    if load_progress(rt, me.protected).missing:
        raise NotReady("Something is still to be done before letters may leave.")
    with rt.database.begin() as db:
        live.begin(db, rt.clock.real_now())
        note(rt, db, me.id, "went_live")
    _log.info("went_live", account=me.id)
