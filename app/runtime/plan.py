"""What `gain up` runs: our own commands, each as a part."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import app
from app.runtime.child import POLITE
from app.runtime.child import WORKER as LONG
from app.runtime.roles import GATEWAY, WORKER
from app.runtime.up import Command, Plan
from app.settings import NO_BROKER

_AGENCIES = "agencies"


def plan(data_dir: Path, agencies: Sequence[str], simulate: bool, speed: float, *, broker: bool = True) -> Plan:
    """The plan of a system; `agencies` are the bodies that run as outside clients, each with a key of its own.

    Without a `broker` the worker polls the database.
    """
    keys = data_dir.expanduser().absolute() / "agencies.keys"
    first = [Command("migrate", gain_command("migrate"))]
    parts = [
        Command("gateway", gain_command("serve"), serves=True, login=GATEWAY),
        Command("worker", gain_command("worker"), stop=LONG, login=WORKER)
        if broker
        else Command("worker", gain_command("worker", "--no-broker"), stop=POLITE, login=WORKER),
        Command("scheduler", gain_command("scheduler"), login=WORKER),
    ]
    if agencies:
        replace = gain_command("keys", "replace", "--label", _AGENCIES, "--file", str(keys), *agencies)
        first.append(Command("agency-keys", replace))
        parts.append(Command(_AGENCIES, gain_command("agencies", "--keys", str(keys)), database=False))
    environment = {
        **child_environment(),
        "GAIN_SIMULATE": str(simulate).lower(),
        "GAIN_SIMULATION_SPEED": repr(speed),
        **({} if broker else {"GAIN_BROKER_URL": NO_BROKER}),
    }
    return Plan(tuple(first), tuple(parts), environment)


def gain_command(*arguments: str) -> tuple[str, ...]:
    """A `gain` command in this Python. `-P`: the working folder must not shadow our packages."""
    return (sys.executable, "-P", "-m", "app.cli", *arguments)


def child_environment() -> dict[str, str]:
    """Our environment, in which a child finds `app` even if we run from a checkout that was not installed."""
    root = Path(app.__path__[0]).parent
    paths = [] if root.name == "site-packages" else [str(root)]
    path = os.pathsep.join(filter(None, (*paths, os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONUNBUFFERED": "1", **({"PYTHONPATH": path} if path else {})}
