"""`gain channels …`: how agencies are told that something waits in their inbox."""

from typing import Annotated

import typer

from app.commands.words import HERE, DataDirectory, say

commands = typer.Typer(help="How agencies are told that something waits in their inbox.", no_args_is_help=True)

Party = Annotated[str, typer.Argument(help="Code of the agency, such as HMRC.")]


@commands.command("list")
def list_channels(data_dir: DataDirectory = HERE) -> None:
    """Print every agency's channel, one a line with tabs between: where, ended since when and why, which secret."""
    from app.runtime.channels import COLUMNS, listed

    print("\t".join(COLUMNS))
    for line in listed(data_dir):
        print("\t".join(line))


@commands.command("push")
def push_to(
    party: Party,
    url: Annotated[str, typer.Argument(help="Where notices are posted; its host is named in GAIN_PUSH_HOSTS.")],
    data_dir: DataDirectory = HERE,
) -> None:
    """Have an agency pushed to; also after its endpoint ended. Prints what it verifies with: whsec_…, and whpk_….

    The secret stays when the URL changes; `gain channels rotate` begins another where a new system takes over.
    """
    from app.runtime.channels import push

    print("\n".join(push(data_dir, party, url)))
    say(f"{party} verifies its notices with either: v1 with whsec_, v1a with whpk_; whsec_ is for nobody else")


@commands.command("email")
def write_to(
    party: Party,
    address: Annotated[str, typer.Argument(help="Mailbox of its desk.")],
    data_dir: DataDirectory = HERE,
) -> None:
    """Have an agency written to, also after its mailbox bounced. Needs GAIN_EMAIL_FROM."""
    from app.runtime.channels import email

    email(data_dir, party, address)


@commands.command("inbox")
def leave_to_inbox(party: Party, data_dir: DataDirectory = HERE) -> None:
    """Tell an agency nothing more: it looks into its inbox by itself."""
    from app.runtime.channels import inbox

    inbox(data_dir, party)


@commands.command("secret")
def show_secret(party: Party, data_dir: DataDirectory = HERE) -> None:
    """Print the newest secret (whsec_…) and public key (whpk_…) of an agency that is pushed to. It is logged."""
    from app.runtime.channels import secret

    print("\n".join(secret(data_dir, party)))


@commands.command("rotate")
def rotate_secret(
    party: Party,
    overlap_hours: Annotated[
        int | None, typer.Option(min=1, max=24 * 90, help="How long the one before is signed with too. [24]")
    ] = None,
    at_once: Annotated[bool, typer.Option("--at-once", help="Not at all: the one before has leaked.")] = False,
    data_dir: DataDirectory = HERE,
) -> None:
    """Begin a new secret, and print it (whsec_…) and its public key (whpk_…). Two are signed with at most."""
    from app.runtime.channels import rotate

    if at_once and overlap_hours:
        raise typer.BadParameter("give either --overlap-hours or --at-once")
    print("\n".join(rotate(data_dir, party, 0 if at_once else overlap_hours or 24)))
