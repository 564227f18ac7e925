"""What follows the desk's settings is one value: nobody ever sees half of the old ones and half of the new ones."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nurture import runtime, scheduler
from nurture.app import create_app
from nurture.dispatch import LocalDispatcher
from nurture.ids import UserId, new_id
from nurture.runtime import Runtime, keep_up
from nurture.services.operations.jobs import Job
from nurture.services.settings import desk_settings
from tests.conftest import settings_for

ME = UserId(new_id())


@pytest.fixture
def other(rt: Runtime, database_url: str, tmp_path: Path) -> Iterator[Runtime]:
    """Another process of the same installation, in which somebody saves."""
    built = runtime.build(settings_for(tmp_path, database_url, from_name="Dana from Oak Street"))
    built.clock = rt.clock
    yield built
    built.close()


def names(rt: Runtime) -> set[str]:
    """The sender's name as each part that holds it says."""
    snapshot = rt.snapshot()
    return {snapshot.settings.from_name, snapshot.sender.name, snapshot.practice.facts["name"]}


def test_a_sender_that_is_opened_in_the_middle_of_a_change_holds_all_of_it_or_nothing(
    rt: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, seen = LocalDispatcher(rt), []
    assign = Runtime.__setattr__

    def look_after_each_assignment(self: Runtime, name: str, value: Any) -> None:
        assign(self, name, value)
        if self is not rt:  # a copy for a sender, which nobody shares
            return
        office = here._current()
        seen.append((office.version, office._rt.sender.name, office._rt.settings.from_name))

    monkeypatch.setattr(Runtime, "__setattr__", look_after_each_assignment)
    try:
        before = rt.version
        desk_settings.save(rt, {"from_name": "New name"}, None)
    finally:
        monkeypatch.undo()
        here.close()
    assert seen
    for version, sender, setting in seen:
        expected = "Dana from Oak Street" if version == before else "New name"
        assert (sender, setting) == (expected, expected)
    assert seen[-1][1] == "New name"


def test_threads_that_read_while_another_replaces_see_one_state_or_the_other(rt: Runtime, other: Runtime) -> None:
    stop, mixed = threading.Event(), []

    def read() -> int:
        looks = 0
        while not stop.is_set():
            looks += 1
            snapshot = rt.snapshot()
            found = {snapshot.settings.from_name, snapshot.sender.name, snapshot.practice.facts["name"]}
            if len(found) != 1:
                mixed.append(found)
        return looks

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for number in range(40):
                desk_settings.save(other, {"from_name": f"Name {number}"}, None)
                keep_up(rt)
        finally:
            stop.set()
        assert all(reader.result() > 0 for reader in readers)
    assert mixed == []
    assert names(rt) == {"Name 39"}


def test_two_threads_that_keep_up_at_once_end_with_the_newest(rt: Runtime, other: Runtime) -> None:
    with ThreadPoolExecutor(4) as pool:
        for number in range(25):
            desk_settings.save(other, {"from_name": f"Name {number}"}, None)
            for done in [pool.submit(keep_up, rt) for _ in range(4)]:
                done.result()
            assert names(rt) == {f"Name {number}"}
            assert rt.version == other.version


def test_a_snapshot_stays_what_it_is_until_it_keeps_up_itself(rt: Runtime, other: Runtime) -> None:
    held = rt.snapshot()
    desk_settings.save(other, {"from_name": "New name"}, None)
    keep_up(rt)
    assert rt.sender.name == "New name"
    assert names(held) == {"Dana from Oak Street"}
    keep_up(held)
    assert names(held) == {"New name"}


def test_an_act_on_a_snapshot_that_saves_changes_the_process_too(rt: Runtime) -> None:
    request = rt.snapshot()
    desk_settings.save(request, {"from_name": "New name"}, None)
    assert request.sender.name == rt.sender.name == "New name"


def test_a_request_works_on_one_snapshot_from_beginning_to_end(rt: Runtime, other: Runtime) -> None:
    app = create_app(rt)
    seen: list[str] = []

    @app.get("/look-twice")
    def look_twice() -> str:
        from nurture.web.pages import rt as of_this_request

        seen.append(of_this_request().sender.name)
        desk_settings.save(other, {"from_name": "New name"}, None)
        keep_up(rt)  # as the ticking thread of this process does
        seen.append(of_this_request().sender.name)
        return ""

    assert app.test_client().get("/look-twice").status_code == 200
    assert seen == ["Dana from Oak Street", "Dana from Oak Street"]
    assert rt.sender.name == "New name"


def test_a_job_works_on_one_snapshot_and_the_next_run_on_the_next(rt: Runtime, other: Runtime) -> None:
    seen: list[str] = []

    def look(given: Runtime, _: object) -> None:
        seen.append(given.sender.name)
        desk_settings.save(other, {"from_name": "New name"}, None)
        keep_up(rt)
        seen.append(given.sender.name)

    scheduler._guarded(Job("look", 1, look), rt, lambda _batch: None)
    assert seen == ["Dana from Oak Street", "Dana from Oak Street"]
    scheduler._guarded(Job("look", 1, look), rt, lambda _batch: None)
    assert seen[2:] == ["New name", "New name"]


def test_one_part_can_be_replaced_alone(rt: Runtime) -> None:
    mailer = object()
    rt.mailer = mailer  # type: ignore[assignment]
    assert rt.config.mailer is mailer
    assert names(rt) == {"Dana from Oak Street"}
