"""Settings that become a line of a protocol: what is taken, what is trimmed, and what is refused without being quoted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.setting_values import (
    SmtpAddress,
    ValueRefused,
    header_value,
    http_authority,
    is_smtp_path,
    parse_smtp_url,
    write_smtp_url,
)
from nurture.settings import SettingRefused
from tests.conftest import settings_for

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=40)


@given(user=TEXT.filter(bool), password=TEXT, port=st.integers(1, 65535), encrypted=st.booleans())
def test_what_is_written_is_what_is_read(user: str, password: str, port: int, encrypted: bool) -> None:
    address = SmtpAddress("mail.example.org", port, user, password, encrypted)
    assert parse_smtp_url(write_smtp_url(address)) == address


@given(st.text(max_size=60))
def test_whatever_is_typed_is_read_or_refused_without_a_traceback(text: str) -> None:
    for url in (text, f"smtp://{text}", f"smtp://dana:{text}@mail.example.org:587"):
        try:
            parse_smtp_url(url)
        except ValueRefused as refused:
            assert len(text) < 12 or text not in str(refused)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://dana:p#ss@mail.example.org", ("mail.example.org", 587, "dana", "p#ss")),
        ("smtps://dana:p/w@mail.example.org", ("mail.example.org", 465, "dana", "p/w")),
        ("smtp://dana@oak.example:p@w@mail.example.org:2525/", ("mail.example.org", 2525, "dana@oak.example", "p@w")),
        ("smtp://dana:p%40w%C3%A4@[::1]:25", ("::1", 25, "dana", "p@wä")),
        ("smtp://127.0.0.1:25", ("127.0.0.1", 25, "", "")),
        (" smtp://mail.example.org\n", ("mail.example.org", 587, "", "")),
    ],
)
def test_how_an_address_of_a_mail_server_is_read(url: str, expected: tuple[str, int, str, str]) -> None:
    found = parse_smtp_url(url)
    assert (found.host, found.port, found.user, found.password) == expected


SECRET = "hush-hush-ä"


@pytest.mark.parametrize(
    "url",
    [
        f"http://dana:{SECRET}@mail.example.org", f"smtp://dana:{SECRET}@", f"smtp://dana:{SECRET}@mail.example.org:x",
        f"smtp://dana:{SECRET}@mail.example.org:99999", f"smtp://dana:{SECRET}@mail example.org",
        f"smtp://dana:{SECRET}@mail.example.org/x#y", f"smtp://dana:{SECRET}%E4@mail.example.org",
        f"smtp://dana:{SECRET}%0Ax@mail.example.org", f"smtp://dana:{SECRET}@mäil.example.org",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_used_is_named_and_its_password_is_not(url: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingRefused) as refused:
        settings_for(tmp_path, mailer="smtp", smtp_url=url, from_email="a@example.org", postal_address="x")
    assert "NURTURE_SMTP_URL" in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "hush" not in repr(refused.value)


@pytest.mark.parametrize("typed", ["SG.abc\n", "  SG.abc\r\n", "\tSG.abc "])
def test_white_space_around_a_key_is_dropped(typed: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    settings = settings_for(
        tmp_path, mailer="sendgrid", sendgrid_api_key=typed, from_email="a@example.org", postal_address="x"
    )  # fmt: skip
    assert settings.sendgrid_api_key is not None
    assert settings.sendgrid_api_key.get_secret_value() == "SG.abc"


@pytest.mark.parametrize("typed", ["SG.a\nb", "SG.a\rX: y", "SG.ä", "SG. a", "SG.\x7f", "\n"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_unquoted(typed: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingRefused) as refused:
        settings_for(
            tmp_path, mailer="sendgrid", sendgrid_api_key=typed, from_email="a@example.org", postal_address="x"
        )  # fmt: skip
    assert "NURTURE_SENDGRID_API_KEY" in str(refused.value)
    assert "SG." not in str(refused.value)


@given(st.text(max_size=40))
def test_a_header_value_is_visible_ascii(text: str) -> None:
    try:
        found = header_value(text)
    except ValueRefused:
        return
    assert found.isascii()
    assert found.isprintable()
    assert " " not in found


@pytest.mark.parametrize(
    "text", ["user@api.example.org", "api.example.org:x", "api\r\nX: y", "äpi.example.org", "", "api.example.org/"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueRefused):
        http_authority(text)


@pytest.mark.parametrize("text", ["a b@example.org", "a@example.org\r\n", "<a@example.org>", "ä@example.org", "nobody", ""])
def test_what_cannot_stand_in_an_envelope_is_known(text: str) -> None:
    assert not is_smtp_path(text)
    assert is_smtp_path("a.b+c@xn--exmple-cua.example")
