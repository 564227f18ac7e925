"""One fact of a file changed, and every other byte of it as it was: a letter's wait, a sequence's hours and days."""

import re
from collections.abc import Callable

from nurture.domain.sequence import parse_wait
from nurture.domain.timeline import Rules
from nurture.letters.source import DAYS, SEQUENCE_FILE, LetterRefused, read_letter, read_sequence

_BY_HAND = "It is written in a way that only a person can change: edit the file, and import it."


def with_wait(file_name: str, text: str, wait: str) -> str:
    """A letter's file with another wait, in its words; the same text if it says so already. Raises LetterRefused."""
    if parse_wait(read_letter(file_name, text).wait) == parse_wait(wait):
        return text
    lines = lines_of(text)
    end = next(n for n, line in enumerate(lines) if n and line.rstrip("\r\n") == "---")
    changed = changed_fact(lines[:end], "wait", f"wait: {wait}") + lines[end:]
    return _checked(
        "".join(changed), lambda found: parse_wait(read_letter(file_name, found).wait) == parse_wait(wait), file_name
    )


def with_rules(text: str, rules: Rules) -> str:
    """A sequence.yaml with another window, quiet hours or holidays; parts that say so already stay. Raises LetterRefused."""
    old = read_sequence(text).rules
    lines = lines_of(text)
    if old.window != rules.window:
        days = ", ".join(DAYS[day] for day in sorted(rules.window.days))
        hours = f'opens: "{rules.window.opens:%H:%M}", closes: "{rules.window.closes:%H:%M}"'
        lines = changed_fact(lines, "window", f"window: {{{hours}, days: [{days}]}}")
    if old.quiet != rules.quiet:
        lines = changed_fact(lines, "quiet", f'quiet: {{from: "{rules.quiet.begins:%H:%M}", to: "{rules.quiet.ends:%H:%M}"}}')
    if old.holidays != rules.holidays:
        lines = changed_fact(lines, "holidays", f"holidays: [{', '.join(map(str, sorted(rules.holidays)))}]")
    return _checked("".join(lines), lambda found: read_sequence(found).rules == rules, SEQUENCE_FILE)


def lines_of(text: str) -> list[str]:
    """Lines with their ends, as a letter's reader counts them: only a line feed ends one, no other separator of Unicode."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def changed_fact(lines: list[str], name: str, fact: str) -> list[str]:
    """Lines with the one that begins with `name`, and what is indented or listed under it, replaced; else with one more."""
    ending = "\r\n" if any(line.endswith("\r\n") for line in lines) else "\n"
    first = next((n for n, line in enumerate(lines) if re.match(rf"[\"']?{name}[\"']?\s*:", line)), None)
    if first is None:
        before = [*lines[:-1], lines[-1].rstrip("\r\n") + ending]
        return [*before, fact + ending]
    last = first + 1
    while last < len(lines) and re.match(r"[ \t]+\S|-\s", lines[last]):
        last += 1
    return [*lines[:first], fact + ending, *lines[last:]]


def _checked(text: str, holds: Callable[[str], bool], where: str) -> str:
    try:
        if holds(text):
            return text
    except LetterRefused:
        pass
    raise LetterRefused(where, _BY_HAND)
