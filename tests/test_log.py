"""A log line holds ids and counts; whatever a person typed, or a library was told about them, stays out."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import pytest
import structlog
from apscheduler.events import EVENT_JOB_MAX_INSTANCES
from apscheduler.schedulers.background import BackgroundScheduler
from hypothesis import given
from hypothesis import strategies as st

from nurture import log

ADDRESS, TOKEN = "robin@example.org", "a8f0c2c4e6"


class Lines:
    """What a process wrote to standard error."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def only(self) -> dict[str, Any]:
        (line,) = self.all
        return line


@contextmanager
def written() -> Iterator[Lines]:
    """Logging as in production, into memory; afterwards everything is as it was."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    with redirect_stderr(io.StringIO()) as stream:
        log.configure()
        yield Lines(stream)
    root.handlers = handlers
    root.setLevel(level)
    structlog.configure(**before)


def fail() -> None:
    raise LookupError(f"no subscriber {ADDRESS}")


def test_an_event_is_one_line_of_json_with_level_and_time() -> None:
    with written() as lines:
        log.get("nurture.delivery.sender").info("batch_accepted", batch="0f", deliveries=3, milliseconds=12)
        log.get("nurture.delivery.sender").warning("batch_in_doubt", batch="0f")
    first, second = lines.all
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "batch_accepted", "level": "info", "batch": "0f", "deliveries": 3, "milliseconds": 12}
    assert second["level"] == "warning"


@given(st.dictionaries(st.text(min_size=1).filter(lambda key: key not in log.ALLOWED), st.just(ADDRESS), min_size=1))
def test_a_key_that_is_not_on_the_list_never_passes(values: dict[str, str]) -> None:
    values.pop("self", None)
    with written() as lines:
        log.get("nurture").info("something", **values)
    assert lines.only.keys() == {"event", "level", "timestamp"}
    assert ADDRESS not in lines.text


@pytest.mark.parametrize(
    "key", ["email", "address", "first_name", "token", "url", "path", "user", "message", "exception", "stack"]
)
def test_no_key_for_a_persons_data_is_on_the_list(key: str) -> None:
    assert key not in log.ALLOWED


@pytest.mark.parametrize("key", sorted(log.ALLOWED - {"event", "level", "timestamp"}))
def test_a_key_on_the_list_passes(key: str) -> None:
    with written() as lines:
        log.get("nurture").info("something", **{key: 7})
    assert lines.only[key] == 7


def test_a_value_stays_in_its_line_whatever_is_in_it() -> None:
    with written() as lines:
        log.get("nurture").info("something", reason='a\nb\r\n{"event": "forged"}')
    assert lines.only["event"] == "something"


@pytest.mark.parametrize("how", ["exception", "exc_info", "value", "tuple"])
def test_an_exception_is_logged_as_type_and_places_without_its_message(how: str) -> None:
    with written() as lines:
        try:
            fail()
        except LookupError as error:
            if how == "exception":
                log.get("nurture").exception("act_failed")
            else:
                given: Any = {"exc_info": True, "value": error, "tuple": (type(error), error, error.__traceback__)}[how]
                log.get("nurture").error("act_failed", exc_info=given)
    assert lines.only["error"] == "LookupError"
    assert lines.only["place"][-1].endswith(" fail")
    assert "test_log.py:" in lines.only["place"][-1]
    assert ADDRESS not in lines.text
    assert "no subscriber" not in lines.text


def test_causes_of_an_exception_stay_out_too() -> None:
    with written() as lines:
        try:
            try:
                fail()
            except LookupError as cause:
                raise ValueError(TOKEN) from cause
        except ValueError:
            log.get("nurture").exception("act_failed")
    assert lines.only["error"] == "ValueError"
    assert ADDRESS not in lines.text
    assert TOKEN not in lines.text


@pytest.mark.parametrize("args", [(ADDRESS,), ({"to": ADDRESS},), (ADDRESS, TOKEN)], ids=["one", "mapping", "two"])
def test_a_librarys_message_keeps_its_text_and_loses_its_values(args: tuple[Any, ...]) -> None:
    text = {1: "to %s", 2: "to %s with %s"}[len(args)] if isinstance(args[0], str) else "to %(to)s"
    with written() as lines:
        logging.getLogger("smtplib.extra").warning(text, *args)
    assert lines.only["event"] == "library_message"
    assert (lines.only["logger"], lines.only["level"], lines.only["reason"]) == ("smtplib.extra", "warning", text)
    assert ADDRESS not in lines.text
    assert TOKEN not in lines.text


@pytest.mark.parametrize("message", [f"to {ADDRESS}", ValueError(ADDRESS), {"to": ADDRESS}], ids=["text", "error", "mapping"])
def test_a_librarys_message_that_is_already_filled_in_is_left_out(message: object) -> None:
    with written() as lines:
        logging.getLogger("some.library").error(message)
    assert lines.only["reason"] == "library_message"
    assert ADDRESS not in lines.text


def test_a_librarys_exception_is_logged_without_its_message() -> None:
    with written() as lines:
        try:
            fail()
        except LookupError:
            logging.getLogger("some.library").exception("could not serve %s", ADDRESS, stack_info=True)
    assert lines.only["error"] == "LookupError"
    assert ADDRESS not in lines.text


@pytest.mark.parametrize(
    "name", ["python_http_client", "python_http_client.client", "urllib3.connectionpool", "sqlalchemy.engine"]
)
def test_libraries_that_print_keys_or_rows_at_debug_are_not_heard(name: str) -> None:
    with written() as lines:
        logging.getLogger(name).debug("Authorization: %s", TOKEN)
        logging.getLogger(name).info("%s", ADDRESS)
    assert lines.text == ""


@pytest.mark.parametrize("level", [35, 60])
def test_a_library_with_levels_of_its_own_is_heard_and_comes_to_no_harm(level: int) -> None:
    with written() as lines:
        logging.getLogger("some.library").log(level, "to %s", ADDRESS)
    assert lines.only["reason"] == "to %s"
    assert ADDRESS not in lines.text


def test_a_job_that_is_still_at_it_is_no_news_but_one_that_breaks_is() -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        go_on.wait(10)
        raise LookupError(ADDRESS)

    with written() as lines:
        scheduler, skipped = BackgroundScheduler(timezone="UTC"), threading.Event()
        scheduler.add_listener(lambda _: skipped.set(), EVENT_JOB_MAX_INSTANCES)
        scheduler.add_job(slow, "interval", seconds=0.05, max_instances=1)
        scheduler.start()
        assert began.wait(10)
        assert skipped.wait(10)
        assert lines.text == ""
        scheduler.pause()
        go_on.set()
        scheduler.shutdown(wait=True)
        assert lines.only["logger"] == "apscheduler.executors.default"
        assert lines.only["error"] == "LookupError"
