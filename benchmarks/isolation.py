"""What 21 agencies notice of a 22nd that is dead: the time from accept to answer, with it and without.

Run as a program it is `gain worker` with these agencies: `python -m benchmarks.isolation KIND`.
"""

import asyncio
import random
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from statistics import median, quantiles
from uuid import UUID

from sqlalchemy import text

from app.db import Database
from app.referrals.accept import accept
from app.runtime.child import WORKER
from app.runtime.embedded import EmbeddedValkey
from app.settings import Settings
from benchmarks.fan_out import submission
from benchmarks.measure import Figure
from benchmarks.referrals import AGENCIES, ANSWER, AS_ORIGINATOR
from benchmarks.stage import Stage, eventually
from workers import celery_app
from workers.adapters.contract import Adapter, Answered, Envelope, Result, TransportError
from workers.channels import Fixed
from workers.wake import CeleryWake

HEALTHY = [*AGENCIES, "EA"]
DEAD = "GC"
KINDS = {
    "refused": "refuses every connection",
    "silent": "takes every connection and never answers",
    "slow": "answers after 30 s",
}
"""How an agency can be dead. Beside these there is `well`, the baseline."""

CONTROL = "control"
"""The baseline once more: by how much it differs from itself, the others differ by chance."""

_WORKERS = 2
_ANSWER_SECONDS = (0.02, 0.06)
_EVERY_SECONDS = 0.4
_WARM = 15
_SETTLING_SECONDS = 60.0
_LATENCIES = text("""
    SELECT CAST(extract(epoch FROM dispatch.answered_at - referral.created_at) AS double precision) AS seconds
      FROM dispatch JOIN referral ON referral.id = dispatch.referral_id
     WHERE referral.id = ANY(CAST(:ids AS uuid[])) AND dispatch.agency <> :dead
""")


async def run(stage: Stage) -> list[Figure]:
    """Each kind has a database and a worker of its own. Every referral goes to each of them, in turn.

    So what else happens on the machine meets all alike: a share of a few hundredths would drown in it otherwise.
    """
    kinds = ["well", CONTROL, *KINDS]
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    async with AsyncExitStack() as stack:
        paths = {kind: await stack.enter_async_context(_path(stage, kind)) for kind in kinds}
        await _offer([*paths.values()], _WARM)
        for path in paths.values():
            await path.measured()
        for _ in range(stage.effort.rounds):
            await stage.checkpoint()
            await _offer([*paths.values()], stage.effort.size(120, 15))
            for kind, path in paths.items():
                found[kind].append(await path.measured())
    figures = []
    for kind, said in KINDS.items():
        for index, name in enumerate(("median", "p95")):
            title = f"accept to answer of 21 agencies, {name}, while one {said}"
            figure = Figure(title, "ms", "while that one is well", reach=1.1, go_for=1.0, lower=True)
            for ours, baseline in zip(found[kind], found["well"], strict=True):
                figure.add(ours[index], baseline[index])
            figures.append(figure)
    chance = [(ours[1] / baseline[1]) for ours, baseline in zip(found[CONTROL], found["well"], strict=True)]
    stage.note(f"Isolation: with no difference the p95 of a round was {min(chance):.2f} to {max(chance):.2f} times.")
    return figures


async def _offer(paths: list["_Path"], referrals: int) -> None:
    """So many referrals to each, one after the other."""
    for _ in range(referrals):
        random.shuffle(paths)
        for path in paths:
            await path.offer()
            await asyncio.sleep(random.uniform(0.5, 1.5) * _EVERY_SECONDS / len(paths))
    for path in paths:
        await path.settle()


class _Path:
    """The broker with agencies of which one is of a kind."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._wake = CeleryWake(settings)
        self._ids: list[UUID] = []

    async def offer(self) -> None:
        """One referral, as a gateway takes it."""
        offered = replace(submission(random.randrange(1_000_000)), addressees=[*HEALTHY, DEAD])
        async with self._database.transaction(AS_ORIGINATOR) as connection:
            await accept(connection, [offered])
        self._wake.work()
        self._ids.append(offered.id)

    async def settle(self) -> None:
        """Wait until the 21 have answered all."""

        async def all_answered() -> bool:
            self._wake.work()  # nothing else does where no scheduler runs
            return len(await self._answered()) == len(self._ids) * len(HEALTHY)

        await eventually(all_answered, _SETTLING_SECONDS, pause=0.1)

    async def measured(self) -> tuple[float, float]:
        """Median and 95th percentile in milliseconds of all since the last time."""
        latencies = await self._answered()
        self._ids.clear()
        return 1000 * median(latencies), 1000 * quantiles(latencies, n=20)[-1]

    async def _answered(self) -> list[float]:
        async with self._database.transaction() as connection:
            rows = await connection.execute(_LATENCIES, {"ids": self._ids, "dead": DEAD})
            return [row.seconds for row in rows if row.seconds is not None]


@asynccontextmanager
async def _path(stage: Stage, kind: str) -> AsyncIterator[_Path]:
    """A worker whose 22nd agency is of this kind, on a fresh database, and with a broker of its own.

    Else the worker of one kind would take the wake-ups of another.
    """
    url = await stage.database(f"isolation_{kind}")
    with EmbeddedValkey(stage.folder / f"isolation_{kind}") as broker:
        settings = stage.settings(url).model_copy(update={"broker_url": broker.url})
        database = Database(settings)
        argv = (sys.executable, "-m", "benchmarks.isolation", kind)
        variables = {"GAIN_WORKER_PROCESSES": str(_WORKERS), "GAIN_BROKER_URL": broker.url}
        with stage.process(f"isolation_{kind}", argv, url, WORKER, **variables):
            yield _Path(settings, database)
        await database.close()


class _Well(Adapter):
    """Answers after a moment, as an agency's own system would."""

    async def deliver(self, envelope: Envelope) -> Result:
        await asyncio.sleep(random.uniform(*_ANSWER_SECONDS))
        return Answered(ANSWER)


class _Refused(Adapter):
    """Nobody listens at its port."""

    async def deliver(self, envelope: Envelope) -> Result:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # taken, and not listening
            try:
                await asyncio.open_connection(*nobody.getsockname())
            except OSError as error:
                raise TransportError(type(error).__name__) from error
        raise AssertionError("somebody listens")


class _Silent(Adapter):
    """The kernel takes the connection; nobody reads from it."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)

    async def deliver(self, envelope: Envelope) -> Result:
        reader, writer = await asyncio.open_connection(*self._listening.getsockname())
        try:
            await reader.read(1)
        finally:
            writer.close()
        raise AssertionError("it answers")


class _Slow(Adapter):
    """Answers when nobody waits any more."""

    async def deliver(self, envelope: Envelope) -> Result:
        await asyncio.sleep(30.0)
        return Answered(ANSWER)


_MADE: Mapping[str, type[Adapter]] = {
    "well": _Well,
    CONTROL: _Well,
    "refused": _Refused,
    "silent": _Silent,
    "slow": _Slow,
}


class _Agencies(Fixed):
    """Stands in for the worker's `Channels`."""

    def __init__(self, _: Settings) -> None:
        super().__init__({**dict.fromkeys(HEALTHY, _Well()), DEAD: _MADE[sys.argv[1]]()})

    def prepare(self) -> None:
        """Nothing to build."""

    async def close(self) -> None:
        """Nothing to close."""


def main() -> None:
    vars(celery_app)["Channels"] = _Agencies
    with suppress(KeyboardInterrupt):
        celery_app.run_worker(Settings())


if __name__ == "__main__":
    main()
