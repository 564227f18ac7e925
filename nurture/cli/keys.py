"""`nurture keys …`: the keys that encrypt personal fields."""

import sys

import click

from nurture import runtime
from nurture import settings as configuration
from nurture.cli.text import Group
from nurture.services.operations import key_rotation
from nurture.settings import SettingRefused


@click.group(cls=Group, epilog="Example:  nurture keys rotate")
def keys() -> None:
    """Replace the keys that encrypt addresses, names and notes in the database."""


@keys.command(epilog="Example:  nurture keys rotate")
@click.pass_context
def rotate(ctx: click.Context) -> None:
    """Encrypt everything anew with the newest key of NURTURE_FIELD_KEYS, while the service goes on.

    First put the new key in front of the others (or set it alone, where there was none) and restart every process. Cut short,
    it goes on where it stopped when it is run again.
    """
    rt = runtime.build(configuration.load())
    try:
        if rt.env_settings.field_keys is None:
            raise SettingRefused(
                "NURTURE_FIELD_KEYS is not set, so there is no newer key. Set it to a new one, for example from `openssl rand "
                "-hex 32`, restart every process of this installation, and run `nurture keys rotate` again. The key in use now "
                "goes on opening what it has encrypted.",
                "field_keys",
            )
        done = key_rotation.rotate(rt, _show_progress)
    finally:
        rt.close()
    click.echo(f"{done.rotated:,} values encrypted with the newest key.")
    if done.unreadable:
        click.echo(
            f"nurture: {done.unreadable:,} values could not be read by any key, and stay as they are. Put the missing key back "
            "behind the others in NURTURE_FIELD_KEYS, and run this again.",
            err=True,
        )
        ctx.exit(1)
    click.echo("Older keys are not needed any more: NURTURE_FIELD_KEYS may hold the newest alone.")


def _show_progress(count: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{count:,} values", nl=False, err=True)
