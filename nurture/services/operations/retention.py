"""What is kept no longer than it must be."""

from datetime import timedelta

from nurture import log
from nurture.delivery.safety_checks import check
from nurture.domain.subscriber import CONFIRM_WITHIN
from nurture.runtime import Runtime
from nurture.services.accounts import account_changes, passkeys, security_events
from nurture.services.letters import images
from nurture.services.subscribers import bulk_actions as remembered
from nurture.services.subscribers import csv_import, personal_data
from nurture.store.accounts import account_changes as stored_changes
from nurture.store.accounts import api_keys, login_attempts, sessions
from nurture.store.accounts import passkeys as stored_passkeys
from nurture.store.accounts import security_events as stored_events
from nurture.store.deliveries import provider_events
from nurture.store.letters import drafts
from nurture.store.state import launch, limits
from nurture.store.subscribers import bulk_actions, csv_imports, sign_ups, subscribers

_log = log.get(__name__)

REPORTS_KEPT = timedelta(days=90)
"""What a report says has long been written into its delivery; it is kept so that a question can be answered."""


KEYS_KEPT = timedelta(days=365)
"""Keys of programs that were taken back stay on the list for a year."""

TEST_EMAILS_KEPT = timedelta(days=7)
"""A letter that somebody sent to themselves has long arrived."""


def retain(rt: Runtime) -> int:
    """Delete sign-ups nobody confirmed in time, ended desk sessions, files of people to add, pictures no letter shows, and
    history that is old enough.

    Returns how many sign-ups.
    """
    with rt.database.begin() as db:
        personal_data.finish(rt, db)
    if not check(rt):  # by a clock that jumped, everything is old
        return 0
    with rt.database.begin() as db:
        deleted = subscribers.delete_unconfirmed(db, rt.clock.now() - CONFIRM_WITHIN)
        sign_ups.forget(db, rt.clock.now() - CONFIRM_WITHIN)
        limits.forget_ended(db, max(rt.clock.now(), rt.clock.real_now()))
        sessions.forget(db, rt.clock.real_now())
        provider_events.forget(db, rt.clock.real_now() - REPORTS_KEPT)
        # the first run asks whether they have arrived
        kept = TEST_EMAILS_KEPT if launch.since(db) is not None else REPORTS_KEPT
        drafts.forget_test_emails(db, rt.clock.real_now() - kept)
        csv_imports.forget(db, rt.clock.real_now() - csv_import.KEPT)
        bulk_actions.forget(db, rt.clock.real_now() - remembered.KEPT)
        api_keys.forget(db, rt.clock.real_now() - KEYS_KEPT)
        images.forget_unused(db, rt.clock.real_now())
        stored_events.forget(db, rt.clock.real_now() - security_events.KEPT)
        stored_changes.forget(db, rt.clock.real_now() - account_changes.KEPT)
        stored_passkeys.forget_challenges(db, rt.clock.real_now() - passkeys.LASTS)
        login_attempts.forget(db, rt.clock.real_now())
    personal_data.scrub(rt)
    if deleted:
        _log.info("unconfirmed_deleted", count=deleted)
    return deleted
