"""`gain keys …`: API keys."""

from pathlib import Path
from typing import Annotated

import typer

from app.access.policy import Role
from app.commands.words import HERE, DataDirectory

commands = typer.Typer(help="API keys.", no_args_is_help=True)


@commands.command("issue")
def issue_key(
    party: Annotated[str, typer.Argument(help="Code of the party, such as SWP, HMRC or TARIAN.")],
    role: Annotated[Role | None, typer.Option(help="What the key is for. Default: what the party is.")] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days it is good for. [no end]")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="An action it is limited to, or `read`; may be repeated. [all of its role]")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="A network (CIDR) it is taken from; may be repeated. [any]")
    ] = None,
    label: Annotated[str, typer.Option(help="A note on what uses it.")] = "",
    data_dir: DataDirectory = HERE,
) -> None:
    """Print one new API key, alone, on stdout. It is shown this once: only a keyed hash of it is kept."""
    from datetime import timedelta

    from app import clock
    from app.access.keys import Terms
    from app.runtime.credentials import issue

    expires_at = None if expires_in_days is None else clock.now() + timedelta(days=expires_in_days)
    print(issue(data_dir, party, role, Terms(scope or (), network or (), expires_at, label)))


@commands.command("list")
def list_keys(
    party: Annotated[str | None, typer.Option(help="Only this party's.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are not in force any more, too.")] = False,
    data_dir: DataDirectory = HERE,
) -> None:
    """Print the keys in force, newest first, one a line with tabs between; never a key itself."""
    from app.runtime.credentials import COLUMNS, listed

    print("\t".join(COLUMNS))
    for line in listed(data_dir, party, every=every):
        print("\t".join(line))


@commands.command("rotate")
def rotate_key(
    key: Annotated[str, typer.Argument(help="Id of the key, as `gain keys list` shows it.")],
    overlap_hours: Annotated[int, typer.Option(min=0, max=24 * 90, help="How long the old one is still taken.")] = 24,
    data_dir: DataDirectory = HERE,
) -> None:
    """Print a key's successor, alone, on stdout: the same terms, a new secret. Two of a line are taken at most."""
    from app.runtime.credentials import rotate

    print(rotate(data_dir, key, overlap_hours))


@commands.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="Id of the key, as `gain keys list` shows it; or a leaked key itself.")],
    data_dir: DataDirectory = HERE,
) -> None:
    """Refuse a key, and every token and session made with it: in force everywhere within two seconds."""
    from app.runtime.credentials import revoke

    revoke(data_dir, key)


@commands.command("replace", hidden=True)
def replace_keys(
    parties: Annotated[list[str], typer.Argument(help="Codes of the parties.")],
    label: Annotated[str, typer.Option(help="Keys that carry this label are revoked.")],
    file: Annotated[Path, typer.Option(help="Where the new keys are written as JSON, readable to the owner alone.")],
    data_dir: DataDirectory = HERE,
) -> None:
    """Replace the keys of a label by one new key for each party."""
    from app.runtime.credentials import replace

    replace(data_dir, label, parties, file)
