"""What a toy mailer and toy settings must do; test_recipes.py runs this in the copy of the service that has them."""

from html import unescape
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from nurture import runtime
from nurture.cli.main import cli
from nurture.config import is_on_this_machine
from nurture.domain.user import Role
from nurture.mailer_registry import MAILERS
from nurture.mailers.description import describe
from nurture.runtime import Runtime
from nurture.services.accounts.accounts import Account
from nurture.services.letters import publishing
from nurture.services.letters.publishing import PublishingRefused
from nurture.services.settings import desk_settings, mailer_check, onboarding, sender_domain
from nurture.services.settings.onboarding import Task
from nurture.setting_limits import Page
from nurture.settings import SettingRefused, load, on_page
from tests.clocks import ManualClock
from tests.conftest import SECRET, settings_for
from tests.desk import a_colleague, enter, post
from tests.people import a_subscriber, inbox, run_tick
from tests.services.letters.test_publishing import with_hole
from tests.services.settings.test_desk_settings import SENDER

DESK = "/desk/settings"
REAL = {
    "MAILER": "ferry",
    "FROM_EMAIL": "dana@oak.example",
    "POSTAL_ADDRESS": "PO Box 12",
    "BASE_URL": "https://letters.oak.example",
}


def setenv(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"NURTURE_{name}", value)


def said(client: FlaskClient, path: str) -> str:
    return unescape(client.get(f"{DESK}/{path}").text)


# The mailer


@pytest.mark.parametrize("name", MAILERS)
def test_every_mailer_describes_itself(name: str) -> None:
    description = describe(name)
    assert description.title
    assert description.says
    settings = load(_env_file=None, smtp_url="smtp://mail.example", ferry_pier="pier.example")
    assert (description.host(settings) == "") is MAILERS[name].stays_here


def test_the_environment_chooses_it_and_a_letter_leaves_by_it(
    monkeypatch: pytest.MonkeyPatch, rt: Runtime, tmp_path: Path
) -> None:
    setenv(monkeypatch, **REAL, INSTANCE_DIR=str(tmp_path), DATABASE_URL=rt.settings.database, SECRET_KEY=SECRET)
    with pytest.raises(SettingRefused, match="NURTURE_FERRY_PIER is missing: the ferry mailer needs it"):
        load(_env_file=None)
    setenv(monkeypatch, FERRY_PIER="localhost")
    mine = runtime.build(load(_env_file=None))
    mine.clock = rt.clock
    try:
        assert mine.mailer.name == "ferry"
        a_subscriber(mine)
        run_tick(mine)
        letters = [path.read_bytes() for path in (tmp_path / "pier").iterdir()]
        assert any(b"List-Unsubscribe:" in letter for letter in letters)
    finally:
        mine.close()


def test_it_does_not_pass_for_one_that_keeps_mail_here(rt: Runtime, tmp_path: Path) -> None:
    given: dict[str, object] = {name.lower(): value for name, value in REAL.items()}
    mine = runtime.build(settings_for(tmp_path, rt.settings.database, ferry_pier="pier.example", **given))
    try:
        assert mine.requires_launch
        assert not is_on_this_machine(mine.settings)
        assert sender_domain.carrier(mine) == "pier.example"
        progress = onboarding.load_progress(mine, protected=True)
        assert Task.MAIL in progress.done
        assert Task.DOMAIN in progress.missing
    finally:
        mine.close()


def test_the_desk_offers_it_with_its_fields_and_keeps_it_once_it_works(client: FlaskClient, rt: Runtime) -> None:
    enter(client, rt)
    page = said(client, "mail")
    assert 'id="carrier-ferry"' in page
    assert "Slow, but it goes whatever the weather." in page
    assert '<label for="ferry_pier">The name of your pier' in page
    assert 'type="password"' in page.split('id="ferry_pier"')[1].split(">")[0]
    desk_settings.save(rt, SENDER, None)
    empty = post(client, f"{DESK}/mail", mailer="ferry", ferry_pier="")
    assert empty.status_code == 422
    assert "Please fill in “The name of your pier”." in unescape(empty.text)
    shut = post(client, f"{DESK}/mail", mailer="ferry", ferry_pier="closed.example")
    assert shut.status_code == 422
    assert "The ferry does not go." in shut.text
    assert rt.mailer.name == "outbox"
    assert post(client, f"{DESK}/mail", mailer="ferry", ferry_pier="pier.example").status_code == 303
    assert rt.mailer.name == "ferry"
    page = said(client, "mail")
    assert "pier.example" not in page.split("<main")[1].replace("Such as pier.example.", "")
    assert "Leave it empty to keep it." in page
    assert post(client, f"{DESK}/mail", mailer="ferry", ferry_pier="").status_code == 303, "the secret is kept"
    assert "The ferry" in said(client, "")


def test_its_refusal_of_a_mail_has_words(client: FlaskClient, rt: Runtime) -> None:
    enter(client, rt)
    desk_settings.save(rt, SENDER, None)
    assert post(client, f"{DESK}/mail", mailer="ferry", ferry_pier="closed.example", act="anyway").status_code == 303
    who = a_colleague(rt, "other@example.org")
    which = mailer_check.send(rt, Account(who.id, Role.OWNER, "Dana", who.email, True, None))
    run_tick(rt)
    found = mailer_check.load_result(rt, which)
    assert found is not None
    assert found.said == "The ferry does not go."


# The settings


@pytest.mark.parametrize("page", ["practice", "sender", "look", "hours"])
def test_a_setting_is_read_from_the_environment_and_asked_for_on_its_page(
    monkeypatch: pytest.MonkeyPatch, client: FlaskClient, rt: Runtime, page: Page
) -> None:
    name = f"toy_{page}"
    setenv(monkeypatch, **{name.upper(): " a dog "})
    assert getattr(load(_env_file=None), name) == "a dog"
    enter(client, rt)
    shown = said(client, page)
    assert f'<label for="{name}">A toy of the page {page}' in shown
    assert f'id="{name}-hint">Set it to words.<' in shown
    form = desk_settings.current(rt, *on_page(page)) | SENDER | {"practice_name": "Dana Oak"}
    wrong = post(client, f"{DESK}/{page}", **form | {name: "x" * 60})
    assert wrong.status_code == 422
    assert f'href="#{name}"' in wrong.text
    assert post(client, f"{DESK}/{page}", **form | {name: "a dog"}).status_code == 303
    assert getattr(rt.settings, name) == "a dog"
    assert f'id="{name}" name="{name}" type="text" value="a dog"' in said(client, page)


def test_nurture_config_prints_them(monkeypatch: pytest.MonkeyPatch, rt: Runtime) -> None:
    monkeypatch.chdir(rt.settings.instance_dir)
    setenv(monkeypatch, INSTANCE_DIR=str(rt.settings.instance_dir), TOY_PRACTICE="a dog", FERRY_PIER="pier.example")
    shown = CliRunner().invoke(cli, ["config"]).stdout
    assert "a dog  (environment)" in next(line for line in shown.splitlines() if line.startswith("NURTURE_TOY_PRACTICE"))
    assert "set  (environment)" in next(line for line in shown.splitlines() if line.startswith("NURTURE_FERRY_PIER"))


def test_a_letter_may_say_what_a_setting_says(rt: Runtime, clock: ManualClock, tmp_path: Path) -> None:
    folder = with_hole(rt, tmp_path / "letters", "With us in the room: {{ practice.toy }}.")
    with pytest.raises(PublishingRefused, match=r"`practice\.toy` is empty.* Set NURTURE_TOY_PRACTICE \(docs/reference"):
        publishing.load_folder(rt, folder)
    desk_settings.save(rt, {"toy_practice": "a dog"}, None)
    publishing.load_folder(rt, folder)
    a_subscriber(rt)
    run_tick(rt)
    clock.advance(days=10)
    run_tick(rt)
    assert any("With us in the room: a dog." in mail.part("plain") for mail in inbox(rt))
