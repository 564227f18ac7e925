"""A wrong setting says which variable, which value and what to do; a secret is never repeated."""

from pathlib import Path

import pytest

from nurture.settings import PREFIX, SettingRefused, Settings, check_value, is_loopback, load, unknown_variables

SENDGRID = {
    "MAILER": "sendgrid",
    "SENDGRID_API_KEY": "SG.a-key",
    "FROM_EMAIL": "letters@example.org",
    "POSTAL_ADDRESS": "1 Oak Street",
    "BASE_URL": "https://letters.example.org",
}
SMTP = {**SENDGRID, "MAILER": "smtp", "SMTP_URL": "smtp://robin:hunter2@mail.example.org:587"}


@pytest.fixture(autouse=True)
def _an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`.env` is read from the current folder."""
    monkeypatch.chdir(tmp_path)


def setenv(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(PREFIX + name, value)


def refusal(monkeypatch: pytest.MonkeyPatch, **values: str) -> str:
    """What the installation says to these variables."""
    setenv(monkeypatch, **values)
    with pytest.raises(SettingRefused) as refused:
        load()
    return str(refused.value)


# The list of settings


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_means_and_what_to_set_it_to(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    assert str(extra["remedy"]).endswith(".")


def test_an_installation_starts_without_any_setting_and_sends_nothing_out() -> None:
    settings = load()
    assert settings.mailer == "outbox"
    assert settings.listen == "127.0.0.1:8000"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    without = load()
    setenv(monkeypatch, **{name.upper(): ""})
    assert load() == without


def test_the_environment_wins_over_the_file_and_an_argument_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("NURTURE_BATCH_SIZE=10\nNURTURE_LEASE_SECONDS=90\nNURTURE_FROM_NAME=Dana\n", "utf-8")
    setenv(monkeypatch, BATCH_SIZE="20", LEASE_SECONDS="100")
    settings = load(lease_seconds=110)
    assert (settings.from_name, settings.batch_size, settings.lease_seconds) == ("Dana", 20, 110)


def test_names_of_before_go_on_working_and_the_new_ones_win(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, COLOUR="#2d5a87")
    Path(".env").write_text("NURTURE_PRACTICE_LICENCE=L-1234\n")
    found = load()
    assert (found.color, found.practice_license) == ("#2d5a87", "L-1234")
    assert unknown_variables() == []
    setenv(monkeypatch, COLOR="#1f5f5b")
    assert load().color == "#1f5f5b"


def test_other_peoples_variables_in_the_file_are_let_alone() -> None:
    Path(".env").write_text("POSTGRES_PASSWORD=x\n", "utf-8")
    assert load() == load(_env_file=None)


# Wrong values


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("BASE_URL", "letters.example.org", "such as https://letters.example.org"),
        ("BASE_URL", "ftp://letters.example.org", "such as https://letters.example.org"),
        ("BASE_URL", "https://", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters.example.org/?a=1", "such as https://letters.example.org"),
        ("BASE_URL", "http://[::1", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters.example.org/letters", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters .example.org", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters.example.org:0", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters_example!.org", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters.example.org/nurture", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters.example.org/?", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters.example.org/#", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters .example.org", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters.example.org/ x", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters.exam\nple.org", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters.example.org:99999", "such as https://letters.example.org"),
        ("BASE_URL", "https://letters..example.org", "such as https://letters.example.org"),
        ("BASE_URL", f"https://{'a' * 64}.example.org", "such as https://letters.example.org"),
        ("BASE_URL", f"https://{'a.' * 124}example", "such as https://letters.example.org"),
        ("LISTEN", "8000", "HOST:PORT"),
        ("LISTEN", "a b:8000", "HOST:PORT"),
        ("LISTEN", "127.0.0.1:²", "HOST:PORT"),
        ("LISTEN", "127.0.0.1:", "HOST:PORT"),
        ("LISTEN", "127.0.0.1:http", "HOST:PORT"),
        ("LISTEN", "127.0.0.1:65536", "HOST:PORT"),
        ("MAILER", "pigeon", "Set it to outbox, sendgrid"),
        ("SENDGRID_HOST", "api.sendgrid.com", "https://api.sendgrid.com"),
        ("TIME_ZONE", "Berlin", "Europe/Berlin"),
        ("TIME_ZONE", "../UTC", "Europe/Berlin"),
        ("TICK_SECONDS", "0", "0.1–3600"),
        ("TICK_SECONDS", "nan", "0.1–3600"),
        ("BATCH_SIZE", "5000", "1–1000: SendGrid takes at most 1,000"),
        ("BATCH_SIZE", "0", "1–1000"),
        ("BATCH_SIZE", "many", "1–1000"),
        ("SEND_CONCURRENCY", "257", "1–256"),
        ("MAX_SENDS_PER_SECOND", "0", "above 0"),
        ("MAX_SENDS_PER_SECOND", "-1", "above 0"),
        ("LEASE_SECONDS", "59", "60–3600"),
        ("LEASE_SECONDS", "3601", "60–3600"),
        ("CLOCK_SPEED", "0.5", "up to 1000000"),
        ("CLOCK_SPEED", "inf", "up to 1000000"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, remedy: str
) -> None:
    said = refusal(monkeypatch, **{name: value})
    assert said.startswith(f"NURTURE_{name} is {value!r}, which is ")
    assert remedy in said
    assert said.endswith("(docs/reference.md, Environment)")


@pytest.mark.parametrize("value", ["mysql://localhost/nurture", "postgres://localhost/nurture", "nurture.db"])
def test_a_database_we_cannot_use_is_answered_with_those_we_can(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    said = refusal(monkeypatch, DATABASE_URL=value)
    assert said.startswith("NURTURE_DATABASE_URL is ")
    assert "Set it to sqlite:///path/to/file.db or postgresql+psycopg://user:password@host/name." in said


@pytest.mark.parametrize("value", ["sqs://hunter2@localhost", "localhost:6379", "http://hunter2@localhost"])
def test_a_broker_we_cannot_use_is_answered_with_those_we_can(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    said = refusal(monkeypatch, BROKER_URL=value, DATABASE_URL="postgresql+psycopg://localhost/nurture")
    assert said.startswith(
        "NURTURE_BROKER_URL is set, which is not a broker this service can use. Set it to redis://host:6379/0,"
    )
    assert "hunter2" not in said


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal(monkeypatch, MAILER="pigeon", BATCH_SIZE="0", TIME_ZONE="Berlin").splitlines()
    assert sorted(line.split()[0] for line in said) == ["NURTURE_BATCH_SIZE", "NURTURE_MAILER", "NURTURE_TIME_ZONE"]


def test_a_wrong_value_in_the_file_is_named_too() -> None:
    Path(".env").write_text("NURTURE_BATCH_SIZE=5000\n", "utf-8")
    with pytest.raises(SettingRefused, match=r"\.env:1: NURTURE_BATCH_SIZE is '5000'"):
        load()


# What becomes a header or a line of a protocol, through every door


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("FROM_EMAIL", "Dana <dana@oak.example>", "a name or angle brackets"),
        ("FROM_EMAIL", "nope", "is not an e-mail address"),
        ("FROM_EMAIL", "dana@oak", "is not an e-mail address"),
        ("FROM_EMAIL", "dàna@oak.example", "is not an e-mail address that every mail server takes"),
        ("FROM_EMAIL", '"dana weber"@oak.example', "is not an e-mail address"),
        ("FROM_EMAIL", "dana@[127.0.0.1]", "is not an e-mail address"),
        ("FROM_EMAIL", "dana@oak.example\nBcc: x@oak.example", "is not one e-mail address"),
        ("FROM_EMAIL", "=?utf-8?q?victim=40evil.example=2C?=@oak.example", "“=?”"),
        ("FROM_EMAIL", "d" * 250 + "@oak.example", "longer than 254 characters"),
        ("REPLY_TO", "a@oak.example, b@oak.example", "is not one e-mail address"),
        ("REPLY_TO", "a@oak.example; b@oak.example", "is not one e-mail address"),
        ("FROM_NAME", "Dana\r\nBcc: x@oak.example", "holds a line break or a control character"),
        ("FROM_NAME", "Dana\x07", "holds a line break or a control character"),
        ("FROM_NAME", "Da\u2028na", "holds a line break or a control character"),
        ("FROM_NAME", "Dana\ufffe", "holds a line break or a control character"),
        ("FROM_NAME", "Dana\u202e", "turns the direction"),
        ("FROM_NAME", "=?utf-8?q?=0D=0ABcc:_x?=", "“=?”"),
        ("FROM_NAME", "D" * 61, "at most 60 characters"),
        ("PLAIN_FROM_NAME", "=?utf-8?q?a?=", "“=?”"),
        ("PRACTICE_NAME", "D" * 121, "at most 120 characters"),
        ("PRACTICE_FEE", "free\nof charge", "holds a line break"),
        ("POSTAL_ADDRESS", "P" * 201, "at most 200 characters"),
    ],
)
def test_a_value_that_no_header_can_hold_is_refused_alike_by_every_door(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    by_environment = refusal(monkeypatch, **{name: value})
    monkeypatch.delenv(PREFIX + name)
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    Path(".env").write_bytes(f'NURTURE_{name}="{quoted}"\n'.encode())
    with pytest.raises(SettingRefused) as by_file:
        load()
    with pytest.raises(SettingRefused) as by_desk:
        check_value(name.lower(), value)
    for said in (by_environment, str(by_file.value), by_desk.value.reason):
        assert reason in said


@pytest.mark.parametrize(
    ("name", "typed", "kept"),
    [
        ("FROM_EMAIL", " dana@oak.example ", "dana@oak.example"),
        ("FROM_EMAIL", "dana@münchen.example", "dana@xn--mnchen-3ya.example"),
        ("FROM_NAME", "Zoë’s “letters” ∙ 李", "Zoë’s “letters” ∙ 李"),
        ("FROM_NAME", "Mu\u0308ller", "Müller"),
        ("POSTAL_ADDRESS", "PO Box 12\nPortland,\r\n\nOR 97201", "PO Box 12, Portland, OR 97201"),
        ("BASE_URL", "https://münchen.example/", "https://xn--mnchen-3ya.example"),
        ("LISTEN", "[::1]:8000", "[::1]:8000"),
    ],
)
def test_a_value_is_kept_as_mail_and_web_write_it(monkeypatch: pytest.MonkeyPatch, name: str, typed: str, kept: str) -> None:
    setenv(monkeypatch, **{name: typed})
    assert getattr(load(), name.lower()) == kept


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("SMTP_URL", "mail.example.org:587", "smtp://"),
        ("SMTP_URL", "smtp://", ""),
        ("SMTP_URL", "smtp://robin:hunter2@mail.example.org:many", "port"),
        ("SMTP_URL", "smtp://robin:hunter2@mail.example.org:70000", "port"),
        ("SMTP_URL", "smtp://robin:hunter2@", ""),
        ("SMTP_URL", "smtp://robin:hunter2%0d@mail.example.org", "line break"),
        ("SMTP_URL", "smtp://robin:hunter2%ff@mail.example.org", "UTF-8"),
        ("SENDGRID_API_KEY", "SG.hunter2\nx", "line break"),
        ("SENDGRID_API_KEY", "SG.hunter2ä", ""),
        ("FIELD_KEYS", "hunter2", "shorter than 32 characters"),
        ("FIELD_KEYS", "hunter2" * 6 + "," + "hunter2" * 6, "the same key twice"),
        ("DATABASE_URL", "postgresql+psycopg://u:hunter2@x@host/name", "“@”, to be written %40"),
        ("DATABASE_URL", "postgresql+psycopg://u:hunter2@host:many/name", "port"),
        ("DATABASE_URL", "postgresql+psycopg://u:hunter2@host", "names no database"),
        ("DATABASE_URL", "sqlite:///:memory:", "in memory"),
        ("BROKER_URL", "redis://:hunter2#x@localhost:6379/0", "“#”, to be written %23"),
        ("BROKER_URL", "redis://:hunter2@localhost:many/0", "port"),
        ("BASE_URL", "https://robin:hunter2@letters.example.org", "“@”"),
        ("BASE_URL", "https://hunter2@letters.example.org", "“@”"),
        ("SENDGRID_HOST", "https://robin:hunter2@letters.example.org", "“@”"),
        ("FROM_EMAIL", "smtp://robin:hunter2@mail.example.org", ""),
        ("TIME_ZONE", "SG.hunter2", ""),
    ],
)
def test_nonsense_in_a_secret_is_explained_without_any_of_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    said = refusal(monkeypatch, **{name: value})
    assert said.startswith(f"NURTURE_{name} is set, which ")
    assert reason in said
    assert "hunter2" not in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("name", "value"), [("INSTANCE_DIR", "~/nurture"), ("LOGO", "~/logo.png")])
def test_a_home_folder_that_only_a_shell_knows_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert "begins with “~”, which only a shell replaces" in refusal(monkeypatch, **{name: value})


def test_space_around_a_key_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, SENDGRID_API_KEY="  SG.a-key\r\n")
    key = load().sendgrid_api_key
    assert key is not None
    assert key.get_secret_value() == "SG.a-key"


# Secrets


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "hunter2"),
        ("BROKER_URL", "redis://:hunter2@localhost"),
        ("DATABASE_URL", "postgres://nurture:hunter2@localhost/nurture"),
    ],
)
def test_a_refusal_names_a_secret_but_never_repeats_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    said = refusal(monkeypatch, **{name: value})
    assert said.startswith(f"NURTURE_{name} is ")
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "hunter2" * 6),
        ("FIELD_KEYS", "hunter2" * 6),
        ("SENDGRID_API_KEY", "SG.hunter2"),
        ("SMTP_URL", "smtp://robin:hunter2@mail.example.org"),
        ("DATABASE_URL", "postgresql+psycopg://nurture:hunter2@localhost/nurture"),
        ("BROKER_URL", "amqps://nurture:hunter2@localhost/nurture"),
    ],
)
def test_settings_print_without_their_secrets(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    setenv(monkeypatch, **{"DATABASE_URL": "postgresql+psycopg://localhost/nurture", name: value})
    settings = load()
    assert getattr(settings, name.lower()) is not None
    assert "hunter2" not in f"{settings!r} {settings}"


# Settings that belong together


@pytest.mark.parametrize(
    ("mailer", "needed"),
    [
        ("sendgrid", "NURTURE_SENDGRID_API_KEY, NURTURE_FROM_EMAIL, NURTURE_POSTAL_ADDRESS are missing"),
        ("smtp", "NURTURE_SMTP_URL, NURTURE_FROM_EMAIL, NURTURE_POSTAL_ADDRESS are missing"),
    ],
)
def test_everything_a_mailer_lacks_is_named_at_once(monkeypatch: pytest.MonkeyPatch, mailer: str, needed: str) -> None:
    said = refusal(monkeypatch, MAILER=mailer)
    assert said.startswith(f"{needed}: the {mailer} mailer needs them. Set them in the environment or in .env")


@pytest.mark.parametrize("name", ["SENDGRID_API_KEY", "FROM_EMAIL", "POSTAL_ADDRESS"])
def test_the_one_setting_that_is_missing_is_named_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    said = refusal(monkeypatch, **{**SENDGRID, name: ""})
    assert said.startswith(f"NURTURE_{name} is missing: the sendgrid mailer needs it. Set it in")


@pytest.mark.parametrize("complete", [SENDGRID, SMTP], ids=["sendgrid", "smtp"])
def test_a_mailer_that_lacks_nothing_is_taken(monkeypatch: pytest.MonkeyPatch, complete: dict[str, str]) -> None:
    setenv(monkeypatch, **complete)
    assert load().mailer == complete["MAILER"]


@pytest.mark.parametrize(
    "address",
    ["http://letters.example.org", "http://10.0.0.5:8000", "http://localhost.example.org", "http://127.0.0.1.example.org"],
)
@pytest.mark.parametrize("name", ["BASE_URL", "SENDGRID_HOST"])
def test_outside_this_machine_links_and_keys_travel_only_by_https(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    said = refusal(monkeypatch, **{**SENDGRID, name: address})
    assert said.startswith(f"NURTURE_{name} is {address!r}, but outside this machine it must be https")
    assert "Set it to an https address" in said


@pytest.mark.parametrize("address", ["http://localhost:9000", "http://127.0.0.1:9000", "http://[::1]:9000"])
def test_a_stand_in_on_this_machine_needs_no_https(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    setenv(monkeypatch, **{**SENDGRID, "BASE_URL": address, "SENDGRID_HOST": address})
    assert load().sendgrid_host == address


@pytest.mark.parametrize("database", ["", "sqlite:////srv/nurture.db"], ids=["embedded", "named"])
def test_a_broker_with_sqlite_is_refused_because_its_workers_could_not_read_the_file(
    monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    said = refusal(monkeypatch, BROKER_URL="redis://localhost", DATABASE_URL=database)
    assert said.startswith("NURTURE_BROKER_URL is set, but the database is SQLite, a file on one machine")
    assert "Set NURTURE_DATABASE_URL to postgresql+psycopg://" in said


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+socket", "amqp", "amqps"])
def test_a_broker_with_postgresql_is_taken(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    setenv(monkeypatch, BROKER_URL=f"{scheme}://localhost", DATABASE_URL="postgresql+psycopg://localhost/nurture")
    broker = load().broker_url
    assert broker is not None
    assert broker.get_secret_value() == f"{scheme}://localhost"


def test_the_outbox_needs_no_https_because_nothing_leaves_the_house(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, BASE_URL="http://letters.example.org")
    assert load().base_url == "http://letters.example.org"


@pytest.mark.parametrize(
    ("host", "stays"),
    [
        ("localhost", True), ("127.0.0.1", True), ("127.8.9.10", True), ("::1", True), ("10.0.0.1", False), ("0.0.0.0", False),
        ("example.org", False), ("localhost.example.org", False), ("", False), (None, False),
    ],
)  # fmt: skip
def test_what_stays_on_this_machine(host: str | None, stays: bool) -> None:
    assert is_loopback(host) is stays


# What follows from settings


def test_the_address_of_the_site_has_no_slash_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, BASE_URL="https://letters.example.org/")
    assert load().base_url == "https://letters.example.org"


def test_the_embedded_database_lives_in_the_instance_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    setenv(monkeypatch, INSTANCE_DIR="data")
    assert load().database == f"sqlite:///{tmp_path.resolve()}/data/nurture.db"
    setenv(monkeypatch, DATABASE_URL="postgresql+psycopg://localhost/nurture")
    assert load().database == "postgresql+psycopg://localhost/nurture"


def test_notices_go_to_whoever_reads_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().notices_to == load().sender == "letters@localhost.localdomain"
    setenv(monkeypatch, FROM_EMAIL="letters@example.org")
    assert load().notices_to == load().sender == "letters@example.org"
    setenv(monkeypatch, REPLY_TO="dana@example.org")
    assert (load().notices_to, load().sender) == ("dana@example.org", "letters@example.org")


def test_a_misspelt_variable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    setenv(monkeypatch, BATCHSIZE="5", BATCH_SIZE="5", SENDGRID_KEY="x")
    monkeypatch.setenv("NURTURED", "x")
    assert unknown_variables() == [
        "NURTURE_BATCHSIZE is not a setting. Did you mean NURTURE_BATCH_SIZE?",
        "NURTURE_SENDGRID_KEY is not a setting. Did you mean NURTURE_SENDGRID_API_KEY?",
    ]


def test_settings_cannot_be_changed_while_running() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().batch_size = 1


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("https://bücher.example/", "https://xn--bcher-kva.example"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        (" https://letters.example.org:8443\n", "https://letters.example.org:8443"),
        (f"https://{'a.' * 123}example", f"https://{'a.' * 123}example"),
    ],
)
def test_a_base_url_is_scheme_host_and_port_in_ascii(monkeypatch: pytest.MonkeyPatch, typed: str, kept: str) -> None:
    setenv(monkeypatch, BASE_URL=typed)
    assert load().base_url == kept
