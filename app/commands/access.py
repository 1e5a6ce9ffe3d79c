"""`gain access …`: who may do what."""

import typer

commands = typer.Typer(help="Who may do what.", no_args_is_help=True)


@commands.command("table")
def access_table() -> None:
    """Print the page docs/access.md: every action by role, and what every route asks for."""
    from app.access.table import page
    from app.main import DOORS, OPEN_PATHS

    print(page(DOORS, OPEN_PATHS), end="")
