"""What people agree to when they sign up: its words, kept in versions, so that a record says what was really shown."""

import re

from sqlalchemy import Connection

from nurture import log
from nurture.errors import NurtureError
from nurture.ids import UserId
from nurture.letters.pack_texts import pack_texts
from nurture.runtime import Runtime
from nurture.store.state import consent_texts
from nurture.store.state.consent_texts import ConsentText

_log = log.get(__name__)

FEWEST, MOST = 60, 900
_LONGEST_VERSION = 20
_LEAVING = re.compile(r"\b(stop|leave|unsubscribe|end them|opt out)", re.IGNORECASE)
_MAIL = re.compile(r"e-?mail", re.IGNORECASE)


class ConsentTextRefused(NurtureError):
    """A wording nobody could agree to; the message says what it lacks."""


def _shipped(rt: Runtime) -> ConsentText:
    consent = pack_texts().consent
    return ConsentText(consent.version, consent.text.replace("{who}", rt.settings.from_name or consent.who))


def current(rt: Runtime, db: Connection) -> ConsentText:
    """The words the form shows now."""
    return next(iter(consent_texts.everything(db)), None) or _shipped(rt)


def text_shown(rt: Runtime, db: Connection, version: str) -> ConsentText:
    """The words somebody saw who sends `version` along with the form; whatever is no version of ours: the current ones."""
    if version == pack_texts().consent.version:
        return _shipped(rt)
    known = version and len(version) <= _LONGEST_VERSION and version.isprintable()  # PostgreSQL takes no NUL in a text
    return (consent_texts.get(db, version) if known else None) or current(rt, db)


def history(rt: Runtime) -> list[ConsentText]:
    """All wordings, the one shown now first."""
    with rt.database.read() as db:
        return [*consent_texts.everything(db), _shipped(rt)]


def change(rt: Runtime, typed: str, by: UserId) -> ConsentText:
    """Let the form show other words from now on; what was agreed to before stays as it was. Raises ConsentTextRefused."""
    text = " ".join(typed.split())
    if not FEWEST <= len(text) <= MOST:
        raise ConsentTextRefused(
            f"Please use {FEWEST} to {MOST} characters: enough to say what comes, and short enough to be read."
        )
    if not _MAIL.search(text):
        raise ConsentTextRefused("Please say that the letters come by e-mail: that is what people agree to.")
    if not _LEAVING.search(text):
        raise ConsentTextRefused("Please say that they can stop at any time: nobody can agree without knowing it.")
    with rt.database.begin() as db:
        consent_texts.lock(db)
        before = current(rt, db)
        if text == before.text:
            return before
        real_now = rt.clock.real_now()
        versions = {each.version for each in consent_texts.everything(db)} | {pack_texts().consent.version}
        day = f"{real_now:%Y-%m-%d}"
        names = (f"{day}.{number}" if number > 1 else day for number in range(1, len(versions) + 2))
        fresh = ConsentText(next(name for name in names if name not in versions), text, real_now, by)
        consent_texts.add(db, fresh)
    _log.info("consent_text_changed", version=fresh.version)
    return fresh
