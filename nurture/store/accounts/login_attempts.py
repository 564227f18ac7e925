"""Tries of passwords and codes, by bucket, and the devices on which an account has logged in before. Only keyed hashes."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, case, delete, func, select, update

from nurture.ids import UserId
from nurture.store.core.desk_schema import known_devices, login_attempts
from nurture.store.core.insert import insert_into

A, K = login_attempts.c, known_devices.c

KEPT = timedelta(days=1)
"""A bucket that nothing fell into for so long begins anew."""
DEVICES_KEPT = timedelta(days=400)
"""A device that nobody logged in on for so long is unknown again; browsers keep no cookie longer (RFC 6265bis)."""


def waits_until(db: Connection, buckets: Collection[bytes], real_now: datetime) -> datetime | None:
    """Until when (UTC) the last of these buckets takes no try; None if all take one at `real_now`."""
    waiting = (A.bucket.in_(buckets), A.wait_until > real_now)
    found: datetime | None = db.scalar(select(func.max(A.wait_until)).where(*waiting))
    return found


def count(db: Connection, bucket: bytes, real_now: datetime) -> tuple[int, datetime | None]:
    """Count a try before it is judged, so that two at once count twice; returns how many there are now, and until when (UTC)
    the bucket takes none, if somebody at the same moment has made it wait.
    """
    written = insert_into(login_attempts, db.dialect.name).values(bucket=bucket, failures=1, at=real_now)
    failures = case((A.at < real_now - KEPT, 1), else_=A.failures + 1)
    counted = written.on_conflict_do_update(index_elements=[A.bucket], set_={A.failures: failures, A.at: real_now})
    row = db.execute(counted.returning(A.failures, A.wait_until)).one()
    return row[0], row[1]


def wait(db: Connection, bucket: bytes, until: datetime) -> None:
    """Take no further try until then."""
    db.execute(update(login_attempts).where(A.bucket == bucket).values(wait_until=until))


def forgive(db: Connection, bucket: bytes) -> None:
    """Forget all tries of a bucket."""
    db.execute(delete(login_attempts).where(A.bucket == bucket))


def give_back(db: Connection, bucket: bytes) -> None:
    """Forget one try of a bucket, and no other: it was right."""
    db.execute(update(login_attempts).where(A.bucket == bucket, A.failures > 0).values(failures=A.failures - 1))


def is_known(db: Connection, device: bytes, user_id: UserId) -> bool:
    """Whether an account has logged in on a device before."""
    return db.execute(select(K.device).where(K.device == device, K.user_id == user_id)).first() is not None


def remember_device(db: Connection, device: bytes, user_id: UserId, real_now: datetime) -> None:
    """Note that an account has just logged in on a device."""
    written = insert_into(known_devices, db.dialect.name).values(device=device, user_id=user_id, seen_at=real_now)
    db.execute(written.on_conflict_do_update(index_elements=[K.device, K.user_id], set_={K.seen_at: real_now}))


def forget_devices(db: Connection, user_id: UserId, but: bytes | None = None) -> None:
    """Treat every device of an account, or every other one, as unknown."""
    theirs = K.user_id == user_id
    db.execute(delete(known_devices).where(theirs if but is None else theirs & (K.device != but)))


def forget(db: Connection, real_now: datetime) -> None:
    """Delete tries that count no more, and devices that nobody uses."""
    db.execute(delete(login_attempts).where(A.at < real_now - KEPT))
    db.execute(delete(known_devices).where(K.seen_at < real_now - DEVICES_KEPT))
