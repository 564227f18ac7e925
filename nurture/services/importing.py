"""Adding people from a file: what its columns mean, what would happen to each row, and then exactly that.

Nobody is added without a statement of where their consent came from, which is kept as each one's consent. By default each gets
one mail that asks to confirm; who has left, or must not be mailed, is never added again.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from nurture import log
from nurture.delivery.plan import go_on
from nurture.domain.delivery import Kind
from nurture.domain.subscriber import SubscriberState
from nurture.domain.timeline import Rules, first_opening
from nurture.runtime import Runtime
from nurture.services import sheets, signup
from nurture.services.addresses import Address, InputRefused, parse_address, parse_first_name
from nurture.services.sheets import Sheet
from nurture.store import imports, ledger, people, sequences, subscribers
from nurture.store.ledger import NewDelivery
from nurture.store.subscribers import Person
from nurture.words import NurtureError, SequenceId, SubscriberId, UserId, new_id

_log = log.get(__name__)

KEPT = timedelta(days=1)
_CHUNK = 200
_VERSION = "import-1"


class NoFile(NurtureError):
    """There is no such file: it is kept for a day."""


class Becomes(StrEnum):
    """What happens to a row."""

    ADDED = "added"
    THERE = "already there"
    WAITING = "already asked to confirm"
    LEFT = "not added: left, or must not be written to"
    TWICE = "not added: twice in this file"
    WRONG = "not added: not an address"


@dataclass(frozen=True)
class Choices:
    """What the columns mean, by their place, and how people are to be added."""

    address: int
    name: int | None = None
    confirmed: bool = False
    """They have confirmed to the therapist already; without, each is asked by mail."""
    where: str = ""
    """Where the consent came from, in the therapist's words."""
    tag: str = ""


@dataclass(frozen=True)
class Judged:
    """A row, and what happens to it. `why`: more about it, where there is more to say."""

    line: int
    typed: str
    becomes: Becomes
    why: str
    address: Address | None
    first_name: str

    def __repr__(self) -> str:
        """Never the address."""
        return f"Judged({self.line}, {self.becomes})"


@dataclass(frozen=True)
class Draft:
    """A file on its way. Once its people are added, `done` says how many rows came to what, and `judged` is empty."""

    sheet: Sheet | None
    choices: Choices
    judged: tuple[Judged, ...]
    counts: dict[Becomes, int]
    done: bool


def statement(rt: Runtime, confirmed: bool) -> str:
    """What the therapist confirms before people are added, and what is kept as their consent."""
    who = rt.settings.from_name or "the practice"
    if confirmed:
        return (
            f"Each person in this file asked {who} for letters by e-mail about ketamine therapy and talk therapy, and has "
            "confirmed it. I can show when and how."
        )
    return (
        f"Each person in this file asked {who} to be put on this list. They get one mail that asks them to confirm, "
        "and nothing else unless they do."
    )


def keep(rt: Runtime, content: bytes, by: UserId) -> str:
    """Keep a file, sealed, for a day; returns its id. Raises SheetRefused."""
    sheet = sheets.read(content)
    key, wall = new_id(), rt.clock.wall()
    sealed = rt.sealer.seal(content.decode("utf-8-sig"), imports.content_place(key))
    with rt.database.begin() as db:
        imports.forget(db, wall - KEPT)
        imports.add(db, key, sealed, json.dumps(asdict(_guess(sheet))), by, wall)
    return key


def _guess(sheet: Sheet) -> Choices:
    """The column with the most addresses, and one whose name says that it holds first names."""
    sample = sheet.rows[:200]
    address = max(range(len(sheet.columns)), key=lambda at: sum("@" in row[at] for row in sample))
    names = [name.casefold() for name in sheet.columns]
    first = next((at for at, name in enumerate(names) if at != address and ("first" in name or "given" in name)), None)
    if first is None:
        first = next((at for at, name in enumerate(names) if at != address and name == "name"), None)
    return Choices(address, first)


def draft(rt: Runtime, key: str, choices: Choices | None = None) -> Draft:
    """A file as it stands, with what would happen to each row under the choices kept with it, or others. Raises NoFile."""
    with rt.database.read() as db:
        file = imports.read(db, key)
        if file is None:
            raise NoFile("This file is not here any more: files are kept for a day. Please choose it again.")
        kept = choices or Choices(**json.loads(file.choices))
        if file.counts is not None:
            counts = {Becomes(name): count for name, count in json.loads(file.counts).items()}
            return Draft(None, kept, (), counts, done=True)
        sheet = sheets.read(rt.sealer.open(file.content, imports.content_place(key)).encode())
        judged = _judge(rt, db, sheet, kept)
    return Draft(sheet, kept, tuple(judged), _counts(judged), done=False)


def _counts(judged: Sequence[Judged]) -> dict[Becomes, int]:
    found = Counter(each.becomes for each in judged)
    return {becomes: found[becomes] for becomes in Becomes if found[becomes]}


def choose(rt: Runtime, key: str, choices: Choices) -> None:
    """Keep choices with a file."""
    with rt.database.begin() as db:
        imports.choose(db, key, json.dumps(asdict(choices)))


def _judge(rt: Runtime, db: Connection, sheet: Sheet, choices: Choices) -> list[Judged]:
    found: list[Judged] = []
    seen: dict[bytes, int] = {}
    fresh: dict[int, bytes] = {}
    for line, row in zip(sheet.lines, sheet.rows, strict=True):
        typed = row[choices.address]
        try:
            address = parse_address(typed, test_names=True)
        except InputRefused as refused:
            why = "The address is missing." if not typed else str(refused)
            found.append(Judged(line, typed, Becomes.WRONG, why, None, ""))
            continue
        name, why = _name(row[choices.name]) if choices.name is not None else ("", "")
        bidx = rt.sealer.blind_index(address.canonical)
        if bidx in seen:
            found.append(Judged(line, typed, Becomes.TWICE, f"It is on line {seen[bidx]} already.", address, name))
            continue
        seen[bidx] = line
        fresh[len(found)] = bidx
        found.append(Judged(line, typed, Becomes.ADDED, why, address, name))
    places = list(fresh)
    for at in range(0, len(places), 500):
        chunk = places[at : at + 500]
        hashes = [fresh[place] for place in chunk]
        known, locked = imports.known(db, hashes), imports.suppressed(db, hashes)
        for place in chunk:
            becomes = _becomes(known.get(fresh[place]), fresh[place] in locked)
            if becomes is not Becomes.ADDED:
                found[place] = replace(found[place], becomes=becomes, why="")
    return found


def _name(typed: str) -> tuple[str, str]:
    try:
        return parse_first_name(typed), ""
    except InputRefused:
        return "", "The name was left out: letters repeat it, so it may hold only letters, at most 40."


def _becomes(state: SubscriberState | None, locked: bool) -> Becomes:
    if state in (SubscriberState.ACTIVE, SubscriberState.PAUSED):
        return Becomes.THERE
    if locked or state in (SubscriberState.UNSUBSCRIBED, SubscriberState.BOUNCED, SubscriberState.COMPLAINED):
        return Becomes.LEFT
    return Becomes.WAITING if state is SubscriberState.PENDING else Becomes.ADDED


def run(rt: Runtime, key: str, choices: Choices) -> dict[Becomes, int]:
    """Add the people of a file; returns how many rows came to what. Twice is fine: the second time nothing happens.

    Should this process die on the way, the file can be chosen again: who was added is there already. Raises NoFile.
    """
    found = draft(rt, key, choices)
    if found.done:
        return found.counts
    with rt.database.begin() as db:
        if not imports.claim(db, key, json.dumps(asdict(choices)), "{}"):
            return {}
    judged = list(found.judged)
    for at in range(0, len(judged), _CHUNK):
        with rt.database.begin() as db:
            judged[at : at + _CHUNK] = _add(rt, db, judged[at : at + _CHUNK], choices)
    counts = _counts(judged)
    report = sheets.written(
        [("Line", "Address", "What happened", "Remark"), *((str(j.line), j.typed, j.becomes, j.why) for j in judged)]
    )
    with rt.database.begin() as db:
        sealed = rt.sealer.seal(report, imports.report_place(key))
        empty = rt.sealer.seal("", imports.content_place(key))
        imports.finish(db, key, json.dumps(counts), sealed, empty)
    _log.info("people_added", count=counts.get(Becomes.ADDED, 0), entries=len(judged))
    return counts


def _add(rt: Runtime, db: Connection, rows: Sequence[Judged], choices: Choices) -> list[Judged]:
    """Add those of a few rows that are to be added. Somebody who signed up since they were judged is there already."""
    now, added = rt.clock.now(), list[tuple[SubscriberId, bytes]]()
    said = f"{statement(rt, choices.confirmed)} Where the consent came from: {choices.where}"
    source = f"import: {choices.where}"[:200]
    sequence = signup.first_sequence(db)
    told: list[Judged] = []
    for row in rows:
        if row.becomes is not Becomes.ADDED or row.address is None:
            told.append(row)
            continue
        person = _person(rt, row.address, row.first_name)
        if subscribers.suppression(db, person.email_bidx) or not subscribers.add(db, person, now):
            told.append(
                Judged(row.line, row.typed, Becomes.THERE, "They came on their own just now.", row.address, row.first_name)
            )
            continue
        subscribers.record_consent(db, person.id, "given", said, _VERSION, source, now)
        if choices.confirmed:
            subscribers.set_state(db, person.id, SubscriberState.ACTIVE, confirmed=now)
            subscribers.record_consent(db, person.id, "confirmed", said, _VERSION, source, now)
            _begin(rt, db, person, sequence, now)
        added.append((person.id, person.email_bidx))
        told.append(row)
    if choices.tag:
        people.add_tag(db, [who for who, _ in added], choices.tag)
    if not choices.confirmed:
        ledger.plan(db, [NewDelivery(Kind.CONFIRMATION, now, who, bidx) for who, bidx in added], now)
    return told


def _person(rt: Runtime, address: Address, first_name: str) -> Person:
    who = SubscriberId(new_id())
    name = rt.sealer.seal(first_name, subscribers.first_name_place(who)) if first_name else None
    email = rt.sealer.seal(address.send_to, subscribers.email_place(who))
    bidx = rt.sealer.blind_index(address.canonical)
    return Person(who, bidx, email, name, rt.settings.time_zone, SubscriberState.PENDING)


def _begin(rt: Runtime, db: Connection, person: Person, sequence: SequenceId, now: datetime) -> None:
    """Start the letters. They have pressed no button this minute, so the first one too waits for its window."""
    enrollment = sequences.enroll(db, person.id, sequence, now)
    place = sequences.enrolled(db, [enrollment])[enrollment]

    def when(promised: datetime, rules: Rules, zone: ZoneInfo) -> datetime:
        return first_opening(max(promised, now), rules, zone)

    go_on(db, place, person.email_bidx, when, "desk", now, rt.clock.wall())


def report(rt: Runtime, key: str) -> str:
    """What happened to each row of a file, as a CSV file. Raises NoFile."""
    with rt.database.read() as db:
        file = imports.read(db, key)
    if file is None or file.report is None:
        raise NoFile("There is no report of this file: reports are kept for a day.")
    return rt.sealer.open(file.report, imports.report_place(key))
