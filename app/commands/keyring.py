"""`gain keyring …`: the key ring, under which all content is sealed."""

from typing import Annotated

import typer

from app.commands.words import HERE, DataDirectory, say

commands = typer.Typer(help="The key ring, under which all content is sealed.", no_args_is_help=True)


@commands.command("new")
def new_key_ring() -> None:
    """Print a key ring with one new key, for GAIN_KEY_RING_FILE. Whoever has it and the database reads everything."""
    from app.crypto.keyring import Bare, new_ring

    print(new_ring(Bare()).text(), end="")


@commands.command("status")
def key_ring_status(data_dir: DataDirectory = HERE) -> None:
    """Show each key: whether it is current, and how many data keys lie under it."""
    from app.runtime.key_ring import status

    status(data_dir, print)


@commands.command("add")
def add_ring_key(data_dir: DataDirectory = HERE) -> None:
    """Add a new key that nothing uses yet, so that every machine can be given the ring before `rotate`."""
    from app.runtime.key_ring import add

    add(data_dir, say)


@commands.command("rotate")
def rotate_key_ring(data_dir: DataDirectory = HERE) -> None:
    """Make the newest key current, or a new one, and wrap every data key under it, while everything runs.

    Start it again where it was ended: it goes on with what is left.
    """
    from app.runtime.key_ring import rotate

    rotate(data_dir, say)


@commands.command("remove")
def remove_ring_key(
    key: Annotated[str, typer.Argument(help="Id of the key, as `status` shows it.")], data_dir: DataDirectory = HERE
) -> None:
    """Take an old key out of the ring; refused while anything needs it."""
    from app.runtime.key_ring import remove

    remove(data_dir, key, say)
