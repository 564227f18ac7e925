"""Reads `.env` by python-dotenv's rules, and names every line that those would cut off, skip or misread."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dotenv.parser import Binding, parse_stream
from dotenv.variables import Literal, parse_variables

_NAME = re.compile(r"\s*(?:export\s+)?'?([A-Za-z_][A-Za-z0-9_]*)'?\s*(=|$|\s)")
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*=", re.MULTILINE)
_QUOTE = "Put the whole value between double quotes, and a backslash before each double quote or backslash in it."


@dataclass(frozen=True)
class EnvEntry:
    """One setting of the file. `name` in capitals, with its prefix; `line` counts from 1."""

    name: str
    value: str
    line: int


@dataclass(frozen=True)
class EnvProblem:
    """A line that cannot be taken as it is, and what to do. Never quotes a value: it may be a secret."""

    line: int
    message: str


def parse(content: bytes, prefix: str, environ: Mapping[str, str]) -> tuple[list[EnvEntry], list[EnvProblem]]:
    """The entries whose name begins with `prefix`, and what is wrong, by line. `environ` is what `${NAME}` may refer to.

    Other programs' lines are let alone as long as they can be read.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or content[:400].count(0) * 4 > len(content[:400]):
        return [], [EnvProblem(1, "The file is UTF-16. Save it as UTF-8.")]
    problems = [
        EnvProblem(number, f"{_named(raw)} {said}")
        for number, raw in enumerate(content.split(b"\n"), start=1)
        if (said := _undecodable(raw))
    ]
    text = content.decode("utf-8-sig", errors="replace").replace("\0", "�")
    entries: dict[str, EnvEntry] = {}
    known = dict(environ)
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line + _leading_lines(binding.original.string)
        found, problem = _entry(binding, line, prefix, known, entries)
        if problem:
            problems.append(problem)
        if found:
            entries.setdefault(found.name, found)
    return list(entries.values()), sorted(problems, key=lambda each: each.line)


def _undecodable(raw: bytes) -> str:
    if b"\0" in raw:
        return "holds a NUL character. Take it out."
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "holds a letter that is not UTF-8: the file was perhaps saved as Windows-1252 or Latin-1. Save it as UTF-8."
    return ""


def _named(raw: bytes) -> str:
    """The name a line sets, or “The line”: anything else of it may be part of a secret."""
    found = _NAME.match(raw.decode("utf-8-sig", errors="replace"))
    return found[1] if found and (found[2] == "=" or found[1].isupper()) else "The line"


def _leading_lines(original: str) -> int:
    lead = original[: len(original) - len(original.lstrip())]
    return len(re.findall(r"\r\n|\n|\r", lead))


def _entry(
    binding: Binding, line: int, prefix: str, known: dict[str, str], entries: Mapping[str, EnvEntry]
) -> tuple[EnvEntry | None, EnvProblem | None]:
    """What one line sets and what is wrong with it; `known` learns its value."""
    original = binding.original.string.strip()
    if binding.error:
        return None, EnvProblem(line, f"{_named(original.encode())} cannot be read: {_why_unreadable(original)}")
    if binding.key is None:
        return None, None
    if binding.value is None:
        return None, EnvProblem(line, f"{_named(original.encode())} has no “=”. Write NAME=value, or begin the line with “#”.")
    name = binding.key.upper()
    missing = [atom for atom in parse_variables(binding.value) if not isinstance(atom, Literal) and _is_unset(atom, known)]
    value = "".join(atom.resolve(known) for atom in parse_variables(binding.value))
    known[binding.key] = value
    if not name.startswith(prefix):
        return None, None
    raw = original.partition("=")[2].lstrip()
    problem = ""
    if name in entries:
        problem = f"{name} is set in line {entries[name].line} already. Take one of the two out."
    elif raw[:1] not in ("'", '"') and re.search(r"\s#", original.partition("=")[2]):
        problem = f"{name} is cut off at “ #”, which begins a comment. {_QUOTE} A comment goes on a line of its own."
    elif "\n" in binding.value and _ASSIGNMENT.search(binding.value.partition("\n")[2]):
        problem = f"{name} runs on over the lines below it, up to their next quote. End its value with the quote it began with."
    elif missing:
        problem = f"{name} holds “${{…}}”, which stands for another variable, and that one is not set."
    return EnvEntry(name, value, line), EnvProblem(line, problem) if problem else None


def _is_unset(atom: object, known: Mapping[str, str]) -> bool:
    return getattr(atom, "default", None) is None and getattr(atom, "name", "") not in known


def _why_unreadable(original: str) -> str:
    value = original.partition("=")[2].lstrip()
    if value[:1] in ("'", '"'):
        return f"its value begins with a quote ({value[0]}) that does not end the line. {_QUOTE}"
    return "Write NAME=value, or begin the line with “#”."
