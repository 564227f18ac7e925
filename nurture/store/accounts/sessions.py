"""One-time login links and sessions of the desk."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from nurture.encryption import Encrypted
from nurture.ids import LoginLinkId, UserId, new_id
from nurture.store.core.desk_schema import desk_sessions, login_links, users
from nurture.store.core.sign_up_schema import link_requests

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
"""OWASP ASVS 5.0, V7.3: a session ends after 30 idle minutes, and after 12 hours in any case."""

L, S = login_links.c, desk_sessions.c


@dataclass(frozen=True)
class Session:
    """A living session. `mfa_pending`: the second factor is still to come; `reauthenticated`: when they last showed who they
    are (UTC).
    """

    id: str
    user: UserId
    mfa_pending: bool
    reauthenticated: datetime | None


@dataclass(frozen=True)
class Link:
    """A login link that still works; no `user`: the first owner's."""

    expires: datetime
    user: UserId | None


def add_link(db: Connection, expires: datetime, user: UserId | None) -> LoginLinkId:
    """Make a link that works once until `expires` (real time); returns its id."""
    link = LoginLinkId(new_id())
    db.execute(insert(login_links).values(id=link, expires_at=expires, user_id=user))
    return link


def link(db: Connection, link: str, real_now: datetime) -> Link | None:
    """A link that still works."""
    row = db.execute(select(L.expires_at, L.user_id).where(L.id == link, L.used_at.is_(None), L.expires_at > real_now)).first()
    return Link(row[0], row[1]) if row else None


@dataclass(frozen=True)
class Addressed:
    """A login link that goes out by mail: to whom, and until when it works."""

    user: UserId
    email: Encrypted
    expires: datetime


def addressed(db: Connection, links: Collection[LoginLinkId], real_now: datetime) -> dict[LoginLinkId, Addressed]:
    """Those of `links` that are login links of somebody with an address, and still work at `real_now` (real time)."""
    theirs = select(L.id, L.user_id, users.c.email_encrypted, L.expires_at).join(users, users.c.id == L.user_id)
    living = (L.used_at.is_(None), L.expires_at > real_now)
    rows = db.execute(theirs.where(L.id.in_(links), users.c.email_encrypted.is_not(None), *living))
    return {row[0]: Addressed(row[1], row[2], row[3]) for row in rows}


def add_request(db: Connection, email_index: bytes, real_now: datetime) -> None:
    """Store that somebody asked for a link by mail."""
    db.execute(insert(link_requests).values(id=new_id(), email_index=email_index, at=real_now))


def has_requests(db: Connection) -> bool:
    """Whether anybody waits for a link."""
    return db.execute(select(link_requests.c.id).limit(1)).first() is not None


def take_requests(db: Connection, since: datetime) -> list[bytes]:
    """For which addresses somebody asked, oldest first; each is taken once. Those from before `since` are dropped: whoever
    asked so long ago has given up.
    """
    taken = delete(link_requests).returning(link_requests.c.email_index, link_requests.c.at)
    return [row[0] for row in sorted(db.execute(taken), key=lambda row: row[1]) if row[1] >= since]


def living_links(db: Connection, user_id: UserId, real_now: datetime) -> int:
    """How many links of an account still work."""
    living = (L.user_id == user_id, L.used_at.is_(None), L.expires_at > real_now)
    return db.execute(select(func.count()).select_from(login_links).where(*living)).scalar_one()


def use_link(db: Connection, link: str, real_now: datetime) -> bool:
    """Use a link up; False if it was used, has expired or never existed."""
    fresh = (L.id == link, L.used_at.is_(None), L.expires_at > real_now)
    return bool(db.execute(update(login_links).where(*fresh).values(used_at=real_now)).rowcount)


def end_links(db: Connection, user_id: UserId, real_now: datetime) -> None:
    """Let no link of an account work any more that has not been used."""
    db.execute(update(login_links).where(L.user_id == user_id, L.used_at.is_(None)).values(used_at=real_now))


def open_session(db: Connection, user: UserId, real_now: datetime, mfa_pending: bool, device: str = "") -> str:
    """Start a session; returns its id. A whole one begins with a proof of who they are. `device`: browser and system in
    words.
    """
    session = new_id()
    values = {
        "id": session,
        "user_id": user,
        "created_at": real_now,
        "seen_at": real_now,
        "mfa_pending": mfa_pending,
        "device": device or None,
    }
    db.execute(insert(desk_sessions).values(values | {"reauthenticated_at": None if mfa_pending else real_now}))
    return session


def touch_session(db: Connection, session: str, real_now: datetime) -> Session | None:
    """A session, if it is alive; it has just been seen."""
    alive = (S.id == session, S.user_id.is_not(None), S.seen_at > real_now - IDLE, S.created_at > real_now - LONGEST)
    seen = (
        update(desk_sessions)
        .where(*alive)
        .values(seen_at=real_now)
        .returning(S.id, S.user_id, S.mfa_pending, S.reauthenticated_at)
    )
    row = db.execute(seen).first()
    return Session(*row) if row else None


@dataclass(frozen=True)
class OpenSession:
    """A living session as its owner sees it: on which device, since when, and when it was last used (UTC)."""

    id: str
    device: str
    began: datetime
    seen: datetime


def sessions_of(db: Connection, user_id: UserId, real_now: datetime) -> list[OpenSession]:
    """The living, whole sessions of an account, the last used first."""
    alive = (S.user_id == user_id, S.mfa_pending.is_(False), S.seen_at > real_now - IDLE, S.created_at > real_now - LONGEST)
    rows = db.execute(select(S.id, S.device, S.created_at, S.seen_at).where(*alive).order_by(S.seen_at.desc(), S.id))
    return [OpenSession(row[0], row[1] or "", row[2], row[3]) for row in rows]


def is_proved(db: Connection, session: str, since: datetime) -> bool:
    """Whether a whole session is there whose owner has shown who they are since then (UTC)."""
    return (
        db.execute(select(S.id).where(S.id == session, S.mfa_pending.is_(False), S.reauthenticated_at > since)).first()
        is not None
    )


def prove(db: Connection, session: str, real_now: datetime) -> None:
    """Note that whoever has this session has just shown who they are."""
    db.execute(update(desk_sessions).where(S.id == session).values(reauthenticated_at=real_now))


def close_session(db: Connection, session: str) -> None:
    """End a session."""
    db.execute(delete(desk_sessions).where(S.id == session))


def forget(db: Connection, real_now: datetime) -> None:
    """Delete ended sessions and links that no longer work."""
    db.execute(delete(desk_sessions).where(or_(S.seen_at < real_now - IDLE, S.created_at < real_now - LONGEST)))
    db.execute(delete(login_links).where(L.expires_at < real_now))
