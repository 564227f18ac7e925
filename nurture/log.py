"""Structured logs: one JSON line per event on standard error, and only keys on an allow-list pass.

A log line names deliveries and batches by their random ids; never an address, a name, a token or a URL path with one.
Exceptions are written as type and code places, without their message: a message may quote what a person typed.
"""

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

ALLOWED = frozenset(
    {
        "event", "level", "timestamp", "logger",
        "account", "attempt", "batch", "claimed", "count", "deliveries", "delivery", "edition", "enrollment", "entries",
        "error", "facts", "fresh", "held", "hint", "kind", "letters", "listen", "mailer", "milliseconds", "orphans", "outcome",
        "place", "planned", "process", "reason", "released", "request", "resent", "seconds", "sent", "sequence", "setting",
        "settled", "signal", "speed", "status", "step", "stopped", "unknown", "unreadable", "version", "workers",
    }
)  # fmt: skip


def _only_allowed(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in event.items() if key in ALLOWED}


def _places_only(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["place"] = [
            f"{frame.filename.rsplit('/site-packages/', 1)[-1]}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)[-8:]
        ]
    return event


class _Library(logging.Handler):
    """Libraries' own messages: logger, level and the constant text of the message, without the values put into it."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.msg if isinstance(record.msg, str) and record.args else "library_message"
        level = min(record.levelno // 10 * 10, logging.CRITICAL)  # structlog knows no level between
        get("library").log(level, "library_message", logger=record.name, reason=text, exc_info=record.exc_info)


def configure() -> None:
    """Send every log line of this process, libraries' included, through the allow-list to standard error."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _places_only,
            _only_allowed,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
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
