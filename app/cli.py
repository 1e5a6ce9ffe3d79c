"""`gain …`: starts the system or one of its parts, issues keys, plays the demonstration.

Commands import what they need when they run, so that `gain --help` is quick.
"""

import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.access.policy import Role
from app.referrals.heartbeat import HEALTHY_SECONDS, Beating

if TYPE_CHECKING:
    from app.settings import Settings

cli = typer.Typer(
    name="gain",
    help="The GAIN broker: one referral to many bodies and back, tracked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
keys = typer.Typer(help="API keys.", no_args_is_help=True)
cli.add_typer(keys, name="keys")
audit = typer.Typer(help="The audit log: verify, export, prune.", no_args_is_help=True)
cli.add_typer(audit, name="audit")

keyring = typer.Typer(help="The key ring, under which all content is sealed.", no_args_is_help=True)
cli.add_typer(keyring, name="keyring")

access = typer.Typer(help="Who may do what.", no_args_is_help=True)
cli.add_typer(access, name="access")

DataDirectory = Annotated[
    Path,
    typer.Option("--data-dir", envvar="GAIN_DATA_DIR", help="Folder of the database, its logs and the secret."),
]
Processes = Annotated[int | None, typer.Option(min=1, max=64, help="Processes. Default: the setting's.")]
Speed = Annotated[
    float | None, typer.Option(min=0, help="How many times faster than life the simulated bodies work; 0: instant.")
]
Reason = Annotated[str, typer.Option(help="Why, in your words: the log keeps a salted hash of them.")]
Moment = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])]
_HERE = Path(".gain")


@cli.command()
def up(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one. [8000]")] = None,
    data_dir: DataDirectory = _HERE,
    simulate: Annotated[bool | None, typer.Option(help="Let the simulated bodies answer.")] = None,
    speed: Speed = None,
    no_broker: Annotated[
        bool, typer.Option("--no-broker", help="Run without Valkey: workers poll PostgreSQL.")
    ] = False,
) -> None:
    """Run the whole system until Ctrl-C: database, broker, gateway, workers, scheduler.

    Prints `ready URL` on stdout when it can serve; everything else goes to stderr and to DATA_DIR/logs.
    GAIN_DATABASE_URL and GAIN_BROKER_URL replace the embedded PostgreSQL and Valkey by real servers.
    """
    from app.runtime.plan import plan
    from app.runtime.supervisor import say
    from app.runtime.up import up as run
    from app.settings import Settings

    settings = Settings()
    simulated = settings.simulate if simulate is None else simulate
    agencies: Sequence[str] = ()
    if simulated:
        from workers.simulation.roster import OUTSIDE_CLIENTS

        agencies = sorted(OUTSIDE_CLIENTS)
    run(
        data_dir,
        settings.host,
        settings.port if port is None else port,
        plan(
            data_dir,
            agencies,
            simulated,
            settings.simulation_speed if speed is None else speed,
            broker=settings.has_broker and not no_broker,
        ),
        say=say,
        ready=lambda url: print(f"ready {url}", flush=True),
    )


@cli.command()
def serve(
    processes: Processes = None,
    listen_fd: Annotated[int | None, typer.Option(envvar="GAIN_LISTEN_FD", hidden=True)] = None,
) -> None:
    """Run the gateway alone, configured by GAIN_* variables."""
    from app.runtime.gateway import serve as run
    from app.settings import Settings

    settings = Settings()
    _need(settings, "database_url", "broker_url")
    _check_database(settings, "gateway")
    run(settings, processes or settings.gateway_processes, listen_fd)


@cli.command()
def worker(
    processes: Processes = None,
    no_broker: Annotated[
        bool, typer.Option("--no-broker", help="Poll PostgreSQL four times a second instead of using Celery.")
    ] = False,
) -> None:
    """Run a worker alone, configured by GAIN_* variables: Celery's, or with --no-broker one that needs none."""
    from app.settings import NO_BROKER, Settings, SettingsError

    settings = Settings()
    _need(settings, "database_url", *(() if no_broker else ("broker_url",)))
    if not no_broker and not settings.has_broker:
        raise SettingsError(f"GAIN_BROKER_URL={NO_BROKER}: start this worker with --no-broker, or name a broker")
    _check_database(settings, "worker")
    settings = settings.model_copy(update={"worker_processes": processes or settings.worker_processes})
    if no_broker:
        from workers import polling

        polling.run_worker(settings)
        return
    from workers.celery_app import run_worker

    run_worker(settings)


@cli.command()
def scheduler() -> None:
    """Run the scheduler alone, configured by GAIN_* variables. Any number may run: one leads."""
    from app.settings import Settings

    settings = Settings()
    _need(settings, "database_url", "broker_url")
    _check_database(settings, "scheduler")
    from workers.tasks.scheduler import run

    run(settings)


@cli.command()
def migrate() -> None:
    """Bring the database of GAIN_DATABASE_URL to this version's schema and reference data. Safe to repeat.

    As the database's owner. Makes the roles that the parts sign in as, with the passwords that are named, or says what
    a DBA must do. Seals what a version without encryption stored; once more when its last process has ended.
    """
    import asyncio

    from app.runtime.migrate import prepare, seal
    from app.runtime.reach import needing_database
    from app.settings import Settings

    settings = Settings()
    _need(settings, "database_url", secret=False)
    with needing_database():
        asyncio.run(prepare(settings.database_url, settings))
        sealed = asyncio.run(seal(settings, lambda done: _say(f"{done} rows of an earlier version sealed")))
    _say("the schema and the reference data are up to date")
    if sealed:
        _say("what was sealed now lay open on disk before: see docs/decisions/0014-encryption.md to clear that away")


@cli.command()
def health(part: Annotated[Beating, typer.Argument(help="The part to ask about.")]) -> None:
    """Tell whether a part completed work lately: exit 0 if so, 1 if not. For health checks of containers."""
    import asyncio

    from app.runtime.pulse import silent_seconds
    from app.settings import Settings

    settings = Settings()
    _need(settings, "database_url", secret=False)
    seconds = asyncio.run(silent_seconds(settings))[part]
    if seconds is None or seconds > HEALTHY_SECONDS:
        _say(f"the {part} has completed nothing " + ("yet" if seconds is None else f"for {seconds:.0f} s"))
        raise typer.Exit(1)
    _say(f"the {part} completed work {seconds:.0f} s ago")


@keys.command("issue")
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
    data_dir: DataDirectory = _HERE,
) -> None:
    """Print one new API key, alone, on stdout. It is shown this once: only a keyed hash of it is kept."""
    from datetime import timedelta

    from app import clock
    from app.access.keys import Terms
    from app.runtime.credentials import issue

    expires_at = None if expires_in_days is None else clock.now() + timedelta(days=expires_in_days)
    print(issue(data_dir, party, role, Terms(scope or (), network or (), expires_at, label)))


@keys.command("list")
def list_keys(
    party: Annotated[str | None, typer.Option(help="Only this party's.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are not in force any more, too.")] = False,
    data_dir: DataDirectory = _HERE,
) -> None:
    """Print the keys in force, newest first, one a line with tabs between; never a key itself."""
    from app.runtime.credentials import COLUMNS, listed

    print("\t".join(COLUMNS))
    for line in listed(data_dir, party, every=every):
        print("\t".join(line))


@keys.command("rotate")
def rotate_key(
    key: Annotated[str, typer.Argument(help="Id of the key, as `gain keys list` shows it.")],
    overlap_hours: Annotated[int, typer.Option(min=0, max=24 * 90, help="How long the old one is still taken.")] = 24,
    data_dir: DataDirectory = _HERE,
) -> None:
    """Print a key's successor, alone, on stdout: the same terms, a new secret. Two of a line are taken at most."""
    from app.runtime.credentials import rotate

    print(rotate(data_dir, key, overlap_hours))


@keys.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="Id of the key, as `gain keys list` shows it; or a leaked key itself.")],
    data_dir: DataDirectory = _HERE,
) -> None:
    """Refuse a key, and every token and session made with it: in force everywhere within two seconds."""
    from app.runtime.credentials import revoke

    revoke(data_dir, key)


@access.command("table")
def access_table() -> None:
    """Print the page docs/access.md: every action by role, and what every route asks for."""
    from app.access.table import page
    from app.main import DOORS, OPEN_PATHS

    print(page(DOORS, OPEN_PATHS), end="")


@keys.command("replace", hidden=True)
def replace_keys(
    parties: Annotated[list[str], typer.Argument(help="Codes of the parties.")],
    label: Annotated[str, typer.Option(help="Keys that carry this label are revoked.")],
    file: Annotated[Path, typer.Option(help="Where the new keys are written as JSON, readable to the owner alone.")],
    data_dir: DataDirectory = _HERE,
) -> None:
    """Replace the keys of a label by one new key for each party."""
    from app.runtime.credentials import replace

    replace(data_dir, label, parties, file)


@keyring.command("new")
def new_key_ring() -> None:
    """Print a key ring with one new key, for GAIN_KEY_RING_FILE. Whoever has it and the database reads everything."""
    from app.crypto.keyring import Bare, new_ring

    print(new_ring(Bare()).text(), end="")


@keyring.command("status")
def key_ring_status(data_dir: DataDirectory = _HERE) -> None:
    """Show each key: whether it is current, and how many data keys lie under it."""
    from app.runtime.key_ring import status

    status(data_dir, print)


@keyring.command("add")
def add_ring_key(data_dir: DataDirectory = _HERE) -> None:
    """Add a new key that nothing uses yet, so that every machine can be given the ring before `rotate`."""
    from app.runtime.key_ring import add

    add(data_dir, _say)


@keyring.command("rotate")
def rotate_key_ring(data_dir: DataDirectory = _HERE) -> None:
    """Make the newest key current, or a new one, and wrap every data key under it, while everything runs.

    Start it again where it was ended: it goes on with what is left.
    """
    from app.runtime.key_ring import rotate

    rotate(data_dir, _say)


@keyring.command("remove")
def remove_ring_key(
    key: Annotated[str, typer.Argument(help="Id of the key, as `status` shows it.")], data_dir: DataDirectory = _HERE
) -> None:
    """Take an old key out of the ring; refused while anything needs it."""
    from app.runtime.key_ring import remove

    remove(data_dir, key, _say)


@audit.command("verify")
def verify_audit(
    key: Annotated[list[str] | None, typer.Option(help="Verifier key of an earlier secret; may be repeated.")] = None,
    data_dir: DataDirectory = _HERE,
) -> None:
    """Recompute the whole log: exit 0 and its latest signed checkpoint, or exit 1 and the first bad entry."""
    from app.audit.verify import Tampered
    from app.runtime.auditing import verify_log

    try:
        proof = verify_log(data_dir, key or [], _say)
    except Tampered as finding:
        print(finding)
        raise typer.Exit(1) from None
    found = proof.verified
    _say(
        f"{found.size:,} entries verified, {found.unsigned:,} of them after the last checkpoint; "
        f"content pruned: {found.pruned:,}; not sealed yet: {found.waiting:,}"
    )
    print(proof.note, end="")


@audit.command("key")
def audit_key(data_dir: DataDirectory = _HERE) -> None:
    """Print the public key that checkpoints are checked with."""
    from app.runtime.auditing import verifier_key

    print(verifier_key(data_dir))


@audit.command("export")
def export_audit(
    output: Annotated[Path, typer.Option(help="File to write, readable to you alone.")],
    party: Annotated[str | None, typer.Option(help="Only what this party did or was given.")] = None,
    since: Moment = None,
    until: Moment = None,
    recipient: Annotated[str, typer.Option(help="Whom it is for, as the log will tell.")] = "ICO",
    reason: Reason = "",
    data_dir: DataDirectory = _HERE,
) -> None:
    """Write the log as JSON lines: the whole, or (with filters) a selection in which each entry carries its proof.

    Times are UTC. `gain audit verify-export` checks either kind. The export is itself logged, as a disclosure.
    """
    from app.audit.export import Filters
    from app.runtime.auditing import export_log

    filters = Filters(party, _utc(since), _utc(until))
    size = export_log(data_dir, output, filters, recipient, reason, _say)
    _say(f"{output} holds {'the whole' if filters.kind == 'whole' else 'a selection'} of {size:,} entries")


@audit.command("verify-export")
def verify_exported(
    file: Annotated[Path, typer.Argument(help="A file that `gain audit export` wrote.")],
    key: Annotated[str | None, typer.Option(help="The log's public key, from somebody you trust.")] = None,
) -> None:
    """Check an exported log against its signed checkpoint. Needs no database, no secret, no setting."""
    from app.runtime.auditing import check_export

    found = check_export(file, key, _say)
    if key is None:
        _say(f"checked against the key that the file itself names; compare it with the log's own: {found.key}")
    _say(f"{found.kind}: {found.entries:,} entries hold; content pruned: {found.pruned:,}")
    print(found.note, end="")


@audit.command("prune")
def prune_audit(
    before: Moment = None,
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many entries it would be.")] = False,
    data_dir: DataDirectory = _HERE,
) -> None:
    """Delete the content of old entries; their hashes stay, every proof holds, and the log says that it was done.

    Without --before (UTC), what is older than GAIN_AUDIT_RETENTION_DAYS.
    """
    from app.runtime.auditing import prune_log

    number = prune_log(data_dir, _utc(before), reason, dry_run=dry_run, say=_say)
    _say(f"the first {number:,} entries would lose their content" if dry_run else f"{number:,} entries pruned")


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


@cli.command(hidden=True)
def agencies(
    keys_file: Annotated[Path, typer.Option("--keys", help="JSON file: party code to API key.")],
    url: Annotated[str, typer.Option(envvar="GAIN_GATEWAY_URL", help="Where they reach the gateway.")] = "",
) -> None:
    """Run the simulated bodies that work from their inbox over HTTP, as outside clients."""
    import json

    from app.logs import configure
    from app.settings import Settings

    settings = Settings()
    configure("agencies", settings.log_level)
    from workers.simulation.clients import run

    issued = json.loads(keys_file.read_text(encoding="utf-8"))
    run(url or settings.url, issued, settings.simulation_seed, settings.simulation_speed)


@cli.command()
def demo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 0,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of its database. [a fresh one, removed afterwards]")
    ] = None,
    speed: Annotated[float | None, typer.Option(min=0, help="As for `gain up`. [30000]")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the fresh folder for a `gain up` of your own.")] = False,
    svg: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Play Operation Lava on a system of its own: one OCG referred to 22 bodies, and what comes back.

    Uses no GAIN_* variable. Exit code 0 when every body has answered or visibly declined every referral, else 1.
    """
    from rich.console import Console

    from app.runtime import demonstration
    from app.runtime.system import running_system
    from app.settings import Settings
    from workers.simulation.demonstration import SPEED, Demonstration

    demonstration.forget_settings()
    pace = SPEED if speed is None else speed
    played = Demonstration(Console(), Settings().simulation_seed, pace, svg)
    try:
        with demonstration.unwinding(), demonstration.data_folder(data_dir, keep=keep) as folder:
            played.announce()
            with running_system(folder, port=port, simulate=True, speed=pace) as url:
                code = played.play(url, lambda party: demonstration.issue_by_command(folder, party))
            played.conclude(demonstration.said(folder), folder if keep or data_dir else None)
    except demonstration.Interrupted as interrupted:
        raise typer.Exit(interrupted.exit_code) from None
    raise typer.Exit(code)


def _need(settings: object, *names: str, secret: bool = True) -> None:
    """Raise `SettingsError` where a command lacks a setting."""
    from app.settings import Settings, SettingsError

    for name in names:
        if not getattr(settings, name):
            raise SettingsError(f"GAIN_{name.upper()} must be set; `gain up` needs no settings and starts everything")
    if not secret or not isinstance(settings, Settings):
        return
    settings.master_secret()
    if not settings.has_key_ring():
        raise SettingsError(
            "GAIN_KEY_RING_FILE (or GAIN_KEY_RING) must hold a key ring; make one with: gain keyring new"
        )


def _check_database(settings: "Settings", part: str) -> None:
    """Raise `StartRefused` where production must not run on this database as this user of it."""
    import asyncio

    from app import logs
    from app.runtime.wall import check

    logs.configure(part, settings.log_level)
    asyncio.run(check(settings))


def _say(line: str) -> None:
    print(f"gain: {line}", file=sys.stderr, flush=True)


def main() -> None:
    """The console entry point `gain`. What a person can mend is told in one line: exit code 1, or 2 for a setting."""
    from pydantic import ValidationError

    from app.parties.release import ReferenceDataError
    from app.runtime.refusal import StartRefused
    from app.settings import SettingsError

    # Leave by way of every `finally`; commands that serve set a handler of their own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        cli()
    except (StartRefused, ReferenceDataError) as refusal:
        _say(str(refusal))
        sys.exit(1)
    except SettingsError as error:
        _say(str(error))
        sys.exit(2)
    except ValidationError as error:
        _say("; ".join(f"GAIN_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()))
        sys.exit(2)


if __name__ == "__main__":
    main()
