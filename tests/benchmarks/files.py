"""What files far out of bounds take in memory: a list of people of 200 MB, by the desk and by the command, and YAML bombs.

python -m tests.benchmarks.files FOLDER
"""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nurture import log, runtime
from tests.conftest import settings_for
from tests.desk import a_session
from tests.processes import NURTURE, ROOT, environment, free_port, nurture, running

SIZE = 200_000_000
_ROW = b"reader@example.org,Robin\n"
_PIECE = _ROW * 2_000

_MEASURED = """
import sys, time
from pathlib import Path
from nurture.letters.source import LetterRefused, read_folder

def most():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

folder = Path(sys.argv[1])
read_folder(folder / "plain")
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")
rest, begin = most(), time.process_time()
try:
    read_folder(folder)
    said = "taken"
except LetterRefused:
    said = "refused"
print(said, (most() - rest) / 1024, time.process_time() - begin, sep="\\t")
"""
BOMBS: dict[str, Callable[[], str]] = {
    "nine levels of nine aliases": lambda: "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
    ),
    "merged groups": lambda: "a0: &a0 {b: c}\n" + "".join(
        f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 30)
    ),
    "100,000 lists in each other": lambda: "a: " + "[" * 100_000,
    "a long list": lambda: "a: [" + "x, " * 60_000 + "]",
    "many names": lambda: "".join(f"a{n}: b\n" for n in range(20_000)),
    "200 MB": lambda: "a: " + "x" * SIZE,
}  # fmt: skip
"""Front matter of a letter."""


def _peak(pid: int) -> float:
    """The most megabytes a process has held since its peak was set back."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _child(parent: int) -> int:
    """The one process that serves."""
    return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])


def _upload(port: int, session: str, length: int | None) -> str:
    """Send the list to the desk, as one file of a form; what was answered. `length`: said beforehand, or sent in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="people.csv"\r\n\r\n'

    def pieces() -> Iterator[bytes]:
        yield head
        for _ in range(SIZE // len(_PIECE)):
            yield _PIECE

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Cookie": f"desk={session}", "Host": "localhost"}
    body: Iterable[bytes] = pieces()
    try:
        if length is not None:
            headers["Content-Length"] = str(length)
        connection.request("POST", "/desk/people/import/", body, headers, encode_chunked=length is None)
        return str(connection.getresponse().status)
    except (BrokenPipeError, ConnectionResetError):
        try:
            return str(connection.getresponse().status)
        except (http.client.HTTPException, OSError):
            return "closed"
    finally:
        connection.close()


def uploads(folder: Path) -> dict[str, tuple[str, float, float]]:
    """What the desk answers, megabytes above rest, and seconds."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = environment(folder, listen=f"127.0.0.1:{port}", base_url=url)
    assert nurture("init", env=env).returncode == 0
    rt = runtime.build(settings_for(folder))
    session = a_session(rt)
    rt.close()
    found = {}
    with running([*NURTURE, "serve", "--no-scheduler"], env, folder / "log", url + "/healthz") as process:
        worker = _child(process.pid)
        ways = {"with its length": SIZE, "in chunks": None}
        for way, length in ways.items():
            for who, token in (("at the desk", session), ("a stranger", "")):
                _forget_peak(worker)
                rest, begin = _peak(worker), time.perf_counter()
                said = _upload(port, token, length)
                found[f"200 MB of CSV, {who}, {way}"] = (said, _peak(worker) - rest, time.perf_counter() - begin)
    return found


def by_command(folder: Path) -> dict[str, tuple[str, float, float]]:
    """The same by `nurture subscribers import`."""
    file = folder / "people.csv"
    with file.open("wb") as out:
        out.writelines(_PIECE for _ in range(SIZE // len(_PIECE)))
    env = environment(folder)
    peaks = []
    for path in (folder / "small.csv", file):
        if not path.exists():
            path.write_text("email\nnobody\n")
        code = (
            "import sys, runpy\n"
            "from nurture.cli.main import cli\n"
            "open('/proc/self/clear_refs', 'w').write('5')\n"
            "try:\n    cli(sys.argv[1:])\n"
            "finally:\n    print([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')][0])"
        )
        arguments = ["subscribers", "import", str(path), "--where", "a paper form, 12 March", "--dry-run"]
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, *arguments], env=env, cwd=ROOT, capture_output=True, text=True)
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    file.unlink()
    said = "refused" if "larger than 5 MB" in done.stderr + done.stdout and done.returncode else "taken"
    return {"200 MB of CSV, by the command": (said, peaks[1] - peaks[0], time.perf_counter() - begin)}


def bombs(folder: Path) -> dict[str, tuple[str, float, float]]:
    """Letters in a folder whose front matter would grow."""
    found = {}
    folder.mkdir()
    for place in (folder / "plain", folder):
        place.mkdir(exist_ok=True)
        (place / "sequence.yaml").write_text("key: a\ntitle: A\n")
        (place / "01-a.md").write_text("---\nsubject: a\n---\n\nHello\n")
    for name, made in BOMBS.items():
        (folder / "01-a.md").write_text(f"---\nsubject: a\n{made()}\n---\n\nHello\n")
        command = [sys.executable, "-c", _MEASURED, str(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        said, most, seconds = done.stdout.strip().split("\t")
        found[f"YAML: {name}"] = (said, float(most), float(seconds))
    return found


def main(folder: Path) -> dict[str, tuple[str, float, float]]:
    """What was said, megabytes above rest, and seconds, by the file."""
    log.quiet()
    return uploads(folder) | by_command(folder) | bombs(folder / "letters")


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
