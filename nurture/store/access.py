"""One-time login links and sessions of the desk."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, or_, update

from nurture.store.schema import desk_sessions, login_links
from nurture.words import new_id

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
"""OWASP ASVS 5.0, V7.3: a session ends after 30 idle minutes, and after 12 hours in any case."""

L, S = login_links.c, desk_sessions.c


def add_link(db: Connection, expires: datetime) -> str:
    """Make a link that works once until `expires` (real time); returns its id."""
    link = new_id()
    db.execute(insert(login_links).values(id=link, expires_at=expires))
    return link


def use_link(db: Connection, link: str, wall: datetime) -> bool:
    """Use a link up; False if it was used, has expired or never existed."""
    fresh = (L.id == link, L.used_at.is_(None), L.expires_at > wall)
    return bool(db.execute(update(login_links).where(*fresh).values(used_at=wall)).rowcount)


def open_session(db: Connection, wall: datetime) -> str:
    """Start a session; returns its id."""
    session = new_id()
    db.execute(insert(desk_sessions).values(id=session, created_at=wall, seen_at=wall))
    return session


def touch_session(db: Connection, session: str, wall: datetime) -> bool:
    """Whether a session is alive; if so, it has just been seen."""
    alive = (S.id == session, S.seen_at > wall - IDLE, S.created_at > wall - LONGEST)
    return bool(db.execute(update(desk_sessions).where(*alive).values(seen_at=wall)).rowcount)


def close_session(db: Connection, session: str) -> None:
    """End a session."""
    db.execute(delete(desk_sessions).where(S.id == session))


def forget(db: Connection, wall: datetime) -> None:
    """Delete ended sessions and links that no longer work."""
    db.execute(delete(desk_sessions).where(or_(S.seen_at < wall - IDLE, S.created_at < wall - LONGEST)))
    db.execute(delete(login_links).where(L.expires_at < wall))
