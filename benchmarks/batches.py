"""Rows of batches received and accepted, beside single POSTs: 64 connections, the same gateways, the same round."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack

import httpx
import orjson

from app.runtime.child import POLITE
from benchmarks.measure import Figure, interleaved
from benchmarks.referrals import ORIGINATOR, posts, referral
from benchmarks.stage import UNBOUNDED, Servers, Stage, eventually, memory

_PATH = "/v1/referral-batches"
_CONNECTIONS = 64
_FORCES = (ORIGINATOR, "GWP")  # two at once: a party's batches are accepted one after another
_PIECE = 256


async def run(stage: Stage) -> list[Figure]:
    """Two forces send a file each, to a gateway each; two processes accept. No fan-out, as beside single POSTs."""
    url = await stage.database("batches")
    keys = [await stage.key(url, party) for party in _FORCES]
    requests = posts(keys[0])
    rows = stage.effort.size(full=20_000, quick=1_000)
    numbers = itertools.count(1)
    received = Figure("rows of a batch durable (202)", "rows/s", "single POSTs, 64 connections")
    accepted = Figure("rows of a batch accepted", "rows/s", "single POSTs, 64 connections")
    times: list[tuple[float, float]] = []
    argv = (sys.executable, "-m", "benchmarks.acceptor")
    async with stage.gateways(url, 2, **UNBOUNDED) as servers:
        await stage.warm(servers, requests)
        with ExitStack() as acceptors:
            for number in range(2):
                acceptors.enter_context(stage.process(f"acceptor-{number}", argv, url, POLITE, **UNBOUNDED))

            async def single() -> float:
                await stage.checkpoint()
                return (await stage.load(servers.ports, requests, _CONNECTIONS)).per_second

            async def batches() -> float:
                await stage.checkpoint()
                times.append(await _batches(servers, keys, rows, next(numbers)))
                return rows / times[-1][1]

            await _batches(servers, keys, rows // 10, next(numbers))
            posted, _ = await interleaved(stage.effort.rounds, [single, batches])
        stage.note(f"Gateways after batches: {memory(servers.children)}.")
    for per_second, (until_received, until_accepted) in zip(posted, times, strict=True):
        received.add(rows / until_received, per_second)
        accepted.add(rows / until_accepted, per_second)
    return [received, accepted]


async def _batches(servers: Servers, keys: list[str], rows: int, mark: int) -> tuple[float, float]:
    """Seconds until the rows of all forces were durable, and until all of them were referrals."""
    each = rows // len(keys)
    clients = [
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {key}"},
            timeout=600,
            trust_env=False,
        )
        for port, key in zip(itertools.cycle(servers.ports), keys, strict=False)
    ]
    bodies = [_file(each, mark, party) for party in range(len(keys))]
    began = time.perf_counter()
    sent = await asyncio.gather(*(_send(client, body) for client, body in zip(clients, bodies, strict=True)))
    received = time.perf_counter() - began
    for client, id in zip(clients, sent, strict=True):

        async def is_completed(client: httpx.AsyncClient = client, id: str = id) -> bool:
            found = (await client.get(f"{_PATH}/{id}")).json()
            assert found["rejected"] == 0
            return bool(found["state"] == "completed")

        await eventually(is_completed, 600, pause=0.05)
    accepted = time.perf_counter() - began
    for client in clients:
        await client.aclose()
    return received, accepted


def _file(rows: int, mark: int, party: int) -> list[bytes]:
    """A file of NDJSON in pieces of some hundred rows, made before the clock runs."""
    lines = [
        orjson.dumps({**referral(number), "client_reference": f"{mark}/{party}/{number}"}) + b"\n"
        for number in range(rows)
    ]
    return [b"".join(lines[start : start + _PIECE]) for start in range(0, rows, _PIECE)]


async def _send(client: httpx.AsyncClient, pieces: list[bytes]) -> str:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    answer = await client.post(_PATH, content=body(), headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 202, answer.text
    id: str = answer.json()["id"]
    return id
