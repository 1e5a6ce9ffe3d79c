"""Latency at half the peak: requests start at a fixed rate whether or not earlier ones are answered (open loop)."""

from collections.abc import Sequence

from app.crypto.keys import Keys
from app.db import Database
from app.referrals.accept import accept
from benchmarks.fan_out import submission
from benchmarks.load import Outcome
from benchmarks.measure import Figure
from benchmarks.referrals import AGENCIES, ANSWER, AS_ORIGINATOR, ORIGINATOR, posts
from benchmarks.stage import SECRET, UNBOUNDED, Servers, Stage
from benchmarks.wire import request
from workers.pump import Pump

_CONNECTIONS = 64
_ANSWERS_A_SECOND = 1_000
"""More than two gateway processes record on two cores."""


async def run(stage: Stage) -> list[Figure]:
    rounds = 1 if stage.effort.quick else stage.effort.rounds
    return [*await _posts_and_polls(stage, rounds), *await _answers(stage, rounds)]


async def _posts_and_polls(stage: Stage, rounds: int) -> list[Figure]:
    url = await stage.database("latency")
    submitting = posts(await stage.key(url, ORIGINATOR))
    polling = [request("GET", "/v1/inbox", await stage.key(url, "GC"))]
    figures = []
    async with stage.gateways(url, 2, **UNBOUNDED) as servers:
        for name, requests in (("POST /v1/referrals", submitting), ("empty poll", polling)):
            await stage.warm(servers, requests)
            figures += await _at_half(stage, servers, name, [requests] * (2 * rounds), accepting=url)
    return figures


async def _answers(stage: Stage, rounds: int) -> list[Figure]:
    """In a database of their own: what the POSTs have left would all have to be fanned out first."""
    url = await stage.database("latency_answers")
    seconds = (stage.effort.seconds + stage.effort.warm_seconds) * 2 * rounds + 1
    answering = await _answering(stage, url, int(_ANSWERS_A_SECOND * seconds / len(AGENCIES)) + 1)
    share = len(answering) // (2 * rounds)
    slices = [answering[start : start + share] for start in range(0, 2 * rounds * share, share)]
    async with stage.gateways(url, 2) as servers:
        return await _at_half(stage, servers, "answer", slices, once=True)


async def _at_half(
    stage: Stage,
    servers: Servers,
    name: str,
    requests: Sequence[Sequence[bytes]],
    *,
    once: bool = False,
    accepting: str | None = None,
) -> list[Figure]:
    """The peak by a closed loop, then half of it by an open one, in each round.

    `accepting`: the database in which nobody fans out what the requests bring.
    """
    sent = iter(requests)
    outcomes: list[Outcome] = []
    for _ in range(len(requests) // 2):
        if accepting is not None:
            await stage.work_off(accepting)
        await stage.checkpoint()
        peak = await stage.load(servers.ports, next(sent), _CONNECTIONS, once=once)
        rate = max(1.0, peak.per_second / 2)
        outcomes.append(await stage.load(servers.ports, next(sent), _CONNECTIONS, rate=rate, once=once))
    p50 = Figure(f"{name} at half its peak, p50", "ms")
    p99 = Figure(f"{name} at half its peak, p99", "ms")
    for outcome in outcomes:
        p50.add(outcome.p50)
        p99.add(outcome.p99)
    p50.notes.append("at " + ", ".join(f"{outcome.per_second:,.0f}" for outcome in outcomes) + " a second")
    return [p50, p99]


async def _answering(stage: Stage, url: str, referrals: int) -> list[bytes]:
    """Requests that answer, one for each of many dispatches, in the order of their making."""
    database = Database(stage.settings(url))
    pump = Pump(database, Keys(SECRET.encode()), {})
    for start in range(0, referrals, 100):
        async with database.transaction(AS_ORIGINATOR) as connection:
            await accept(connection, [submission(start + number) for number in range(100)])
        await pump.run(seconds=30)
    await database.close()
    keys = {agency: await stage.key(url, agency) for agency in AGENCIES}
    connection = await stage.connect(url)
    rows = await connection.fetch(
        "SELECT id, agency FROM dispatch WHERE state = 'queued' ORDER BY number LIMIT $1", referrals * len(AGENCIES)
    )
    await connection.close()
    return [request("POST", f"/v1/inbox/{row['id']}/response", keys[row["agency"]], ANSWER) for row in rows]
