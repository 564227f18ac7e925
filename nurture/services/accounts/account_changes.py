"""Whoever's way to log in is changed is told by mail, at the address they had before: an intruder cannot read it there."""

from datetime import timedelta

from sqlalchemy import Connection

from nurture.domain.delivery import DeliveryKind
from nurture.domain.user import AccountChange
from nurture.ids import AccountChangeId, new_id
from nurture.runtime import Runtime
from nurture.store.accounts import account_changes, users
from nurture.store.accounts.account_changes import ToldChange
from nurture.store.accounts.users import User
from nurture.store.deliveries import ledger
from nurture.store.deliveries.ledger import NewDelivery

KEPT = timedelta(days=30)
"""The address of before is needed only until the mail has left, and a stop of sending may last for days."""


def tell(rt: Runtime, db: Connection, before: User, what: AccountChange) -> None:
    """Plan the mail; `before`: the account as it was. Nobody is told who had no address."""
    if before.email is None:
        return
    change, now = AccountChangeId(new_id()), rt.clock.now()
    address = rt.cipher.decrypt(before.email, users.field_of("email", before.id))
    told = ToldChange(what, rt.cipher.encrypt(address, account_changes.email_field(change)))
    account_changes.add(db, change, told, rt.clock.real_now())
    ledger.plan(db, [NewDelivery(DeliveryKind.ACCOUNT_CHANGE, now, account_change=change)], now)
