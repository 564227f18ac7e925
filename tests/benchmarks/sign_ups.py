"""Sign-ups over real HTTP into two workers, as visitors send them."""

import http.client
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

from tests.processes import NURTURE, environment, free_port, nurture, running

SIGN_UPS = 600
CLIENTS = 8


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
