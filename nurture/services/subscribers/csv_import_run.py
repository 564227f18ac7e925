"""Doing with a file of people what its draft says (services.subscribers.csv_import): adding some, never writing to others."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from ipaddress import ip_address
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.plan import plan_resumed
from nurture.delivery.suppress import suppress
from nurture.domain.delivery import DeliveryKind
from nurture.domain.list_status import ColumnRole
from nurture.domain.subscriber import SubscriberState
from nurture.domain.timeline import Rules, first_opening
from nurture.encryption import Encrypted
from nurture.ids import SequenceId, SubscriberId, new_id
from nurture.runtime import Runtime
from nurture.services.addresses import parse_time_zone
from nurture.services.subscribers import csv_files, signup, suppressions
from nurture.services.subscribers.csv_import import (
    REASONS,
    SUPPRESSED,
    Becomes,
    ImportChoices,
    ImportStopped,
    Judged,
    counted,
    preview,
    statement,
)
from nurture.store.deliveries import ledger
from nurture.store.deliveries.ledger import NewDelivery
from nurture.store.sequences import sequences
from nurture.store.subscribers import csv_imports, listing, subscribers
from nurture.store.subscribers.subscribers import Subscriber

_log = log.get(__name__)

_CHUNK = 200
_VERSION = "import-1"
_LONGEST_EVIDENCE = 60


def run(rt: Runtime, key: str, choices: ImportChoices) -> dict[Becomes, int]:
    """Do with a file's rows what its draft says; returns how many came to what. Twice is fine: the second time nothing happens.

    Should this process die on the way, the file can be chosen again: who was added is there already. Raises NoFile, and
    ImportStopped before anything is done.
    """
    found = preview(rt, key, choices)
    if found.done:
        return found.counts
    if found.stops:
        raise ImportStopped(found.stops)
    with rt.database.begin() as db:
        if not csv_imports.claim(db, key, json.dumps(asdict(choices)), "{}"):
            return {}
    judged = list(found.judged)
    for at in range(0, len(judged), _CHUNK):
        with rt.database.begin() as db:
            _suppress(rt, db, judged[at : at + _CHUNK], choices)
            judged[at : at + _CHUNK] = _add(rt, db, judged[at : at + _CHUNK], choices)
    counts = counted(judged)
    report = csv_files.written(
        [
            ("Line", "Address", "Status there", "What happened", "Remark"),
            *((str(j.line), j.typed, j.status or "", j.becomes, j.why) for j in judged),
        ]
    )
    with rt.database.begin() as db:
        sealed = rt.cipher.encrypt(report, csv_imports.report_field(key))
        empty = rt.cipher.encrypt("", csv_imports.content_field(key))
        csv_imports.finish(db, key, json.dumps(counts), sealed, empty)
    left = sum(counts.get(becomes, 0) for becomes in SUPPRESSED)
    _log.info("subscribers_imported", count=counts.get(Becomes.ADDED, 0), entries=len(judged))
    _log.info("addresses_suppressed", count=left, entries=len(judged))
    return counts


def _suppress(rt: Runtime, db: Connection, rows: Sequence[Judged], choices: ImportChoices) -> None:
    """Never write to those who left elsewhere, and end the letters of those among them who are on the list."""
    reasons = {
        rt.cipher.blind_index(row.address.canonical): REASONS[row.becomes]
        for row in rows
        if row.becomes in REASONS and row.address is not None
    }
    here = csv_imports.people(db, list(reasons))
    for email_index in reasons.keys() - here.keys():
        subscribers.suppress(db, email_index, reasons[email_index], rt.clock.now())
    for email_index, who in sorted(
        here.items(), key=lambda each: each[1]
    ):  # as whoever sends locks them: in the order of their ids
        person = subscribers.get(db, who)
        if person is not None and suppress(rt, db, person, reasons[email_index]):
            suppressions.tell_left(rt, db, who)
            said = subscribers.agreed_to(db, who)
            subscribers.record_consent(db, who, "withdrawn", *said, _source(choices), rt.clock.now())


def _source(choices: ImportChoices) -> str:
    return f"import: {choices.where or 'a list of people who left'}"[:200]


def _add(rt: Runtime, db: Connection, rows: Sequence[Judged], choices: ImportChoices) -> list[Judged]:
    """Add those of a few rows that are to be added. Somebody who signed up since they were judged is there already."""
    if not any(row.becomes is Becomes.ADDED for row in rows):
        return list(rows)
    now, added = rt.clock.now(), list[tuple[SubscriberId, bytes]]()
    said = f"{statement(rt, choices.confirmed)} Where the consent came from: {choices.where}"
    source, sequence = _source(choices), signup.first_sequence(db)
    told: list[Judged] = []
    for row in rows:
        if row.becomes is not Becomes.ADDED or row.address is None:
            told.append(row)
            continue
        person = _person(rt, row)
        if subscribers.suppression(db, person.email_index) or not subscribers.add(db, person, now):
            told.append(replace(row, becomes=Becomes.THERE, why="They came on their own just now."))
            continue
        consent = new_id()
        subscribers.record_consent(
            db, person.id, "given", said, _VERSION, source, now, consent, _evidence(rt, row.evidence, consent)
        )
        if choices.confirmed:
            subscribers.set_state(db, person.id, SubscriberState.ACTIVE, confirmed=now)
            subscribers.record_consent(db, person.id, "confirmed", said, _VERSION, source, now)
            _begin(rt, db, person, sequence, now)
        added.append((person.id, person.email_index))
        told.append(row)
    if choices.tag:
        listing.add_tag(db, [who for who, _ in added], choices.tag)
    if not choices.confirmed:
        ledger.plan(db, [NewDelivery(DeliveryKind.CONFIRMATION, now, who, email_index) for who, email_index in added], now)
    return told


def _evidence(rt: Runtime, found: Mapping[ColumnRole, str], consent: str) -> Encrypted | None:
    """What the file says of how somebody agreed, sealed for a line of the consent record; None if it says nothing."""
    kept = {role.value: value for role, value in found.items() if len(value) <= _LONGEST_EVIDENCE and _is_fit(role, value)}
    return rt.cipher.encrypt(json.dumps(kept), subscribers.evidence_field(consent)) if kept else None


def _is_fit(role: ColumnRole, value: str) -> bool:
    if role not in (ColumnRole.ASKED_FROM, ColumnRole.CONFIRMED_FROM):
        return True
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _person(rt: Runtime, row: Judged) -> Subscriber:
    assert row.address is not None  # noqa: S101 - only rows with one are added
    who = SubscriberId(new_id())
    name = rt.cipher.encrypt(row.first_name, subscribers.first_name_field(who)) if row.first_name else None
    email = rt.cipher.encrypt(row.address.send_to, subscribers.email_field(who))
    email_index = rt.cipher.blind_index(row.address.canonical)
    zone = parse_time_zone(row.evidence.get(ColumnRole.ZONE, ""), rt.settings.time_zone)
    return Subscriber(who, email_index, email, name, zone, SubscriberState.PENDING)


def _begin(rt: Runtime, db: Connection, person: Subscriber, sequence: SequenceId, now: datetime) -> None:
    """Start the letters. They have pressed no button this minute, so the first one too waits for its window."""
    enrollment = sequences.enroll(db, person.id, sequence, now)
    place = sequences.enrolled(db, [enrollment])[enrollment]

    def when(promised: datetime, rules: Rules, zone: ZoneInfo) -> datetime:
        return first_opening(max(promised, now), rules, zone)

    plan_resumed(db, place, person.email_index, when, "desk", now, rt.clock.real_now())
