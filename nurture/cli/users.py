"""`nurture users …`: who may use the desk."""

import json

import click

from nurture import runtime
from nurture import settings as configuration
from nurture.cli.text import Command, Group
from nurture.domain.user import Role
from nurture.runtime import Runtime
from nurture.services.accounts import accounts, login
from nurture.services.accounts.accounts import Account, AccountRefused
from nurture.services.addresses import parse_address

_role = click.Choice([role.value for role in Role])


@click.group(cls=Group, epilog="Example:  nurture users list")
def users() -> None:
    """Give people access to the desk, list them, and take it away."""


def _known(rt: Runtime, email: str) -> Account:
    found = accounts.find(rt, parse_address(email, test_names=True))
    if found is None:
        raise AccountRefused(f"No account has the address {email!r}. `nurture users list` shows all.")
    return found


def _tell_link(link: str, works: str) -> None:
    click.echo(f"This link works once, for {works}:\n{link}")


@users.command("add", epilog="Example:  nurture users add sam@example.org --name Sam --role editor")
@click.argument("email")
@click.option("--name", default="", help="What to call them.")
@click.option("--role", type=_role, default="editor", show_default=True, help="What they may do.")
def add(email: str, name: str, role: str) -> None:
    """Give somebody access; prints a link with which they choose a password."""
    rt = runtime.build(configuration.load())
    who = accounts.add(rt, parse_address(email, test_names=True), name[: accounts.MOST_NAME], Role(role))
    _tell_link(login.login_link(rt, who, login.INVITATION_WORKS), "three days")
    rt.close()


@users.command("list", epilog="Example:  nurture users list --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Everybody with access."""
    rt = runtime.build(configuration.load())
    people = accounts.everyone(rt)
    rt.close()
    if as_json:
        click.echo(
            json.dumps(
                [
                    {
                        "id": one.id,
                        "email": one.email,
                        "name": one.name,
                        "role": one.role,
                        "protected": one.protected,
                        "app": one.has_app,
                        "passkeys": one.has_passkeys,
                        "seen": one.seen.isoformat() if one.seen else None,
                    }
                    for one in people
                ]
            )
        )
        return
    for one in people:
        ways = ("password and app" if one.has_app else "", "passkey" if one.has_passkeys else "")
        guarded = ", or ".join(way for way in ways if way) or "no password yet"
        click.echo(f"{one.role:<8} {one.email or '(the first owner, no address yet)':<40} {guarded}")
    if not people:
        click.echo("Nobody yet. `nurture users login-link --first` prints a link for the first owner.")


@users.command("login-link", epilog="Example:  nurture users login-link sam@example.org")
@click.argument("email", required=False)
@click.option("--first", is_flag=True, help="For the first owner of a new installation, who has no address yet.")
def login_link(email: str | None, first: bool) -> None:
    """Print a log-in link for somebody; their second proof is still asked for."""
    if first == (email is not None):
        raise click.UsageError("Name an EMAIL, or say --first.")
    rt = runtime.build(configuration.load())
    _tell_link(login.login_link(rt) if email is None else login.login_link(rt, _known(rt, email).id), "ten minutes")
    rt.close()


users.add_command(Command("link", callback=login_link.callback, params=login_link.params, help=login_link.help, hidden=True))


@users.command("reset", epilog="Example:  nurture users reset sam@example.org")
@click.argument("email")
def reset(email: str) -> None:
    """For somebody who lost telephone and recovery codes: forget password, app and passkeys, and print a link."""
    rt = runtime.build(configuration.load())
    who = _known(rt, email).id
    accounts.reset(rt, who)
    _tell_link(login.login_link(rt, who, login.INVITATION_WORKS), "three days")
    rt.close()


@users.command("role", epilog="Example:  nurture users role sam@example.org viewer")
@click.argument("email")
@click.argument("role", type=_role)
def role(email: str, role: str) -> None:
    """Say what somebody may do."""
    rt = runtime.build(configuration.load())
    accounts.set_role(rt, _known(rt, email).id, Role(role))
    rt.close()
    click.echo("Done.")


@users.command("remove", epilog="Example:  nurture users remove sam@example.org")
@click.argument("email")
def remove(email: str) -> None:
    """Take access away, at once."""
    rt = runtime.build(configuration.load())
    accounts.remove(rt, _known(rt, email).id)
    rt.close()
    click.echo("Done.")
