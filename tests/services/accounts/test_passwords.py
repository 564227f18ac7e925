"""Which passwords are good enough, and how they and the second proof are kept."""

from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from nurture.domain.user import FREE_TRIES, Permission, Role, allows, wait_after
from nurture.ids import UserId
from nurture.services.accounts.passwords import PasswordRefused, check_password, fits, hash_password, is_dated
from nurture.services.accounts.second_factor import (
    app_uri,
    looks_like_recovery,
    new_recovery_codes,
    new_secret,
    picture,
    recovery_hash,
    step_of,
)

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("password", "said"),
    [("short", "at least 12"), ("x" * 201, "at most 200"), ("password1234", "guessed"), ("dana quill 2026", "guessed"),
     ("qwertyuiop12", "guessed")],
)  # fmt: skip
def test_a_password_that_would_be_guessed_is_refused(password: str, said: str) -> None:
    with pytest.raises(PasswordRefused, match=said):
        check_password(password, ["Dana Quill", "dana.quill@example.org"])


@pytest.mark.parametrize(
    "password",
    ["correcthorsebatterystaple", "correct horse battery staple", "Correct-Horse-Battery-Staple",
     "correct_horse_battery_staple1!", "C0rrectHorseBatterySt@ple",
     "ｃｏｒｒｅｃｔ horse battery staple", "maytheforcebewithyou", "May the Force be with you!",
     "to be, or not to be: that is the question", "the quick brown fox jumps over the lazy dog", "iloveyouverymuch"],
)  # fmt: skip
def test_a_phrase_that_everybody_knows_is_refused_however_it_is_spelled(password: str) -> None:
    with pytest.raises(PasswordRefused, match="well-known phrase"):
        check_password(password)


@pytest.mark.parametrize("password", ["danaquill2026", "Quill.Dana.1970", "dana.quill.example", "oak-street-dana"])
def test_a_password_made_of_its_owner_s_name_address_or_practice_is_refused(password: str) -> None:
    with pytest.raises(PasswordRefused, match="about you"):
        check_password(password, ["Dana Quill", "dana.quill@example.org", "Dana from Oak Street"])


@pytest.mark.parametrize(
    "password",
    [
        "quiet lantern over marsh water",
        "grauer Fähren-Regen 7 Tage",
        "x7#mQ9v!Lp2z",
        "§+=~(;^&<|:}'[",
        "é" * 3 + " harbour oboe fig",
    ],
)
def test_unrelated_words_and_random_signs_are_fine(password: str) -> None:
    check_password(password, ["Dana Quill"])


def test_a_stored_password_fits_only_itself() -> None:
    stored = hash_password("quiet lantern over marsh water")
    assert stored.startswith("$argon2id$")
    assert "lantern" not in stored
    assert fits("quiet lantern over marsh water", stored)
    assert not fits("quiet lantern over marsh wate", stored)
    assert not fits("anything", None)
    assert not is_dated(stored)
    assert is_dated("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG")


def test_a_code_is_good_for_its_half_minute_and_one_on_either_side() -> None:
    secret = new_secret()
    for seconds in (-30, 0, 30):
        moment = NOW + timedelta(seconds=seconds)
        assert step_of(secret, pyotp.TOTP(secret).at(moment), NOW) == int(moment.timestamp()) // 30
    for seconds in (-90, 90):
        code = pyotp.TOTP(secret).at(NOW + timedelta(seconds=seconds))
        if code not in {pyotp.TOTP(secret).at(NOW + timedelta(seconds=s)) for s in (-30, 0, 30)}:
            assert step_of(secret, code, NOW) is None
    code = pyotp.TOTP(secret).at(NOW)
    assert step_of(secret, f" {code[:3]} {code[3:]} ", NOW) is not None
    assert step_of(secret, "", NOW) is None


def test_recovery_codes_are_many_different_and_forgiving_to_type() -> None:
    codes = new_recovery_codes()
    who, other = UserId("1" * 32), UserId("2" * 32)
    assert len(set(codes)) == 10
    for code in codes:
        assert looks_like_recovery(code)
        assert recovery_hash(who, code) == recovery_hash(who, code.lower().replace("-", " "))
        assert recovery_hash(who, code) != recovery_hash(other, code)
    assert not looks_like_recovery("123456")


def test_the_app_is_told_who_and_where_by_a_picture_that_needs_nothing_from_elsewhere() -> None:
    uri = app_uri("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "Oak Street", "dana@example.org")
    assert uri.startswith("otpauth://totp/Oak%20Street:dana%40example.org?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")
    drawn = picture(uri)
    assert drawn.startswith("<svg")
    assert "style=" not in drawn


def test_waits_grow_and_end_and_roles_include_each_other() -> None:
    waits = [wait_after(n) for n in range(FREE_TRIES, FREE_TRIES + 12)]
    assert not any(wait_after(n) for n in range(FREE_TRIES))
    assert waits == sorted(waits)
    assert waits[0] == timedelta(seconds=30)
    assert waits[-1] == timedelta(minutes=15)
    assert [[allows(role, need) for need in Permission] for role in (Role.VIEWER, Role.EDITOR, Role.OWNER)] == [
        [True, False, False], [True, True, False], [True, True, True],
    ]  # fmt: skip
