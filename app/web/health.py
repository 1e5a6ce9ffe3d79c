"""Health: whether this process lives, and whether it can serve."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from app.logs import logger

Probe = Callable[[], Awaitable[object]]
"""Asks a part for a sign of life; any exception means that it is away."""

log = logger()
router = APIRouter(prefix="/health", tags=["health"])


@dataclass(frozen=True, slots=True)
class Report:
    """What the last look found: `checks` maps a part's name to `ok` or `away`."""

    status: Literal["ready", "degraded", "not ready"]
    checks: Mapping[str, Literal["ok", "away"]]

    def works(self, part: str) -> bool | None:
        """Whether a part works; None where the system has no such part."""
        return self.checks[part] == "ok" if part in self.checks else None


class Readiness:
    """Looks at all parts at once, in bounded time, and keeps what it found: a flood of probes costs one look.

    Without a part of `needed` the process is not ready; without one of `helpful` it is degraded, and serves.
    """

    def __init__(
        self,
        needed: Mapping[str, Probe],
        helpful: Mapping[str, Probe],
        *,
        limit_seconds: float = 1.5,
        keep_seconds: float = 0.5,
    ) -> None:
        self._needed = needed
        self._helpful = helpful
        self._limit_seconds = limit_seconds
        self._keep_seconds = keep_seconds
        self._look: asyncio.Task[Report] | None = None
        self._good_until = 0.0
        self._away: set[str] = set()
        self._left: set[asyncio.Future[object]] = set()

    async def report(self) -> Report:
        """What a look not older than `keep_seconds` found; takes `limit_seconds` at most."""
        now = asyncio.get_running_loop().time()
        if self._look is None or (self._look.done() and now >= self._good_until):
            self._look = asyncio.create_task(self._look_now())
        # Shielded: one caller that goes away must not end the look of all others.
        return await asyncio.shield(self._look)

    async def _look_now(self) -> Report:
        probes = {**self._needed, **self._helpful}
        found = await asyncio.gather(*(self._is_ok(name, probe) for name, probe in probes.items()))
        self._good_until = asyncio.get_running_loop().time() + self._keep_seconds
        checks: dict[str, Literal["ok", "away"]] = {
            name: "ok" if ok else "away" for name, ok in zip(probes, found, strict=True)
        }
        if any(checks[name] == "away" for name in self._needed):
            return Report("not ready", checks)
        return Report("ready" if all(found) else "degraded", checks)

    async def _is_ok(self, name: str, probe: Probe) -> bool:
        try:
            await self._ask(probe)
        except Exception as error:
            if name not in self._away:
                log.warning("a part is away", check=name, exc_info=error)
            self._away.add(name)
            return False
        if name in self._away:
            log.info("a part is back", check=name)
        self._away.discard(name)
        return True

    async def _ask(self, probe: Probe) -> None:
        """Raises what the probe does, or `TimeoutError`: it is told to end then, and not waited for."""
        asked = asyncio.ensure_future(probe())
        done, _ = await asyncio.wait([asked], timeout=self._limit_seconds)
        if done:
            await asked
            return
        self._left.add(asked)
        asked.add_done_callback(self._forget)
        asked.cancel()
        raise TimeoutError

    def _forget(self, asked: asyncio.Future[object]) -> None:
        """What it raises by now is of no interest."""
        self._left.discard(asked)
        if not asked.cancelled():
            asked.exception()


@router.get("/live", summary="Whether the process lives")
async def live() -> dict[str, str]:
    """Always 200: it says that this process answers, and nothing about others."""
    return {"status": "live"}


@router.get(
    "/ready",
    response_model=Report,
    responses={503: {"model": Report, "description": "A part it needs is away"}},
    summary="Whether the broker can serve",
)
async def ready(request: Request) -> Response:
    """200 `ready`, or `degraded` while the message broker is away; 503 `not ready` without the database or its keys."""
    readiness: Readiness = request.app.state.readiness
    report = await readiness.report()
    document = {"status": report.status, "checks": dict(report.checks)}
    if report.status == "not ready":
        return JSONResponse(document, 503, {"Retry-After": "1"})
    return JSONResponse(document)
