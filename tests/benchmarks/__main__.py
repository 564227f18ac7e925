"""`make bench`: what the main path costs, as ratios in one run. Medians of several rounds; benchmarks.json beside the table.

python -m tests.benchmarks [--quick] [--full] [--only letters,tls,latency,claims,memory,events,signups]
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pysqlite3 as sqlite3

from nurture.words import new_id
from tests.benchmarks.letter import HTML, SUBJECT, TEXT
from tests.benchmarks.sign_ups import CLIENTS, sign_ups
from tests.servers import self_signed
from tests.servers.postgres import Postgres, _binaries
from tests.servers.sendgrid import KEY, another_process

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "build" / "peers"
BOTH = ("SQLite", "PostgreSQL")


@dataclass(frozen=True)
class Row:
    """One measured thing; `target` is what it is measured against."""

    what: str
    value: float
    unit: str
    ratio: str = ""
    target: str = ""


class Bench:
    """One run: its servers, its rounds, what it found."""

    def __init__(self, place: Path, server: Postgres, rounds: int, quick: bool, full: bool) -> None:
        self.place, self.server, self.rounds, self.quick, self.full = place, server, rounds, quick, full
        self.rows: list[Row] = []

    def folder(self) -> Path:
        """A fresh folder."""
        made = self.place / new_id()
        made.mkdir()
        return made

    def database(self, kind: str) -> str:
        """The address of a fresh database."""
        name = f"bench_{new_id()}"
        if kind == "SQLite":
            return f"sqlite:///{self.place / name}.db"
        self.server.create(name)
        return self.server.url(name)

    def program(self, module: str, *arguments: object, ca: Path | None = None) -> Any:
        """Run one of our programs in a process of its own; its JSON."""
        return _json([sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)], ca=ca)

    def ours(self, kind: str, url: str, count: int, lanes: int, ca: Path | None = None) -> float:
        """Letters a second of one tick."""
        said = self.program("ours", url, count, self.database(kind), lanes, self.folder(), ca=ca)
        return float(count / said["seconds"])

    def note(self, *row: Row) -> None:
        """Keep rows, and show that something happened."""
        self.rows += row
        for each in row:
            print(f"  {each.what}: {each.value:,.2f} {each.unit} {each.ratio}", file=sys.stderr, flush=True)

    def medians(self, **programs: Callable[[], float]) -> dict[str, float]:
        """Each program's median over the rounds, run one after the other in each, so that noise hits them all."""
        found: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(self.rounds):
            for name, program in programs.items():
                found[name].append(program())
        return {name: statistics.median(values) for name, values in found.items()}


def _json(command: list[str], given: str = "", ca: Path | None = None) -> Any:
    env = dict(os.environ) | ({"SSL_CERT_FILE": str(ca)} if ca else {})
    done = subprocess.run(command, cwd=ROOT, env=env, input=given, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[:4]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def peers() -> Path:
    """django-post-office in a virtual environment of its own, made once."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        lock = str(ROOT / "tests" / "benchmarks" / "peers.lock")
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", lock], check=True)
    return python


def letters(bench: Bench) -> None:
    """One letter a request, 0 ms provider, one process."""
    python, letter = peers(), json.dumps({"subject": SUBJECT, "html": HTML, "text": TEXT})
    naive_count, count = (200, 1_000) if bench.quick else (1_000, 4_000)
    with another_process("--no-bodies") as judge:
        url = judge.url

        def post_office() -> float:
            count = naive_count // 2
            name = bench.place / f"{new_id()}.sqlite3"
            command = [str(python), "tests/benchmarks/office_of_django.py", url, KEY, str(count), str(name)]
            return float(count / _json(command, letter)["seconds"])

        programs: dict[str, Callable[[], float]] = {
            "naive": lambda: naive_count / bench.program("naive", url, naive_count)["seconds"],
            "post_office": post_office,
            "floor": lambda: naive_count / bench.program("floor", url, naive_count)["seconds"],
        }
        for kind in BOTH:
            for lanes in (4, 32, 128):
                programs[f"{kind} {lanes}"] = partial(bench.ours, kind, url, count, lanes)
        found = bench.medians(**programs)
    naive, office = found["naive"], found["post_office"]
    bench.note(
        Row("naive loop: Jinja2 and the SDK", naive, "letters/s", "1"),
        Row("django-post-office, anymail, SQLite", office, "letters/s", f"{office / naive:.2f} × naive"),
        Row("floor: bare socket, body built before", found["floor"], "letters/s", f"{found['floor'] / naive:.1f} × naive"),
    )
    for name, rate in list(found.items())[3:]:
        ratio = f"{rate / naive:.2f} × naive, {rate / office:.1f} × django-post-office"
        bench.note(Row(f"ours, {name} lanes", rate, "letters/s", ratio, "≥ 1.5 ×, ≥ 4 ×"))


def tls(bench: Bench) -> None:
    """The same over TLS: the SDK opens a connection for each letter."""
    pair = self_signed(bench.folder())
    naive_count, count = (60, 500) if bench.quick else (300, 3_000)
    with another_process("--no-bodies", "--tls", str(pair.cert), str(pair.key), ca_file=pair.cert) as judge:
        url = judge.url
        found = bench.medians(
            naive=lambda: naive_count / bench.program("naive", url, naive_count, ca=pair.cert)["seconds"],
            SQLite=lambda: bench.ours("SQLite", url, count, 32, pair.cert),
            PostgreSQL=lambda: bench.ours("PostgreSQL", url, count, 32, pair.cert),
        )
    naive = found["naive"]
    bench.note(Row("naive loop over TLS", naive, "letters/s", "1"))
    for kind in BOTH:
        bench.note(
            Row(f"ours over TLS, {kind} 32 lanes", found[kind], "letters/s", f"{found[kind] / naive:.1f} × naive", "≥ 5 ×")
        )


def latency(bench: Bench) -> None:
    """A provider that takes 50 ms: how much of the ceiling lanes / latency is reached."""
    with another_process("--no-bodies", "--latency-ms", "50") as judge:
        for lanes, count in ((4, 400), (32, 3_200), (128, 12_800)):
            programs = {kind: partial(bench.ours, kind, judge.url, count, lanes) for kind in BOTH}
            for kind, rate in bench.medians(**programs).items():
                share = f"{rate / (lanes / 0.05):.2f} of the ceiling"
                bench.note(Row(f"50 ms provider, {kind} {lanes} lanes", rate, "letters/s", share, "≥ 0.9"))


def claims(bench: Bench) -> None:
    """A claim among 10 k … 10 M deliveries, and a tick with nothing due."""
    sizes = [10_000, 100_000] if bench.quick else [10_000, 100_000, 1_000_000, *([10_000_000] if bench.full else [])]
    for kind in BOTH:
        found = bench.program("claims", bench.database(kind), bench.folder(), *sizes)
        first = found[0]["claim_ms"]
        for each in found:
            ratio = f"{each['claim_ms'] / first:.2f} × the first"
            bench.note(
                Row(f"claim of 500 among {each['rows']:,}, {kind}", each["claim_ms"], "ms", ratio, "≤ 1.3 ×"),
                Row(f"tick with nothing due among {each['rows']:,}, {kind}", each["idle_ms"], "ms", "", "≤ 2 ms"),
            )


def memory(bench: Bench) -> None:
    """One process while 100,000 letters go out."""
    count = 5_000 if bench.quick else 100_000
    with another_process("--no-bodies") as judge:
        said = bench.program("ours", judge.url, count, bench.database("SQLite"), 32, bench.folder())
    ratio = f"{said['last_quarter_mb'] / said['first_quarter_mb']:.2f} × its first quarter"
    bench.note(
        Row(f"memory while {count:,} letters go out, last quarter", said["last_quarter_mb"], "MB", ratio, "flat, ≤ 250 MB"),
        Row(f"{count:,} letters in one tick, SQLite 32 lanes", count / said["seconds"], "letters/s"),
    )


def events(bench: Bench) -> None:
    """SendGrid's reports, each settling a delivery."""
    count = 5_000 if bench.quick else 20_000

    def rate(kind: str) -> float:
        return float(count / bench.program("reports", bench.database(kind), bench.folder(), count)["seconds"])

    for kind, found in bench.medians(**{kind: partial(rate, kind) for kind in BOTH}).items():
        bench.note(Row(f"events, {kind}, bundles of 1,000", found, "events/s", "", "≥ 5,000"))


def signups(bench: Bench) -> None:
    """Visitors."""
    for kind in BOTH:
        rate, p99, resident = sign_ups(bench.database(kind), bench.folder())
        bench.note(
            Row(f"sign-ups, {kind}, 2 workers, {CLIENTS} clients", rate, "sign-ups/s"),
            Row(f"sign-ups, {kind}, 99th percentile", p99, "ms"),
            Row(f"memory of the service after them, {kind}", resident, "MB"),
        )


PARTS = {part.__name__: part for part in (letters, tls, latency, claims, memory, events, signups)}


def machine() -> dict[str, str]:
    """What this was measured on."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    server = subprocess.run([_binaries() / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "cpu": cpu[1] if cpu else "unknown", "cores": str(os.cpu_count()), "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version, "postgresql": server.split()[2], "date": time.strftime("%Y-%m-%d"),
        "load": f"{os.getloadavg()[0]:.2f}", "letter": f"{len(HTML)} + {len(TEXT)} bytes",
    }  # fmt: skip


@contextmanager
def _bench(rounds: int, quick: bool, full: bool) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as place, Postgres() as server:
        yield Bench(Path(place), server, rounds, quick, full)


def main() -> None:
    """Measure, print a table, write benchmarks.json."""
    parser = argparse.ArgumentParser(prog="make bench", description="What the main path costs, as ratios in one run.")
    parser.add_argument("--quick", action="store_true", help="one round of small numbers, to see that everything works")
    parser.add_argument("--full", action="store_true", help="ten million deliveries too")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    given = parser.parse_args()
    with _bench(1 if given.quick else 5, given.quick, given.full) as bench:
        about = machine()
        for name in given.only.split(","):
            print(f"{name} …", file=sys.stderr, flush=True)
            PARTS[name](bench)
    print(" · ".join(f"{name} {value}" for name, value in about.items()), end="\n\n")
    for row in bench.rows:
        print(f"{row.what:<58} {row.value:>10,.2f} {row.unit:<10} {row.ratio:<44} {row.target}")
    Path("benchmarks.json").write_text(
        json.dumps({"machine": about, "rows": [asdict(row) for row in bench.rows]}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
