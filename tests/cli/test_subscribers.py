"""`nurture subscribers import`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nurture.cli.main import cli
from nurture.runtime import Runtime
from nurture.services.subscribers import listing
from nurture.store.subscribers.listing import Filter
from tests.conftest import SECRET
from tests.people import a_subscriber

TEXT = "email,status\nann@example.org,active\nbob@example.org,cancelled\n"


def run(rt: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, *more: str) -> Result:
    file = tmp_path / "people.csv"
    file.write_text(text, "utf-8")
    monkeypatch.setenv("NURTURE_DATABASE_URL", rt.database.url.render_as_string(hide_password=False))
    monkeypatch.setenv("NURTURE_INSTANCE_DIR", str(rt.settings.instance_dir))
    monkeypatch.setenv("NURTURE_SECRET_KEY", SECRET)
    return CliRunner().invoke(cli, ["subscribers", "import", str(file), *more])


def standings(rt: Runtime) -> dict[str, str]:
    return {each.email: each.standing.value for each in listing.list_people(rt, Filter()).people}


def test_people_are_added_and_those_who_left_are_not(rt: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(rt, monkeypatch, tmp_path, TEXT).exit_code == 2, "nothing says where they agreed"
    looked = run(rt, monkeypatch, tmp_path, TEXT, "--dry-run", "--json")
    assert json.loads(looked.stdout)["statuses"] == {"subscribed": 1, "unsubscribed": 1}
    assert standings(rt) == {}
    done = run(rt, monkeypatch, tmp_path, TEXT, "--where", "paper form, 12 March")
    assert done.exit_code == 0, done.output
    assert "Added 1; 1 are never written to." in done.output
    assert standings(rt) == {"ann@example.org": "waiting"}


def test_a_list_of_who_left_ends_letters_and_adds_nobody(rt: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reader = a_subscriber(rt)
    text = f"email,created\n{reader.email},1700000000\nx@example.org,1700000000\n"
    assert run(rt, monkeypatch, tmp_path, text).exit_code == 2, "only a person can tell what it is"
    assert run(rt, monkeypatch, tmp_path, text, "--left", "complained").exit_code == 0
    assert standings(rt) == {reader.email: "complained"}


def test_an_unknown_status_ends_it_with_one_line(rt: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "email,status\nann@example.org,active\nbob@example.org,gone fishing\n"
    found = run(rt, monkeypatch, tmp_path, text, "--where", "paper form, 12 March")
    assert found.exit_code == 1
    assert "Line 3: “gone fishing” in the column “status”." in found.output
    assert standings(rt) == {}
