"""The description of what other programs may call."""

from flask import Blueprint, Response, jsonify

from nurture import __version__
from nurture.web.front_door import OpenTo, open_to
from nurture.web.pages import rt

api = Blueprint("api", __name__)


def _answers(**codes: str) -> dict[str, dict[str, str]]:
    return {code.lstrip("_"): {"description": said} for code, said in codes.items()}


_FORM = {
    "type": "object",
    "required": ["email", "consent"],
    "properties": {
        "email": {"type": "string", "format": "email"},
        "first_name": {"type": "string", "description": "kept as far as it is a name, at most 40 characters"},
        "time_zone": {"type": "string", "description": "IANA name, such as Europe/Berlin"},
        "consent": {"type": "string", "description": "sent when the box is ticked, such as `on`; never preset"},
    },
}
_SUBSCRIBE = {
    "summary": "Ask for the letters; answers the same for known and unknown addresses",
    "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": _FORM}}},
    "responses": _answers(_303="Taken; a confirmation mail goes out", _422="The form again, with what is wrong"),
}


@api.get("/api/v1/openapi.json")
@open_to(OpenTo.EVERYBODY)
def openapi() -> Response:
    """What exists today, as OpenAPI 3.1."""
    return jsonify(
        openapi="3.1.0",
        info={"title": "nurture", "version": __version__},
        servers=[{"url": rt().settings.base_url}],
        paths={
            "/subscribe": {"post": _SUBSCRIBE},
            "/healthz": {"get": {"summary": "Live", "responses": _answers(_200="The process answers")}},
            "/readyz": {"get": {"summary": "Ready", "responses": _answers(_200="Ready", _503="What is missing, by name")}},
        },
    )
