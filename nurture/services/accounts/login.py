"""Into the desk: by password and a second proof, by a passkey, or by a link that works once. The server keeps the sessions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from nurture.domain.client import Client
from nurture.domain.delivery import DeliveryKind
from nurture.domain.limits import LOG_IN_MAIL, LOG_IN_MAIL_NETWORK
from nurture.domain.passkey import PasskeyUse
from nurture.errors import NurtureError
from nurture.ids import UserId
from nurture.runtime import Runtime
from nurture.services import limits
from nurture.services.accounts import login_attempts, passkeys
from nurture.services.accounts.accounts import PROOF_LASTS, Account, first_owner, opened
from nurture.services.accounts.login_attempts import Attempts, Check
from nurture.services.accounts.passkey_protocol import read_assertion
from nurture.services.accounts.passwords import fits, hash_password, is_dated
from nurture.services.accounts.second_factor import looks_like_recovery, recovery_hash, step_of
from nurture.services.accounts.security_events import note
from nurture.services.addresses import Address
from nurture.store.accounts import sessions, users
from nurture.store.accounts.sessions import Session
from nurture.store.accounts.users import User
from nurture.store.deliveries import ledger
from nurture.store.deliveries.ledger import NewDelivery
from nurture.tokens import Purpose, TokenRefused

LINK_WORKS = timedelta(minutes=10)
INVITATION_WORKS = timedelta(days=3)
_MOST_LINKS = 3
"""Links on their way to one account at a time: nobody's inbox can be filled with them."""


class LogInRefused(NurtureError):
    """Not let in; the same words whatever was wrong."""


@dataclass(frozen=True)
class NewSession:
    """What a log-in gave: the session's token, and whether the second proof is still to come."""

    token: str
    mfa_pending: bool
    device: str = ""
    """The cookie by which the browser of a complete log-in is known again."""


@dataclass(frozen=True)
class Visitor:
    """Somebody with a living session."""

    session: Session
    account: Account


def login_link(rt: Runtime, user_id: UserId | None = None, works: timedelta = LINK_WORKS) -> str:
    """A link to the desk that works once; without `user_id`, for the first owner."""
    expires = rt.clock.real_now() + works
    with rt.database.begin() as db:
        user_id = user_id or first_owner(rt, db)
        link = sessions.add_link(db, expires, user_id)
        note(rt, db, user_id, "link_made")
    return f"{rt.settings.base_url}/desk/login/{rt.tokens.mint(Purpose.DESK_LOGIN, link, expires)}"


def ask_link(rt: Runtime, address: Address, network: str | None = None) -> None:
    """Store that somebody asked for a log-in link by mail: one row, whoever has the address. `mail_links` decides, so that
    neither the answer nor its time says whether there is such an account. From one `network`, only some are taken.
    """
    with rt.database.begin() as db:
        if limits.count_all(rt, db, [(LOG_IN_MAIL_NETWORK, network)], rt.clock.real_now()):
            sessions.add_request(db, rt.cipher.blind_index(address.canonical), rt.clock.real_now())


def mail_links(rt: Runtime) -> None:
    """Mail log-in links to the accounts whose address somebody asked for: some at a time, and some in a day."""
    with rt.database.read() as db:
        if not sessions.has_requests(db):
            return
    with rt.database.begin() as db:
        for email_index in sessions.take_requests(db, rt.clock.real_now() - LINK_WORKS):
            user = users.by_email(db, email_index)
            if user is None or sessions.living_links(db, user.id, rt.clock.real_now()) >= _MOST_LINKS:
                continue
            if limits.count_all(rt, db, [(LOG_IN_MAIL, user.id)], rt.clock.real_now()):
                _mail_link(rt, db, user.id, LINK_WORKS)
            else:
                note(rt, db, user.id, "link_withheld")


def mail_link(rt: Runtime, address: Address, works: timedelta = LINK_WORKS) -> None:
    """Mail a log-in link to the account with this address, at the wish of somebody who may manage accounts."""
    with rt.database.begin() as db:
        user = users.by_email(db, rt.cipher.blind_index(address.canonical))
        if user is not None and sessions.living_links(db, user.id, rt.clock.real_now()) < _MOST_LINKS:
            _mail_link(rt, db, user.id, works)


def _mail_link(rt: Runtime, db: Connection, user_id: UserId, works: timedelta) -> None:
    link = sessions.add_link(db, rt.clock.real_now() + works, user_id)
    now = rt.clock.now()
    ledger.plan(db, [NewDelivery(DeliveryKind.LOGIN_LINK, now, login_link=link)], now)
    note(rt, db, user_id, "link_mailed")


def log_in_by_link(rt: Runtime, token: str, client: Client) -> NewSession:
    """Use a login link up. Raises TokenRefused."""
    real_now = rt.clock.real_now()
    link = rt.tokens.read(Purpose.DESK_LOGIN, token, real_now)
    with rt.database.begin() as db:
        found = sessions.link(db, link, real_now)
        user = users.get(db, found.user) if found and found.user else None
        if user is not None and sessions.use_link(db, link, real_now):
            return _enter(rt, db, user, "logged_in_by_link", client)
        note(rt, db, user.id if user else None, "link_refused")
    raise TokenRefused("This link is not valid any more.")


def log_in(rt: Runtime, address: Address, password: str, client: Client) -> NewSession:
    """Check address and password; both are the first of two proofs. Raises LogInRefused, TooManyAttempts.

    An address nobody has is answered like one somebody has: same words, same time, same waits.
    """
    email_index = rt.cipher.blind_index(address.canonical)
    with rt.database.read() as db:
        user = users.by_email(db, email_index)
    counted = login_attempts.count(rt, Check.LOG_IN, email_index.hex(), user.id if user else None, client)
    if not fits(password, user.password if user else None) or user is None:
        with rt.database.begin() as db:
            note(rt, db, user.id if user else None, "password_refused")
        raise LogInRefused("Address and password do not fit together. Please try again, or ask for a log-in link by e-mail.")
    with rt.database.begin() as db:
        if user.password and is_dated(user.password):
            users.change(db, user.id, password=hash_password(password))
        login_attempts.give_back(db, counted)
        return _enter(rt, db, user, "password_right", client)


def _enter(rt: Runtime, db: Connection, user: User, kind: str, client: Client) -> NewSession:
    """Open a session: a whole one only for whoever has no second proof to give."""
    mfa_pending, real_now = user.is_protected, rt.clock.real_now()
    session = sessions.open_session(db, user.id, real_now, mfa_pending, client.described)
    note(rt, db, user.id, kind)
    if not mfa_pending:
        users.change(db, user.id, seen_at=real_now)
    return NewSession(_token(rt, session), mfa_pending)


def _token(rt: Runtime, session: str) -> str:
    return rt.tokens.mint(Purpose.DESK_SESSION, session, rt.clock.real_now() + sessions.LONGEST)


@dataclass(frozen=True)
class SecondFactor:
    """A second proof: what was typed, or what a browser sent for a passkey."""

    code: str = ""
    passkey: str = ""

    def __repr__(self) -> str:
        """Nothing of it."""
        return "Given(‹sealed›)"


def second_proof(rt: Runtime, token: str, given: SecondFactor, client: Client) -> NewSession:
    """Complete a half session by a code of the app, a recovery code or a passkey; it gets a new id. Raises LogInRefused,
    TooManyAttempts.

    Tries are counted under the account: only whoever had the first proof right can use them up.
    """
    here = visitor(rt, token)
    if here is None:
        raise LogInRefused("Too much time went by. Please log in again.")
    who = here.account.id
    counted = login_attempts.count(rt, Check.CODE, who, who, client)
    shown = read_assertion(given.passkey) if given.passkey else None
    with rt.database.begin() as db:
        user = users.get(db, who)
        if user is not None and given.passkey:
            wrong = passkeys.refusal(rt, db, here.session.id, PasskeyUse.SECOND_PROOF, who, shown)
        else:
            wrong = None if user is not None and _is_right(rt, db, user, given.code) else _WRONG_CODE
        if user is None or wrong:
            note(rt, db, who, "second_proof_refused")
        else:
            login_attempts.note_success(db, counted)
            sessions.close_session(db, here.session.id)  # a new id: what was seen before the log-in is worth nothing after it
            session = _open_whole(rt, db, user, client)
            note(rt, db, who, "logged_in")
    if wrong:
        raise LogInRefused(wrong)
    return NewSession(_token(rt, session), mfa_pending=False, device=login_attempts.remember_device(rt, who, client.device))


_WRONG_CODE = "This code does not fit, or was used before. Type the one that the app shows now."


def _open_whole(rt: Runtime, db: Connection, user: User, client: Client) -> str:
    """A whole session for somebody who has given all proofs; wrong passwords of before are forgiven."""
    if user.email_index:
        login_attempts.forgive(db, Attempts(rt, db, Check.LOG_IN, user.email_index.hex(), user.id, client))
    real_now = rt.clock.real_now()
    session = sessions.open_session(db, user.id, real_now, mfa_pending=False, device=client.described)
    users.change(db, user.id, seen_at=real_now)
    return session


def log_in_by_passkey(rt: Runtime, browser: str, sent: str, client: Client) -> NewSession:
    """Log in with a passkey and nothing else: it is two proofs in one, the device and what unlocks it. `browser`: the id in the
    cookie of whoever was asked. Raises LogInRefused, TooManyAttempts.
    """
    shown = read_assertion(sent)
    who = passkeys.owner_of(rt, shown)
    counted = login_attempts.count(rt, Check.PASSKEY, who or (shown.credential.hex() if shown else ""), who, client)
    with rt.database.begin() as db:
        user = users.get(db, who) if who else None
        wrong = passkeys.refusal(rt, db, browser, PasskeyUse.LOG_IN, who, shown)
        if user is None or wrong:
            note(rt, db, who, "passkey_refused")
        else:
            login_attempts.note_success(db, counted)
            session = _open_whole(rt, db, user, client)
            note(rt, db, who, "logged_in_by_passkey")
    if user is None or wrong:
        raise LogInRefused(wrong or "This account does not exist any more.")
    return NewSession(_token(rt, session), mfa_pending=False, device=login_attempts.remember_device(rt, user.id, client.device))


def _is_right(rt: Runtime, db: Connection, user: User, code: str) -> bool:
    """Whether a code is right, and has not been used; it is used up."""
    if looks_like_recovery(code):
        used = users.use_code(db, user.id, recovery_hash(user.id, code), rt.clock.real_now())
        if used:
            note(rt, db, user.id, "recovery_code_used")
        return used
    if user.totp is None:
        return False
    step = step_of(rt.cipher.decrypt(user.totp, users.field_of("totp", user.id)), code, rt.clock.real_now())
    return step is not None and users.take_step(db, user.id, step)


def visitor(rt: Runtime, token: str) -> Visitor | None:
    """Whoever has the living session that a token stands for; half ones too."""
    real_now = rt.clock.real_now()
    try:
        session_id = rt.tokens.read(Purpose.DESK_SESSION, token, real_now)
    except TokenRefused:
        return None
    with rt.database.begin() as db:
        session = sessions.touch_session(db, session_id, real_now)
        user = users.get(db, session.user) if session else None
    return Visitor(session, opened(rt, user)) if session and user else None


def proved_lately(session: Session, real_now: datetime) -> bool:
    """Whether whoever has this session showed who they are in the last ten minutes before `real_now` (UTC)."""
    return session.reauthenticated is not None and session.reauthenticated > real_now - PROOF_LASTS


def prove(rt: Runtime, here: Visitor, password: str, client: Client) -> None:
    """Show once more who one is, before something that cannot be taken back. Raises LogInRefused, TooManyAttempts."""
    who = here.account.id
    counted = login_attempts.count(rt, Check.AGAIN, who, who, client)
    with rt.database.read() as db:
        user = users.get(db, who)
    wrong = None if user is not None and fits(password, user.password) else "This is not your password."
    with rt.database.begin() as db:
        _note_proof(rt, db, here, counted, wrong)
    if wrong:
        raise LogInRefused(wrong)


def prove_by_passkey(rt: Runtime, here: Visitor, sent: str, client: Client) -> None:
    """The same by a passkey. Raises LogInRefused, TooManyAttempts."""
    who = here.account.id
    counted = login_attempts.count(rt, Check.AGAIN, who, who, client)
    shown = read_assertion(sent)
    with rt.database.begin() as db:
        wrong = passkeys.refusal(rt, db, here.session.id, PasskeyUse.AGAIN, who, shown)
        _note_proof(rt, db, here, counted, wrong)
    if wrong:
        raise LogInRefused(wrong)


def _note_proof(rt: Runtime, db: Connection, here: Visitor, counted: Attempts, wrong: str | None) -> None:
    note(rt, db, here.account.id, "proof_refused" if wrong else "proved")
    if not wrong:
        login_attempts.note_success(db, counted)
        sessions.prove(db, here.session.id, rt.clock.real_now())


def log_out(rt: Runtime, here: Visitor) -> None:
    """End a session."""
    with rt.database.begin() as db:
        sessions.close_session(db, here.session.id)
        note(rt, db, here.account.id, "logged_out")
