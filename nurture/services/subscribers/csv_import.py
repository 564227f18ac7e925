"""People from a file: what its columns mean, what would happen to each row, and then exactly that.

Nobody is added without a statement of where their consent came from, which is kept as each one's consent. By default each gets
one mail that asks to confirm. Whom the file's own columns call unsubscribed, bounced or complained is never added, and never
written to from then on, whether or not they are on the list; nor is anybody added who has left here. A file may also be a list
of people who left, which adds nobody. `services.subscribers.csv_import_run` does what is found here.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import Connection

from nurture.domain.list_status import (
    ColumnRole,
    ListStatus,
    StatusColumns,
    UnknownStatus,
    find_columns,
    may_be_list_of_who_left,
)
from nurture.domain.subscriber import SubscriberState, Suppression
from nurture.errors import NurtureError
from nurture.ids import UserId, new_id
from nurture.letters.pack_texts import pack_texts
from nurture.runtime import Runtime
from nurture.services.addresses import Address, InputRefused, parse_address
from nurture.services.subscribers import csv_files
from nurture.services.subscribers.csv_files import Sheet
from nurture.services.subscribers.form_values import clean_first_name, tidy_address
from nurture.store.subscribers import csv_imports

KEPT = timedelta(days=1)
LEAST_SAID = 10
"""Characters that say where consent came from."""


class NoFile(NurtureError):
    """There is no such file: it is kept for a day."""


class ImportStopped(NurtureError):
    """A row says something about a person that nobody can read, so nothing is done with any row. The message names it."""


class Becomes(StrEnum):
    """What happens to a row."""

    ADDED = "added"
    THERE = "already there"
    WAITING = "already asked to confirm"
    UNSUBSCRIBED = "never written to: unsubscribed there"
    BOUNCED = "never written to: mail came back there"
    COMPLAINED = "never written to: reported mail as spam there"
    LEFT = "not added: left, or must not be written to"
    UNCONFIRMED = "not added: had not confirmed there"
    STAYED = "nothing done: did not leave there"
    TWICE = "not added: twice in this file"
    WRONG = "not added: not an address"
    UNKNOWN = "stops the import: unknown status"


_BECOMES = {
    ListStatus.UNSUBSCRIBED: Becomes.UNSUBSCRIBED,
    ListStatus.BOUNCED: Becomes.BOUNCED,
    ListStatus.COMPLAINED: Becomes.COMPLAINED,
}
REASONS = {
    Becomes.UNSUBSCRIBED: Suppression.UNSUBSCRIBED,
    Becomes.BOUNCED: Suppression.BOUNCED,
    Becomes.COMPLAINED: Suppression.COMPLAINED,
}
"""What becomes of rows whose people are never written to from then on, and why they are not."""
SUPPRESSED = tuple(REASONS)


@dataclass(frozen=True)
class ImportChoices:
    """What the columns mean, by their place, and how people are to be added."""

    address: int
    name: int | None = None
    confirmed: bool = False
    """They have confirmed to the therapist already; without, each is asked by mail."""
    where: str = ""
    """Where the consent came from, in the therapist's words."""
    tag: str = ""
    status: int | None = None
    """A column that holds the status, beside those that are found by their names."""
    left: str = ""
    """The file is a list of people who left, for this reason (ListStatus) where its columns say none: nobody is added."""
    undecided: bool = False
    """The file may be a list of subscribers or of people who left: somebody has to say which."""


@dataclass(frozen=True)
class Judged:
    """A row, and what happens to it. `why`: more about it, where there is more to say."""

    line: int
    typed: str
    becomes: Becomes
    why: str
    address: Address | None
    first_name: str
    status: ListStatus | None = None
    """What its columns say of the person."""
    evidence: Mapping[ColumnRole, str] = field(default_factory=dict)
    """What its columns say of how they agreed."""

    def __repr__(self) -> str:
        """Never the address."""
        return f"Judged({self.line}, {self.becomes})"


@dataclass(frozen=True)
class ImportPreview:
    """A file on its way. Once its people are added, `done` says how many rows came to what, and `judged` is empty."""

    sheet: Sheet | None
    choices: ImportChoices
    judged: tuple[Judged, ...]
    counts: dict[Becomes, int]
    done: bool
    columns: StatusColumns = field(default_factory=StatusColumns)
    stops: str = ""
    """Why nothing can be done with it as it is."""

    @property
    def statuses(self) -> dict[ListStatus, int]:
        """How many rows its columns give each status; empty if it has no such column."""
        if not self.columns.status:
            return {}
        found = Counter(each.status for each in self.judged)
        return {status: found[status] for status in ListStatus if found[status]}


def statement(rt: Runtime, confirmed: bool) -> str:
    """What the therapist confirms before people are added, and what is kept as their consent."""
    who = rt.settings.from_name or "the practice"
    if confirmed:
        return (
            f"Each person in this file asked {who} for letters by e-mail about {pack_texts().topic}, and has "
            "confirmed it. I can show when and how."
        )
    return (
        f"Each person in this file asked {who} to be put on this list. They get one mail that asks them to confirm, "
        "and nothing else unless they do."
    )


def keep(rt: Runtime, content: bytes, by: UserId | None) -> str:
    """Keep a file, sealed, for a day; returns its id. `by`: who brought it; None: whoever runs the service.

    Raises SheetRefused.
    """
    sheet = csv_files.read(content)
    key, real_now = new_id(), rt.clock.real_now()
    sealed = rt.cipher.encrypt(content.decode("utf-8-sig"), csv_imports.content_field(key))
    with rt.database.begin() as db:
        csv_imports.forget(db, real_now - KEPT)
        csv_imports.add(db, key, sealed, json.dumps(asdict(_guess(sheet))), by, real_now)
    return key


def _guess(sheet: Sheet) -> ImportChoices:
    """The column with the most addresses, one whose name says that it holds first names; and whether the file looks like a list
    of people who left.
    """
    sample = sheet.rows[:200]
    address = max(range(len(sheet.columns)), key=lambda at: sum("@" in row[at] for row in sample))
    names = [name.casefold() for name in sheet.columns]
    others = [(at, name) for at, name in enumerate(names) if at != address]
    first = next((at for at, name in others if "first" in name or "given" in name or name == "fname"), None)
    if first is None:
        first = next((at for at, name in others if name == "name"), None)
    columns = find_columns(sheet.columns, sheet.rows, _taken(address, first))
    statuses = [_status(columns, row)[0] for row in sheet.rows] if columns.status else []
    left = bool(statuses) and all(status is not None and status.suppression for status in statuses)
    undecided = not columns.status and may_be_list_of_who_left(sheet.columns)
    return ImportChoices(address, first, left=ListStatus.UNSUBSCRIBED.value if left else "", undecided=undecided)


def _taken(address: int, name: int | None) -> tuple[int, ...]:
    return (address,) if name is None else (address, name)


def preview(rt: Runtime, key: str, choices: ImportChoices | None = None) -> ImportPreview:
    """A file as it stands, with what would happen to each row under the choices kept with it, or others. Raises NoFile."""
    with rt.database.read() as db:
        file = csv_imports.read(db, key)
        if file is None:
            raise NoFile("This file is not here any more: files are kept for a day. Please choose it again.")
        kept = choices or ImportChoices(**json.loads(file.choices))
        if file.counts is not None:
            counts = {Becomes(name): count for name, count in json.loads(file.counts).items()}
            return ImportPreview(None, kept, (), counts, done=True)
        sheet = csv_files.read(rt.cipher.decrypt(file.content, csv_imports.content_field(key)).encode())
        columns = find_columns(sheet.columns, sheet.rows, _taken(kept.address, kept.name), kept.status)
        judged = _judge(rt, db, sheet, kept, columns)
    return ImportPreview(sheet, kept, tuple(judged), counted(judged), done=False, columns=columns, stops=_stops(judged))


def _stops(judged: Sequence[Judged]) -> str:
    unknown = [each for each in judged if each.becomes is Becomes.UNKNOWN]
    if not unknown:
        return ""
    rows = "1 row has" if len(unknown) == 1 else f"{len(unknown):,} rows have"
    return (
        f"{rows} an unknown status. Line {unknown[0].line}: {unknown[0].why} Nothing is done with any row until this "
        "is corrected: write subscribed, unsubscribed, bounced or complained there, or give the column another name if it "
        "does not hold a status."
    )


def counted(judged: Sequence[Judged]) -> dict[Becomes, int]:
    """How many rows come to what; what no row comes to is left out."""
    found = Counter(each.becomes for each in judged)
    return {becomes: found[becomes] for becomes in Becomes if found[becomes]}


def choose(rt: Runtime, key: str, choices: ImportChoices) -> None:
    """Keep choices with a file."""
    with rt.database.begin() as db:
        csv_imports.choose(db, key, json.dumps(asdict(choices)))


def _judge(rt: Runtime, db: Connection, sheet: Sheet, choices: ImportChoices, columns: StatusColumns) -> list[Judged]:
    found, place_of = list[Judged](), dict[bytes, int]()
    for line, row in zip(sheet.lines, sheet.rows, strict=True):
        typed, (status, unknown) = row[choices.address], _status(columns, row, sheet.columns)
        try:
            address = parse_address(tidy_address(typed), test_names=True)
        except InputRefused as refused:
            why = "The address is missing." if not typed else str(refused)
            found.append(Judged(line, typed, Becomes.WRONG, why, None, "", status))
            continue
        name, why = _name(row[choices.name]) if choices.name is not None else ("", "")
        judged = Judged(line, typed, Becomes.ADDED, why, address, name, status, columns.evidence_of(row))
        email_index = rt.cipher.blind_index(address.canonical)
        if unknown:
            judged = replace(judged, becomes=Becomes.UNKNOWN, why=unknown)
        elif email_index in place_of:
            before = found[place_of[email_index]]
            judged = replace(judged, becomes=Becomes.TWICE, why=f"It is on line {before.line} already.")
            if status is not None and (before.status is None or status.outweighs(before.status)):
                found[place_of[email_index]] = replace(before, status=status, why=f"Line {line} says so.")
        else:
            place_of[email_index] = len(found)
        found.append(judged)
    hashes = list(place_of)
    for at in range(0, len(hashes), 500):
        chunk = hashes[at : at + 500]
        known, locked = csv_imports.known(db, chunk), csv_imports.suppressed(db, chunk)
        for email_index in chunk:
            place = place_of[email_index]
            found[place] = _decided(found[place], choices, known.get(email_index), email_index in locked)
    return found


def _status(columns: StatusColumns, row: Sequence[str], names: Sequence[str] = ()) -> tuple[ListStatus | None, str]:
    """What the columns say of somebody, or what in them nobody knows."""
    try:
        return columns.said_of(row), ""
    except UnknownStatus as unknown:
        column = names[unknown.column] if names else ""
        value = f"“{unknown.value[:40]}” in" if unknown.value else "nothing stands in"
        return None, f"{value[0].upper()}{value[1:]} the column “{column}”."


def _name(typed: str) -> tuple[str, str]:
    name = clean_first_name(typed)
    if typed and not name:
        return "", "The name was left out: letters repeat it, so it may hold only letters."
    return name, ""


def _decided(row: Judged, choices: ImportChoices, state: SubscriberState | None, locked: bool) -> Judged:
    """What becomes of a row, from its status and from how its person stands here."""
    status = row.status or (ListStatus(choices.left) if choices.left else ListStatus.ACTIVE)
    if status in _BECOMES:
        here = state in (SubscriberState.ACTIVE, SubscriberState.PAUSED, SubscriberState.PENDING)
        why = "They are on the list here: their letters end." if here else "It was so here already." if locked else row.why
        return replace(row, becomes=_BECOMES[status], why=why)
    if choices.left:
        return replace(row, becomes=Becomes.STAYED, why="")
    becomes = _becomes(state, locked)
    if becomes is Becomes.ADDED and status is ListStatus.UNCONFIRMED and choices.confirmed:
        becomes = Becomes.UNCONFIRMED
    return row if becomes is Becomes.ADDED else replace(row, becomes=becomes, why="")


def _becomes(state: SubscriberState | None, locked: bool) -> Becomes:
    if state in (SubscriberState.ACTIVE, SubscriberState.PAUSED):
        return Becomes.THERE
    if locked or state in (SubscriberState.UNSUBSCRIBED, SubscriberState.BOUNCED, SubscriberState.COMPLAINED):
        return Becomes.LEFT
    return Becomes.WAITING if state is SubscriberState.PENDING else Becomes.ADDED


def report(rt: Runtime, key: str) -> str:
    """What happened to each row of a file, as a CSV file. Raises NoFile."""
    with rt.database.read() as db:
        file = csv_imports.read(db, key)
    if file is None or file.report is None:
        raise NoFile("There is no report of this file: reports are kept for a day.")
    return rt.cipher.decrypt(file.report, csv_imports.report_field(key))
