"""`make bench`: what the main path costs, as ratios in one run. Medians of several rounds; benchmarks.json beside the table.

python -m tests.benchmarks [--quick] [--full] [--only letters,tls,…,forms,pictures,files]
"""

import argparse
import hashlib
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
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pysqlite3 as sqlite3
from sqlalchemy import make_url, text

from nurture.ids import new_id
from nurture.store.core.database import Database
from tests.benchmarks.letter import HTML, SUBJECT, TEXT, WARM_UP
from tests.benchmarks.sign_ups import CLIENTS, sign_ups
from tests.benchmarks.sizes import counting
from tests.benchmarks.workers import measure as several_workers
from tests.servers import self_signed
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis
from tests.servers.sendgrid import KEY, RemoteSendGrid, another_process

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "build" / "peers"
LOCK = ROOT / "tests" / "benchmarks" / "peers.lock"
BOTH = ("SQLite", "PostgreSQL")
LANES = (4, 32, 128)


@dataclass(frozen=True)
class Row:
    """One measured thing; `target` is what it is measured against."""

    what: str
    value: float
    unit: str
    ratio: str = ""
    target: str = ""
    cpu: float | None = None
    """Microseconds of the measured process's CPU for one letter, claim or tick: other work on the machine moves it far less
    than `value`. What PostgreSQL or the provider spend is not in it."""
    rounds: list[float] = field(default_factory=list)
    """What each round found, in `unit`."""


@dataclass
class Found:
    """What the rounds of one program found."""

    values: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """What the table shows."""
        return statistics.median(self.values)

    def row(self, what: str, ratio: str = "", target: str = "", unit: str = "letters/s") -> Row:
        """As a line of the table."""
        cpu = statistics.median(self.cpus) if self.cpus else None
        return Row(what, self.median, unit, ratio, target, cpu, self.values)


Program = Callable[[], dict[str, float]]
"""Runs once and says what it found: `count`, `seconds`, and perhaps `cpu` seconds."""


class Bench:
    """One run: its servers, its rounds, what it found."""

    def __init__(self, place: Path, server: Postgres, rounds: int, quick: bool, full: bool) -> None:
        self.place, self.server, self.rounds, self.quick, self.full = place, server, rounds, quick, full
        self.rows: list[Row] = []
        self.notes: dict[str, str] = {}
        self.missed: list[str] = []
        """Rows above a limit that nothing may be above."""

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

    def naive(self, url: str, count: int, ca: Path | None = None) -> dict[str, float]:
        """The naive loop."""
        return {"count": count, **self.program("naive", url, count, ca=ca)}

    def ours(self, kind: str, url: str, count: int, lanes: int, ca: Path | None = None) -> dict[str, float]:
        """One tick of ours."""
        return {"count": count, **self.program("ours", url, count, self.database(kind), lanes, self.folder(), ca=ca)}

    def post_office(self, kind: str, url: str, count: int) -> dict[str, float]:
        """django-post-office, in its own environment."""
        letter = json.dumps({"subject": SUBJECT, "html": HTML, "text": TEXT})
        database = make_url(self.database(kind))
        engine = "sqlite3" if kind == "SQLite" else "postgresql"
        command = [
            peers(),
            "tests/benchmarks/office_of_django.py",
            url,
            KEY,
            WARM_UP,
            count,
            engine,
            database.database,
            database.query.get("host", ""),
        ]
        return {"count": count, **_json([str(part) for part in command], letter)}

    def note(self, *row: Row) -> None:
        """Keep rows, and show that something happened."""
        self.rows += row
        for each in row:
            print(f"  {each.what}: {each.value:,.2f} {each.unit} {each.ratio}", file=sys.stderr, flush=True)

    def medians(self, **programs: Program) -> dict[str, Found]:
        """Every program in each of the rounds, one after the other, so that noise hits them all."""
        found = {name: Found() for name in programs}
        for _ in range(self.rounds):
            for name, program in programs.items():
                said = program()
                found[name].values.append(said["count"] / said["seconds"])
                if "cpu" in said:
                    found[name].cpus.append(said["cpu"] / said["count"] * 1e6)
        return found


def _json(command: list[str], given: str = "", ca: Path | None = None) -> Any:
    env = dict(os.environ) | ({"SSL_CERT_FILE": str(ca)} if ca else {})
    done = subprocess.run(command, cwd=ROOT, env=env, input=given, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[:4]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def peers() -> Path:
    """The interpreter of an environment with django-post-office alone, made again whenever its lock has changed."""
    python, stamp = PEERS / "bin" / "python", PEERS / "lock"
    lock = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != lock:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEERS)], check=True)
        install = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes", "-r", str(LOCK)]
        subprocess.run([str(python), *install], check=True)
        stamp.write_text(lock)
    return python


def _proved(judge: RemoteSendGrid, program: Program) -> Program:
    """The program, after which the judge must hold each of its letters, once: a letter that failed fast is no fast letter."""

    def run() -> dict[str, float]:
        judge.reset()
        said = program()
        counts, wanted = judge.counts(), said["count"] + WARM_UP
        if counts["mails"] != wanted or max(counts["by_delivery"].values()) not in (1, wanted):  # wanted: they carry no id
            raise RuntimeError(f"{counts['mails']} of {wanted:.0f} letters arrived: {counts['answers']}")
        return said

    return run


def letters(bench: Bench) -> None:
    """One letter a request, 0 ms provider, one process."""
    naive_count, count = (200, 1_000) if bench.quick else (1_000, 4_000)
    peers()
    with another_process("--no-bodies") as judge:
        url = judge.url
        programs: dict[str, Program] = {
            "naive": partial(bench.naive, url, naive_count),
            "floor": lambda: {"count": naive_count, **bench.program("floor", url, naive_count)},
        }
        offices = {kind: partial(bench.post_office, kind, url, naive_count // 2) for kind in BOTH}
        ours = {
            f"{kind} {lanes} lanes": partial(bench.ours, kind, url, count, lanes) for kind in BOTH for lanes in LANES
        }  # fmt: skip
        found = bench.medians(**{name: _proved(judge, program) for name, program in (programs | offices | ours).items()})
    naive, floor = (found[name] for name in programs)
    bench.note(
        naive.row("naive loop: Jinja2 and the SDK", "1"),
        floor.row("floor: bare socket, body built before", f"{floor.median / naive.median:.1f} × naive"),
        *(
            found[kind].row(f"django-post-office, anymail, {kind}", f"{found[kind].median / naive.median:.2f} × naive")
            for kind in BOTH
        ),
    )
    for name in ours:
        each, office = found[name], found[name.partition(" ")[0]]
        ratio = f"{each.median / naive.median:.2f} × naive, {each.median / office.median:.1f} × django-post-office"
        bench.note(each.row(f"ours, {name}", ratio, "≥ 1.5 ×, ≥ 4 ×"))
    _sizes(bench)


def _sizes(bench: Bench) -> None:
    """What one letter weighs on the wire, for each program."""
    with counting() as (url, found):
        weights = []
        for name, program in (
            ("naive", partial(bench.naive, url, 1)),
            ("django-post-office", partial(bench.post_office, "SQLite", url, 1)),
            ("floor", lambda: bench.program("floor", url, 1)),
            ("ours", partial(bench.ours, "SQLite", url, 1, 1)),
        ):
            program()
            weights.append(f"{name} {found[-1]:,}")
    bench.notes["bytes of one request body"] = " · ".join(weights)


def tls(bench: Bench) -> None:
    """The same over TLS: the SDK opens a connection for each letter."""
    pair = self_signed(bench.folder())
    naive_count, count = (60, 500) if bench.quick else (300, 3_000)
    with another_process("--no-bodies", "--tls", str(pair.cert), str(pair.key), ca_file=pair.cert) as judge:
        programs: dict[str, Program] = {"naive": partial(bench.naive, judge.url, naive_count, pair.cert)}
        ours = {
            f"{kind} {lanes} lanes": partial(bench.ours, kind, judge.url, count, lanes, pair.cert)
            for kind in BOTH for lanes in LANES[1:]
        }  # fmt: skip
        found = bench.medians(**{name: _proved(judge, program) for name, program in (programs | ours).items()})
    naive = found["naive"]
    bench.note(naive.row("naive loop over TLS", "1"))
    for name in ours:
        each = found[name]
        bench.note(each.row(f"ours over TLS, {name}", f"{each.median / naive.median:.1f} × naive", "≥ 5 ×"))


def latency(bench: Bench) -> None:
    """A provider that takes 50 ms: how much of the ceiling lanes / latency is reached."""
    with another_process("--no-bodies", "--latency-ms", "50") as judge:
        for lanes in LANES:
            count = lanes * (40 if bench.quick else 100)
            programs = {kind: _proved(judge, partial(bench.ours, kind, judge.url, count, lanes)) for kind in BOTH}
            for kind, each in bench.medians(**programs).items():
                share = f"{each.median / (lanes / 0.05):.2f} of the ceiling"
                bench.note(each.row(f"50 ms provider, {kind} {lanes} lanes", share, "≥ 0.9"))


def claims(bench: Bench) -> None:
    """A claim among 10 k … 10 M deliveries, and a tick with nothing due."""
    sizes = [10_000, 100_000] if bench.quick else [10_000, 100_000, 1_000_000, *([10_000_000] if bench.full else [])]
    for kind in BOTH:
        ledgers = [part for rows in sizes for part in (rows, bench.database(kind))]
        found = bench.program("claims", bench.folder(), *ledgers)
        first, idle = _taken(found[0]["claims"]), _taken(found[0]["idle"])
        for each in found:
            claim, tick = _taken(each["claims"]), _taken(each["idle"])
            bench.note(
                claim.row(
                    f"claim of 500 among {each['rows']:,}, {kind}",
                    f"{claim.median / first.median:.2f} × the first",
                    "≤ 1.3 ×",
                    "ms",
                ),
                tick.row(
                    f"tick with nothing due among {each['rows']:,}, {kind}",
                    f"{tick.median / idle.median:.2f} × the first",
                    "≤ 2 ms",
                    "ms",
                ),
            )


def _taken(times: list[tuple[float, float]]) -> Found:
    return Found([real_now for real_now, _ in times], [cpu for _, cpu in times])


def memory(bench: Bench) -> None:
    """One process while 100,000 letters go out."""
    count = 5_000 if bench.quick else 100_000
    with another_process("--no-bodies") as judge:
        arguments = (judge.url, count, bench.database("SQLite"), bench.folder())
        bench.program("memory", "fill", *arguments)
        said = bench.program("memory", "send", *arguments)
        if judge.counts()["mails"] != count:
            raise RuntimeError(f"{judge.counts()['mails']} of {count} letters arrived")
    ratio = f"{said['last_quarter_mb'] / said['first_quarter_mb']:.2f} × its first quarter"
    bench.note(
        Row(f"memory while {count:,} letters go out, last quarter", said["last_quarter_mb"], "MB", ratio, "flat, ≤ 250 MB"),
        Row(f"{count:,} letters in one tick, SQLite 32 lanes", count / said["seconds"], "letters/s"),
    )


def filling(bench: Bench) -> None:
    """Personalising a letter, without anything around it."""
    readers = 200 if bench.quick else 2_000
    found = [bench.program("filling", readers) for _ in range(bench.rounds)]
    once, whole = (Found([each[name] for each in found]) for name in ("filling", "pipeline"))
    bench.note(
        once.row("filling HTML, text and subject", f"1 / {whole.median / once.median:,.0f} of the pipeline", "≤ 40", "µs"),
        whole.row("the whole pipeline for one reader", "1", "", "µs"),
    )
    for part in ("html", "text"):
        sizes = {name.removesuffix(f" {part}"): int(size) for name, size in found[0].items() if name.endswith(f" {part}")}
        bench.notes[f"bytes of {part}"] = " · ".join(f"{name} {size:,}" for name, size in sizes.items())


def events(bench: Bench) -> None:
    """SendGrid's reports, each settling a delivery."""
    count = 5_000 if bench.quick else 20_000

    def reports(kind: str) -> dict[str, float]:
        return {"count": count, **bench.program("reports", bench.database(kind), bench.folder(), count)}

    for kind, each in bench.medians(**{kind: partial(reports, kind) for kind in BOTH}).items():
        bench.note(each.row(f"events, {kind}, bundles of 1,000", "", "≥ 5,000", "events/s"))


_PAGE_MS = 300
"""A page of the desk may take no longer."""


def desk(bench: Bench) -> None:
    """Each page of the desk among 100,000 subscribers and a million deliveries, and an edit over 100,000 readers."""
    count = 10_000 if bench.quick else 100_000
    for kind in BOTH:
        found = bench.program("desk", bench.database(kind), bench.folder(), count)
        held = found.pop("deliveries")
        for name, milliseconds in found.items():
            what = f"desk: {name}, {held:,.0f} deliveries, {kind}"
            slow = milliseconds > _PAGE_MS
            bench.missed += [what] if slow else []
            bench.note(Row(what, milliseconds, "ms", "TOO SLOW" if slow else "", f"≤ {_PAGE_MS} ms"))
        found = bench.program("edits", bench.database(kind), bench.folder(), count)
        held = found.pop("deliveries")
        for name, seconds in found.items():
            bench.note(Row(f"plan: {name}, {count:,} readers, {held:,.0f} deliveries, {kind}", seconds, "s"))


def signups(bench: Bench) -> None:
    """Visitors."""
    for kind in BOTH:
        rate, p99, resident = sign_ups(bench.database(kind), bench.folder())
        bench.note(
            Row(f"sign-ups, {kind}, 2 workers, {CLIENTS} clients", rate, "sign-ups/s"),
            Row(f"sign-ups, {kind}, 99th percentile", p99, "ms"),
            Row(f"memory of the service after them, {kind}", resident, "MB"),
        )


def workers(bench: Bench) -> None:
    """Workers of 32 lanes each and a provider that takes 50 ms: what a second and a fourth process add on this machine."""
    count = 2_000 if bench.quick else 10_000
    with another_process("--no-bodies", "--latency-ms", "50") as judge, Redis() as redis:
        for number, broker in ((1, None), (2, None), (4, None), (1, redis), (2, redis), (4, redis)):
            rates = [
                several_workers(judge, bench.database("PostgreSQL"), bench.folder(), count, number, broker)
                for _ in range(min(bench.rounds, 3))
            ]
            found = Found(rates)
            way = "Redis" if broker else "no broker"
            bench.note(
                found.row(
                    f"{number} × nurture worker, PostgreSQL, {way}", f"{found.median / (number * 640):.2f} of the ceiling"
                )
            )


_FORM_MS = 50
"""An answer to a form of 64 kB may take no longer. The log-in weighs a password besides, which is slow on purpose."""
_PICTURE_MB = 150


def forms(bench: Bench) -> None:
    """The slowest answer of each public form to anything that fits into 64 kB, in one process that lives on."""
    for kind in BOTH:
        for worst in bench.program("forms", bench.database(kind), bench.folder()):
            what, weighs = f"form: {worst['form']}, {kind}", worst["form"] == "/desk/login"
            cpu = worst["cpu"] - (worst["plain_cpu"] if weighs else 0)  # the clock also counts what else the machine does
            slow = cpu > _FORM_MS
            bench.missed += [what] if slow else []
            ratio = f"{worst['cpu']:.1f} ms of CPU, {worst['plain']:.1f} ms as usual: {worst['what']}"
            bench.note(
                Row(what, worst["milliseconds"], "ms", ratio, f"≤ {_FORM_MS} ms of CPU{' + as usual' if weighs else ''}")
            )


def pictures(bench: Bench) -> None:
    """The worst pictures that are taken."""
    for name, (megabytes, seconds) in bench.program("pictures", bench.folder()).items():
        bench.missed += [name] if megabytes > _PICTURE_MB else []
        bench.note(Row(name, megabytes, "MB", f"{seconds:.2f} s of CPU", f"≤ {_PICTURE_MB} MB"))


def files(bench: Bench) -> None:
    """Files far out of bounds."""
    for name, (said, megabytes, seconds) in bench.program("files", bench.folder()).items():
        bench.note(Row(name, megabytes, "MB", f"{said}, {seconds:.2f} s"))


PARTS = {
    part.__name__: part
    for part in (letters, tls, latency, workers, claims, memory, filling, events, signups, desk, forms, pictures, files)
}


def machine(bench: Bench) -> dict[str, str]:
    """What this was measured on, and how durable a commit was."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    url = bench.database("PostgreSQL").replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as db:
        said = {name: db.execute(f"SHOW {name}").fetchone() for name in ("server_version", "fsync", "synchronous_commit")}
    version, fsync, commit = (value[0] if value else "unknown" for value in said.values())
    with Database(bench.database("SQLite")).read() as lite:
        synchronous = ("OFF", "NORMAL", "FULL", "EXTRA")[lite.scalar(text("PRAGMA synchronous")) or 0]
    return {
        "cpu": cpu[1] if cpu else "unknown", "cores": str(os.cpu_count()), "python": platform.python_version(),
        "sqlite": f"{sqlite3.sqlite_version} (synchronous={synchronous})",
        "postgresql": f"{version.split()[0]} (fsync={fsync}, synchronous_commit={commit})", "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def _load() -> str:
    """Work in progress on the whole machine, this bench's included: above the number of cores, rates are too low."""
    return f"{os.getloadavg()[0]:.1f}"


@contextmanager
def _bench(rounds: int, quick: bool, full: bool) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as place, Postgres(durable=True) as server:
        yield Bench(Path(place), server, rounds, quick, full)


def _parts(said: str) -> list[str]:
    names = said.split(",")
    if unknown := set(names) - PARTS.keys():
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {','.join(PARTS)}")
    return names


def main() -> None:
    """Measure, print a table, write benchmarks.json."""
    parser = argparse.ArgumentParser(prog="make bench", description="What the main path costs, as ratios in one run.")
    parser.add_argument("--quick", action="store_true", help="one round of small numbers, to see that everything works")
    parser.add_argument("--full", action="store_true", help="ten million deliveries too")
    parser.add_argument("--only", type=_parts, default=list(PARTS), help=f"some of {','.join(PARTS)}")
    given = parser.parse_args()
    with _bench(1 if given.quick else 5, given.quick, given.full) as bench:
        about = machine(bench)
        loads = [_load()]
        for name in given.only:
            print(f"{name} …", file=sys.stderr, flush=True)
            PARTS[name](bench)
            loads.append(_load())
    about |= {"rounds": str(bench.rounds), "load": f"{' '.join(loads)} (before, and after each part)"} | bench.notes
    print(f"{'':<56} {'median':>10} {'':<10} {'least–most':>17} {'µs CPU':>7}  {'ratio':<44} target")
    for row in bench.rows:
        spread = f"{min(row.rounds):,.0f}–{max(row.rounds):,.0f}" if len(row.rounds) > 1 else ""
        cpu = f"{row.cpu:,.0f}" if row.cpu else ""
        print(f"{row.what:<56} {row.value:>10,.2f} {row.unit:<10} {spread:>17} {cpu:>7}  {row.ratio:<44} {row.target}".rstrip())
    print("", *(f"{name}: {value}" for name, value in about.items()), sep="\n")
    Path("benchmarks.json").write_text(
        json.dumps({"machine": about, "rows": [asdict(row) for row in bench.rows]}, indent=1, ensure_ascii=False) + "\n"
    )
    if bench.missed:
        sys.exit("Above their limit:\n" + "\n".join(bench.missed))


if __name__ == "__main__":
    main()
