"""Push to an agency with 50 ms latency, 200 in flight, beside what those two numbers allow."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from app.runtime.child import WORKER
from app.runtime.plan import gain_command
from benchmarks.agency_platform import DELAY_SECONDS
from benchmarks.baselines.bulk import Bulk
from benchmarks.measure import Figure
from benchmarks.referrals import ANSWER, referral
from benchmarks.stage import Stage, eventually, free_port, memory
from benchmarks.wire import Wire, request
from workers.wake import CeleryWake

_AGENCY = "HMRC"
_IN_FLIGHT = 200
_PROCESSES = 2
_DUE = "SELECT EXISTS (SELECT FROM dispatch WHERE due_delivery_at IS NOT NULL)"


async def run(stage: Stage) -> list[Figure]:
    """Many items fall due at one commit. The agency's platform tells when its first and its last notice came."""
    name = f"push, agency takes {DELAY_SECONDS * 1000:.0f} ms, {_IN_FLIGHT} in flight"
    figure = Figure(name, "notices/s", "concurrency ÷ latency", 0.8, 0.9)
    url = await stage.database("push")
    variables = {
        "GAIN_PUSH_HOSTS": "localhost=127.0.0.0/8, localhost=::1/128",
        "GAIN_NOTICES_PER_MINUTE": "1000000000",
        "GAIN_AGENCY_IN_FLIGHT": str(_IN_FLIGHT // _PROCESSES),
        "GAIN_WORKER_PROCESSES": str(_PROCESSES),
    }
    async with _platform(stage, url) as port:
        with stage.process("push_worker", gain_command("worker"), url, WORKER, **variables) as worker:
            pushing = _Pushing(stage, url, port)
            await pushing.measure(1_000)
            for _ in range(stage.effort.rounds):
                figure.add(await pushing.measure(stage.effort.size(12_000, 3_000)), _IN_FLIGHT / DELAY_SECONDS)
            figure.notes.append(f"at most {pushing.most:.0f} in flight; worker (parent, children) {memory([worker])}")
    return [figure]


class _Pushing:
    """Has a worker push to the platform on a port."""

    def __init__(self, stage: Stage, url: str, port: int) -> None:
        self._stage = stage
        self._url = url
        self._port = port
        self._wake = CeleryWake(stage.settings(url))
        self.most = 0.0

    async def measure(self, number: int) -> float:
        """Notices a second, from the first to the last that the agency got."""
        connection = await self._stage.connect(self._url)
        bulk = Bulk(connection, [_AGENCY], orjson.dumps(referral(0)), orjson.dumps(ANSWER))
        await self._stage.checkpoint()
        await tally(self._port)  # begins anew
        await bulk.open(number)

        async def all_told() -> bool:
            self._wake.work()
            return not await connection.fetchval(_DUE)

        await eventually(all_told, 120, pause=0.1)
        await connection.close()
        told = await tally(self._port)
        assert told["count"] >= number, told
        self.most = max(self.most, told["most"])
        return told["count"] / (told["last"] - told["first"])


@asynccontextmanager
async def _platform(stage: Stage, url: str) -> AsyncIterator[int]:
    """The agency's platform, and its endpoint as an administrator would have set it; gives its port."""
    port = free_port()
    connection = await stage.connect(url)
    await connection.execute("UPDATE party SET channel = 'push' WHERE code = $1", _AGENCY)
    await connection.execute(
        "INSERT INTO push_endpoint (agency, url) VALUES ($1, $2)", _AGENCY, f"http://localhost:{port}/notices"
    )
    await connection.close()
    argv = (sys.executable, "-m", "benchmarks.agency_platform", str(port))
    with stage.process("platform", argv, url):

        async def answers() -> bool:
            try:
                await tally(port)
            except OSError:
                return False
            return True

        await eventually(answers, 30)
        yield port


async def tally(port: int) -> dict[str, float]:
    """What the platform has counted since it was last asked."""
    wire = await Wire.open(port)
    answer = await asyncio.wait_for(wire.ask(request("GET", "/tally")), 5)
    wire.close()
    told: dict[str, float] = json.loads(answer.body)
    return told
