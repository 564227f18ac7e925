"""`nurture init`, `serve`, `worker` and `demo`."""

import click

from nurture import log, runtime, settings
from nurture.cli.text import Command


@click.command(cls=Command, epilog="Example:  nurture init")
def init() -> None:
    """Create or upgrade the database, and load the shipped letters where they are missing. Safe to repeat."""
    from nurture.services.letters import publishing

    given = settings.load()
    key_file = given.instance_dir.resolve() / runtime.SECRET_FILE
    had_key = given.secret_key is not None or key_file.exists()
    rt = runtime.build(given, migrate=True)
    log.quiet()
    loaded = publishing.load_shipped(rt)
    for each in loaded:
        click.echo(f"Loaded {each.letters} letters of {each.sequence}.")
    if not had_key:
        click.echo(f"Made a new key: {key_file}. Keep a copy of it in a safe place: without it nobody can read the addresses.")
        if not rt.database.is_sqlite:
            click.echo("Every other machine needs the same: set NURTURE_SECRET_KEY there to what this file holds.")
    click.echo(f"The database is ready: {rt.database.shown_url}")
    rt.close()


@click.command(cls=Command, epilog="Example:  nurture serve --workers 2")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="How many web processes.")
@click.option("--threads", type=click.IntRange(1, 64), default=8, show_default=True, help="Requests at once per process.")
@click.option("--no-scheduler", is_flag=True, help="Only serve pages; a `nurture worker` elsewhere sends the mail.")
def serve(workers: int, threads: int, no_scheduler: bool) -> None:
    """Serve the pages, and send due mail unless told otherwise."""
    from nurture.cli import server

    server.run(settings.load(), workers, threads, ticking=not no_scheduler)


@click.command(cls=Command, epilog="Example:  nurture worker")
def worker() -> None:
    """Send due mail without serving pages. Start as many as you like, on as many machines."""
    from nurture import dispatch, scheduler, signals
    from nurture.delivery.safety_checks import record_clean_stop

    rt = runtime.build(settings.load())
    with log.json_only():
        signals.stop_when_told(rt.stopping)
        here = dispatch.create_dispatcher(rt)
        try:
            ticking = scheduler.start(rt, here.submit)
            try:
                here.work()
            finally:
                scheduler.stop(rt, ticking)
        finally:  # no thread of ours may be at work while the interpreter shuts down
            here.close()
        record_clean_stop(rt)
        rt.close()


@click.command(cls=Command, epilog="Example:  nurture demo")
@click.option("--speed", type=click.FloatRange(1, 1_000_000), default=86400.0, show_default=True, help="Clock speed.")
def demo(speed: float) -> None:
    """Walk the whole sequence in under a minute.

    A visitor signs up and confirms, and a clock that runs fast does the rest.
    """
    from nurture.cli import demonstration

    demonstration.run(speed)
