"""Agencies that answer at once; and, run as a program, `gain worker` with these and nothing else changed."""

from app.settings import Settings
from benchmarks.referrals import AGENCIES, ANSWER
from workers import celery_app
from workers.adapters.contract import Adapter, Answered, Envelope, Result
from workers.channels import Fixed


class Instant(Adapter):
    """An agency that has its answer ready."""

    in_flight = 1_000
    waits = False

    async def deliver(self, envelope: Envelope) -> Result:
        return Answered(ANSWER)


INSTANT = dict.fromkeys(AGENCIES, Instant())


class _InstantAgencies(Fixed):
    """Stands in for the worker's `Channels`."""

    def __init__(self, _: Settings) -> None:
        super().__init__(INSTANT)

    def prepare(self) -> None:
        """Nothing to build."""

    async def close(self) -> None:
        """Nothing to close."""


def main() -> None:
    vars(celery_app)["Channels"] = _InstantAgencies
    celery_app.run_worker(Settings())


if __name__ == "__main__":
    main()
