"""`nurture demo`: the main job without a browser, over real HTTP, on a fast clock and the outbox mailer."""

import html
import re
import shutil
import threading
import time
import urllib.request
from datetime import datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import click
from werkzeug.serving import make_server

from nurture import dispatch, log, runtime, scheduler
from nurture import settings as configuration
from nurture.app import create_app
from nurture.errors import NurtureError
from nurture.ids import DeliveryId
from nurture.mailers.outbox import Outbox, Stored
from nurture.runtime import Runtime
from nurture.services.letters import drafts, publishing

_ZONE = "America/New_York"
_SECONDS = 55


class DemoFailed(NurtureError):
    """The demo did not get to its end."""


def run(speed: float) -> None:
    """Sign up, confirm, and print the sequence as it arrives. Leaves its mail under instance/demo. Raises DemoFailed."""
    folder = Path("instance") / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    settings = configuration.load(
        instance_dir=folder,
        database_url=None,
        broker_url=None,
        mailer="outbox",
        clock_speed=speed,
        tick_seconds=0.2,
        listen="127.0.0.1:0",
        base_url="http://127.0.0.1:8000",
        from_name=configuration.load().from_name,
    )
    rt = runtime.build(settings, migrate=True)
    log.quiet()
    publishing.load_shipped(rt)
    server = make_server("127.0.0.1", 0, create_app(rt), threaded=True)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    here = dispatch.create_dispatcher(rt)
    ticking = scheduler.start(rt, here.submit)
    try:
        _walk(rt, f"http://127.0.0.1:{server.server_port}", speed)
    finally:
        scheduler.stop(rt, ticking)
        here.close()
        server.shutdown()
        serving.join()
        rt.close()


def _say(at: datetime, text: str) -> None:
    click.echo(f"{at.astimezone(ZoneInfo(_ZONE)):%a %d %b %H:%M}  {text}")


def _say_mail(rt: Runtime, mail: Stored) -> None:
    path = rt.settings.instance_dir / "outbox" / f"{mail.id}.eml"
    _say(mail.message["Date"].datetime, f"mail: {mail.message['Subject']!s:<46} {path}")


def _post(url: str, **form: str) -> None:
    request = urllib.request.Request(url, urlencode(form).encode())  # noqa: S310 - our own server
    try:
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
    except HTTPError as error:
        raise DemoFailed(f"{url.split('/')[3]} answered {error.code}.") from None


def _walk(rt: Runtime, server: str, speed: float) -> None:
    click.echo(f"A day takes {86400 / speed:g} s. Times are those of a reader in {_ZONE}.\n")
    at = rt.clock.now()
    _post(f"{server}/subscribe", email="robin@example.org", first_name="Robin", time_zone=_ZONE, consent="on")
    _say(at, "Robin signs up on the first page")
    confirmation = _next(rt, set())
    _say_mail(rt, confirmation)
    link = re.search(r"/confirm/[\w-]+", html.unescape(confirmation.part("html")))
    if link is None:
        raise DemoFailed("The confirmation mail holds no link.")
    at = rt.clock.now()
    _post(server + link[0])
    _say(at, "Robin opens the link and presses the button")
    seen = {confirmation.id}
    for _ in drafts.all_letters(rt)[1]:
        mail = _next(rt, seen)
        seen.add(mail.id)
        _say_mail(rt, mail)
    click.echo("The sequence is complete.")
    click.echo(f"\nEach mail is a file under {rt.settings.instance_dir}/outbox. To read them in a browser:")
    click.echo(f"  NURTURE_INSTANCE_DIR={rt.settings.instance_dir} .venv/bin/nurture serve   then open /outbox")


def _next(rt: Runtime, seen: set[DeliveryId]) -> Stored:
    outbox = rt.mailer
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until and isinstance(outbox, Outbox):
        fresh = [mail for mail in outbox.index() if mail.id not in seen]
        if fresh:
            return fresh[-1]
        rt.clock.sleep(0.05)
    raise DemoFailed(f"No mail came within {_SECONDS} s; see the log lines above.")
