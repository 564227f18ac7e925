"""How many examples the longest properties try: fewer in `make test`, all of them in `make test-all` (TESTS=all)."""

import os

ALL = os.environ.get("TESTS") == "all"


def examples(in_all: int, in_short: int) -> int:
    """How many examples to try."""
    return in_all if ALL else in_short
