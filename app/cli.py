"""`gain …`: starts the system or one of its parts, issues keys, plays the demonstration.

Commands import what they need when they run, so that `gain --help` is quick.
"""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import access, audit, channels, keyring, keys, retention, users
from app.commands.words import HERE, DataDirectory, say
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
for group in (users, keys, channels, audit, keyring, retention, access):
    cli.add_typer(group.commands, name=group.__name__.rpartition(".")[2])

Processes = Annotated[int | None, typer.Option(min=1, max=64, help="Processes. Default: the setting's.")]
Speed = Annotated[
    float | None, typer.Option(min=0, help="How many times faster than life the simulated bodies work; 0: instant.")
]


@cli.command()
def up(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one. [8000]")] = None,
    data_dir: DataDirectory = HERE,
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
    from app.runtime.supervisor import say as tell
    from app.runtime.up import up as run
    from app.runtime.users import first_steps
    from app.settings import Settings

    def ready(url: str) -> None:
        print(f"ready {url}", flush=True)
        tell(first_steps(url, data_dir))

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
        say=tell,
        ready=ready,
    )


@cli.command()
def serve(
    processes: Processes = None,
    listen_fd: Annotated[int | None, typer.Option(envvar="GAIN_LISTEN_FD", hidden=True)] = None,
) -> None:
    """Run the gateway alone, configured by GAIN_* variables."""
    from app.runtime.credentials import refuse_elsewhere
    from app.runtime.gateway import serve as run
    from app.runtime.users import refuse_demonstration
    from app.settings import Settings

    settings = Settings()
    _need(settings, "database_url", "broker_url")
    _check_database(settings, "gateway")
    refuse_demonstration(settings)
    refuse_elsewhere(settings)
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
    settings.refuse_log_that_nothing_outside_holds()
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

    from app.logs import configure
    from app.runtime.migrate import prepare, seal
    from app.runtime.reach import needing_database
    from app.settings import Settings

    settings = Settings()
    _need(settings, "database_url", secret=False)
    configure("migrate", settings.log_level)
    with needing_database():
        asyncio.run(prepare(settings.database_url, settings))
        sealed = asyncio.run(seal(settings, lambda done: say(f"{done} rows of an earlier version sealed")))
    say("the schema and the reference data are up to date")
    if sealed:
        say("what was sealed now lay open on disk before: see docs/decisions/0014-encryption.md to clear that away")


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
        say(f"the {part} has completed nothing " + ("yet" if seconds is None else f"for {seconds:.0f} s"))
        raise typer.Exit(1)
    say(f"the {part} completed work {seconds:.0f} s ago")


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
                played.introduce(url, demonstration.people_by_command(folder))
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
    settings.refuse_key_ring_of_tests()


def _check_database(settings: "Settings", part: str) -> None:
    """Raise `StartRefused` where production must not run on this database as this user of it."""
    import asyncio

    from app import logs
    from app.runtime.wall import check

    logs.configure(part, settings.log_level)
    asyncio.run(check(settings))


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
        say(str(refusal))
        sys.exit(1)
    except SettingsError as error:
        say(str(error))
        sys.exit(2)
    except ValidationError as error:
        say("; ".join(f"GAIN_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()))
        sys.exit(2)


if __name__ == "__main__":
    main()
