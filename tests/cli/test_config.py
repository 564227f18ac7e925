"""`nurture config`: what is in force, where it comes from, and never a secret."""

import json
import re
from pathlib import Path

import pytest

from nurture import runtime
from nurture.ids import UserId, new_id
from nurture.services.settings import desk_settings
from nurture.settings import DEFINITIONS, load
from tests.cli.outside import call, files, run

SECRETS = {
    "secret_key": "hunter2" * 6,
    "field_keys": "hunter2" * 7,
    "smtp_url": "smtp://robin:hunter2@127.0.0.1:2525",
    "sendgrid_api_key": "SG.hunter2",
    "broker_url": "redis://:hunter2@localhost",
    "ping_url": "https://ping.example/hunter2",
    "backup_passphrase": "hunter2 hunter2",
    "database_url": "postgresql+psycopg://u:hunter2@127.0.0.1:1/letters",
}


def printed(monkeypatch: pytest.MonkeyPatch, folder: Path, **settings: object) -> dict[str, tuple[str, str]]:
    """Value and source of every setting, by its name without the prefix."""
    shown = call(monkeypatch, folder, "config", "--json", **settings)
    assert shown.exit_code == 0, shown.stderr
    data = json.loads(shown.stdout)
    return {each["name"].removeprefix("NURTURE_"): (each["value"], each["source"]) for each in data["settings"]}


def test_each_value_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("# mine\nNURTURE_BATCH_SIZE=10\nNURTURE_FROM_NAME=Dana\nNURTURE_REPLY_TO=a@oak.example\n")
    monkeypatch.chdir(tmp_path)
    rt = runtime.build(load(), migrate=True)
    desk_settings.save(rt, {"from_name": "Dana from Oak Street", "practice_fee": "free"}, UserId(new_id()))
    rt.close()
    found = printed(monkeypatch, tmp_path, lease_seconds=90)
    assert set(found) == {name.upper() for name in DEFINITIONS}
    assert found["BATCH_SIZE"] == ("10", f"{tmp_path}/.env:2")
    assert found["LEASE_SECONDS"] == ("90", "environment")
    assert found["FROM_NAME"] == ("Dana from Oak Street", "desk")
    assert found["PRACTICE_FEE"] == ("free", "desk")
    assert found["REPLY_TO"] == ("a@oak.example", f"{tmp_path}/.env:4")
    assert found["TICK_SECONDS"] == ("5", "default")
    assert found["FROM_EMAIL"] == ("not set", "default")
    assert found["INSTANCE_DIR"] == (f"{tmp_path}/instance", "default")
    text = call(monkeypatch, tmp_path, "config").stdout
    assert re.search(rf"NURTURE_BATCH_SIZE +10  \({re.escape(str(tmp_path))}/.env:2\)", text)
    assert "unknown" not in text


def test_secrets_are_set_or_not_set_and_a_database_that_is_away_is_said(tmp_path: Path) -> None:
    (tmp_path / "instance").mkdir()
    (tmp_path / ".env").write_text(f"NURTURE_SECRET_KEY={SECRETS['secret_key']}\n")
    others = {name: value for name, value in SECRETS.items() if name != "secret_key"}
    for arguments in (("config",), ("config", "--json")):
        shown = run(tmp_path, *arguments, **others)
        assert shown.returncode == 0, shown.stderr
        assert "hunter2" not in shown.stdout + shown.stderr
        assert "letters at 127.0.0.1:1 does not answer" in shown.stdout
    found = {each["name"]: each for each in json.loads(shown.stdout)["settings"]}
    assert {name for name, each in found.items() if each["secret"]} == {f"NURTURE_{name.upper()}" for name in SECRETS}
    assert all(found[f"NURTURE_{name.upper()}"]["value"] == "set" for name in SECRETS)
    assert files(tmp_path) == {"instance", ".env"}


def test_a_secret_of_the_desk_is_shown_as_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rt = runtime.build(load(), migrate=True)
    desk_settings.save(rt, {"from_email": "dana@oak.example", "postal_address": "PO Box 12", "from_name": "Dana"}, None)
    desk_settings.save_mailer(rt, {"mailer": "smtp", "smtp_url": SECRETS["smtp_url"]}, UserId(new_id()))
    rt.close()
    found = printed(monkeypatch, tmp_path)
    assert found["SMTP_URL"] == ("set", "desk")
    assert found["MAILER"] == ("smtp", "desk")
    assert found["SENDGRID_API_KEY"] == ("not set", "default")


def test_a_file_of_faults_stops_every_command_with_code_two_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("NURTURE_FORM_NAME=misspelt\n")
    for command in ("init", "serve", "worker", "tick", "config", "demo"):
        refused = call(monkeypatch, tmp_path, command)
        assert refused.exit_code == 2
        assert refused.stderr == (
            f"nurture: {tmp_path}/.env:1: NURTURE_FORM_NAME is not a setting. Did you mean NURTURE_FROM_NAME?\n"
        )
    assert files(tmp_path) == {".env"}


def test_an_unknown_name_in_the_environment_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = call(monkeypatch, tmp_path, "config", form_name="misspelt", crash_at="nowhere")
    assert shown.exit_code == 0
    assert shown.stderr == "nurture: warning: NURTURE_FORM_NAME is not a setting. Did you mean NURTURE_FROM_NAME?\n"
