"""Tests of sending go by one sender that lives through the whole test, as in production; the other suites by fresh ones."""

from collections.abc import Iterator

import pytest

from tests.people import one_sender


@pytest.fixture(autouse=True)
def _one_sender() -> Iterator[None]:
    with one_sender():
        yield
