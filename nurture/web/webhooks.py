"""What providers tell us: verify, hand over, answer. Nothing is believed, or even parsed, before its signature is.

No cookie, origin or token counts here, only the signature. SendGrid repeats for a day what is not answered with 2xx, in growing
intervals: so whatever may be better next time is not, and junk that never will be is said to be junk once it is known.
"""

from functools import lru_cache

from flask import Blueprint, Response, make_response, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import RequestEntityTooLarge

from nurture import log
from nurture.mailers.sendgrid.events import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    NoEvents,
    is_timely,
    read_events,
    read_keys,
    verify,
)
from nurture.services.subscribers.provider_reports import take_reports
from nurture.web.front_door import OpenTo, open_to
from nurture.web.pages import rt

webhooks = Blueprint("webhooks", __name__)
_log = log.get(__name__)

_MOST_BYTES = 5 * 1024 * 1024
"""SendGrid sends a bundle at 768 kB (SendGrid docs, "Event Webhook overview")."""
_keys = lru_cache(maxsize=1)(read_keys)


def _refused(status: int, why: str, error: str | None = None) -> Response:
    """Say why in the log and in the answer, neither of which quotes what came."""
    _log.warning("events_refused", status=status, reason=why, error=error)
    return make_response(f"{why}\n", status, {"Content-Type": "text/plain; charset=utf-8"})


@webhooks.post("/webhooks/sendgrid/events")
@open_to(OpenTo.SIGNED, any_site=True)
def sendgrid_events() -> Response:
    """SendGrid's signed events: 204 once they are stored; 403 and nothing stored when the signature is not SendGrid's."""
    key = rt().settings.sendgrid_webhook_key
    if key is None:
        return _refused(503, "NURTURE_SENDGRID_WEBHOOK_KEY is not set, so no event can be verified.")
    signature, stamp = request.headers.get(SIGNATURE_HEADER), request.headers.get(TIMESTAMP_HEADER)
    if not signature or not stamp:
        return _refused(403, "The signature is missing.")
    if not is_timely(stamp, rt().clock.real_now()):
        return _refused(403, "The time stamp is too old, in the future, or no time.")
    request.max_content_length = _MOST_BYTES  # counts also where no length was announced
    try:
        raw = request.get_data()
    except RequestEntityTooLarge:
        return _refused(413, "More than 5 MB at once.")
    if not verify(raw, signature, stamp, _keys(key)):
        return _refused(403, "The signature does not fit.")
    try:
        bundle = read_events(raw)
    except NoEvents as refused:
        return _refused(400, str(refused))
    try:
        taken = take_reports(rt(), bundle.events)
    except (DBAPIError, PoolTimeout) as error:
        said = getattr(error, "orig", None) or error
        return _refused(503, "The database does not answer. Nothing was stored; please repeat it.", type(said).__name__)
    _log.info(
        "events_received",
        count=len(bundle.events),
        fresh=taken.fresh,
        orphans=taken.orphans,
        settled=taken.settled,
        unreadable=bundle.unreadable,
    )
    return make_response("", 204)
