"""The desk's settings: what the practice is, who letters come from, how they look, what carries them. Saved here, used by
every process within seconds (runtime.keep_up).
"""

import re
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Mapping
from zoneinfo import available_timezones

from nurture import log
from nurture.characters import normalize
from nurture.config import LOGO_FACT
from nurture.encryption import Encrypted
from nurture.errors import NurtureError
from nurture.ids import UserId
from nurture.letters import dialect, gate
from nurture.letters.image_processing import AS_A_LOGO, PictureRefused, develop
from nurture.letters.practice import PracticeRefused, check_color
from nurture.letters.source import read_stored
from nurture.mailer_registry import MAILERS
from nurture.mailers.description import FieldsRefused, MailerDescription, describe
from nurture.runtime import Runtime, keep_up
from nurture.services.accounts.security_events import note
from nurture.services.addresses import InputRefused, parse_address
from nurture.settings import (
    DEFINITIONS,
    IN_LETTERS,
    MAIL_AT_THE_DESK,
    SettingRefused,
    Settings,
    as_text,
    check_value,
    chooses_mailer,
    with_facts,
)
from nurture.store.deliveries import send_blocks
from nurture.store.deliveries.send_blocks import BlockKind
from nurture.store.sequences import sequences
from nurture.store.state import setting_overrides

_log = log.get(__name__)

_LONGEST = 400
"""Characters of what is typed for a setting whose type bounds it."""
_MOST_TYPED = 2_000
"""Characters of a value with what is taken off it."""
_SECRETS = frozenset(name for name, each in DEFINITIONS.items() if each.is_secret)


class SettingsRefused(NurtureError):
    """Settings that cannot be taken; `errors`: what is wrong and what to do, by field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        """`errors`: at least one."""
        super().__init__(" ".join(errors.values()))
        self.errors = dict(errors)


def save(rt: Runtime, typed: Mapping[str, str], by: UserId | None, test_names: bool = False) -> bool:
    """Check and keep settings; returns whether any changed. `test_names`: whether addresses under .test are taken.

    What is typed as it was stays as it was: a setting nobody changed at the desk goes on following the environment.
    Raises SettingsRefused; then nothing is kept.
    """
    read, errors = _read(typed, test_names)
    now = rt.settings
    changes = {name: value for name, value in read.items() if name not in errors and value != as_text(getattr(now, name))}
    for name, letter in _missed(rt, {name for name, value in changes.items() if not value}).items():
        errors[name] = f"“{letter}” says this. Take it out of that letter first, or leave it here."
    if errors:
        raise SettingsRefused(errors)
    return _keep(rt, changes, by)


def save_logo(rt: Runtime, content: bytes | None, by: UserId | None) -> None:
    """Another logo, made as small as letters want it, or none. Raises SettingsRefused."""
    try:
        picture = b64encode(develop(content, AS_A_LOGO).content).decode() if content is not None else ""
    except PictureRefused as refused:
        raise SettingsRefused({"logo": f"This file {refused}. Please choose a picture that ends in .png or .jpg."}) from None
    _keep(rt, {LOGO_FACT: picture}, by)


def save_mailer(rt: Runtime, chosen: Mapping[str, str], by: UserId) -> None:
    """What carries mail from now on. Raises SettingsRefused: also where whoever hosts the service has chosen already."""
    if chooses_mailer(rt.env_settings):
        raise SettingsRefused(
            {"mailer": "Whoever hosts this service has chosen what carries mail, so it cannot be changed here."}
        )
    changes = {name: value for name, value in chosen.items() if name in MAIL_AT_THE_DESK}
    carried_by(rt, changes)
    _keep(rt, changes, by, "mail_settings_changed")
    with rt.database.begin() as db:
        send_blocks.unblock(db, BlockKind.PROVIDER)  # whoever refused mail until now is not asked any more


def carried_by(rt: Runtime, changes: Mapping[str, str]) -> Settings:
    """The settings as they would be with another mailer. Raises SettingsRefused unless mail could be carried like that."""
    try:
        _describe(changes.get("mailer", rt.settings.mailer)).check_values(changes)
    except FieldsRefused as refused:
        raise SettingsRefused(refused.errors) from None
    with rt.database.read() as db:
        said = {name: fact.value for name, fact in setting_overrides.all_overrides(db).items() if name not in MAIL_AT_THE_DESK}
    now = {name: as_text(getattr(rt.settings, name)) for name in MAIL_AT_THE_DESK}
    try:
        return with_facts(rt.env_settings, {**said, **now, **changes})
    except SettingRefused as refused:
        raise SettingsRefused(_in_plain_words(refused)) from None


def _in_plain_words(refused: SettingRefused) -> dict[str, str]:
    """What the settings have against a mailer, by field, for somebody who knows no variables."""
    if refused.names & {"from_email", "postal_address"}:
        said = "A mail service needs the address letters come from, and your postal address. Fill in the page “Sender” first."
    elif "base_url" in refused.names:
        said = (
            "Links in letters would lead to an address that is not protected (https). Ask whoever hosts this service to give "
            "it one first."
        )
    else:
        said = "Something is missing. Please fill in every field."
    return {"mailer": said}


def mailer_form(settings: Settings) -> dict[str, str]:
    """How mail leaves, with the fields of every mailer; never a secret."""
    form = {"mailer": settings.mailer}
    for name in MAILERS:
        form |= describe(name).form(settings)
    return form


def read_mailer_form(rt: Runtime, typed: Mapping[str, str]) -> dict[str, str]:
    """The form as settings of the mailer that is chosen in it. Raises SettingsRefused."""
    name = typed.get("mailer", "")
    try:
        return {"mailer": name, **_describe(name).read_form(typed, rt.settings)}
    except FieldsRefused as refused:
        raise SettingsRefused(refused.errors) from None


def _describe(name: str) -> MailerDescription:
    """The description of a mailer that somebody named. Raises SettingsRefused."""
    if name not in MAILERS:
        raise SettingsRefused({"mailer": "Please choose what carries your mail."})
    return describe(name)


def said_at_the_desk(rt: Runtime) -> frozenset[str]:
    """The names of all settings that the desk has a say in."""
    with rt.database.read() as db:
        return frozenset(setting_overrides.all_overrides(db))


def current(rt: Runtime, *names: str) -> dict[str, str]:
    """Settings as a form shows them."""
    return {name: as_text(getattr(rt.settings, name)) for name in names}


def _keep(rt: Runtime, changes: Mapping[str, str], by: UserId | None, kind: str = "settings_changed") -> bool:
    if not changes:
        return False
    written: dict[str, str | Encrypted] = {
        name: rt.cipher.encrypt(value, setting_overrides.field_of(name)) if value and name in _SECRETS else value
        for name, value in changes.items()
    }
    with rt.database.begin() as db:
        setting_overrides.put(db, written, by, rt.clock.real_now())
        note(rt, db, by, kind)
    keep_up(rt)
    _log.info("settings_changed", count=len(changes), version=rt.version)
    return True


def _missed(rt: Runtime, cleared: set[str]) -> dict[str, str]:
    """Settings among `cleared` without which a letter that goes out now would have a hole, with that letter's subject."""
    asked = {asked: name for asked, name in IN_LETTERS.items() if name in cleared}
    found: dict[str, str] = {}
    if not asked:
        return found
    without = {"practice": {**rt.template_globals["practice"], **dict.fromkeys(asked, "")}}
    with rt.database.read() as db:
        stored = [sequences.load(db, key) for key in sequences.all_keys(db)]
    for step in (step for one in stored if one is not None for step in one.steps):
        letter = read_stored(step.file_name, step.source)
        for hole in [] if letter.unreadable else dialect.missing_values(letter, without):
            if hole.name in asked:
                found.setdefault(asked[hole.name], letter.subject)
    return found


def _read(typed: Mapping[str, str], test_names: bool) -> tuple[dict[str, str], dict[str, str]]:
    read: dict[str, str] = {}
    errors: dict[str, str] = {}
    for name, value in typed.items():
        try:
            text = _READERS.get(name, _line)(_tidy(value, name), test_names)
            read[name] = as_text(check_value(name, text)) if text else ""
        except SettingRefused as refused:
            errors[name] = f"What you typed {refused.reason}. Please change it."
        except InputRefused as refused:
            errors[name] = str(refused)
    return read, errors


def _tidy(value: str, name: str) -> str:
    """One line without control characters; the lines of a postal address become its parts."""
    most = DEFINITIONS[name].max_length or _LONGEST
    if len(value) > _MOST_TYPED:
        raise InputRefused(f"Please use at most {most} characters.")
    lines = [line for line in map(str.strip, re.split(r"[\r\n]", normalize("NFC", value))) if line]
    text = (", " if DEFINITIONS[name].field.kind == "lines" else " ").join(lines)
    text = " ".join("".join(mark for mark in text if unicodedata.category(mark) != "Cc").split())
    if len(text) > most:
        raise InputRefused(f"Please use at most {most} characters.")
    return text


def _line(text: str, test_names: bool) -> str:
    return text


def _wanted(said: str) -> Callable[[str, bool], str]:
    def read(text: str, test_names: bool) -> str:
        if not text:
            raise InputRefused(said)
        return text

    return read


def _discreet(said: str) -> Callable[[str, bool], str]:
    """A name that an inbox shows to whoever looks over a shoulder."""

    def read(text: str, test_names: bool) -> str:
        found = [each for each in gate.check_text(_wanted(said)(text, test_names), "from-name") if each.stops]
        if found:
            raise InputRefused(
                f"Whoever sees a reader’s inbox would see “{found[0].words}”. Being on this list is private: choose a name "
                "that says nothing about it."
            )
        return text

    return read


def _address(text: str, test_names: bool) -> str:
    return parse_address(text, test_names).send_to if text else ""


def _wanted_address(text: str, test_names: bool) -> str:
    return parse_address(text, test_names).send_to


def _days(text: str, test_names: bool) -> str:
    if text and not re.fullmatch(r"0?[1-9]|[1-5][0-9]|60", text):
        raise InputRefused("Please type a number of working days from 1 to 60, or leave it empty.")
    return str(int(text)) if text else ""


def _color(text: str, test_names: bool) -> str:
    try:
        check_color(text)
    except PracticeRefused as refused:
        raise InputRefused(f"This color {refused}. Please choose a darker one.") from None
    return text.lower()


def _zone(text: str, test_names: bool) -> str:
    if text not in available_timezones():
        raise InputRefused("Please choose a place from the list, such as America/New_York.")
    return text


_READERS: dict[str, Callable[[str, bool], str]] = {
    "practice_name": _wanted("Please type your full name: readers must know who writes to them."),
    "from_name": _discreet("Please type the name that inboxes show."),
    "plain_from_name": _discreet("Please type a plainer name, such as “Letters”."),
    "from_email": _wanted_address,
    "reply_to": _address,
    "postal_address": _wanted("Please type a postal address: the law wants it in every mail. A PO box is fine."),
    "reply_days": _days,
    "color": _color,
    "time_zone": _zone,
}
