"""YAML that somebody wrote or sent, read within bounds: what would take long or much memory is refused before it is built."""

from typing import Any

import yaml

MOST_CHARACTERS = 200_000
MOST_NODES = 5_000
MOST_LEVELS = 20

_UNREADABLE = (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, TypeError)
"""What PyYAML raises: 2026-02-30 is a ValueError, `!!bool x` a KeyError, `!!timestamp x` an AttributeError."""


class YamlRefused(Exception):
    """A text is no YAML, or is out of bounds. The message says what to do; `line`: of the text, from 1, where known."""

    def __init__(self, advice: str, line: int | None = None) -> None:
        """`advice`: whole sentences."""
        super().__init__(advice)
        self.line = line


class _BoundedLoader(yaml.SafeLoader):
    """Counts nodes and levels while they are read, and takes no alias that could multiply what it stands for."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.nodes = 0
        self.levels = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) and not isinstance(self.anchors.get(event.anchor), yaml.ScalarNode | None):
            raise YamlRefused(f"`*{event.anchor}` stands for a list or a group. Write it out in full instead.", line)
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise YamlRefused(f"This part holds more than {MOST_NODES:,} values. Take some out.", line)
        self.levels += 1
        if self.levels > MOST_LEVELS:
            raise YamlRefused(f"Lists and groups are more than {MOST_LEVELS} levels deep here. Make them flatter.", line)
        try:
            return super().compose_node(parent, index)
        finally:
            self.levels -= 1


def read_yaml(text: str) -> Any:
    """What a YAML text says, by PyYAML's safe loader. Raises YamlRefused."""
    if len(text) > MOST_CHARACTERS:
        raise YamlRefused(f"This part is {len(text):,} characters long; at most {MOST_CHARACTERS:,} can be read. Shorten it.")
    try:
        loader = _BoundedLoader(text)  # refuses characters that YAML does not allow at once
        return loader.get_single_data()
    except _UNREADABLE as error:
        mark = getattr(error, "problem_mark", None)
        raise YamlRefused(
            "This part cannot be read. Put text with a colon in it into quotes.", mark.line + 1 if mark else None
        ) from None
