"""SendGrid's suppression lists over real sockets: every page, every failure by one name, no address in any of them."""

import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nurture.mailers.sendgrid.lists import PAGE, ListName, ListRequestRejected, ListsFailed, RateLimited, SuppressionApi
from tests.servers import self_signed
from tests.servers.sendgrid import KEY, READ_ONLY_KEY, Fault, half_body, hang, junk_body, refuse_429, reset, slow, status
from tests.servers.sendgrid_lists import MAIL_ONLY_KEY, SendGridWithLists

END = datetime(2026, 3, 2, 15, tzinfo=UTC)
START = END - timedelta(days=3)
SECOND = END.timestamp() - 3600
ROBIN = "robin+o'neil@example.org"


@pytest.fixture
def server() -> Iterator[SendGridWithLists]:
    with SendGridWithLists() as running:
        yield running


def never(seconds: float) -> bool:
    raise AssertionError(f"nothing should wait, least of all {seconds} s")


def sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def opened(
    server: SendGridWithLists, key: str = KEY, pause: Callable[[float], bool] = never, within: float = 5, url: str = ""
) -> SuppressionApi:
    return SuppressionApi(key, url or server.url, lambda: datetime.now(UTC), pause, within)


def test_a_list_longer_than_two_pages_is_read_whole_also_where_a_page_ends_within_a_second(server: SendGridWithLists) -> None:
    people = [f"reader{n}@example.org" for n in range(1201)]
    server.fill("bounces", [(address, SECOND) for address in people])
    with opened(server) as lists:
        read = list(lists.suppressed(ListName.BOUNCES, START, END))
    assert sorted(entry.address for entry in read) == sorted(people)
    assert {entry.created for entry in read} == {datetime.fromtimestamp(SECOND, UTC)}
    assert [query.partition("offset=")[2].partition("&")[0] for query in server.list_requests] == ["0", "500", "1000"]
    assert server.connections == 1


def test_a_list_of_whole_pages_ends_too(server: SendGridWithLists) -> None:
    server.fill("bounces", [(f"reader{n}@example.org", SECOND) for n in range(2 * PAGE)])
    with opened(server) as lists:
        assert len(list(lists.suppressed(ListName.BOUNCES, START, END))) == 2 * PAGE
    assert len(server.list_requests) == 3


@pytest.mark.parametrize("name", list(ListName))
def test_each_list_is_its_own_and_both_ends_of_the_span_belong_to_it(server: SendGridWithLists, name: ListName) -> None:
    for other in ListName:
        server.fill(other.value, [(f"{other.value}@example.org", SECOND)])
    edges = {"before": START.timestamp() - 1, "first": START.timestamp(), "last": END.timestamp(), "after": END.timestamp() + 1}
    server.fill(name.value, [(f"{edge}@example.org", at) for edge, at in edges.items()])
    with opened(server) as lists:
        read = {entry.address for entry in lists.suppressed(name, START, END)}
    assert read == {f"{name.value}@example.org", "first@example.org", "last@example.org"}


def test_a_reader_is_put_on_the_list_and_taken_off_it_once_or_twice(server: SendGridWithLists) -> None:
    with opened(server) as lists:
        for _ in range(2):
            lists.add([ROBIN, "dana@example.org"])
        assert server.listed("unsubscribes") == [ROBIN, "dana@example.org"]
        for _ in range(2):
            lists.remove(ROBIN)
        assert server.listed("unsubscribes") == ["dana@example.org"]


@pytest.mark.parametrize("odd", ["a/b@example.org", "a?b=c@example.org", "a%41@example.org", "a#b@example.org"])
def test_marks_that_mean_something_in_a_url_stay_part_of_the_address(server: SendGridWithLists, odd: str) -> None:
    with opened(server) as lists:
        lists.add([odd])
        assert server.listed("unsubscribes") == [odd]
        lists.remove(odd)
    assert server.listed("unsubscribes") == []


ACTS: dict[str, Callable[[SuppressionApi], object]] = {
    "read": lambda lists: list(lists.suppressed(ListName.UNSUBSCRIBES, START, END)),
    "add": lambda lists: lists.add([ROBIN]),
    "remove": lambda lists: lists.remove(ROBIN),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (status(400), ListRequestRejected), (status(500), ListsFailed), (status(503), ListsFailed), (status(302), ListsFailed),
        (reset(accepted=False), ListsFailed), (reset(accepted=True), ListsFailed), (hang(accepted=True), ListsFailed),
        (half_body(200), ListsFailed), (slow(0.1), ListsFailed),
    ],
    ids=lambda value: getattr(value, "label", None),
)  # fmt: skip
def test_every_failure_has_one_name_and_none_tells_an_address(
    server: SendGridWithLists, fault: Fault, kind: type[ListsFailed], act: str
) -> None:
    server.plan_lists(fault)
    began = time.monotonic()
    with opened(server, within=0.5) as lists, pytest.raises(ListsFailed) as failed:
        ACTS[act](lists)
    assert type(failed.value) is kind
    assert time.monotonic() - began < 2, "also an answer that drips is over in time"
    assert "robin" not in "".join(traceback.format_exception(failed.value))
    assert len(server.list_requests) == 1, "nothing is tried twice on its own"


def test_a_request_sendgrid_complains_about_with_the_address_in_its_words_tells_none(server: SendGridWithLists) -> None:
    bad = " ".join(["not", "an", "address"])
    with opened(server) as lists, pytest.raises(ListRequestRejected) as rejected:
        lists.add([bad])
    assert bad not in "".join(traceback.format_exception(rejected.value))


def test_an_answer_that_is_no_list_is_a_failure_and_a_line_that_is_none_only_itself(server: SendGridWithLists) -> None:
    server.plan_lists(junk_body())
    with opened(server) as lists, pytest.raises(ListsFailed, match="cannot be read"):
        list(lists.suppressed(ListName.BOUNCES, START, END))
    server.fill("bounces", [("odd@example.org", SECOND), ("robin@example.org", SECOND)])
    server._lists["bounces"]["odd@example.org"] = {"created": SECOND}
    with opened(server) as lists:
        assert [entry.address for entry in lists.suppressed(ListName.BOUNCES, START, END)] == ["", "robin@example.org"]


@pytest.mark.parametrize("key", ["SG.wrong", READ_ONLY_KEY, MAIL_ONLY_KEY])
@pytest.mark.parametrize("act", ACTS)
def test_a_key_without_the_right_waits_long(server: SendGridWithLists, key: str, act: str) -> None:
    with opened(server, key) as lists, pytest.raises(ListsFailed, match="API key") as refused:
        ACTS[act](lists)
    assert refused.value.wait >= timedelta(minutes=30)


def test_without_a_connection_nothing_is_told(server: SendGridWithLists, tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    with SendGridWithLists(tls=(made.cert, made.key)) as untrusted:
        for url in ("http://127.0.0.1:1", "http://no-such-host.invalid", untrusted.url):
            with opened(server, url=url) as lists, pytest.raises(ListsFailed, match="no connection"):
                lists.add([ROBIN])


def test_a_rate_limit_is_waited_for_between_pages(server: SendGridWithLists) -> None:
    server.fill("bounces", [(f"reader{n}@example.org", SECOND) for n in range(PAGE + 1)])
    server.plan_lists(None, refuse_429(1), None)
    waits: list[float] = []

    def pause(seconds: float) -> bool:
        waits.append(seconds)
        return sleep(seconds)

    with opened(server, pause=pause) as lists:
        assert len(list(lists.suppressed(ListName.BOUNCES, START, END))) == PAGE + 1
    assert len(waits) == 1
    assert 0 < waits[0] <= 2.1


def test_a_rate_limit_is_not_waited_for_without_end_nor_by_a_process_that_stops(server: SendGridWithLists) -> None:
    server.plan_lists(refuse_429(3600))
    with opened(server) as lists, pytest.raises(RateLimited) as limited:
        list(lists.suppressed(ListName.BOUNCES, START, END))
    assert limited.value.wait > timedelta(minutes=50)
    server.plan_lists(*[refuse_429(60)] * 9)
    with opened(server, pause=lambda _: False) as lists, pytest.raises(RateLimited):
        list(lists.suppressed(ListName.BOUNCES, START, END))
    assert len(server.list_requests) <= 5
    server.plan_lists(refuse_429(1))
    with opened(server, pause=lambda _: True) as lists, pytest.raises(RateLimited):
        list(lists.suppressed(ListName.BOUNCES, START, END))


def test_when_adding_a_rate_limit_says_how_long_to_wait(server: SendGridWithLists) -> None:
    server.plan_lists(refuse_429(30))
    with opened(server) as lists, pytest.raises(RateLimited) as limited:
        lists.add([ROBIN])
    assert timedelta(seconds=25) < limited.value.wait <= timedelta(seconds=31)


def test_an_entry_prints_without_its_address(server: SendGridWithLists) -> None:
    server.fill("bounces", [("robin@example.org", SECOND)])
    with opened(server) as lists:
        assert "robin" not in repr(list(lists.suppressed(ListName.BOUNCES, START, END)))
