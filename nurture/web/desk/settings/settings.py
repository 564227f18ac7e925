"""Settings: what the practice is, how letters look and leave, when they go out, and what people agree to."""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import available_timezones

from flask import Blueprint, Response, abort, g, request, url_for

from nurture.domain.user import Permission
from nurture.ids import TestEmailId
from nurture.letters.image_processing import MOST_READ
from nurture.mailer_registry import MAILERS
from nurture.mailers.description import describe
from nurture.services.accounts import accounts
from nurture.services.letters import previews
from nurture.services.letters.drafts import all_letters
from nurture.services.settings import consent_texts, desk_settings, mailer_check, sender_domain
from nurture.services.settings.consent_texts import ConsentTextRefused
from nurture.services.settings.desk_settings import SettingsRefused
from nurture.setting_limits import Page
from nurture.settings import DEFINITIONS, chooses_mailer, on_page
from nurture.web.desk.access_control import needs_login, see
from nurture.web.desk.formatting import day
from nurture.web.desk.settings import onboarding_nav
from nurture.web.desk.upload import takes_a_file
from nurture.web.front_door import FRAMED_CSP
from nurture.web.pages import message, page, rt, takes_test_names

pages = Blueprint("settings", __name__, url_prefix="/desk/settings")
takes_a_file(pages, "save_look", MOST_READ)

_OWN = needs_login(need=Permission.OWN)
_OWN_NOW = needs_login(need=Permission.OWN, recent=True)
COLORS = ("#1f5f5b", "#2d5a87", "#5b4a8a", "#7a3e5d", "#8a4b2a", "#4a6134")


def _typed(*names: str) -> dict[str, str]:
    return {name: request.form.get(name, "") for name in names}


def _show(name: str, errors: Mapping[str, str] | None = None, status: int = 0, **values: object) -> Response:
    wrong = dict(errors or {})
    code = status or (422 if wrong else 200)
    saved = request.args.get("said") == "saved"
    return page(
        f"desk/settings/{name}.html", code, tab="settings", errors=wrong, saved=saved, step=onboarding_nav.here(), **values
    )


def _saved(endpoint: str) -> Response:
    """On to the next step of the first run, or back to where one was."""
    onward = onboarding_nav.after()
    return see(onward or url_for(endpoint, said="saved"))


@pages.get("/")
@needs_login
def index() -> Response:
    """Everything that can be set, and how it is set now."""
    now = rt().settings
    return _show(
        "index",
        now=now,
        carrier=describe(now.mailer).title,
        people=len(accounts.everyone(rt())),
        wording=consent_texts.history(rt())[0],
        checked=sender_domain.last(rt(), rt().sender.email),
        zone=now.time_zone.replace("_", " "),
        logo=rt().practice.logo,
    )


def _fields(
    name: Page, typed: Mapping[str, str] | None = None, errors: Mapping[str, str] | None = None, **values: object
) -> Response:
    """A page of fields, one for each of its settings. `typed`: what was typed there; without, as things are."""
    names = on_page(name)
    fields = {each: DEFINITIONS[each].field for each in names}
    return _show(name, errors, 0, form=typed or desk_settings.current(rt(), *names), fields=fields, **values)


@pages.get("/practice")
@_OWN
def practice() -> Response:
    """Who the letters are from."""
    return _fields("practice")


@pages.post("/practice")
@_OWN
def save_practice() -> Response:
    """Keep it."""
    typed = _typed(*on_page("practice"))
    try:
        desk_settings.save(rt(), typed, g.me.id)
    except SettingsRefused as refused:
        return _fields("practice", typed, refused.errors)
    return _saved("settings.practice")


@pages.get("/sender")
@_OWN
def sender() -> Response:
    """What inboxes show."""
    return _fields("sender")


@pages.post("/sender")
@_OWN
def save_sender() -> Response:
    """Keep it."""
    typed = _typed(*on_page("sender"))
    try:
        desk_settings.save(rt(), typed, g.me.id, takes_test_names())
    except SettingsRefused as refused:
        return _fields("sender", typed, refused.errors)
    return _saved("settings.sender")


@pages.get("/look")
@_OWN
def look() -> Response:
    """Color and logo, with a letter that shows them."""
    return _look()


def _look(typed: Mapping[str, str] | None = None, errors: Mapping[str, str] | None = None) -> Response:
    sequence, letters = all_letters(rt())
    first = letters[0].letter.key if letters else ""
    response = _fields(
        "look",
        typed,
        errors,
        logo=rt().practice.logo,
        colors=COLORS,
        sequence=sequence,
        first=first,
    )
    response.headers["Content-Security-Policy"] = FRAMED_CSP
    return response


@pages.errorhandler(413)
def too_large(_: Exception) -> Response:
    """A file beyond the limit is not read at all."""
    said = f"It is larger than {MOST_READ // 1_000_000} MB. Please choose a smaller one. Nothing was stored."
    return message(413, "This picture is too large", said, "/desk/settings/look", "Back to the look")


@pages.post("/look")
@_OWN
def save_look() -> Response:
    """Keep the color, and the logo if one was chosen."""
    typed, chosen = _typed(*on_page("look")), request.files.get("logo")
    try:
        desk_settings.save(rt(), typed, g.me.id)
        if request.form.get("act") == "remove":
            desk_settings.save_logo(rt(), None, g.me.id)
        elif chosen is not None and chosen.filename:
            desk_settings.save_logo(rt(), chosen.read(), g.me.id)
    except SettingsRefused as refused:
        return _look(typed, refused.errors)
    return see(onboarding_nav.kept("/desk/settings/look?said=saved")) if _stays() else _saved("settings.look")


def _stays() -> bool:
    """Whether somebody wants to see what it looks like before going on."""
    return request.form.get("act") in ("remove", "try")


@pages.get("/hours")
@_OWN
def hours() -> Response:
    """The clock of the practice, and of readers who gave none."""
    return _hours()


def _hours(typed: Mapping[str, str] | None = None, errors: Mapping[str, str] | None = None) -> Response:
    zones = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "posix/", "right/")))
    return _fields("hours", typed, errors, zones=["UTC", *zones])


@pages.post("/hours")
@_OWN
def save_hours() -> Response:
    """Keep it."""
    typed = _typed(*on_page("hours"))
    try:
        desk_settings.save(rt(), typed, g.me.id)
    except SettingsRefused as refused:
        return _hours(typed, refused.errors)
    return _saved("settings.hours")


@pages.get("/consent")
@_OWN
def consent() -> Response:
    """What people agree to, now and before."""
    return _consent(consent_texts.history(rt())[0].text)


def _consent(text: str, errors: Mapping[str, str] | None = None) -> Response:
    names = {each.id: each.called for each in accounts.everyone(rt())}
    past = [(each, _when(each.written), names.get(each.by, "") if each.by else "") for each in consent_texts.history(rt())]
    return _show("consent", errors, form={"wording": text}, past=past, most=consent_texts.MOST)


def _when(at: datetime | None) -> str:
    return day(at) if at else ""


@pages.post("/consent")
@_OWN
def save_consent() -> Response:
    """Show other words from now on."""
    text = request.form.get("wording", "")
    try:
        consent_texts.change(rt(), text, g.me.id)
    except ConsentTextRefused as refused:
        return _consent(text, {"wording": str(refused)})
    return _saved("settings.consent")


@pages.get("/mail")
@_OWN_NOW
def mail() -> Response:
    """What carries mail."""
    return _mail(desk_settings.mailer_form(rt().settings))


def _mail(form: Mapping[str, str], errors: Mapping[str, str] | None = None, doubt: str = "") -> Response:
    now = rt().settings
    return _show(
        "mail",
        errors,
        status=422 if doubt else 0,
        form=form,
        doubt=doubt,
        mailers={name: describe(name) for name in MAILERS},
        fixed=chooses_mailer(rt().env_settings),
        now=now,
        to=previews.address_of(rt(), g.me),
    )


@pages.post("/mail")
@_OWN_NOW
def save_mail() -> Response:
    """Try it, and keep it if it works, or if it is wanted all the same."""
    typed = _typed(*desk_settings.mailer_form(rt().settings))
    try:
        chosen = desk_settings.read_mailer_form(rt(), typed)
        trouble = "" if request.form.get("act") == "anyway" else mailer_check.check(rt(), chosen)
        if trouble:
            return _mail(typed, doubt=trouble)
        desk_settings.save_mailer(rt(), chosen, g.me.id)
    except SettingsRefused as refused:
        return _mail(typed, refused.errors)
    return see(onboarding_nav.kept("/desk/settings/mail?said=saved"))


@pages.post("/mail/test-email")
@_OWN
def try_mail() -> Response:
    """A mail to oneself."""
    which = mailer_check.send(rt(), g.me)
    return see(onboarding_nav.kept(url_for("settings.tried", which=which)))


@pages.get("/mail/test-email/<which>")
@_OWN
def tried(which: str) -> Response:
    """What became of it."""
    found = mailer_check.load_result(rt(), TestEmailId(which)) if len(which) == 32 and which.isalnum() else None
    if found is None:
        abort(404)
    part = "test_email_part" if "HX-Request" in request.headers else "test_email"
    to = previews.address_of(rt(), g.me)
    return _show(part, found=found, which=which, to=to, is_outbox=rt().settings.mail_stays_here)
