"""The event side of the judge is judged: signed as SendGrid signs, repeated as SendGrid repeats, and as bad as a test wants."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sendgrid.helpers.eventwebhook import EventWebhook

from nurture.mailers.sendgrid import events as ours
from tests.processes import free_port
from tests.servers.sendgrid import AcceptedMail, RemoteSendGrid, SendGridServer, another_process
from tests.servers.sendgrid_events import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Chaos,
    Entry,
    Reporter,
    Signer,
    body,
    entry,
    send_events,
)
from tests.servers.test_sendgrid_server import Client, a_mail


class Sink:
    """A webhook that keeps what it is told, and answers as planned: the statuses first, then 204."""

    def __init__(self, statuses: list[int], port: int = 0) -> None:
        self.bundles: list[tuple[bytes, dict[str, str], int]] = []
        self.statuses, self.lock = statuses, threading.Lock()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                with sink.lock:
                    status = sink.statuses.pop(0) if sink.statuses else 204
                    sink.bundles.append((raw, dict(self.headers), status))
                self.send_response(status)
                self.send_header("Location", self.path + "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/events"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def taken(self) -> list[Entry]:
        """The events of every bundle that was answered with 204, in order of arrival."""
        with self.lock:
            return [event for raw, _, status in self.bundles if status == 204 for event in json.loads(raw)]


AN_ACCEPTED_MAIL = AcceptedMail(
    message_id="m", request=1, connection=1, received_at=1_700_000_000.0, received_monotonic=0.0, kind="to",
    address="ada@example.com", name="", subject="", sender={}, reply_to=None, headers={}, custom_args={"delivery_id": "d0"},
    text="", html="", tracking_settings={}, categories=["cats"], send_at=None,
)  # fmt: skip


class Sinks:
    open: ClassVar[list[Sink]] = []


def a_sink(*statuses: int, port: int = 0) -> Sink:
    Sinks.open.append(Sink(list(statuses), port))
    return Sinks.open[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    for sink in Sinks.open:
        sink.server.shutdown()
        sink.server.server_close()
    Sinks.open.clear()
    while Client.opened:
        Client.opened.pop().http.close()


def send(server: SendGridServer | RemoteSendGrid, count: int) -> None:
    client = Client(server.url)
    for number in range(count):
        person = {"to": [{"email": f"ada{number}@example.com"}], "custom_args": {"delivery_id": f"d{number}"}}
        assert client.answer(a_mail(personalizations=[person]))[0] == 202


def kinds(events: list[Entry]) -> Counter[tuple[str, str]]:
    return Counter((event["delivery_id"], event["event"]) for event in events)


def each_once(count: int, *names: str) -> Counter[tuple[str, str]]:
    return Counter((f"d{number}", name) for number in range(count) for name in names or ("processed", "delivered"))


def test_every_accepted_mail_is_reported_with_the_fields_sendgrid_gives() -> None:
    sink = a_sink()
    with SendGridServer(events_to=sink.url) as server:
        send(server, 3)
        server.wait_for_events()
        (mail,) = server.to("ada1@example.com")
    assert kinds(sink.taken) == each_once(3)
    processed, delivered = sorted((event for event in sink.taken if event["delivery_id"] == "d1"), key=lambda e: e["timestamp"])
    assert (processed["event"], delivered["event"]) == ("processed", "delivered")
    assert delivered["timestamp"] - processed["timestamp"] == 1
    assert processed["email"] == "ada1@example.com"
    assert processed["sg_message_id"] == delivered["sg_message_id"]
    assert processed["sg_message_id"].split(".", 1)[0] == mail.message_id
    assert processed["sg_event_id"] != delivered["sg_event_id"]
    assert all(len(event["sg_event_id"]) <= 100 for event in sink.taken)
    assert isinstance(processed["timestamp"], int)
    assert processed["smtp-id"].startswith(f"<{mail.message_id}@")


def test_bundles_are_signed_as_sendgrids_own_library_checks_it(tmp_path: Path) -> None:
    sink = a_sink()
    with SendGridServer(events_to=sink.url, events_key=tmp_path / "key.pem") as server:
        send(server, 2)
        server.wait_for_events()
        key = server.webhook_key
    theirs = EventWebhook(key)
    for raw, headers, _ in sink.bundles:
        assert raw.endswith(b"]\r\n")
        assert abs(int(headers[TIMESTAMP_HEADER]) - time.time()) < 60
        assert theirs.verify_signature(raw.decode(), headers[SIGNATURE_HEADER], headers[TIMESTAMP_HEADER])
    assert Signer(tmp_path / "key.pem").public == key, "the key is kept for the next start"
    assert (ours.SIGNATURE_HEADER, ours.TIMESTAMP_HEADER) == (SIGNATURE_HEADER, TIMESTAMP_HEADER)


def test_what_is_not_answered_with_2xx_is_posted_again_at_growing_intervals_byte_for_byte() -> None:
    sink = a_sink(500, 403, 302, 429)
    with SendGridServer(events_to=sink.url) as server:
        send(server, 1)
        server.wait_for_events()
        counts = server.event_counts()
    assert [status for _, _, status in sink.bundles] == [500, 403, 302, 429, 204]
    assert len({raw for raw, _, _ in sink.bundles}) == 1
    assert len({headers[SIGNATURE_HEADER] for _, headers, _ in sink.bundles}) == 1
    assert kinds(sink.taken) == each_once(1)
    assert counts["posted"] == 2
    assert counts["status 500"] == counts["status 302"] == 1


def test_a_webhook_that_was_down_gets_everything_once_it_is_up() -> None:
    port = free_port()
    with SendGridServer(events_to=f"http://127.0.0.1:{port}/events") as server:
        send(server, 2)
        until = time.monotonic() + 10
        while server.event_counts().get("status 0", 0) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        sink = a_sink(port=port)
        server.wait_for_events()
    assert kinds(sink.taken) == each_once(2)


def test_a_bundle_nobody_wants_is_given_up_in_the_end() -> None:
    sink, signer = a_sink(*[500] * 1_000), Signer()
    reporter = Reporter([sink.url], signer, gather=0.01, first_wait=0.02, longest_wait=0.05, give_up=0.2)
    try:
        reporter.report([AN_ACCEPTED_MAIL])
        reporter.wait()
        assert reporter.counts()["given_up"] == 2
    finally:
        reporter.close()
    assert len(sink.bundles) > 3
    assert sink.taken == []


def test_a_bundle_holds_at_most_so_many_events() -> None:
    sink = a_sink()
    reporter = Reporter([sink.url], Signer(), gather=0.05, limit=3)
    try:
        reporter.report([AN_ACCEPTED_MAIL] * 4)
        reporter.wait()
    finally:
        reporter.close()
    assert sorted(len(json.loads(raw)) for raw, _, _ in sink.bundles) == [2, 3, 3]


def test_reports_can_be_held_back_and_let_go() -> None:
    sink = a_sink()
    with SendGridServer(events_to=sink.url) as server:
        server.stop_events()
        send(server, 2)
        time.sleep(0.3)
        assert sink.bundles == []
        assert server.event_counts()["pending"] == 4
        with pytest.raises(TimeoutError, match="still to be posted"):
            server.wait_for_events(0.1)
        server.start_events()
        server.wait_for_events()
        assert server.event_counts()["pending"] == 0
    assert kinds(sink.taken) == each_once(2)


def test_chaos_loses_repeats_renames_and_shuffles_by_its_seed() -> None:
    chaos = Chaos(lost=0.3, repeated=0.4, renamed=0.4, times=5, shuffled=True, delay=0.2, seed=11)
    seen = []
    for _ in range(2):
        sink = a_sink()
        with SendGridServer(events_to=sink.url, chaos=chaos) as server:
            send(server, 40)
            server.wait_for_events()
            counts = server.event_counts()
        told = kinds(sink.taken)
        ids = {(event["delivery_id"], event["event"], event["sg_event_id"]) for event in sink.taken}
        assert 0 < counts["lost"] == 80 - len(told) < 60
        assert told.total() == 80 - counts["lost"] + counts["copies"]
        assert max(told.values()) > 2
        assert len(ids) > len(told), "some came again under a new id"
        assert len(ids) < told.total(), "and some under the same"
        order = [event["timestamp"] for raw, _, _ in sink.bundles for event in json.loads(raw)]
        assert order != sorted(order)
        seen.append(told)
    assert seen[0] == seen[1], "the same seed deals the same to the n-th mail"


def test_reports_wait_as_long_as_asked() -> None:
    sink = a_sink()
    with SendGridServer(events_to=sink.url, chaos=Chaos(kinds=("processed",), wait=0.5)) as server:
        begin = time.monotonic()
        send(server, 1)
        server.wait_for_events()
        assert 0.5 <= time.monotonic() - begin < 5
    assert kinds(sink.taken) == each_once(1, "processed")


def test_several_webhooks_are_served_in_turn() -> None:
    first, second = a_sink(), a_sink()
    with SendGridServer(events_to=[first.url, second.url]) as server:
        for _ in range(2):
            send(server, 1)
            server.wait_for_events()
    assert first.bundles
    assert second.bundles


def test_a_judge_that_was_killed_reports_all_of_its_ledger_again_under_the_same_ids(tmp_path: Path) -> None:
    first, second = a_sink(), a_sink()
    arguments = ("--ledger", str(tmp_path / "ledger"), "--events-key", str(tmp_path / "key"), "--events-to")
    with another_process(*arguments, first.url) as remote:
        send(remote, 2)
        remote.wait_for_events()
        key = remote.webhook_key
    with another_process(*arguments, second.url) as remote:
        remote.wait_for_events()
        assert remote.webhook_key == key
    assert kinds(second.taken) == each_once(2)
    assert {event["sg_event_id"] for event in first.taken} == {event["sg_event_id"] for event in second.taken}


def test_another_process_can_be_told_the_same_things_about_events() -> None:
    sink = a_sink()
    with another_process("--chaos", '{"kinds": ["processed"]}') as remote:
        send(remote, 1)
        assert remote.event_counts() == {}
        remote.report_to(sink.url)
        send(remote, 1)
        remote.wait_for_events()
        assert kinds(sink.taken) == each_once(1, "processed")
        remote.report_to(sink.url, chaos=Chaos(kinds=("processed", "bounce")))
        remote.stop_events()
        send(remote, 1)
        assert remote.event_counts()["pending"] == 2
        with pytest.raises(TimeoutError, match="still to be posted"):
            remote.wait_for_events(0.1)
        remote.start_events()
        remote.wait_for_events()
        assert kinds(sink.taken)["d0", "bounce"] == 1
        assert remote.send_events(sink.url, [entry("open")]).status == 204
        raw, headers, _ = sink.bundles[-1]
        told = raw, headers[SIGNATURE_HEADER], headers[TIMESTAMP_HEADER]
        assert ours.verify(*told, ours.read_keys(remote.webhook_key))
        remote.reset()
        assert remote.event_counts() == {"pending": 0}


def test_senseless_chaos_is_refused() -> None:
    with another_process() as remote, pytest.raises(Exception, match="HTTP Error 400"):
        remote._tell(to=[], chaos={"kind": "x"})


def test_a_bundle_made_by_hand_can_be_spoilt_in_every_way() -> None:
    sink, signer, other = a_sink(), Signer(), Signer()
    keys = ours.read_keys(signer.public)

    def believed(**given: Any) -> bool:
        send_events(sink.url, [entry("open")], **{"key": signer} | given)
        raw, headers, _ = sink.bundles[-1]
        return ours.verify(raw, headers[SIGNATURE_HEADER], headers[TIMESTAMP_HEADER], keys)

    assert believed()
    assert not believed(key=other)
    assert not believed(tamper=lambda raw: raw.replace(b"open", b"opeN"))
    assert believed(age=3_600)
    assert int(sink.bundles[-1][1][TIMESTAMP_HEADER]) < time.time() - 3_599


def test_where_nobody_listens_the_status_is_nought() -> None:
    sink = a_sink()
    sink.server.shutdown()
    sink.server.server_close()
    Sinks.open.clear()
    assert send_events(sink.url, [entry("open")], Signer()).status == 0


def test_an_event_by_hand_has_what_is_given_and_an_id_of_its_own() -> None:
    first, second = entry("bounce", type="blocked"), entry("bounce", type="blocked")
    assert first["sg_event_id"] != second["sg_event_id"]
    assert (first["event"], first["type"]) == ("bounce", "blocked")
    assert json.loads(body([first])) == [first]
