"""The stop switch, and the other send blocks that a person may end."""

from datetime import timedelta

from nurture import log
from nurture.delivery import safety_checks
from nurture.runtime import Runtime
from nurture.store.deliveries import rescheduling, send_blocks
from nurture.store.deliveries.send_blocks import ActiveBlock, BlockKind

_log = log.get(__name__)

_LONGEST_WAIT = timedelta(hours=1)
"""A refusal makes mail wait for so long at most, in real time."""


def stop_sending(rt: Runtime, why: str, who: str) -> None:
    """Stop all sending of the whole fleet: after this nothing is handed to the provider until `start_sending`."""
    with rt.database.begin() as db:
        send_blocks.block(db, BlockKind.STOP, why, who, rt.clock.real_now())
    _log.warning("sending_stopped", reason="stop switch")


def start_sending(rt: Runtime, only: BlockKind | None = None) -> list[ActiveBlock]:
    """End every block, or `only` one; returns those that were active. What is unknown or held stays so.

    Mail that the provider refused is due at once: whoever starts has put the cause right.
    """
    with rt.database.begin() as db:
        blocks = [each for each in send_blocks.active_blocks(db) if only in (None, each.kind)]
        for each in blocks:
            send_blocks.unblock(db, each.kind)
            if each.kind is BlockKind.PROVIDER:
                now = rt.clock.now()
                rescheduling.bring_forward(db, now, now + rt.clock.stretch(_LONGEST_WAIT))
            if each.kind is BlockKind.DATABASE_RESTORED:
                safety_checks.accept_restored(db, rt.clock.real_now())
    _log.info("sending_started", count=len(blocks))
    return blocks


def what_stops(rt: Runtime) -> list[ActiveBlock]:
    """Blocks in force, or half-open."""
    with rt.database.read() as db:
        return send_blocks.active_blocks(db)
