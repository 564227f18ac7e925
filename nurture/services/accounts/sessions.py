"""Where an account is logged in: each session can be ended."""

from dataclasses import dataclass

from nurture.ids import UserId
from nurture.runtime import Runtime
from nurture.services.accounts.security_events import note
from nurture.store.accounts import sessions, users
from nurture.store.accounts.sessions import OpenSession


@dataclass(frozen=True)
class ListedSession:
    """A session on its owner's page. `name`: by which it can be ended; it opens nothing."""

    name: str
    session: OpenSession
    is_here: bool


def _name(rt: Runtime, session: str) -> str:
    return rt.cipher.keyed_hash("desk session", session)[:16].hex()


def of_account(rt: Runtime, user_id: UserId, here: str) -> list[ListedSession]:
    """The living sessions of an account; `here`: the id of the one in which they are shown."""
    with rt.database.read() as db:
        found = sessions.sessions_of(db, user_id, rt.clock.real_now())
    return [ListedSession(_name(rt, each.id), each, each.id == here) for each in found]


def end(rt: Runtime, user_id: UserId, name: str) -> bool:
    """End one session of an account; False if it has none of this name."""
    with rt.database.begin() as db:
        for each in sessions.sessions_of(db, user_id, rt.clock.real_now()):
            if _name(rt, each.id) == name:
                sessions.close_session(db, each.id)
                note(rt, db, user_id, "session_ended")
                return True
    return False


def end_others(rt: Runtime, user_id: UserId, here: str) -> None:
    """Log an account out everywhere but here."""
    with rt.database.begin() as db:
        users.end_sessions(db, user_id, but=here)
        note(rt, db, user_id, "other_sessions_ended")
