"""`gain retention …`: how long referrals are kept, and their end."""

from datetime import datetime
from typing import Annotated

import typer

from app.commands.words import HERE, DataDirectory, Reason, say

commands = typer.Typer(help="How long referrals are kept, and their end.", no_args_is_help=True)

Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]
Reference = Annotated[str, typer.Argument(help="Reference of the referral, such as GAIN-2026-000123.")]


@commands.command("due")
def retention_due(
    until: Day = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    data_dir: DataDirectory = HERE,
) -> None:
    """Print what a review is due for by a day (today), longest due first, tabs between; gives closed ones their dates.

    Nothing is disposed of by its date alone: `gain retention review` decides.
    """
    from app.runtime.retaining import print_due

    print_due(data_dir, until and until.date(), print, say, as_json=as_json)


@commands.command("review")
def retention_review(
    references: Annotated[list[str], typer.Argument(help="References of the referrals reviewed.")],
    keep_until: Day = None,
    dispose: Annotated[bool, typer.Option("--dispose", help="They go with the next `gain retention dispose`.")] = False,
    reviewed: Annotated[bool, typer.Option("--reviewed", help="Even where the review date has not come.")] = False,
    reason: Reason = "",
    data_dir: DataDirectory = HERE,
) -> None:
    """Write down what a review has decided: keep them until a day, or dispose of them. All of them, or none."""
    from app.retention.review import Decision
    from app.runtime.retaining import write_review

    if dispose == (keep_until is not None):
        raise typer.BadParameter("give either --keep-until or --dispose")
    decision = Decision(keep_until.date() if keep_until else None, early=reviewed, reason=reason)
    write_review(data_dir, references, decision, say)


@commands.command("dispose")
def retention_dispose(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")] = False,
    before: Day = None,
    data_dir: DataDirectory = HERE,
) -> None:
    """Dispose of what reviews have decided, with --before only of what has an earlier review date.

    Data keys and content are deleted, a tombstone stays, the log tells. Ctrl-C ends it after the batch under way;
    however it ends, each referral is whole or disposed of, and the next run goes on. It is complete once every backup
    that holds the wrapped keys has expired.
    """
    from app.runtime.retaining import dispose

    if ended_by := dispose(data_dir, before and before.date(), say, dry_run=dry_run):
        raise typer.Exit(128 + ended_by)


@commands.command("hold")
def retention_hold(
    reference: Reference,
    reason: Annotated[str, typer.Option(help="Why, in your words; kept sealed.")],
    data_dir: DataDirectory = HERE,
) -> None:
    """Put a referral on legal hold: it is not disposed of until that is lifted."""
    from app.runtime.retaining import set_hold

    set_hold(data_dir, reference, reason, say)


@commands.command("lift")
def retention_lift(
    reference: Reference,
    reason: Annotated[str, typer.Option(help="Why, in your words: the log keeps a salted hash of them.")],
    data_dir: DataDirectory = HERE,
) -> None:
    """Lift a referral's legal hold."""
    from app.runtime.retaining import lift_hold

    lift_hold(data_dir, reference, reason, say)
