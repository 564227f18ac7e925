"""How thorough the proof is (FAULTS=full in `make faults`), by which seed, and where its figures go."""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from nurture import runtime
from nurture.runtime import Runtime
from tests.conftest import settings_for
from tests.people import one_sender
from tests.servers.sendgrid import RemoteSendGrid, another_process

FULL = os.environ.get("FAULTS") == "full"
REPORT = Path(__file__).parent / "report.json"
_FIGURES = "figures"

Record = Callable[..., None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """In `make faults` what ticks in this process does so twice: by one sender that lives on, and by fresh ones."""
    if FULL and hasattr(metafunc.module, "run_tick"):
        metafunc.parametrize("_one_sender", [True, False], indirect=True, ids=["one-sender", "fresh-senders"])


@pytest.fixture(autouse=True)
def _one_sender(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ticks of this process go by one sender that lives through the whole test, as in production."""
    with one_sender() if getattr(request, "param", True) else nullcontext():
        yield


@pytest.fixture
def full() -> bool:
    """Whether this is `make faults`."""
    return FULL


@pytest.fixture
def seed(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> int:
    """What the dice of this test begin with: FAULTS_SEED, else always the same in `make test` and ever new in `make faults`."""
    given = os.environ.get("FAULTS_SEED")
    chosen = int(given) if given else random.SystemRandom().randrange(1_000_000) if FULL else 1
    _say(capsys, f"\n{request.node.name}: FAULTS_SEED={chosen}")
    return chosen


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Tell whoever waits for `make faults` how far it is."""
    return lambda words: _say(capsys, words)


def _say(capsys: pytest.CaptureFixture[str], words: str) -> None:
    if FULL:
        with capsys.disabled():
            print(f"{time.strftime('%H:%M:%S')} {words.strip()}", file=sys.stderr, flush=True)  # stdout is xdist's
    else:
        print(words)


@pytest.fixture
def record(record_property: Callable[[str, object], None], say: Callable[[str], None]) -> Record:
    """Put figures into the report, under the name of the fault."""

    def note(**figures: object) -> None:
        record_property(_FIGURES, figures)
        say("  " + "  ".join(f"{name}={value}" for name, value in figures.items()))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        {"test": report.nodeid.rpartition("::")[2]} | dict(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == _FIGURES and isinstance(value, dict)
    ]
    if not rows:
        return
    terminalreporter.section("faults: what was done and what came of it")
    for row in rows:
        test, *figures = row.items()
        terminalreporter.line(f"{test[1]}: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures))
    if FULL:
        REPORT.write_text(json.dumps({"machine": f"{os.cpu_count()} cores", "runs": rows}, indent=1) + "\n", "utf-8")


@pytest.fixture(scope="session")
def judges_process() -> Iterator[RemoteSendGrid]:
    """SendGrid in a process of its own, which nobody kills."""
    with another_process() as judge:
        yield judge


@pytest.fixture
def judge(judges_process: RemoteSendGrid) -> RemoteSendGrid:
    """The same with an empty ledger and nothing planned."""
    judges_process.reset()
    return judges_process


@pytest.fixture
def ground(database_url: str, tmp_path: Path) -> Iterator[Runtime]:
    """An installation in real time: what the processes of a test share."""
    built = runtime.build(settings_for(tmp_path, database_url))
    yield built
    built.close()


@pytest.fixture
def seed_of_histories(seed: int) -> int:
    """The same under a name that does not hide Hypothesis's own `seed`."""
    return seed
