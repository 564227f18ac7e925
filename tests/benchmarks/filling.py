"""What personalising a letter costs: filling its edition, and running the whole pipeline for one reader.

python -m tests.benchmarks.filling READERS
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from nurture.letters import dialect
from nurture.letters.compiler import compile_letter
from nurture.letters.filling import Values, fill
from nurture.letters.source import Letter, read_folder
from nurture.resources import pack
from tests.letters.samples import VALUES

KEY = "ketamine-and-talk-therapy"
_SHARE = 100
"""The pipeline is run for one in so many readers: it takes as much longer."""


def main(readers: int) -> dict[str, float]:
    """Microseconds of CPU a letter, both ways, over the shipped letters, and bytes of HTML and text of each."""
    letters = read_folder(pack().letters / KEY)[1]
    editions = {letter.key: compile_letter(letter) for letter in letters}
    people: list[Values] = [
        VALUES | {"reader": VALUES["reader"] | {"first_name": f"Robin{number}"}} for number in range(readers)
    ]
    filling = _microseconds(people, lambda values: [fill(edition, values) for edition in editions.values()])
    whole = _microseconds(people[::_SHARE], lambda values: [_pipeline(letter, values) for letter in letters])
    sizes: dict[str, float] = {}
    for key, edition in editions.items():
        content = fill(edition, people[0])
        sizes |= {f"{key} html": len(content.html.encode()), f"{key} text": len(content.text.encode())}
    return {"filling": filling / len(letters), "pipeline": whole / len(letters), **sizes}


def _microseconds(people: list[Values], act: Callable[[Values], object]) -> float:
    act(people[0])  # compiles what is compiled once
    begin = time.process_time()
    for values in people:
        act(values)
    return (time.process_time() - begin) / len(people) * 1e6


def _pipeline(letter: Letter, values: Values) -> object:
    """What a service does that keeps no editions: fill the source, then Markdown, layout, styles, plain text."""
    kept = {name: lambda *given, name=name: f"{{{{ {name}({', '.join(map(json.dumps, given))}) }}}}" for name in dialect.MACROS}
    body = dialect.PLAIN.from_string(letter.body).render(dict(values) | kept)
    return fill(compile_letter(replace(letter, body=body)), values)


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
