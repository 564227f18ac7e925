"""Why letters were not published: what is wrong, where, and for how many. Said for operators; the desk has words of its own."""

from dataclasses import dataclass
from enum import StrEnum

from nurture.ids import StepKey


class ProblemKind(StrEnum):
    """What kind of trouble it is, and so who can mend it, and where."""

    FACT = "fact"
    """A letter says a fact of the practice that nobody has filled in: the settings."""
    HOLE = "hole"
    """A letter says something that some readers lack: the letter."""
    LETTER = "letter"
    """A letter cannot be read, or made: the letter."""
    UNREADABLE = "unreadable"
    """What is stored of readers cannot be opened: whoever runs the service."""
    OTHER = "other"


@dataclass(frozen=True)
class Problem:
    """One of them."""

    said: str
    """A sentence for whoever runs the service: it may name files, variables and commands."""
    what: ProblemKind = ProblemKind.OTHER
    step: StepKey | None = None
    part: str = ""
    """Of the letter: subject, preheader, or line."""
    line: int | None = None
    """Of the text, from 1, where the part is a line of it."""
    name: str = ""
    """Of the fact, or of what readers lack."""
    advice: str = ""
    """What to write instead, in plain words."""
    readers: int = 0
    """For how many of `tried` readers."""
    tried: int = 0
