"""Detects clock jumps and restored databases before anything is claimed, reclaimed or deleted.

A wall clock that jumps would send letters early or end leases; a database that was set back (a backup restored, a replica
promoted that had not got everything) would send again what it has forgotten. Both stop all sending until a person looks.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from nurture import log
from nurture.delivery import departures
from nurture.delivery.plan import SET_BACK_UNTIL
from nurture.domain.clock_jump import is_jump, wall_clock_change
from nurture.domain.restore_evidence import DatabaseRecord, Position, RestoreEvidence, Surroundings, find_evidence
from nurture.runtime import LastCheck, Runtime, keep_up
from nurture.store.core.database import process_name
from nurture.store.deliveries import in_doubt, send_blocks
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.state import app_state, database_record, generation_file, heartbeats, setting_overrides
from nurture.store.state.database_identity import read_file_identity, read_identity
from nurture.store.state.generation_file import GenerationFiles

_log = log.get(__name__)

_COUNT_SECONDS = 10.0
_JOURNAL_DELAY = timedelta(minutes=2)
"""So far a machine's journal of departures may be behind, in what other machines have written down."""


@dataclass(frozen=True)
class _Witnesses:
    """Where the database was seen, by its id; read before the database, which may count on meanwhile."""

    seen: LastCheck
    marked: Position
    files: dict[str, Position]

    def of(self, database: str, is_start: bool) -> Collection[Position]:
        if not is_start:
            return (self.seen.position, self.marked)
        return (self.files[database],) if database in self.files else ()


def check(rt: Runtime) -> bool:
    """Check the clock and the database, and take over what the desk has set. Returns whether nothing stops the work."""
    with rt.process_state.check_lock:
        before = rt.process_state.last_check
        _leave_replaced_file(rt, before)
        witnesses = _Witnesses(before, rt.process_state.last_mark, _read_files(rt) if before.counted is None else {})
        with rt.database.begin() as db:
            seen = _check_clock(rt, db, before)
            seen = _check_database(rt, db, seen, witnesses)
            blocked = {block.kind for block in send_blocks.active_blocks(db)}
            changed = setting_overrides.version(db) != rt.version
        rt.process_state.last_check = seen  # not before the commit: what the database never got, it cannot have forgotten
        if seen.counted != before.counted:
            rt.process_state.generation_recorded = record_generation(rt, seen.position)
    if changed:
        keep_up(rt)
    return not blocked & {BlockKind.CLOCK, BlockKind.DATABASE_RESTORED}


def _check_clock(rt: Runtime, db: Connection, seen: LastCheck) -> LastCheck:
    real_now, boot = rt.clock.real_now(), rt.clock.boot_seconds()
    if (
        seen.real_now is not None
        and not seen.alarmed
        and not is_jump(wall_clock_change(seen.real_now, seen.boot, real_now, boot))
    ):
        return replace(seen, real_now=real_now, boot=boot)
    active = next((block for block in send_blocks.active_blocks(db) if block.kind is BlockKind.CLOCK), None)
    if seen.real_now is None:  # this process has just begun: all it can compare with is another's last tick
        last, since = max(real_now, heartbeats.last_beat(db, heartbeats.TICK) or real_now), boot
    elif seen.alarmed and active is None:  # a person has looked, and trusts this clock
        last, since = real_now, boot
    else:
        last, since = seen.real_now, seen.boot
    by = wall_clock_change(last, since, real_now, boot)
    if not is_jump(by):
        if seen.alarmed and active is not None and active.by == process_name():
            send_blocks.unblock(db, BlockKind.CLOCK)  # it was put right
        return replace(seen, real_now=real_now, boot=boot, alarmed=False)
    if not seen.alarmed:
        if active is None:
            minutes = round(by.total_seconds() / 60)
            send_blocks.block(
                db, BlockKind.CLOCK, f"the clock of this machine jumped by {minutes:+d} minutes", process_name(), real_now
            )
        _log.error("clock_jumped", seconds=round(by.total_seconds()))
    return replace(seen, real_now=last, boot=since, alarmed=True)  # the last good check stays what later ones are compared with


def _check_database(rt: Runtime, db: Connection, seen: LastCheck, witnesses: _Witnesses) -> LastCheck:
    """Raise the generation now and then; should evidence of a restore be found, stop sending."""
    boot, identity = rt.clock.boot_seconds(), read_identity(db)
    record = database_record.read(db)
    database = record.id or database_record.create_id(db)
    is_start = seen.counted is None or seen.database != database
    around = Surroundings(identity, witnesses.of(database, is_start), is_start, keeps_witness=rt.database.is_sqlite)
    evidence = find_evidence(record, around, rt.clock.real_now())
    if evidence is None and not is_start and seen.counted is not None and 0 <= boot - seen.counted < _COUNT_SECONDS:
        return seen
    database_record.lock(db)
    record = database_record.read(db)
    evidence = find_evidence(record, around, rt.clock.real_now())  # of two that found it, one has dealt with it
    latest = record.position
    for position in around.seen:
        latest = latest.joined(position)
    restores = latest.restores
    if evidence is not None:
        _stop_restored(rt, db, record, evidence)
        restores += 1
    generation = max(record.position.generation, latest.generation) + 1
    known = {} if evidence is not None or record.identity is None else record.identity
    is_witnessed = bool(around.seen) if is_start else rt.process_state.generation_recorded
    position = replace(record.position, restores=restores, generation=generation)
    database_record.write(
        db, record, replace(record, position=position, identity={**known, **identity}, witnessed=is_witnessed)
    )
    return replace(seen, database=database, position=position, identity=identity, counted=boot)


def _stop_restored(rt: Runtime, db: Connection, record: DatabaseRecord, evidence: RestoreEvidence) -> None:
    """Stop sending, and put what was due since the copy was made in doubt."""
    now, real_now = rt.clock.now(), rt.clock.real_now()
    replay = departures.replay(rt, db)  # services.operations.retention finishes those who had asked to be erased
    if BlockKind.DATABASE_RESTORED not in {block.kind for block in send_blocks.active_blocks(db)}:
        why = f"the database is a restored copy ({evidence}): what was due since may have been sent"
        if replay.is_lost((record.last_tick or real_now) - _JOURNAL_DELAY):
            why += "; who left since is unknown: no journal of departures"
        send_blocks.block(db, BlockKind.DATABASE_RESTORED, why, process_name(), real_now)
    app_state.set_value(db, SET_BACK_UNTIL, now.isoformat())
    count = in_doubt.mark_set_back(db, process_name(), now, real_now)
    _log.error("database_restored", reason=evidence.value, unknown=count)


def _leave_replaced_file(rt: Runtime, seen: LastCheck) -> None:
    """Let go of a SQLite file that was replaced while this process had it open: what it writes there nobody else reads."""
    if rt.database.is_sqlite and "file" in seen.identity:
        now = read_file_identity(rt.database.url.database)
        if now.get("file", seen.identity["file"]) != seen.identity["file"]:
            rt.database.close()


def _read_files(rt: Runtime) -> dict[str, Position]:
    found: dict[str, Position] = {}
    for path in generation_file.paths(rt.settings.instance_dir, rt.database):
        for database, position in generation_file.read(path).items():
            found[database] = position.joined(found[database]) if database in found else position
    return found


def record_generation(rt: Runtime, position: Position) -> bool:
    """Record outside the database where it stands, so that a restored copy is found out also after everything was stopped.
    Returns whether that succeeded in one place at least.
    """
    rt.process_state.generation_files = rt.process_state.generation_files or _files(rt)
    return _record(rt, position, reopen=True)


def record_mark(rt: Runtime, number: int) -> None:
    """Record that a transaction which marked mail has committed (`store.deliveries.marks`), before that mail leaves."""
    position = replace(rt.process_state.last_check.position, mark=number)
    if rt.process_state.last_mark.is_behind(position):
        rt.process_state.last_mark = position
    if rt.process_state.generation_files is not None:  # None: this process has not checked the database yet
        rt.process_state.generation_recorded = _record(rt, position, reopen=False)


def _record(rt: Runtime, position: Position, reopen: bool) -> bool:
    files = rt.process_state.generation_files
    if files is None:
        return False
    try:
        files.write(rt.process_state.last_check.database, position, reopen)
    except OSError as error:
        if rt.process_state.generation_recorded:
            _log.error("generation_not_recorded", error=type(error).__name__)
        return False
    return True


def _files(rt: Runtime) -> GenerationFiles:
    return GenerationFiles(generation_file.paths(rt.settings.instance_dir, rt.database))


def record_clean_stop(rt: Runtime) -> None:
    """Record that this process has finished what it had begun; its last act, so a failure is only logged."""
    if rt.process_state.last_check.counted is None:
        return
    try:
        with rt.database.begin() as db:
            database_record.write_stop(db, rt.clock.real_now())
    except SQLAlchemyError as error:
        _log.warning("clean_stop_not_recorded", error=type(error).__name__)


def accept_restored(db: Connection, real_now: datetime) -> None:
    """A person has looked at a restored database, and starts sending."""
    database_record.write_review(db, real_now)
