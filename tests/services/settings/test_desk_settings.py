"""The desk's settings: checked, kept, over the environment's, and known to every process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from nurture import dispatch, log, runtime
from nurture.delivery.tick import tick
from nurture.ids import UserId, new_id
from nurture.mailers.description import FieldsRefused
from nurture.mailers.outbox import Outbox
from nurture.mailers.smtp import Smtp, kept_address, url_from_parts
from nurture.runtime import Runtime, keep_up
from nurture.services.settings import desk_settings
from nurture.services.settings.desk_settings import SettingsRefused
from nurture.settings import DEFINITIONS, SettingRefused, on_page
from nurture.store.core.desk_schema import setting_overrides as table
from nurture.store.core.schema import steps
from tests.conftest import settings_for
from tests.letters.test_practice import png
from tests.people import a_subscriber, inbox
from tests.pictures import photograph

ME = UserId(new_id())
SENDER = {"from_email": "dana@oak.example", "postal_address": "PO Box 12\nPortland, OR 97201", "from_name": "Dana"}


@pytest.fixture
def other_process(rt: Runtime, database_url: str, tmp_path: Path) -> Iterator[Runtime]:
    """Another process of the same installation."""
    other = runtime.build(settings_for(tmp_path, database_url, from_name="Dana from Oak Street"))
    other.clock = rt.clock
    yield other
    other.close()


def kept(rt: Runtime) -> dict[str, str]:
    with rt.database.read() as db:
        return {row[0]: row[1] for row in db.execute(select(table.c.name, table.c.value))}


def wrong(rt: Runtime, **typed: str) -> str:
    with pytest.raises(SettingsRefused) as refused:
        desk_settings.save(rt, typed, ME)
    assert set(refused.value.errors) == set(typed)
    assert kept(rt) == {}
    return str(refused.value)


def test_what_the_desk_says_is_in_the_next_letter_of_every_process(rt: Runtime, other_process: Runtime) -> None:
    assert desk_settings.save(rt, {"practice_name": "Dana Oak", "practice_credential": "LCSW", "practice_state": "Oregon"}, ME)
    assert other_process.template_globals["practice"]["name"] == "Dana from Oak Street"
    here = dispatch.create_dispatcher(other_process)
    try:
        a_subscriber(other_process)
        tick(other_process, here.submit)  # which looks what the desk has set
        here.finish()
    finally:
        here.close()
    assert other_process.template_globals["practice"]["name"] == "Dana Oak"
    assert "Dana Oak, LCSW, Oregon" in inbox(other_process)[-1].part("plain")
    later = runtime.build(other_process.env_settings)
    assert later.practice.facts["name"] == "Dana Oak"
    later.close()


def test_what_nobody_changed_goes_on_following_the_environment(rt: Runtime, database_url: str, tmp_path: Path) -> None:
    shown = desk_settings.current(rt, *on_page("sender"))
    desk_settings.save(rt, shown | {"from_email": "dana@oak.example", "postal_address": "PO Box 12"}, ME)
    assert set(kept(rt)) == {"from_email", "postal_address"}
    later = runtime.build(settings_for(tmp_path, database_url, from_name="Oak Street"))
    assert (later.sender.name, later.sender.email) == ("Oak Street", "dana@oak.example")
    later.close()


def test_the_same_again_changes_nothing(rt: Runtime) -> None:
    assert desk_settings.save(rt, SENDER, ME)
    version = rt.version
    assert rt.settings.postal_address == "PO Box 12, Portland, OR 97201"
    assert not desk_settings.save(rt, SENDER, ME)
    assert rt.version == version


def test_an_empty_field_means_none_also_where_the_environment_says_something(
    rt: Runtime, database_url: str, tmp_path: Path
) -> None:
    host = runtime.build(settings_for(tmp_path, database_url, reply_days=3, practice_prescriber="Dr. Elm"))
    desk_settings.save(host, {"reply_days": "", "practice_prescriber": ""}, ME)
    assert host.settings.reply_days is None
    assert host.practice.facts["prescriber"] == ""
    host.close()


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        ("practice_name", " ", "readers must know who writes"),
        ("practice_fee", "x" * 121, "at most 120 characters"),
        ("from_name", "Ketamine letters", "“Ketamine”"),
        ("from_name", "", "the name that inboxes show"),
        ("from_name", "=?utf-8?q?=0D=0ABcc:_x?=", "mail programs take for encoded text"),
        ("practice_name", "Dana\u202e", "turns the direction"),
        ("plain_from_name", "Your therapist", "says nothing"),
        ("from_email", "dana@", "does not look like an e-mail address"),
        ("from_email", "", "type your e-mail address"),
        ("postal_address", "", "the law wants it"),
        ("reply_days", "many", "from 1 to 60"),
        ("reply_days", "61", "from 1 to 60"),
        ("reply_days", "²", "from 1 to 60"),
        ("color", "#fdf6d0", "too light"),
        ("color", "red", "is not a color"),
        ("time_zone", "Portland", "choose a place from the list"),
    ],
)
def test_what_cannot_be_taken_says_why_and_keeps_nothing(rt: Runtime, name: str, typed: str, said: str) -> None:
    assert said in wrong(rt, **{name: typed})


def test_control_characters_do_not_get_into_a_header(rt: Runtime) -> None:
    desk_settings.save(rt, {"from_name": "Dana\r\nBcc: x@example.org\0"}, ME)
    assert rt.sender.name == "Dana Bcc: x@example.org"


def test_a_fact_that_a_letter_says_plainly_cannot_be_taken_away(rt: Runtime) -> None:
    desk_settings.save(rt, {"practice_fee": "20 dollars"}, ME)
    with rt.database.begin() as db:
        plain = '---\nsubject: "Letter 1: where it came from"\nwait: 3 days\n---\nIt costs {{ practice.fee }}.\n'
        db.execute(update(steps).where(steps.c.key == "history").values(source=plain))
    with pytest.raises(SettingsRefused, match=r"Letter 1: where it came from.*says this"):
        desk_settings.save(rt, {"practice_fee": ""}, ME)
    assert rt.settings.practice_fee == "20 dollars"
    assert desk_settings.save(rt, {"practice_fee": "free"}, ME)


def test_a_logo_is_kept_shown_and_taken_away(rt: Runtime, other_process: Runtime) -> None:
    desk_settings.save_logo(rt, png(200, 48), ME)
    assert rt.sender.logo is not None
    keep_up(other_process)
    assert other_process.practice.logo is not None
    assert (other_process.practice.logo.width, other_process.practice.logo.height) == (200, 48)
    desk_settings.save_logo(rt, None, ME)
    assert rt.sender.logo is None
    with pytest.raises(SettingsRefused, match="no PNG or JPEG"):
        desk_settings.save_logo(rt, b"GIF89a", ME)
    desk_settings.save_logo(rt, photograph(), ME)
    assert rt.sender.logo is not None
    assert len(rt.sender.logo.content) <= 40 * 1024, "a photograph simply works"


def test_a_logo_of_the_environment_can_be_taken_away_at_the_desk(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "logo.png"
    file.write_bytes(png(200, 48))
    host = runtime.build(settings_for(tmp_path, database_url, logo=file))
    assert host.practice.logo is not None
    desk_settings.save_logo(host, None, ME)
    assert host.practice.logo is None
    host.close()


def test_a_value_that_an_older_version_kept_never_stops_a_start(
    rt: Runtime, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk_settings.save(rt, {"from_name": "Dana", "practice_fee": "free"}, ME)
    with rt.database.begin() as db:
        db.execute(update(table).where(table.c.name == "from_name").values(value="=?utf-8?q?a?="))
    later = runtime.build(settings_for(tmp_path, database_url, from_name="Oak Street"))
    assert (later.sender.name, later.settings.practice_fee) == ("Oak Street", "free")
    assert '"setting": "from_name"' in capsys.readouterr().err
    later.close()


@pytest.mark.parametrize("name", sorted(each for each, known in DEFINITIONS.items() if known.page and known.is_secret))
def test_every_secret_that_the_desk_keeps_is_sealed(rt: Runtime, name: str) -> None:
    desk_settings.save(rt, SENDER, ME)
    value = {"smtp_url": "smtp://u:hushhush@127.0.0.1:2525"}.get(name, "hushhush")
    desk_settings.save_mailer(rt, {"mailer": "outbox", name: value}, ME)
    with rt.database.read() as db:
        row = db.execute(select(table.c.value, table.c.value_encrypted).where(table.c.name == name)).one()
    assert row.value == ""
    assert b"hushhush" not in bytes(row.value_encrypted)


def smtp_password(rt: Runtime) -> str:
    address = kept_address(rt.settings)
    assert address is not None
    return address.password


def test_a_mailer_needs_a_sender_and_keeps_its_secret_sealed(rt: Runtime) -> None:
    chosen = {"mailer": "smtp", "smtp_url": url_from_parts("127.0.0.1", "2525", "dana@oak", "a p/ss:word", False)}
    with pytest.raises(SettingsRefused, match="Fill in the page “Sender” first"):
        desk_settings.save_mailer(rt, chosen, ME)
    desk_settings.save(rt, SENDER, ME)
    desk_settings.save_mailer(rt, chosen, ME)
    assert isinstance(rt.mailer, Smtp)
    assert desk_settings.mailer_form(rt.settings).items() >= {
        "mailer": "smtp", "sendgrid_api_key": "", "sendgrid_webhook_key": "", "smtp_host": "127.0.0.1", "smtp_port": "2525",
        "smtp_user": "dana@oak", "smtp_password": "", "smtp_secure": "",
    }.items()  # fmt: skip
    assert smtp_password(rt) == "a p/ss:word"
    with rt.database.read() as db:
        row = db.execute(select(table.c.value, table.c.value_encrypted).where(table.c.name == "smtp_url")).one()
    assert row.value == ""
    assert b"ss:word" not in bytes(row.value_encrypted)
    desk_settings.save_mailer(rt, {"mailer": "outbox"}, ME)
    assert isinstance(rt.mailer, Outbox)
    assert smtp_password(rt) == "a p/ss:word", "kept for when it is chosen again"


def test_whoever_hosts_it_decides_on_the_mailer_if_they_say_so(database_url: str, tmp_path: Path) -> None:
    host = runtime.build(settings_for(tmp_path, database_url, mailer="outbox"))
    with pytest.raises(SettingsRefused, match="Whoever hosts this service"):
        desk_settings.save_mailer(host, {"mailer": "smtp", "smtp_url": "smtp://127.0.0.1:2525"}, ME)
    host.close()


@pytest.mark.parametrize(
    ("host", "port", "field"),
    [("", "587", "smtp_host"), ("evil host", "587", "smtp_host"), ("a@b", "587", "smtp_host"),
     ("mail.example", "0", "smtp_port"), ("mail.example", "70000", "smtp_port"), ("mail.example", "x", "smtp_port")],
)  # fmt: skip
def test_a_mail_server_that_cannot_be_one_is_refused(host: str, port: str, field: str) -> None:
    with pytest.raises(FieldsRefused) as refused:
        url_from_parts(host, port, "", "", False)
    assert set(refused.value.errors) == {field}


def test_a_mailer_that_nobody_registered_is_refused(rt: Runtime) -> None:
    desk_settings.save(rt, SENDER, ME)
    with pytest.raises(SettingsRefused, match="choose what carries your mail"):
        desk_settings.save_mailer(rt, {"mailer": "pigeon"}, ME)
    assert rt.settings.mailer == "outbox"


def test_a_key_that_signs_nothing_is_refused(rt: Runtime) -> None:
    desk_settings.save(rt, SENDER, ME)
    with pytest.raises(SettingsRefused) as refused:
        desk_settings.save_mailer(
            rt, {"mailer": "sendgrid", "sendgrid_api_key": "SG.x", "sendgrid_webhook_key": "nonsense"}, ME
        )
    assert set(refused.value.errors) == {"sendgrid_webhook_key"}


def test_settings_that_do_not_fit_the_environment_any_more_leave_a_process_as_it_is(
    rt: Runtime, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk_settings.save(rt, SENDER, ME)
    host = runtime.build(settings_for(tmp_path, database_url, base_url="http://letters.oak.example"))
    desk_settings.save_mailer(rt, {"mailer": "smtp", "smtp_url": "smtp://127.0.0.1:2525"}, ME)
    keep_up(host)
    assert isinstance(host.mailer, Outbox)
    assert "settings_refused" in capsys.readouterr().err
    with pytest.raises(SettingRefused, match="https"):
        runtime.build(host.env_settings)
    host.close()


def test_the_log_names_settings_and_never_what_they_say(rt: Runtime, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()  # to the standard error of this test
    desk_settings.save(rt, SENDER, ME)
    desk_settings.save_mailer(rt, {"mailer": "smtp", "smtp_url": "smtp://u:hushhush@127.0.0.1:2525"}, ME)
    said = capsys.readouterr().err
    assert "settings_changed" in said
    assert "mail_settings_changed" in said
    assert "oak.example" not in said
    assert "hushhush" not in said
    assert "hushhush" not in repr(rt.settings)
