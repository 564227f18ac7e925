"""`nurture …`. Exit codes: 0 done, 1 failed, 2 wrong use or missing setting."""

from importlib import import_module
from typing import Any

import click

from nurture import __version__
from nurture.cli.text import write_utf8
from nurture.errors import NurtureError

COMMANDS = {
    "backup": ("backup", "Write the whole database to FILE, while the service works."),
    "config": ("configuration", "Print every setting that is in force, and where its value comes from."),
    "deliveries": ("deliveries", "List and settle mail that failed or is in doubt."),
    "demo": ("service", "Walk the whole sequence in under a minute."),
    "letters": ("letters", "Check, import and export letters as files, and choose the sequence that sign-ups begin."),
    "init": ("service", "Create or upgrade the database, and load the shipped letters where they are missing."),
    "keys": ("keys", "Replace the keys that encrypt addresses, names and notes in the database."),
    "restore": ("backup", "Restore FILE, made by `nurture backup`, into the empty database of the settings."),
    "sending": ("deliveries", "Stop and start all sending, and print what stops it."),
    "serve": ("service", "Serve the pages, and send due mail unless told otherwise."),
    "simulate": ("simulation", "Print when each letter of SEQUENCE would go out to a reader."),
    "subscribers": ("subscribers", "Import people from a file."),
    "tick": ("tick", "Do everything that is due once, for cron; or print how the ledger stands."),
    "users": ("users", "Give people access to the desk, list them, and take it away."),
    "worker": ("service", "Send due mail without serving pages."),
}
"""For each command the module of this package that defines it, and what the help says: so that neither `nurture --help` nor a
short command waits for all the others to load.
"""

ALIASES = {"emails": "letters"}
"""Names of versions before; they go on working, and no help names them."""


class Commands(click.Group):
    """Loads a command when it is used, and turns refusals into one clear message and the right exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        cmd_name = ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"nurture.cli.{COMMANDS[cmd_name][0]}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands into the help, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        from nurture import resources, settings  # here: `--help` does not wait for them

        for warning in settings.unknown_variables():
            click.echo(f"nurture: warning: {warning}", err=True)
        try:
            resources.check()
            return super().invoke(ctx)
        except NurtureError as refused:
            click.echo(f"nurture: {refused}", err=True)
            ctx.exit(refused.exit_code)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            _explain(ctx, error)
            raise


def _explain(ctx: click.Context, error: Exception) -> None:
    """End with a message that quotes no data, if it was the database that failed."""
    from sqlalchemy.exc import DatabaseError  # here: most commands that fail have not loaded it

    from nurture.store.core.database import describe_failure

    if isinstance(error, DatabaseError):
        click.echo(f"nurture: The database failed: {describe_failure(error)}. Nothing else was done.", err=True)
        ctx.exit(1)


@click.group(cls=Commands, epilog="Example:  nurture init && nurture serve")
@click.version_option(__version__, prog_name="nurture")
def cli() -> None:
    """Sends a series of letters to people who asked for them."""


def main() -> None:
    """Entry point of the `nurture` command."""
    write_utf8()
    cli(prog_name="nurture")
