"""POST accepted durably, at 32 and 64 connections, beside a bare endpoint with one INSERT and beside ORM objects."""

from collections.abc import Sequence

from benchmarks.load import Outcome
from benchmarks.measure import Figure, Measurement, interleaved
from benchmarks.referrals import ORIGINATOR, posts
from benchmarks.stage import UNBOUNDED, Servers, Stage, memory

_DATABASE = "ingest"
CONNECTIONS = (32, 64)
_QUICK_CONNECTIONS = (64,)
_ORM_TARGETS = {"/v1/referrals": "the same 3 rows", "/v1/referrals-with-dispatches": "23 rows, its 20 dispatches too"}


async def run(stage: Stage) -> list[Figure]:
    """Four applications stand side by side, each on a database of its own; each round loads one after another."""
    url = await stage.database(_DATABASE)
    bare_url, orm_url = await stage.database("ingest_bare"), await stage.database("ingest_orm")
    requests = posts(await stage.key(url, ORIGINATOR))
    async with (
        stage.gateways(url, 2, **UNBOUNDED) as ours,
        stage.baseline("benchmarks.baselines.bare:app", bare_url) as bare,
        stage.baseline("benchmarks.baselines.orm:app", orm_url) as orm,
    ):
        for servers, paths in ((ours, ["/v1/referrals"]), (bare, ["/v1/referrals"]), (orm, list(_ORM_TARGETS))):
            for path in paths:
                await stage.warm(servers, _to(path, requests))
        figures: list[Figure] = []
        for connections in _QUICK_CONNECTIONS if stage.effort.quick else CONNECTIONS:
            figures += await _at(stage, connections, requests, (ours, bare, orm))
        stage.note(f"Gateways after ingest: {memory(ours.children)}; bare endpoints: {memory(bare.children)}.")
    return figures


async def _at(
    stage: Stage, connections: int, requests: Sequence[bytes], servers: tuple[Servers, Servers, Servers]
) -> list[Figure]:
    ours, bare, orm = servers
    outcomes: dict[str, list[Outcome]] = {}

    def loading(name: str, target: Servers, sent: Sequence[bytes]) -> Measurement:
        async def measure() -> float:
            if target is ours:
                await stage.work_off(stage.url(_DATABASE))
            await stage.checkpoint()
            outcome = await stage.load(target.ports, sent, connections)
            outcomes.setdefault(name, []).append(outcome)
            return outcome.per_second

        return measure

    measurements = [loading("ours", ours, requests), loading("bare", bare, requests)]
    measurements += [loading(path, orm, _to(path, requests)) for path in _ORM_TARGETS]
    await interleaved(stage.effort.rounds, measurements)
    to_bare = Figure(f"POST accepted, {connections} connections", "POST/s", "bare endpoint, 1 INSERT", 0.8, 1.5)
    p99 = Figure(f"its p99, {connections} connections", "ms", "bare endpoint's p99", 0.6, 0.3, lower=True)
    for mine, other in zip(outcomes["ours"], outcomes["bare"], strict=True):
        to_bare.add(mine.per_second, other.per_second)
        p99.add(mine.p99, other.p99)
    to_orm = []
    for path, words in _ORM_TARGETS.items():
        figure = Figure(f"POST accepted, {connections} connections", "POST/s", f"ORM objects, {words}", 6, 10)
        for mine, other in zip(outcomes["ours"], outcomes[path], strict=True):
            figure.add(mine.per_second, other.per_second)
        to_orm.append(figure)
    return [to_bare, *to_orm, p99]


def _to(path: str, requests: Sequence[bytes]) -> list[bytes]:
    return [raw.replace(b"/v1/referrals", path.encode(), 1) for raw in requests]
