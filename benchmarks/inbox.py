"""An agency's work: a page of its inbox, a claim, a batch acknowledgement, in tables of a million rows and of ten; and
the poll that finds nothing, beside an endpoint that does nothing."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence

import orjson

from benchmarks.measure import Figure, compare, interleaved
from benchmarks.referrals import AGENCIES
from benchmarks.stage import Servers, Stage
from benchmarks.stock import LARGE, lay_open, stocked
from benchmarks.wire import Wire, request

_ITEMS = 100
_CONSUMERS = 4
_POLLING = 32
_NOBODY = "GC"
"""An agency to which nothing waits."""

Asking = Callable[[str, str, object], bytes]
"""The request of (method, path, body)."""


async def run(stage: Stage) -> list[Figure]:
    return [*await _pages(stage), *await _empty_polls(stage)]


async def _pages(stage: Stage) -> list[Figure]:
    few = stage.effort.size(50_000, 2_500)
    count = stage.effort.size(2, 1)
    small_url = await stocked(stage, "stock_small", few, one_waits_in=4)
    orm_url = await stage.database("stock_orm", "stock_small")
    await lay_open(stage, orm_url)
    large_url = await stocked(stage, *LARGE.of(stage.effort))
    async with (
        stage.gateways(small_url, count) as small,
        stage.gateways(large_url, count) as large,
        stage.baseline("benchmarks.baselines.orm:app", orm_url, count) as orm,
    ):
        small_keys = [_asking(await stage.key(small_url, agency)) for agency in AGENCIES]
        large_keys = [_asking(await stage.key(large_url, agency)) for agency in AGENCIES]
        orm_asking = [_asking_orm(agency) for agency in AGENCIES]
        players = [(small, small_keys), (orm, orm_asking), (large, large_keys)]
        for servers, asking in players:
            await _cycles(servers, asking, 0.5)
        values = await interleaved(
            stage.effort.rounds,
            [lambda p=player: _measured(stage, *p) for player in players],  # type: ignore[misc]
        )
    rows, more = few * len(AGENCIES), LARGE.of(stage.effort)[1] * len(AGENCIES)
    to_orm = Figure(f"page of {_ITEMS}, claim, acknowledge; {rows:,} rows", "cycles/s", "the same by ORM objects", 4, 6)
    to_small = Figure(f"the same at {more:,} rows", "cycles/s", f"at {rows:,} rows", 0.8, 0.95)
    return [compare(to_orm, values[0], values[1]), compare(to_small, values[2], values[0])]


async def _measured(stage: Stage, servers: Servers, asking: Sequence[Asking]) -> float:
    await stage.checkpoint()
    return await _cycles(servers, asking, stage.effort.seconds)


async def _cycles(servers: Servers, asking: Sequence[Asking], seconds: float) -> float:
    """Cycles a second of consumers that go from agency to agency."""
    agencies = itertools.cycle(asking)
    done = 0
    end = time.perf_counter() + seconds

    async def consume(port: int) -> None:
        nonlocal done
        wire = await Wire.open(port)
        while time.perf_counter() < end:
            await _cycle(wire, next(agencies))
            done += 1
        wire.close()

    began = time.perf_counter()
    await asyncio.gather(*(consume(port) for _, port in zip(range(_CONSUMERS), itertools.cycle(servers.ports))))
    return done / (time.perf_counter() - began)


async def _cycle(wire: Wire, ask: Asking) -> None:
    page = await wire.ask(ask("GET", f"/v1/inbox?limit={_ITEMS}", None))
    claimed = await wire.ask(ask("POST", "/v1/inbox/claims", {"limit": _ITEMS, "lease_seconds": 300}))
    assert page.status == claimed.status == 200, (page, claimed)
    items = orjson.loads(claimed.body)["items"]
    assert len(items) == _ITEMS == len(orjson.loads(page.body)["items"]), "an inbox ran dry: store more"
    body = {"ids": [item["id"] for item in items], "claim_id": items[0]["claim_id"]}
    done = await wire.ask(ask("POST", "/v1/inbox/acknowledgements", body))
    assert all(item["status"] == 200 for item in orjson.loads(done.body)["items"])


def _asking(key: str) -> Asking:
    return lambda method, path, body: request(method, path, key, body)


def _asking_orm(agency: str) -> Asking:
    """The ORM application knows no keys: who asks is a parameter."""
    return lambda method, path, body: request(method, f"{path}{'&' if '?' in path else '?'}agency={agency}", body=body)


async def _empty_polls(stage: Stage) -> list[Figure]:
    url = await stage.database("empty")
    polling = [request("GET", "/v1/inbox", await stage.key(url, _NOBODY))]
    async with (
        stage.gateways(url) as ours,
        stage.baseline("benchmarks.baselines.bare:app", await stage.database("empty_bare")) as bare,
    ):
        await stage.warm(ours, polling)
        await stage.warm(bare, polling)

        async def per_second(servers: Servers) -> float:
            return (await stage.load(servers.ports, polling, _POLLING)).per_second

        values = await interleaved(stage.effort.rounds, [lambda: per_second(ours), lambda: per_second(bare)])
    return [compare(Figure("empty poll", "polls/s", "an endpoint that does nothing", 0.8, 1.0), *values)]
