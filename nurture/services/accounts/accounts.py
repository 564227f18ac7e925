"""Accounts of the desk: who may use it, as what, and what they prove themselves with."""

from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from nurture.domain.client import Client
from nurture.domain.user import AccountChange, Role
from nurture.encryption import DecryptionFailed, FieldRef
from nurture.errors import NurtureError
from nurture.ids import UserId, new_id
from nurture.runtime import Runtime
from nurture.services.accounts import login_attempts as password_tries
from nurture.services.accounts.account_changes import tell
from nurture.services.accounts.login_attempts import Check
from nurture.services.accounts.passwords import check_password, fits, hash_password
from nurture.services.accounts.second_factor import new_recovery_codes, new_secret, recovery_hash, step_of
from nurture.services.accounts.security_events import note
from nurture.services.addresses import Address
from nurture.store.accounts import api_keys, login_attempts, passkeys, sessions, users
from nurture.store.accounts.users import User

MOST_NAME = 80
PROOF_LASTS = timedelta(minutes=10)
"""How long somebody who has shown who they are is not asked again."""


class AccountRefused(NurtureError):
    """An account cannot be changed like that. `field`: the form's field it is about."""

    def __init__(self, said: str, field: str = "") -> None:
        """`said`: what is wrong, and what to do."""
        super().__init__(said)
        self.field = field


@dataclass(frozen=True)
class Account:
    """An account, opened."""

    id: UserId
    role: Role
    name: str
    email: str
    protected: bool
    """Whether it has more to prove itself with than a link: a password and an app, or a passkey."""
    seen: datetime | None
    has_app: bool = False
    """Whether it has a password and an app."""
    has_passkeys: bool = False

    def __repr__(self) -> str:
        """Never name or address."""
        return f"Account({self.id}, {self.role})"

    @property
    def called(self) -> str:
        """What to call them."""
        return self.name or self.email or "You"


def opened(rt: Runtime, user: User) -> Account:
    """An account as people read it."""
    name = rt.cipher.decrypt(user.name, users.field_of("name", user.id)) if user.name else ""
    email = rt.cipher.decrypt(user.email, users.field_of("email", user.id)) if user.email else ""
    return Account(user.id, user.role, name, email, user.is_protected, user.seen, user.has_app, user.has_passkeys)


def first_owner(rt: Runtime, db: Connection) -> UserId:
    """The owner who has been here longest; made now, without address or name, if there is none: by one process only."""
    users.lock_accounts(db)
    for user in users.everyone(db):
        if user.role is Role.OWNER:
            return user.id
    who = UserId(new_id())
    users.add(db, User(who, Role.OWNER), rt.clock.real_now())
    return who


def everyone(rt: Runtime) -> list[Account]:
    """All accounts, oldest first."""
    with rt.database.read() as db:
        return [opened(rt, user) for user in users.everyone(db)]


def names(rt: Runtime) -> dict[str, str]:
    """What to call whoever did something: by account, and as what is published names them."""
    found = dict[str, str]()
    for account in everyone(rt):
        called = account.name or "the first owner"
        found |= {account.id: called, f"user {account.id}": called}
    return found


def find(rt: Runtime, address: Address) -> Account | None:
    """The account with an address."""
    with rt.database.read() as db:
        user = users.by_email(db, rt.cipher.blind_index(address.canonical))
    return opened(rt, user) if user else None


def add(rt: Runtime, address: Address, name: str, role: Role) -> UserId:
    """Make an account. Raises AccountRefused if the address has one."""
    who = UserId(new_id())
    email_index = rt.cipher.blind_index(address.canonical)
    with rt.database.begin() as db:
        users.lock_accounts(db)
        if users.by_email(db, email_index):
            raise AccountRefused("Somebody with this address has access already.", "email")
        email = rt.cipher.encrypt(address.send_to, users.field_of("email", who))
        sealed = rt.cipher.encrypt(name, users.field_of("name", who)) if name else None
        users.add(db, User(who, role, email, sealed, email_index=email_index), rt.clock.real_now())
        note(rt, db, who, "account_added")
    return who


def known(db: Connection, user_id: UserId) -> User:
    """An account as stored. Raises AccountRefused if it is gone."""
    user = users.get(db, user_id)
    if user is None:
        raise AccountRefused("This account does not exist any more.")
    return user


def _check_owner_stays(db: Connection, user: User) -> None:
    if user.role is Role.OWNER and users.owners(db) == 1:
        raise AccountRefused("This is the only owner. Make somebody else an owner first.")


def _take_keys(rt: Runtime, db: Connection, user_id: UserId) -> None:
    """Whoever may not make keys any more has none: they may have kept the secrets."""
    if api_keys.revoke_of(db, user_id, rt.clock.real_now()):
        note(rt, db, user_id, "api_key_revoked")


def set_role(rt: Runtime, user_id: UserId, role: Role) -> None:
    """Make somebody owner, editor or viewer. Raises AccountRefused for the last owner."""
    with rt.database.begin() as db:
        users.lock_accounts(db)
        user = known(db, user_id)
        if role is not Role.OWNER:
            _check_owner_stays(db, user)
            _take_keys(rt, db, user_id)
        users.change(db, user_id, role=role)
        note(rt, db, user_id, "role_changed")


def remove(rt: Runtime, user_id: UserId) -> None:
    """Take an account and its sessions away. Raises AccountRefused for the last owner."""
    with rt.database.begin() as db:
        users.lock_accounts(db)
        _check_owner_stays(db, known(db, user_id))
        _take_keys(rt, db, user_id)
        users.remove(db, user_id)
        note(rt, db, user_id, "account_removed")


def reset(rt: Runtime, user_id: UserId) -> None:
    """Forget password, app and passkeys of somebody who lost them, and end their sessions; a log-in link lets them in again.

    They are told by mail.
    """
    with rt.database.begin() as db:
        tell(rt, db, known(db, user_id), AccountChange.RESET)
        users.change(db, user_id, password=None, totp_encrypted=None, totp_step=None)
        users.put_codes(db, user_id, ())
        passkeys.remove_all(db, user_id)
        end_ways_in(rt, db, user_id)
        note(rt, db, user_id, "account_reset")


def end_ways_in(rt: Runtime, db: Connection, user_id: UserId, but: str | None = None) -> None:
    """After a change of proofs: no other session, no link of before, no device that is known."""
    users.end_sessions(db, user_id, but=but)
    sessions.end_links(db, user_id, rt.clock.real_now())
    login_attempts.forget_devices(db, user_id)


def begin_protection(rt: Runtime, user_id: UserId) -> tuple[str, str]:
    """A new secret for an app, and the same sealed, to be handed back by the form. Nothing is stored yet."""
    secret = new_secret()
    return secret, b64encode(rt.cipher.encrypt(secret, _offered(user_id))).decode()


def offered_secret(rt: Runtime, user_id: UserId, sealed: str) -> str | None:
    """The secret that was offered to this account; None if the form's value is damaged."""
    try:
        return rt.cipher.decrypt(b64decode(sealed), _offered(user_id))
    except (DecryptionFailed, ValueError):
        return None


def _offered(user_id: UserId) -> FieldRef:
    return users.field_of("totp_offered", user_id)


@dataclass(frozen=True)
class Protection:
    """What somebody chose to prove themselves with."""

    name: str
    address: Address
    password: str
    secret: str
    """Of the app, in base32."""
    code: str
    """What the app shows now."""

    def __repr__(self) -> str:
        """Nothing of it."""
        return "Protection(‹sealed›)"


def protect(rt: Runtime, user_id: UserId, session: str, chosen: Protection) -> list[str]:
    """Give an account its address, password and second factor, all at once; returns the recovery codes, shown this once.

    An account that has them already is asked for its password first: `session` must have shown it lately. Its owner is told by
    mail, at the address of before. Other sessions of the account end, other devices are unknown again. Raises AccountRefused or
    PasswordRefused; nothing is kept then.
    """
    check_name(chosen.name)
    check_password(chosen.password, [chosen.name, chosen.address.send_to, rt.settings.from_name])
    step = step_of(chosen.secret, chosen.code, rt.clock.real_now())
    if step is None:
        raise AccountRefused(_WRONG_CODE, "code")
    hashed, sealed = hash_password(chosen.password), rt.cipher.encrypt(chosen.secret, users.field_of("totp", user_id))
    with rt.database.begin() as db:
        codes = set_up(rt, db, user_id, session, chosen.name, chosen.address)
        users.change(db, user_id, password=hashed, totp_encrypted=sealed, totp_step=step)
    return codes


def check_name(name: str) -> None:
    """Raises AccountRefused for a name that is too long."""
    if len(name) > MOST_NAME:
        raise AccountRefused(f"Please use at most {MOST_NAME} characters.", "name")


def set_up(rt: Runtime, db: Connection, user_id: UserId, session: str, name: str, address: Address) -> list[str]:
    """Write whose an account is, and new recovery codes, which it returns; the proofs come with them in the same transaction.
    Raises AccountRefused, also for an account that has proofs and has not shown them lately in this session.
    """
    email_index, codes = rt.cipher.blind_index(address.canonical), new_recovery_codes()
    users.lock_accounts(db)
    before = known(db, user_id)
    if before.is_protected and not sessions.is_proved(db, session, rt.clock.real_now() - PROOF_LASTS):
        raise AccountRefused(PROVE_FIRST, "old")
    other = users.by_email(db, email_index)
    if other is not None and other.id != user_id:
        raise AccountRefused("Somebody else uses this address at the desk.", "email")
    users.change(
        db,
        user_id,
        email_index=email_index,
        email_encrypted=rt.cipher.encrypt(address.send_to, users.field_of("email", user_id)),
        name_encrypted=rt.cipher.encrypt(name, users.field_of("name", user_id)) if name else None,
    )
    users.put_codes(db, user_id, [recovery_hash(user_id, code) for code in codes])
    end_ways_in(rt, db, user_id, but=session)
    if before.email_index not in (None, email_index):
        tell(rt, db, before, AccountChange.ADDRESS)
    elif before.is_protected:
        tell(rt, db, before, AccountChange.PROOFS)
    note(rt, db, user_id, "account_protected")
    return codes


PROVE_FIRST = "Please type the password as it is now, too. So nobody can change this who only finds the desk open."
_WRONG_CODE = (
    "This code does not fit. Type the six digits that the app shows now; if they still do not fit, check that your "
    "telephone's clock is set by the network."
)


def change_password(rt: Runtime, user_id: UserId, session: str, old: str, new: str, client: Client) -> None:
    """Change a password; other sessions end, other devices are unknown again, and its owner is told by mail.

    A wrong one is counted. Raises AccountRefused, PasswordRefused, TooManyAttempts.
    """
    with rt.database.read() as db:
        account = opened(rt, user := known(db, user_id))
    counted = password_tries.count(rt, Check.AGAIN, user_id, user_id, client)
    if not fits(old, user.password):
        with rt.database.begin() as db:
            note(rt, db, user_id, "password_change_refused")
        raise AccountRefused("This is not your password as it is now.", "old")
    check_password(new, [account.name, account.email, rt.settings.from_name])
    hashed = hash_password(new)
    with rt.database.begin() as db:
        before = known(db, user_id)
        if before.password != user.password:
            raise AccountRefused("Your password was changed somewhere else just now. Nothing was changed here.", "old")
        password_tries.note_success(db, counted)
        users.change(db, user_id, password=hashed)
        end_ways_in(rt, db, user_id, but=session)
        tell(rt, db, before, AccountChange.PASSWORD)
        note(rt, db, user_id, "password_changed")


def renew_codes(rt: Runtime, user_id: UserId) -> list[str]:
    """New recovery codes; the old ones work no more, and their owner is told by mail."""
    codes = new_recovery_codes()
    with rt.database.begin() as db:
        tell(rt, db, known(db, user_id), AccountChange.CODES)
        users.put_codes(db, user_id, [recovery_hash(user_id, code) for code in codes])
        note(rt, db, user_id, "recovery_codes_made")
    return codes


def codes_left(rt: Runtime, user_id: UserId) -> int:
    """How many recovery codes still work."""
    with rt.database.read() as db:
        return users.codes_left(db, user_id)
