"""A sign of life for a monitor that raises the alarm when it stays away (a dead man's switch): NURTURE_PING_URL.

A stopped service cannot report itself by mail. So an address of the monitor is called once a minute while sending is healthy,
and not otherwise.
"""

import asyncio
from datetime import timedelta
from urllib.parse import urlsplit

from nurture import __version__, log
from nurture.mailers.http_connection import ConnectionLost, HttpClient, NotConnected
from nurture.runtime import Runtime
from nurture.services.operations import health
from nurture.store.state import heartbeats

_log = log.get(__name__)

PING_SECONDS = 60.0
_EVERY = timedelta(seconds=PING_SECONDS - 5)
"""Of all processes of an installation one calls in a minute."""
_ANSWER_SECONDS = 5.0


def ping(rt: Runtime) -> bool:
    """Call the monitor, if sending is healthy and no other process has called lately. Returns whether it took the call."""
    if rt.settings.ping_url is None or health.sending_summary(rt) != "ok":
        return False
    with rt.database.begin() as db:
        if not heartbeats.take_turn(db, heartbeats.PING, rt.clock.real_now(), _EVERY):
            return False
    try:
        status = asyncio.run(_get(rt.settings.ping_url.get_secret_value()))
    except (NotConnected, ConnectionLost, TimeoutError) as error:
        _log.warning("ping_failed", error=type(error).__name__)
        return False
    if status >= 300:  # not followed: a redirect is a wrong address here
        _log.warning("ping_failed", status=status)
    return status < 300


async def _get(url: str) -> int:
    """The answer's status. Raises what `Wire.send` raises."""
    parts = urlsplit(url)
    wire = HttpClient(f"{parts.scheme}://{parts.netloc}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = (
        f"GET {target} HTTP/1.1\r\nHost: {wire.authority}\r\nUser-Agent: nurture/{__version__}\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    answer = await wire.send(head.encode("ascii"), _ANSWER_SECONDS)
    await wire.aclose()
    return answer.status
