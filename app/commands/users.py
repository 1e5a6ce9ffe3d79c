"""`gain users …`: people's accounts."""

from typing import Annotated

import typer

from app.access.policy import Role
from app.commands.words import HERE, DataDirectory, say

commands = typer.Typer(help="People's accounts.", no_args_is_help=True)

Username = Annotated[str, typer.Argument(help="User name, as `gain users list` shows it.")]


@commands.command("add")
def add_user(
    party: Annotated[str, typer.Argument(help="Code of the party they work for, such as SWP, HMRC or TARIAN.")],
    username: Annotated[str, typer.Argument(help="Address of email that they sign in with.")],
    name: Annotated[str, typer.Option(help="What they are called.")],
    role: Annotated[
        list[Role] | None, typer.Option(help="What they do; may be repeated. Default: what the party is.")
    ] = None,
    manager: Annotated[bool, typer.Option("--manager", help="They may change their party's policy.")] = False,
    data_dir: DataDirectory = HERE,
) -> None:
    """Print a set-up code, alone, on stdout. It is shown this once, good once, and for three days."""
    from app.access.accounts.register import NewAccount
    from app.runtime.users import add

    invited = add(data_dir, NewAccount(party, username, name, role or (), manager))
    print(invited.code)
    say(f"give this code to {invited.username}: they set their account up at /sign-in/set-up")


@commands.command("list")
def list_users(
    party: Annotated[str | None, typer.Option(help="Only this party's.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that were removed, too.")] = False,
    data_dir: DataDirectory = HERE,
) -> None:
    """Print the accounts, by party, one a line with tabs between."""
    from app.runtime.users import COLUMNS, listed

    print("\t".join(COLUMNS))
    for line in listed(data_dir, party, every=every):
        print("\t".join(line))


@commands.command("reset")
def reset_user(username: Username, data_dir: DataDirectory = HERE) -> None:
    """Print a new set-up code. Password, authenticator, recovery codes and sessions are gone at once."""
    from app.runtime.users import reset

    invited = reset(data_dir, username)
    print(invited.code)
    say(f"give this code to {invited.username}: they set their account up at /sign-in/set-up")


@commands.command("lock")
def lock_user(username: Username, data_dir: DataDirectory = HERE) -> None:
    """Keep somebody out until they are unlocked. Their sessions end within two seconds."""
    from app.runtime.users import lock

    lock(data_dir, username)


@commands.command("unlock")
def unlock_user(username: Username, data_dir: DataDirectory = HERE) -> None:
    """Let somebody in again, whether they were locked or tried too often."""
    from app.runtime.users import unlock

    unlock(data_dir, username)


@commands.command("manager")
def manage_user(
    username: Username,
    end: Annotated[bool, typer.Option("--end", help="No more.")] = False,
    data_dir: DataDirectory = HERE,
) -> None:
    """Let somebody change their party's policy (/my-policy), or with --end no more."""
    from app.runtime.users import manage

    manage(data_dir, username, manager=not end)


@commands.command("remove")
def remove_user(username: Username, data_dir: DataDirectory = HERE) -> None:
    """End an account for ever. The log goes on naming whom it was; the user name is free again."""
    from app.runtime.users import remove

    remove(data_dir, username)


@commands.command("demonstrate", hidden=True)
def demonstrate_users(data_dir: DataDirectory = HERE) -> None:
    """Print accounts of a demonstration, with all that opens them, one a line with tabs between."""
    from app.runtime.users import demonstrate

    for one in demonstrate(data_dir):
        print("\t".join((one.username, one.party, one.role, one.password, one.secret)))
