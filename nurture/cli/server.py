"""`nurture serve`: gunicorn with threads for whole requests; each process has its own runtime and, if asked, its scheduler."""

import logging
import os
import socket
import sys
from typing import Any

import click
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from nurture import dispatch, log, runtime, scheduler
from nurture.app import create_app
from nurture.delivery.safety_checks import record_clean_stop
from nurture.dispatch import LocalDispatcher
from nurture.mailers.outbox import Outbox
from nurture.runtime import Runtime
from nurture.services.accounts import login
from nurture.services.settings import launch
from nurture.settings import SettingRefused, Settings

_log = log.get(__name__)

_GRACE_SECONDS = 45
"""Longer than one request to the provider (35 s): what is in flight is finished before a process ends."""


class ServerLogger(Logger):  # type: ignore[misc]
    """gunicorn's own lines, as lines of our log: what a client sent is quoted in none, and requests are not logged at all.

    For gunicorn without `nurture serve`: `gunicorn --logger-class nurture.cli.server.ServerLogger wsgi:app`.
    """

    def setup(self, cfg: Any) -> None:
        """Hand everything to the root logger's handler, each line as if written where it is called."""
        log.configure()
        self.cfg, self._access_log_enabled = cfg, False
        self.error_log.handlers, self.error_log.propagate = [], True
        self.access_log.handlers, self.access_log.propagate, self.access_log.disabled = [], False, True
        self.loglevel = self.LOG_LEVELS.get(cfg.loglevel.lower(), logging.INFO)
        self.error_log.setLevel(max(self.loglevel, logging.WARNING))
        for name in ("critical", "error", "warning", "info", "debug", "exception"):
            setattr(self, name, getattr(self.error_log, name))


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured from our settings."""

    def __init__(self, settings: Settings, options: dict[str, Any], ticking: bool) -> None:
        self._settings, self._options, self._ticking = settings, options, ticking
        self._rt: Runtime | None = None
        self._here: LocalDispatcher | None = None
        self._scheduler: Any = None
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)
        self.cfg.set("worker_exit", lambda _server, _worker: self._stop())

    def load(self) -> Flask:
        """Runs in each worker process, after the fork: connections and threads are its own."""
        self._rt = runtime.build(self._settings)
        if self._ticking:
            self._here = dispatch.create_dispatcher(self._rt)
            self._scheduler = scheduler.start(self._rt, self._here.submit)
        return create_app(self._rt)

    def _stop(self) -> None:
        if self._rt is not None:
            if self._here is not None:
                scheduler.stop(self._rt, self._scheduler)
                self._here.close()
                record_clean_stop(self._rt)
            self._rt.close()


def _pages(rt: Runtime) -> dict[str, str]:
    base = rt.settings.base_url
    outbox = {"Outbox": f"{base}/outbox"} if isinstance(rt.mailer, Outbox) else {}
    return {"Sign-up page": f"{base}/", "Desk": f"{base}/desk/", **outbox, "API docs": f"{base}/api/v1/openapi.json"}


def _announce(rt: Runtime, link: str, waits: bool) -> None:
    base = rt.settings.base_url
    click.echo()
    for name, address in _pages(rt).items():
        click.echo(f"  {name:<14} {address}")
    click.echo(f"\n  Log in to the desk once, within ten minutes:\n  {link}\n")
    if waits:
        click.echo(f"  Mail to readers waits until the first run is done: {base}/desk/start/\n")
    if rt.settings.clock_speed != 1:
        click.echo(f"  The clock runs at {rt.settings.clock_speed:g} times real time (NURTURE_CLOCK_SPEED).\n")


def _check_free(listen: str) -> None:
    host, _, port = listen.rpartition(":")
    try:
        socket.create_server((host.strip("[]"), int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise SettingRefused(
            f"NURTURE_LISTEN is {listen!r}, but that address cannot be used: {(error.strerror or 'unknown name').lower()}. "
            "Stop the program that listens there, or set another address and port (and NURTURE_BASE_URL with it)."
        ) from None


def run(settings: Settings, workers: int, threads: int, ticking: bool) -> None:
    """Serve until told to stop. Refuses to start, with the remedy, when a setting or the database is not right."""
    _check_free(settings.listen)
    rt = runtime.build(settings)  # in the parent only to refuse early and to announce; no worker inherits it
    for_people = sys.stdout is not None and sys.stdout.isatty()
    link = login.login_link(rt) if for_people else ""  # a link in a log would let in whoever reads it
    waits = not launch.is_open(rt)
    rt.close()
    options = {
        "bind": settings.listen,
        "workers": workers,
        "threads": threads,
        "worker_class": "nurture.cli.buffering_worker.BufferingWorker",
        "graceful_timeout": _GRACE_SECONDS,
        "timeout": 60,
        "keepalive": 5,
        "sendfile": False,  # Python's waits without end for a client that does not read
        "accesslog": None,  # request lines hold tokens
        "logger_class": ServerLogger,
        "loglevel": "warning",
        "proc_name": "nurture",
        "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,  # noqa: S108
        "control_socket_disable": True,
        "limit_request_line": 4094,
    }
    if for_people:
        options["when_ready"] = lambda _server: _announce(rt, link, waits)
    _log.info(
        "serving",
        listen=settings.listen,
        workers=workers,
        mailer=settings.mailer,
        pages=_pages(rt),
        hint="a log-in link for the desk: nurture users login-link --first",
    )
    with log.json_only():
        _Server(settings, options, ticking).run()
