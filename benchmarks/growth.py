"""What size costs: one referral end to end, and the queues, in a database that holds millions and in a small one."""

import time

from app.access.policy import Role
from app.crypto.keys import Keys
from app.db import Database
from app.referrals.accept import accept
from app.reporting.counters import fold
from benchmarks.agencies import INSTANT
from benchmarks.fan_out import submission
from benchmarks.measure import Figure, compare, interleaved
from benchmarks.referrals import AGENCIES, AS_ORIGINATOR
from benchmarks.stage import SECRET, Servers, Stage
from benchmarks.stock import LARGE, stocked
from benchmarks.wire import Wire, request
from workers.pump import Pump

_FEW = 10_000
_GROUP_BY = "SELECT agency, state, count(*) FROM dispatch GROUP BY agency, state"


async def run(stage: Stage) -> list[Figure]:
    few = stage.effort.size(_FEW, 1_000)
    name, many, waits_in = LARGE.of(stage.effort)
    small_url = await stocked(stage, "stock_few", few, waits_in)
    large_url = await stocked(stage, name, many, waits_in)
    return [await _one_referral(stage, (few, small_url), (many, large_url)), await _queues(stage, many, large_url)]


async def _one_referral(stage: Stage, few: tuple[int, str], many: tuple[int, str]) -> Figure:
    small, large = _OneByOne(stage, few[1]), _OneByOne(stage, many[1])
    await small.milliseconds(5)
    await large.milliseconds(5)
    number = stage.effort.size(50, 10)
    values = await interleaved(
        stage.effort.rounds, [lambda: large.milliseconds(number), lambda: small.milliseconds(number)]
    )
    await small.close()
    await large.close()
    figure = Figure(
        f"one referral, accept to 20 answers, {many[0]:,} stored ({many[0] * len(AGENCIES):,} dispatches)",
        "ms",
        f"with {few[0]:,} stored",
        1.25,
        1.05,
        lower=True,
    )
    return compare(figure, *values)


class _OneByOne:
    """Referrals through the accept verb and a worker's pump, each to its end before the next. No broker between."""

    def __init__(self, stage: Stage, url: str) -> None:
        self._database = Database(stage.settings(url))
        self._pump = Pump(self._database, Keys(SECRET.encode()), INSTANT)

    async def milliseconds(self, number: int) -> float:
        """Of one, the mean of so many."""
        began = time.perf_counter()
        for index in range(number):
            async with self._database.transaction(AS_ORIGINATOR) as connection:
                await accept(connection, [submission(index)])
            await self._pump.run(seconds=10)
        return (time.perf_counter() - began) / number * 1000

    async def close(self) -> None:
        await self._database.close()


async def _queues(stage: Stage, many: int, url: str) -> Figure:
    asking = request("GET", "/v1/queues", await stage.key(url, "GAIN", Role.NATIONAL))
    connection = await stage.connect(url)
    await _as_scheduled(stage, url)
    async with stage.gateways(url, count=1) as servers:
        await _ask(servers, asking, 3)

        async def ours() -> float:
            return await _ask(servers, asking, 10)

        async def group_by() -> float:
            began = time.perf_counter()
            await connection.fetch(_GROUP_BY)
            return 1 / (time.perf_counter() - began)

        await group_by()
        values = await interleaved(stage.effort.rounds, [ours, group_by])
    await connection.close()
    name = f"GET /v1/queues, {many * len(AGENCIES):,} dispatches"
    return compare(Figure(name, "/s", "GROUP BY over the dispatches", 200, 800), *values)


async def _as_scheduled(stage: Stage, url: str) -> None:
    """What the scheduler, which does not run here, does all the while: fold what the counters were changed by."""
    database = Database(stage.settings(url))
    while await fold(database):
        pass
    await database.close()


async def _ask(servers: Servers, asking: bytes, times: int) -> float:
    """Answers a second, one after another on one connection."""
    wire = await Wire.open(servers.ports[0])
    began = time.perf_counter()
    for _ in range(times):
        answer = await wire.ask(asking)
        assert answer.status == 200, answer
    wire.close()
    return times / (time.perf_counter() - began)
