"""Agencies that answer at once; and, as a program, `gain worker` or `gain scheduler` with these and no other change."""

import sys

from app.db import Connection
from app.settings import Settings
from benchmarks.referrals import AGENCIES, ANSWER
from workers import celery_app
from workers.adapters.contract import Adapter, Answered, Envelope, Result
from workers.channels import Fixed, Reached
from workers.tasks import scheduler


class Instant(Adapter):
    """An agency that has its answer ready."""

    in_flight = 1_000
    waits = False

    async def deliver(self, envelope: Envelope) -> Result:
        return Answered(ANSWER)


INSTANT = dict.fromkeys(AGENCIES, Instant())


class _InstantAgencies(Fixed):
    """Stands in for the `Channels` of worker and scheduler."""

    def __init__(self, _: Settings) -> None:
        super().__init__(INSTANT)

    async def reached(self, _: Connection) -> Reached:
        return Reached(answering=frozenset(INSTANT), told=frozenset(), ended=frozenset())

    def prepare(self) -> None:
        """Nothing to build."""

    async def close(self) -> None:
        """Nothing to close."""


def main() -> None:
    for part in (celery_app, scheduler):
        vars(part)["Channels"] = _InstantAgencies
    if sys.argv[1] == "scheduler":
        scheduler.run(Settings())
    else:
        celery_app.run_worker(Settings())


if __name__ == "__main__":
    main()
