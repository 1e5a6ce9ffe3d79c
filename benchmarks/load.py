"""The load generator, a process of its own: reads a `Spec` as JSON on stdin, writes an `Outcome` as JSON on stdout.

Closed loop: every connection asks again as soon as it is answered. Open loop (`rate`): requests start on time whether
or not earlier ones are answered, and a latency counts from when the request should have started, so that a stall is
seen by all who would have come meanwhile.
"""

import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson
import uvloop

from benchmarks.wire import Wire

KEY = b"{idempotency-key}"
"""In a request: replaced by 17 characters that no other request has."""


@dataclass(frozen=True, slots=True)
class Spec:
    """`requests` is a file: a JSON list of whole requests (Latin-1). With `once` each is sent once."""

    ports: list[int]
    connections: int
    requests: str
    seconds: float
    warm_seconds: float = 0.0
    rate: float | None = None
    once: bool = False


@dataclass(slots=True)
class Outcome:
    """What was measured after the warm-up. Latencies in milliseconds; `busy` is the generator's share of one core."""

    seconds: float = 0.0
    done: int = 0
    per_second: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0
    busy: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)


class _Load:
    def __init__(self, spec: Spec, requests: list[bytes]) -> None:
        self._spec = spec
        self._requests: Iterator[bytes] = iter(requests) if spec.once else itertools.cycle(requests)
        self._mark = int(time.time() * 1_000_000) & 0xFFFF_FFFF
        self._number = itertools.count()
        self._latencies: list[float] = []
        self._statuses: Counter[str] = Counter()
        self._begin = 0.0
        self._end = 0.0

    async def run(self) -> Outcome:
        spec = self._spec
        wires = [await Wire.open(port) for _, port in zip(range(spec.connections), itertools.cycle(spec.ports))]
        self._begin = time.perf_counter() + spec.warm_seconds
        self._end = self._begin + spec.seconds
        used = time.process_time()
        began = time.perf_counter()
        if spec.rate is None:
            await asyncio.gather(*(self._closed(wire) for wire in wires))
        else:
            await self._open(wires, spec.rate)
        ended = time.perf_counter()
        busy = (time.process_time() - used) / (ended - began)
        for wire in wires:
            wire.close()
        return self._outcome(min(ended, self._end) - self._begin, busy)

    def _next(self) -> bytes | None:
        raw = next(self._requests, None)
        if raw is None:
            return None
        return raw.replace(KEY, b"%08x-%08x" % (self._mark, next(self._number)), 1)

    async def _closed(self, wire: Wire) -> None:
        while (began := time.perf_counter()) < self._end and (raw := self._next()) is not None:
            await self._one(wire, raw, began)

    async def _one(self, wire: Wire, raw: bytes, began: float) -> None:
        answer = await wire.ask(raw)
        now = time.perf_counter()
        if self._begin <= now <= self._end:
            self._latencies.append(now - began)
            self._statuses[str(answer.status)] += 1

    async def _open(self, wires: list[Wire], rate: float) -> None:
        free: asyncio.Queue[Wire] = asyncio.Queue()
        for wire in wires:
            free.put_nowait(wire)
        running: set[asyncio.Task[None]] = set()

        async def start(raw: bytes, due: float) -> None:
            wire = await free.get()
            try:
                await self._one(wire, raw, due)
            finally:
                free.put_nowait(wire)

        due = time.perf_counter()
        while due < self._end and (raw := self._next()) is not None:
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(start(raw, due))
            running.add(task)
            task.add_done_callback(running.discard)
            due += 1 / rate
        await asyncio.gather(*running)

    def _outcome(self, seconds: float, busy: float) -> Outcome:
        ordered = sorted(self._latencies)

        def at(share: float) -> float:
            return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0

        return Outcome(
            seconds=seconds,
            done=len(ordered),
            per_second=len(ordered) / seconds if seconds > 0 else 0.0,
            p50=at(0.50),
            p99=at(0.99),
            worst=at(1.0),
            busy=busy,
            statuses=dict(self._statuses),
        )


def main() -> None:
    spec = Spec(**orjson.loads(sys.stdin.buffer.read()))
    requests = [raw.encode("latin-1") for raw in orjson.loads(Path(spec.requests).read_bytes())]
    outcome = uvloop.run(_Load(spec, requests).run())
    sys.stdout.buffer.write(orjson.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
