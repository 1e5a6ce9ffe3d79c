"""`gain audit …`: the audit log."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.commands.words import HERE, DataDirectory, Moment, Reason, say

commands = typer.Typer(help="The audit log: verify, export, prune.", no_args_is_help=True)


EarlierKeys = Annotated[
    list[str] | None, typer.Option("--key", help="Verifier key of an earlier secret; may be repeated.")
]


@commands.command("verify")
def verify_audit(
    key: EarlierKeys = None,
    data_dir: DataDirectory = HERE,
) -> None:
    """Recompute the whole log: exit 0 and its latest signed checkpoint, or exit 1 and the first bad entry."""
    from app.audit.verify import Tampered
    from app.runtime.auditing import verify_log

    try:
        proof = verify_log(data_dir, key or [], say)
    except Tampered as finding:
        print(finding)
        raise typer.Exit(1) from None
    found = proof.verified
    say(
        f"{found.size:,} entries verified, {found.unsigned:,} of them after the last checkpoint; "
        f"content pruned: {found.pruned:,}; not sealed yet: {found.waiting:,}"
    )
    for line in found.unfinished:
        say(f"line {line} of the file of checkpoints is unfinished: a full disk or a power cut ended it")
    print(proof.note, end="")


@commands.command("key")
def audit_key(data_dir: DataDirectory = HERE) -> None:
    """Print the public key that checkpoints are checked with."""
    from app.runtime.auditing import verifier_key

    print(verifier_key(data_dir))


@commands.command("export")
def export_audit(
    output: Annotated[Path, typer.Option(help="File to write, readable to you alone.")],
    party: Annotated[str | None, typer.Option(help="Only what this party (a code) did or was given.")] = None,
    since: Moment = None,
    until: Moment = None,
    recipient: Annotated[
        str, typer.Option(help="Whom it is for, as the log will tell: a party's code, or ICO.")
    ] = "ICO",
    reason: Reason = "",
    data_dir: DataDirectory = HERE,
) -> None:
    """Write the log as JSON lines: the whole, or (with filters) a selection in which each entry carries its proof.

    Times are UTC. `gain audit verify-export` checks either kind. The export is itself logged, as a disclosure.
    """
    from app.audit.export import Filters
    from app.runtime.auditing import export_log

    filters = Filters(party, _utc(since), _utc(until))
    size = export_log(data_dir, output, filters, recipient, reason, say)
    say(f"{output} holds {'the whole' if filters.kind == 'whole' else 'a selection'} of {size:,} entries")


@commands.command("verify-export")
def verify_exported(
    file: Annotated[Path, typer.Argument(help="A file that `gain audit export` wrote.")],
    key: Annotated[
        list[str] | None,
        typer.Option(help="The log's public key, from somebody you trust; again for those of earlier secrets."),
    ] = None,
) -> None:
    """Check an exported log against its signed checkpoint. Needs no database, no secret, no setting."""
    from app.runtime.auditing import check_export

    found = check_export(file, key or [], say)
    if not key:
        say(f"checked against the key that the file itself names; compare it with the log's own: {found.key}")
    say(f"{found.kind}: {found.entries:,} entries hold; content pruned: {found.pruned:,}")
    if found.pruned:
        say(
            f"{found.pruned:,} entries are without their content: entry {found.declared_by} declares, signed, "
            f"that what stood before entry {found.pruned_to} was pruned"
        )
    print(found.note, end="")


@commands.command("prune")
def prune_audit(
    before: Moment = None,
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many entries it would be.")] = False,
    key: EarlierKeys = None,
    data_dir: DataDirectory = HERE,
) -> None:
    """Delete the content of old entries; their hashes stay, every proof holds, and the log says that it was done.

    Without --before (UTC), what is older than GAIN_AUDIT_RETENTION_DAYS. The whole log is verified first, and one that
    was tampered with refused.
    """
    from app.runtime.auditing import prune_log

    number = prune_log(data_dir, _utc(before), reason, key or [], dry_run=dry_run, say=say)
    say(f"the first {number:,} entries would lose their content" if dry_run else f"{number:,} entries pruned")


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
