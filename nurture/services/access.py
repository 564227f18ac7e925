"""Who may see the desk: a one-time link opens a session kept by the server."""

from datetime import timedelta

from nurture import log
from nurture.runtime import Runtime
from nurture.store import access
from nurture.tokens import Purpose, TokenRefused

_log = log.get(__name__)

LINK_WORKS = timedelta(minutes=10)


def login_link(rt: Runtime) -> str:
    """A link to the desk that works once, for ten minutes."""
    expires = rt.clock.wall() + LINK_WORKS
    with rt.database.begin() as db:
        link = access.add_link(db, expires)
    return f"{rt.settings.base_url}/desk/login/{rt.tokens.mint(Purpose.DESK_LOGIN, link, expires)}"


def log_in(rt: Runtime, token: str) -> str:
    """Use a login link up and open a session; returns the session's token. Raises TokenRefused."""
    link = rt.tokens.read(Purpose.DESK_LOGIN, token, rt.clock.wall())
    with rt.database.begin() as db:
        if not access.use_link(db, link, rt.clock.wall()):
            _log.warning("desk_login_refused")
            raise TokenRefused("This link is not valid any more.")
        session = access.open_session(db, rt.clock.wall())
    _log.info("desk_login")
    return rt.tokens.mint(Purpose.DESK_SESSION, session, rt.clock.wall() + access.LONGEST)


def session_of(rt: Runtime, token: str) -> str | None:
    """The living session a token stands for, or None."""
    try:
        session = rt.tokens.read(Purpose.DESK_SESSION, token, rt.clock.wall())
    except TokenRefused:
        return None
    with rt.database.begin() as db:
        return session if access.touch_session(db, session, rt.clock.wall()) else None


def log_out(rt: Runtime, session: str) -> None:
    """End a session."""
    with rt.database.begin() as db:
        access.close_session(db, session)
    _log.info("desk_logout")
