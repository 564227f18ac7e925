"""A letter file and a Letter are the same, byte for byte: the text is kept as it is and only read, never rewritten."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from nurture.characters import code_point, unusable_character
from nurture.domain.delivery import InDoubt
from nurture.domain.sequence import Step, WaitRefused, parse_late, parse_wait, read_step
from nurture.domain.timeline import Quiet, Rules, Window
from nurture.ids import StepKey
from nurture.letters import registry
from nurture.letters.bounded_yaml import YamlRefused, read_yaml
from nurture.letters.folder import LetterRefused as LetterRefused
from nurture.letters.folder import parts_of

SEQUENCE_FILE = "sequence.yaml"
REVIEW_EVERY = timedelta(days=180)
_FENCE = "---\n"
_MOST_BYTES = 1_000_000
"""Of a file that is read at all."""
_LETTER_FILE = re.compile(r"[0-9].*-.*\.md", re.DOTALL)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""What a sequence.yaml calls the days of the week."""


@dataclass(frozen=True)
class CitedSource:
    """One entry of a letter's list of sources."""

    number: int
    text: str
    url: str
    id: str = ""
    """What `cite` names it by."""


@dataclass(frozen=True)
class Waiver:
    """A warning of the gate that a person let pass: where the letter says `words`, and why."""

    rule: str
    words: str
    by: str
    because: str


def step_of(file_name: str) -> StepKey:
    """The stable key of a letter's step: its file's name without number and ending."""
    return StepKey(Path(file_name).stem.split("-", 1)[-1])


@dataclass(frozen=True)
class Letter:
    """One letter: what its file says. `text` is the whole file."""

    file_name: str
    text: str
    subject: str
    preheader: str
    wait: str
    if_late: str
    sources: tuple[CitedSource, ...]
    body: str
    body_line: int
    reviewed_by: str = ""
    review_by: date | None = None
    """The day on which its facts must have been looked at again: REVIEW_EVERY after they were."""
    waivers: tuple[Waiver, ...] = ()
    unknown_sources: tuple[str, ...] = ()
    """Ids under `sources` that the registry does not have. A letter with one opens, and is not published."""
    unreadable: str = ""
    """Why its file cannot be read; what else is said of it is then what could be made out."""

    @property
    def key(self) -> StepKey:
        """The stable key of its step: the file name without number and ending."""
        return step_of(self.file_name)

    def head_line(self, name: str) -> int | None:
        """The line of the file on which the front matter names something."""
        lines = self.text.split("\n")[: self.body_line - 1]
        return next((number for number, line in enumerate(lines, 1) if line.startswith(f"{name}:")), None)

    @property
    def reviewed_on(self) -> date | None:
        """The day its facts were last looked at."""
        return self.review_by - REVIEW_EVERY if self.review_by else None

    @property
    def step(self) -> Step:
        """The step this letter makes."""
        return read_step(self.key, self.wait, self.if_late)


@dataclass(frozen=True)
class SequenceFile:
    """What sequence.yaml says. `text` is the whole file."""

    text: str
    key: str
    title: str
    rules: Rules
    in_doubt: InDoubt
    """What happens to a letter of which nobody can say whether it left."""


def _mapping(text: str, where: str, first_line: int = 1) -> Mapping[str, Any]:
    try:
        found = read_yaml(text)
    except YamlRefused as refused:
        line = f", line {refused.line + first_line - 1}" if refused.line else ""
        raise LetterRefused(where + line, str(refused)) from None
    if not isinstance(found, dict):
        raise LetterRefused(where, "Expected lines of the form `name: value`.")
    return found


def _words(found: Mapping[str, Any], name: str, where: str) -> str:
    value = found.get(name, "")
    if not isinstance(value, str) or "\n" in value.strip():
        raise LetterRefused(where, f"`{name}` must be one line of text.")
    return value.strip()


def read_letter(file_name: str, text: str) -> Letter:
    """Read a letter file: front matter between two `---` lines, then Markdown. Raises LetterRefused."""
    plain = text
    if text.startswith(("\ufeff", "---\r\n")):  # as Windows editors save: read like any other, kept as it is
        plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    head, fence, body = plain.removeprefix("---").partition("\n" + _FENCE)
    if not plain.startswith(_FENCE) or not fence:
        raise LetterRefused(file_name, "A letter begins with `---`, its subject and wait, and a second `---`.")
    found = _mapping(head, file_name)  # its first line is the rest of the first `---`
    subject, wait = _words(found, "subject", file_name), _words(found, "wait", file_name) or "at once"
    if not subject:
        raise LetterRefused(file_name, "The subject is empty. Write `subject: …`.")
    if_late = _words(found, "if-late", file_name)
    try:
        parse_wait(wait)
        parse_late(if_late)
    except WaitRefused as refused:
        raise LetterRefused(file_name, str(refused)) from None
    review_by = found.get("review-by")
    if review_by is not None and type(review_by) is not date:
        raise LetterRefused(file_name, "`review-by` is a date such as 2027-05-22, without quotes.")
    sources, unknown = _sources(found, body, file_name)
    return Letter(
        file_name,
        text,
        subject,
        _words(found, "preheader", file_name),
        wait,
        if_late,
        sources,
        body,
        head.count("\n") + 3,
        _words(found, "reviewed-by", file_name),
        review_by,
        _waivers(found, file_name),
        unknown,
    )


def read_stored(file_name: str, text: str) -> Letter:
    """A letter that is in the database already, whatever its file says: at worst it is `unreadable`. Raises nothing."""
    try:
        return read_letter(file_name, text)
    except LetterRefused as refused:
        head, body = _split(text)
        subject = next((line.partition(":")[2] for line in head.split("\n") if line.startswith("subject:")), "")
        said = f"{refused.where.removeprefix(file_name).removeprefix(', ').capitalize()}: {refused.advice}".removeprefix(": ")
        return Letter(
            file_name,
            text,
            " ".join(subject.strip().strip("\"'").split()) or "(no subject)",
            "",
            "at once",
            "",
            (),
            body,
            head.count("\n") + 3 if head else 1,
            unreadable=said,
        )


def _split(text: str) -> tuple[str, str]:
    """Front matter and body of a file that cannot be read; without front matter all of it is body."""
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    head, fence, body = plain.removeprefix("---\n").partition("\n" + _FENCE)
    return (head, body) if fence and plain.startswith(_FENCE) else ("", plain)


def readable_lines(file_name: str, text: str) -> list[str]:
    """The lines of a file's front matter that can be read, with whatever is indented below them; those of the subject and the
    preheader left out.
    """
    kept = list[str]()
    for block in re.findall(r"(?m)^(?![\"']?(?:subject|preheader)\b)[^\s#-].*\n(?:[ \t-].*\n|\n)*", _split(text)[0] + "\n"):
        with suppress(LetterRefused):
            read_letter(file_name, f"---\nsubject: x\n{''.join([*kept, block])}---\n")
            kept.append(block)
    return kept


def _list(found: Mapping[str, Any], name: str) -> list[Any]:
    entries = found.get(name) or []
    return entries if isinstance(entries, list) else [entries]


_CITED = re.compile(r"""\bcite\(([^)]*)\)""")


def _sources(found: Mapping[str, Any], body: str, file_name: str) -> tuple[tuple[CitedSource, ...], tuple[str, ...]]:
    """The sources the front matter lists, then those only the body cites, numbered in this order; and ids that it lists and
    the registry does not have.
    """
    works = registry.shipped()
    listed: dict[str, CitedSource] = {}
    entries = _list(found, "sources")
    cited = [name for names in _CITED.findall(body) for name in re.findall(r"""["']([\w.-]+)["']""", names)]
    own = {str(entry.get("id")) for entry in entries if isinstance(entry, dict)}
    unknown = tuple(entry for entry in entries if isinstance(entry, str) and entry not in works)
    entries = [entry for entry in entries if entry not in unknown]
    for entry in entries + [name for name in dict.fromkeys(cited) if name in works and name not in entries and name not in own]:
        number = len(listed) + 1
        if isinstance(entry, str):
            listed[entry] = CitedSource(number, works[entry].text, works[entry].url, entry)
        elif not isinstance(entry, dict) or not entry.get("text") or not str(entry.get("url", "")).startswith("https://"):
            raise LetterRefused(
                file_name, f"Source {number} needs a `text` and a `url` that begins with https://, or an id of the registry."
            )
        else:
            name = str(entry.get("id") or number)
            listed[name] = CitedSource(number, str(entry["text"]).strip(), str(entry["url"]), name)
    return tuple(listed.values()), unknown


def no_source(name: str) -> str:
    """What to say of an id that the registry does not have."""
    close = get_close_matches(name[:80], registry.shipped(), 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"There is no source {name!r} in the registry.{hint}"


def _waivers(found: Mapping[str, Any], file_name: str) -> tuple[Waiver, ...]:
    waivers = []
    for entry in _list(found, "waived"):
        names = ("rule", "words", "by", "because")
        if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) and entry[name].strip() for name in names):
            raise LetterRefused(file_name, "A waiver under `waived` needs a `rule`, the `words`, `by` whom and `because`.")
        waivers.append(Waiver(*(entry[name].strip() for name in names)))
    return tuple(waivers)


def _time(value: Any, where: str) -> time:
    if isinstance(value, str) and _CLOCK.fullmatch(value):  # YAML reads 17:30 without quotes as the number 1050
        return time.fromisoformat(value)
    raise LetterRefused(where, f'{value!r} is not a time. Write it in quotes, like "09:00".')


def _part(found: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = found.get(name) or {}
    if not isinstance(value, dict):
        raise LetterRefused(where, f"`{name}` must hold lines of the form `name: value`.")
    return value


@lru_cache(maxsize=64)  # read again in each transaction that plans
def read_sequence(text: str, where: str = SEQUENCE_FILE) -> SequenceFile:
    """Read sequence.yaml: key, title, window, quiet hours, holidays. Raises LetterRefused."""
    found = _mapping(text, where)
    window, quiet = _part(found, "window", where), _part(found, "quiet", where)
    days = window.get("days", list(DAYS[:6]))
    days = days if isinstance(days, list) else [days]
    unknown = [day for day in days if day not in DAYS]
    if unknown or not days:
        raise LetterRefused(where, f"{unknown[0] if unknown else 'An empty list'!r} is no weekday. Use {', '.join(DAYS)}.")
    holidays = found.get("holidays") or []
    if not isinstance(holidays, list) or any(type(day) is not date for day in holidays):
        raise LetterRefused(where, "Holidays are dates such as 2026-12-25, without quotes.")
    key, title = _words(found, "key", where), _words(found, "title", where)
    if not key or not title:
        raise LetterRefused(where, "`key` and `title` are needed.")
    rules = Rules(
        Window(
            _time(window.get("opens", "09:00"), where),
            _time(window.get("closes", "18:00"), where),
            frozenset(DAYS.index(day) for day in days),
        ),
        Quiet(_time(quiet.get("from", "21:00"), where), _time(quiet.get("to", "08:00"), where)),
        frozenset(holidays),
    )
    in_doubt = _words(found, "when-in-doubt", where) or InDoubt.RESEND
    if in_doubt not in list(InDoubt):
        raise LetterRefused(where, f"`when-in-doubt: {in_doubt}` is not clear. Write `resend` or `hold`.")
    return SequenceFile(text, key, title, rules, InDoubt(in_doubt))


def read_files(files: Mapping[str, str], where: str) -> tuple[SequenceFile, list[Letter]]:
    """Read a sequence: sequence.yaml and NN-slug.md files, by name, in order of their numbers. Raises LetterRefused."""
    if SEQUENCE_FILE not in files:
        raise LetterRefused(where, f"There is no {SEQUENCE_FILE} here. Name a folder that holds a sequence.")
    named = f"{where}/{SEQUENCE_FILE}"
    sequence = read_sequence(files[SEQUENCE_FILE], named)
    _check_characters(named, {"key": sequence.key, "title": sequence.title})
    letters = [read_letter(name, files[name]) for name in sorted(files, key=_number) if _LETTER_FILE.fullmatch(name)]
    for letter in letters:
        _check_characters(letter.file_name, _lines(letter))
        if letter.unknown_sources:
            raise LetterRefused(letter.file_name, no_source(letter.unknown_sources[0]))
    if not letters:
        raise LetterRefused(where, "There is no letter here. Letters are files such as 01-history.md.")
    keys = [letter.key for letter in letters]
    for key in keys:
        if keys.count(key) > 1:
            raise LetterRefused(where, f"Two files end in `-{key}.md`. Each letter needs a name of its own.")
    return sequence, letters


def _lines(letter: Letter) -> dict[str, str]:
    """What its front matter says in lines, by what each is."""
    lines = {"subject": letter.subject, "preheader": letter.preheader, "reviewed-by": letter.reviewed_by}
    lines |= {f"source {one.number}": f"{one.text} {one.url} {one.id}" for one in letter.sources}
    return lines | {f"waiver of {one.rule}": f"{one.words} {one.by} {one.because}" for one in letter.waivers}


def _check_characters(where: str, lines: Mapping[str, str]) -> None:
    """Refuse what nobody can see in a line, where a file comes in. Raises LetterRefused.

    A letter that is here already opens all the same, so that somebody can mend it.
    """
    for name, line in lines.items():
        if found := unusable_character(line):
            raise LetterRefused(where, f"The {name} holds {code_point(found)}, a character that cannot be shown.")


def folder_files(folder: Path) -> dict[str, str]:
    """The text of a folder's sequence.yaml and letters, by file name. Raises LetterRefused, also where another file may have
    been meant as part of the sequence (`letters.folder`).
    """
    return {path.name: _text(path) for path in parts_of(folder, SEQUENCE_FILE)}


def read_folder(folder: Path) -> tuple[SequenceFile, list[Letter]]:
    """Read a sequence from a folder. Raises LetterRefused."""
    return read_files(folder_files(folder), str(folder))


def _number(name: str) -> tuple[int, str]:
    digits = re.match("[0-9]+", name)
    return int(digits[0]) if digits else 0, name


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise LetterRefused(str(path), f"The file is larger than {_MOST_BYTES:,} bytes, so it is no letter. Take it away.")
        text = path.read_bytes().decode("utf-8")  # bytes: universal newlines would not round-trip
    except UnicodeDecodeError:
        raise LetterRefused(str(path), "The file is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        raise LetterRefused(str(path), f"The file cannot be read ({error.strerror}).") from None
    if "\0" in text:
        raise LetterRefused(str(path), "The file holds a NUL character, so it is no text. Save it as UTF-8 text.")
    return text
