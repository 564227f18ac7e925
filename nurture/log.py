"""Structured logs: one JSON line per event on standard error, and only keys on an allow-list pass.

A log line names deliveries and batches by their random ids; never an address, a name, a token or a URL path with one.
Exceptions are written as type and code places, without their message: a message may quote what a person typed.
"""

import io
import json
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, TextIO

import structlog

from nurture.characters import storable
from nurture.errors import NurtureError

ALLOWED = frozenset(
    {
        "event", "level", "timestamp", "logger",
        "account", "attempt", "batch", "claimed", "count", "deliveries", "delivery", "edition", "endpoint", "enrollment",
        "entries", "error", "facts", "frame", "fresh", "held", "hint", "kind", "letters", "listen", "mailer",
        "milliseconds", "orphans", "outcome", "pages", "place", "planned", "process", "reason", "released", "request", "resent",
        "seconds", "sent", "sequence", "setting", "settled", "signal", "speed", "sqlite_error", "sqlstate", "status",
        "step", "stopped", "unknown", "unreadable", "version", "workers",
    }
)  # fmt: skip


def _only_allowed(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in event.items() if key in ALLOWED}


def _places_only(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception as its type, the process, the code places it came through, and a database's code for it."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)
        event["error"] = type(error).__name__
        event["process"] = storable(f"{os.uname().nodename}:{os.getpid()}")
        event["place"] = [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
        inner = next(
            (frame for frame in reversed(frames) if frame.filename.startswith(_PACKAGE)), frames[-1] if frames else None
        )
        if inner is not None:
            event["frame"] = _code_place(inner.filename, inner.lineno)
        event.update(_database_code(error))
    return event


_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120 - compared with frames' file names


def _short(file_name: str) -> str:
    return file_name.rsplit("/site-packages/", 1)[-1]


def _code_place(file_name: str, line: int | None) -> str:
    """`module:line` of a line of code, for our modules and libraries' alike."""
    if file_name.startswith(_PACKAGE):
        file_name = f"nurture/{file_name.removeprefix(_PACKAGE)}"
    return f"{_short(file_name).removesuffix('.py').replace('/', '.')}:{line}"


def _database_code(error: BaseException) -> dict[str, str]:
    """PostgreSQL's SQLSTATE or SQLite's error name, of this exception or of what caused it."""
    seen: list[BaseException | None] = [error, getattr(error, "orig", None), error.__cause__, error.__context__]
    for each in seen:
        for attribute, key in (("sqlstate", "sqlstate"), ("sqlite_errorname", "sqlite_error")):
            code = getattr(each, attribute, None)
            if isinstance(code, str):
                return {key: code}
    return {}


class _Library(logging.Handler):
    """Libraries' own messages: logger, level, code place and the message's constant text, without the values put into it."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.msg if isinstance(record.msg, str) and record.args else "library_message"
        level = min(record.levelno // 10 * 10, logging.CRITICAL)  # structlog knows no level between
        frame = _code_place(record.pathname, record.lineno)
        get("library").log(
            level, "library_message", logger=record.name, reason=text, **_with_error(record.exc_info, frame=frame)
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Instead of logging's own report, which prints the message and its values."""
        get("library").error("library_message", logger=record.name, reason="could not be logged", exc_info=True)


def _with_error(error: Any, frame: str) -> dict[str, Any]:
    """The exception where there is one (its frame is ours, if it has one of ours), and else where the message was written."""
    return {"exc_info": error} if error and error[0] is not None else {"frame": frame}


class _LineLogger:
    """What structlog writes its lines to: each by one system call, so that lines of several processes do not mix, and no thread
    holds a buffer's lock while the interpreter ends.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream.behind if isinstance(stream, _Stray) else stream

    def msg(self, message: str) -> None:
        if self._stream is None:  # closed by whoever started us
            return
        try:
            number = self._stream.fileno()
        except (OSError, ValueError):  # a stream in memory, or closed
            if not self._stream.closed:
                self._stream.write(message + "\n")
            return
        rest = f"{message}\n".encode()
        while rest:
            rest = rest[os.write(number, rest) :]

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


class _Stray(io.TextIOBase):
    """Stands in for a standard stream: what anybody prints there becomes a log line that says who and how much, never what."""

    def __init__(self, behind: TextIO, name: str) -> None:
        self.behind, self._name, self._pending = behind, name, ""

    def write(self, text: str) -> int:
        """Take text; each full line is one event."""
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            if line.strip():
                get("library").warning("library_message", logger=self._name, reason="printed", count=len(line))
        return len(text)

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The real stream's."""
        return self.behind.fileno()


@contextmanager
def json_only() -> Iterator[None]:
    """While a process is in service, all that it writes is JSON lines: also warnings, exceptions that nobody caught, in any
    thread, and what libraries print. A terminal still gets what is printed for people.

    What is refused on purpose (NurtureError) passes, for whoever shows it; any other exception is logged and ends the process
    with code 1.
    """
    configure()
    before = sys.stdout, sys.stderr, sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
    sys.excepthook = lambda kind, error, where: _uncaught(error)
    threading.excepthook = lambda hooked: _uncaught(hooked.exc_value)
    sys.unraisablehook = lambda hooked: _uncaught(hooked.exc_value)
    warnings.showwarning = _warned
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not stream.isatty():
            setattr(sys, name, _Stray(stream, name))
    try:
        yield
    except NurtureError:
        raise
    except Exception as error:
        _uncaught(error)
        raise SystemExit(1) from None
    finally:
        sys.stdout, sys.stderr, sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = before


def _uncaught(error: BaseException | None) -> None:
    get(__name__).error("exception_uncaught", exc_info=error)


def _warned(message: Any, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
    frame = _code_place(filename, lineno)
    get("library").warning("library_message", logger="py.warnings", reason=category.__name__, frame=frame)


def _as_json(event: Mapping[str, Any], **_: Any) -> str:
    return json.dumps(event, default=str)  # ASCII, so that no encoding of a stream or terminal stands in its way


def _lines(*_: Any) -> _LineLogger:
    return _LineLogger(sys.stderr)


def configure() -> None:
    """Send every log line of this process, libraries' included, through the allow-list to standard error."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _places_only,
            _only_allowed,
            structlog.processors.JSONRenderer(serializer=_as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_lines,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Library(level=logging.WARNING)]
    root.setLevel(logging.WARNING)
    for name in ("python_http_client", "urllib3", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)  # python_http_client prints the API key at DEBUG
    # it warns when a job is still at it at its next interval: so it shall be (max_instances=1), and /readyz says who hangs
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # its request lines hold tokens


def quiet() -> None:
    """From now on only warnings and worse: for a command whose own output is what a person reads."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of one module. Event names are stable and listed in docs/operations.md."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger
