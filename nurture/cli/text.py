"""Text in and out of the command line, whatever bytes somebody types and whatever encoding the terminal claims."""

import io
import sys
from typing import Any

import click

from nurture.characters import storable


class Command(click.Command):
    """A command whose arguments and options are text that can be stored and printed. Paths stay the bytes that name a file."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        ctx.params = {name: _storable(value) for name, value in ctx.params.items()}
        return super().invoke(ctx)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def _storable(value: Any) -> Any:
    match value:
        case str():
            return storable(_read_as_utf8(value))
        case tuple():
            return tuple(_storable(each) for each in value)
        case _:
            return value


def _read_as_utf8(text: str) -> str:
    """What was typed as UTF-8 under a smaller encoding: Python keeps such bytes as surrogates (PEP 383)."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        return text


def write_utf8() -> None:
    """Write UTF-8 to standard output and error, also where the environment names a smaller encoding, and never fail over it.

    A folder whose name is not UTF-8 is printed with a backslash escape for each byte that is not.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
