"""`start.py DATA_DIR`: `gain up` itself, with its own PostgreSQL, gateway and worker, whose processes faults go into.

The environment names the broker. Schedulers are started beside it: tests have none, one or three.
"""

import sys
from pathlib import Path

from app.runtime import supervisor
from app.runtime.child import WORKER
from app.runtime.plan import child_environment, gain_command
from app.runtime.refusal import StartRefused
from app.runtime.supervisor import say
from app.runtime.up import Command, Plan, up


def command(*arguments: str) -> tuple[str, ...]:
    """The command that runs a part with faults in it."""
    return (sys.executable, "-P", "-m", "tests.faults.part", *arguments)


def main() -> None:
    # A part that is killed ten times in a minute would be waited for longer and longer: right, and no use here.
    supervisor._LONGEST_DELAY = 0.5
    plan = Plan(
        first=(Command("migrate", gain_command("migrate")),),
        parts=(
            Command("gateway", command("serve"), serves=True),
            Command("worker", command("worker"), stop=WORKER),
        ),
        environment=child_environment(),
    )
    try:
        up(Path(sys.argv[1]), "127.0.0.1", 0, plan, say=say, ready=lambda url: print(f"ready {url}", flush=True))
    except StartRefused as refusal:
        say(str(refusal))
        sys.exit(1)


if __name__ == "__main__":
    main()
