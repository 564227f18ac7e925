"""What providers tell us: verify, hand over, answer. Nothing is believed, or even parsed, before its signature is."""

from flask import Blueprint, Response, make_response, request
from werkzeug.exceptions import RequestEntityTooLarge

from nurture import log
from nurture.mailers.sendgrid.events import SIGNATURE_HEADER, TIMESTAMP_HEADER, NoEvents, read_events, read_keys, verify
from nurture.services.reports import take_reports
from nurture.web.pages import rt

webhooks = Blueprint("webhooks", __name__)
_log = log.get(__name__)

_MOST_BYTES = 5 * 1024 * 1024


def _refused(status: int, why: str) -> Response:
    _log.warning("events_refused", status=status, reason=why)
    return make_response(f"{why}\n", status, {"Content-Type": "text/plain; charset=utf-8"})


@webhooks.post("/webhooks/sendgrid/events")
def sendgrid_events() -> Response:
    """SendGrid's signed events: 204 once they are stored; 403 and nothing stored when the signature is not SendGrid's."""
    key = rt().settings.sendgrid_webhook_key
    if key is None:
        return _refused(503, "NURTURE_SENDGRID_WEBHOOK_KEY is not set, so no event can be verified.")
    request.max_content_length = _MOST_BYTES
    try:
        raw = request.get_data()
    except RequestEntityTooLarge:
        return _refused(413, "More than 5 MB at once.")
    signature, stamp = request.headers.get(SIGNATURE_HEADER), request.headers.get(TIMESTAMP_HEADER)
    if not verify(raw, signature, stamp, read_keys(key), rt().clock.wall()):
        return _refused(403, "The signature does not fit.")
    try:
        bundle = read_events(raw)
    except NoEvents as refused:
        return _refused(400, str(refused))
    taken = take_reports(rt(), bundle.events)
    _log.info(
        "events_received", count=len(bundle.events), fresh=taken.fresh, orphans=taken.orphans, settled=taken.settled,
        unreadable=bundle.unreadable,
    )  # fmt: skip
    return make_response("", 204)
