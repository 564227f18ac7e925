"""The sequence: its letters along their days, what a change of it would do to the people in it, and saving it."""

from dataclasses import replace

from flask import Blueprint, Response, g, request, url_for

from nurture.domain.edit import Choice
from nurture.domain.timeline import NeverOpens
from nurture.domain.user import Permission, allows
from nurture.errors import NurtureError
from nurture.ids import EnrollmentId, StepKey
from nurture.services.accounts import accounts
from nurture.services.sequences import schedule, schedule_history
from nurture.services.sequences.enrollments import ActRefused
from nurture.services.sequences.schedule import Preview, ScheduleConflict, ScheduleRefused
from nurture.services.subscribers import signup
from nurture.services.subscribers.signup import UnknownSequence
from nurture.web.desk import formatting
from nurture.web.desk.access_control import needs_login, see
from nurture.web.desk.sequences.schedule_form import Form, digest, form_from, form_of
from nurture.web.pages import message, page, rt

pages = Blueprint("sequence", __name__, url_prefix="/desk/sequence")

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DONE = {
    Choice.NEW_ONLY: "Saved. People who begin from now on get the letters this way; everybody else goes on as before.",
    Choice.EVERYONE: "Saved. Whatever has not been sent yet follows the new plan.",
    Choice.HOLD: "Saved. Whose next letter would have changed now waits until you let them go on; you find them below.",
}
_MOST_LOOKED_BACK = 1_000
_MOST_HELD = 100
"""People named on the page who wait until they are let go; the button for all is for all."""
_CHANGED = "Somebody else has changed the plan since you opened it. What you see below is yours, and nothing is saved yet."
_NOT_SEEN = "You have changed something since you looked. Here is what it does now."


def _show(
    form: Form, status: int = 200, found: Preview | None = None, wrong: str = "", note: str = "", saved: bool = False
) -> Response:
    kept = schedule_history.past_schedules(rt(), form.key)
    try:
        seen = digest(form.edited(), form.version)
    except ScheduleRefused:
        seen = ""
    return page(
        "desk/sequences/schedule.html",
        status,
        tab="sequence",
        form=form,
        found=found,
        seen=seen,
        wrong=wrong.splitlines(),
        note=note,
        choices=list(Choice),
        picked=request.form.get("choice", Choice.EVERYONE.value),
        weekdays=_DAYS,
        held=schedule.held_readers(rt(), form.key, _MOST_HELD + 1),
        most_held=_MOST_HELD,
        may_change=allows(g.me.role, Permission.CHANGE),
        new_title=request.form.get("new_title", ""),
        words=formatting,
        kept=kept,
        names=accounts.names(rt()) if kept else {},
        saved=saved,
        sequences=signup.list_sequences(rt()),
        held_count=schedule.count_held(rt(), form.key),
    )


def _form() -> Form:
    return form_from(schedule.load(rt(), request.form.get("sequence") or None), request.form)


@pages.errorhandler(ScheduleRefused)
def _gone(refused: ScheduleRefused) -> Response:
    return message(404, "There is no plan to show", str(refused), url_for("dashboard.home"), "Back to the desk")


@pages.get("/")
@needs_login
def show() -> Response:
    """The letters in their order, with what each waits for."""
    shown = schedule.load(rt(), request.args.get("sequence") or None)
    if request.args.get("earlier"):
        return _as_it_was(shown.key, request.args["earlier"])
    done = request.args.get("done", "")
    known = {choice.value: said for choice, said in _DONE.items()} | {
        "released": "They go on now.",
        "begins": "Whoever confirms from now on begins this sequence.",
    }
    return _show(form_of(shown), note=known.get(done, ""), saved=done in set(Choice))


def _as_it_was(key: str, version: str) -> Response:
    """An earlier plan, filled in and not saved, with what going back to it would do."""
    which = next(
        (each for each in schedule_history.past_schedules(rt(), key, _MOST_LOOKED_BACK) if str(each.version) == version), None
    )
    if which is None:
        raise ScheduleRefused("This earlier plan is not kept any more. Choose one that is listed on the page of the plan.")
    form = form_of(schedule_history.past_schedule(rt(), key, which.version))
    note = f"This is the plan as it was until {formatting.moment(which.until)}. Nothing is changed before you save it."
    return _show(form, found=schedule.preview(rt(), key, form.edited()), note=note)


@pages.post("/begins")
@needs_login(need=Permission.CHANGE)
def begins() -> Response:
    """Have sign-ups begin this sequence."""
    key = request.form.get("sequence", "")
    try:
        signup.choose_sequence(rt(), key)
    except UnknownSequence as refused:
        raise ScheduleRefused(str(refused)) from None
    return see(url_for("sequence.show", sequence=key, done="begins"))


@pages.post("/preview")
@needs_login
def preview() -> Response:
    """What the change would do, before anything is saved; or, without script, one step of making it."""
    form, given = _form(), request.form
    for name, by in (("earlier", -1), ("later", 1)):
        if name in given:
            return _show(form.moved(given[name], by))
    for name, out in (("out", True), ("back", False)):
        if name in given:
            return _show(form.taken(given[name], out))
    return _looked_at(form)


def _looked_at(form: Form, status: int = 200, note: str = "") -> Response:
    now = schedule.load(rt(), form.key)
    if now.version != form.version:
        form, status, note = replace(form, version=now.version), 409, _CHANGED
    try:
        found = schedule.preview(rt(), form.key, form.edited())
    except NurtureError as refused:
        return _show(form, 422, wrong=str(refused))
    return _show(form, status, found, note=note)


@pages.post("/save")
@needs_login
def save() -> Response:
    """Save what was looked at, for whom was chosen."""
    form = _form()
    try:
        edited = form.edited()
        choice = Choice(request.form.get("choice", ""))
        if request.form.get("seen") != digest(edited, form.version):
            return _looked_at(form, 409, _NOT_SEEN)
        schedule.save(rt(), form.key, edited, choice, g.me.id, form.version)
    except ScheduleConflict:
        return _looked_at(form)
    except ValueError:
        return _looked_at(form, 422, "Choose for whom the change is meant.")
    except (ScheduleRefused, NeverOpens) as refused:
        return _show(form, 422, wrong=str(refused))
    return see(url_for("sequence.show", sequence=form.key, done=choice.value))


@pages.post("/insert")
@needs_login
def insert() -> Response:
    """Begin a new letter; what else was changed on the page, and not saved, stays as it is."""
    form, title = _form(), request.form.get("new_title", "")
    after = request.form.get("new_after", "")
    try:
        schedule.insert_step(rt(), form.key, title, "3 days", StepKey(after) if after else None, g.me.id)
    except ScheduleRefused as refused:
        return _show(form, 422, wrong=str(refused))
    return _show(
        form_from(schedule.load(rt(), form.key), request.form),
        note="The letter is begun. Nobody gets it before it is written and published.",
    )


@pages.post("/discard")
@needs_login
def discard() -> Response:
    """Throw a letter away that was never published."""
    schedule.discard_step(rt(), request.form.get("sequence", ""), StepKey(request.form.get("step", "")))
    return _show(_form(), note="The letter is thrown away. Nobody had got it.")


@pages.post("/release")
@needs_login
def release() -> Response:
    """Let people go on whose next letter an edit holds back."""
    key, only = request.form.get("sequence", ""), request.form.get("enrollment", "")
    try:
        schedule.release(rt(), key, g.me.id, EnrollmentId(only) if len(only) == 32 and only.isalnum() else None)
    except (ActRefused, NeverOpens) as refused:
        return message(422, "This could not be done", str(refused), url_for("sequence.show", sequence=key), "Back to the plan")
    return see(url_for("sequence.show", sequence=key, done="released"))
