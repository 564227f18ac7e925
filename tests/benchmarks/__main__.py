"""`make bench`: what the main path costs, as ratios to a naive loop in the same run. JSON lands beside the table."""

import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Template
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Content, Mail
from sqlalchemy import delete

from nurture import runtime
from nurture.domain.delivery import Kind
from nurture.services import publishing
from nurture.store.schema import deliveries
from nurture.words import new_id
from tests.conftest import settings_for
from tests.people import a_subscriber, run_tick
from tests.processes import NURTURE, environment, free_port, nurture, running
from tests.servers.postgres import Postgres
from tests.servers.sendgrid import KEY, another_process

LETTERS = 400
SIGN_UPS = 600
CLIENTS = 8
RUNS = 3


@dataclass(frozen=True)
class Row:
    """One measured thing."""

    what: str
    value: float
    unit: str
    ratio: float | None = None


def naive(url: str, count: int) -> float:
    """Letters a second of Jinja2 and the SDK's own transport, one after the other: no ledger, no claim, no suppression."""
    page = Template("<p>Hello {{ name }},</p>" + "<p>" + "Calm words. " * 900 + "</p>")
    client = SendGridAPIClient(KEY, host=url)
    begin = time.perf_counter()
    for number in range(count):
        mail = Mail("dana@example.org", f"reader{number}@example.org", "Letter")
        mail.content = [Content("text/plain", f"Hello {number}"), Content("text/html", page.render(name=number))]
        client.send(mail)
    return count / (time.perf_counter() - begin)


def ours(database: str, url: str, concurrency: int, folder: Path) -> float:
    """Letters a second of one tick: claim, decrypt, fill, checks, commits of `sending` and `accepted`, the next row."""
    given = {"mailer": "sendgrid", "sendgrid_api_key": KEY, "sendgrid_host": url, "from_email": "dana@example.org"}
    settings = settings_for(folder, database, postal_address="PO Box 12", send_concurrency=concurrency, **given)
    rt = runtime.build(settings, migrate=True)
    publishing.load_shipped(rt)
    for _ in range(LETTERS):
        a_subscriber(rt)
    with rt.database.begin() as db:
        db.execute(delete(deliveries).where(deliveries.c.kind != Kind.LETTER))
    begin = time.perf_counter()
    report = run_tick(rt)
    took = time.perf_counter() - begin
    rt.close()
    assert report.claimed == LETTERS
    return LETTERS / took


def sign_ups(database: str, folder: Path) -> tuple[float, float, float]:
    """Sign-ups a second over real HTTP into two workers, the 99th percentile in ms, and resident MB of all processes."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = environment(folder, database_url=database, listen=f"127.0.0.1:{port}", base_url=url)
    assert nurture("init", env=env).returncode == 0
    took: list[float] = []

    def visit(numbers: range) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for number in numbers:
            form = {"email": f"reader{number}@example.org", "first_name": "Robin", "time_zone": "UTC", "consent": "on"}
            begin = time.perf_counter()
            connection.request("POST", "/subscribe", urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})
            answer = connection.getresponse()
            answer.read()
            took.append(time.perf_counter() - begin)
            assert answer.status == 303, answer.status
        connection.close()

    with running([*NURTURE, "serve", "--workers", "2", "--no-scheduler"], env, folder / "log", url + "/healthz") as process:
        begin = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(visit, [range(n, SIGN_UPS, CLIENTS) for n in range(CLIENTS)]))
        rate = SIGN_UPS / (time.perf_counter() - begin)
        memory = _resident(process.pid)
    return rate, statistics.quantiles(took, n=100)[98] * 1000, memory


def _resident(parent: int) -> float:
    """Resident megabytes of a process and its children (proc(5), VmRSS)."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            facts = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:  # it has just ended
            continue
        if parent in (int(facts["Pid"]), int(facts["PPid"])):
            total += int(facts.get("VmRSS", "0 kB").split()[0])
    return total / 1024


def median(measure: Callable[[], float]) -> float:
    """The median of a few runs."""
    return statistics.median(measure() for _ in range(RUNS))


def main() -> None:
    """Measure, print a table, write benchmarks.json."""
    rows: list[Row] = []
    sys.stderr = Path("/dev/null").open("w")  # noqa: SIM115 - to the end: the log lines of the services under measure
    with tempfile.TemporaryDirectory() as place, Postgres() as server:
        folder = Path(place)

        def database(kind: str) -> str:
            name = f"bench_{new_id()}"
            if kind == "SQLite":
                return f"sqlite:///{folder / name}.db"
            server.create(name)
            return server.url(name)

        for latency in (0, 50):
            with another_process("--latency-ms", str(latency), "--no-bodies") as sendgrid:
                base = median(lambda sendgrid=sendgrid, latency=latency: naive(sendgrid.url, 60 if latency else 400))  # type: ignore[misc]
                rows.append(Row(f"naive loop, {latency} ms provider", base, "letters/s", 1.0))
                for kind in ("SQLite", "PostgreSQL"):
                    for concurrency in (4, 32):
                        rate = median(
                            lambda k=kind, c=concurrency, s=sendgrid: ours(database(k), s.url, c, folder)  # type: ignore[misc]
                        )
                        what = f"one tick, {kind}, {latency} ms provider, SEND_CONCURRENCY {concurrency}"
                        rows.append(Row(what, rate, "letters/s", rate / base))
                        print(".", end="", flush=True, file=sys.__stderr__)
        for kind in ("SQLite", "PostgreSQL"):
            part = folder / kind
            part.mkdir()
            rate, p99, memory = sign_ups(database(kind), part)
            rows += [
                Row(f"sign-ups, {kind}, 2 workers, {CLIENTS} clients", rate, "sign-ups/s"),
                Row(f"sign-ups, {kind}, 99th percentile", p99, "ms"),
                Row(f"memory of the service after them, {kind}", memory, "MB"),
            ]
    print(file=sys.__stderr__)
    for row in rows:
        ratio = f"{row.ratio:6.2f} × naive" if row.ratio is not None else ""
        print(f"{row.what:<72} {row.value:>9.1f} {row.unit:<11} {ratio}")
    Path("benchmarks.json").write_text(json.dumps([row.__dict__ for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
