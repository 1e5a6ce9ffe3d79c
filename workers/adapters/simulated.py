"""The channel to the simulated bodies: it knows the envelope, keeps nothing, and answers when the body would have.

Killing the worker loses nothing: the time of an answer is counted from `delivered_at`, and the answer is computed anew.
"""

import asyncio
from typing import Any, cast

from app import clock
from workers.adapters.contract import Adapter, Answered, Envelope, Later, Refused, Result, TransportError
from workers.simulation.bodies import Body, bodies
from workers.simulation.roster import SIMULATED_BY_ADAPTER
from workers.simulation.timing import real_seconds_left

_WORTH_WAITING_SECONDS = 0.1
"""A body that answers within this is waited for: asking again would cost more."""


def prepare(seed: int) -> None:
    """Build the registers before a worker forks, so that its children share their memory. Takes about a second."""
    bodies(seed, SIMULATED_BY_ADAPTER)


class SimulatedAdapter(Adapter):
    """Hands dispatches to the simulated bodies of a seed, working `speed` times faster than life; 0 is instant."""

    def __init__(self, seed: int, speed: float) -> None:
        self._seed = seed
        self._speed = speed
        self.waits = speed > 0

    async def deliver(self, envelope: Envelope) -> Result:
        """The body's answer, or when to ask again. A first attempt may meet an outage: `TransportError`."""
        body = bodies(self._seed, SIMULATED_BY_ADAPTER).get(envelope.agency)
        if body is None:
            return Refused("no simulated body bears this code")
        dispatch_id = str(envelope.dispatch_id)
        if self._speed > 0:
            failing = body.failing(dispatch_id, envelope.attempt)
            if failing == "outage":
                raise TransportError("the body's system is out of order")
            if failing == "malformed":
                return Answered(cast("dict[str, Any]", body.malformed(dispatch_id)))
        seconds = self._seconds_left(body, dispatch_id, envelope)
        if seconds > _WORTH_WAITING_SECONDS:
            return Later(seconds)
        if seconds > 0:
            await asyncio.sleep(seconds)
        return Answered(body.answer(dispatch_id, envelope.referral))

    def _seconds_left(self, body: Body, dispatch_id: str, envelope: Envelope) -> float:
        received = envelope.delivered_at
        life = body.answers_after(dispatch_id, envelope.reference, envelope.priority, received)
        return real_seconds_left(life, received, clock.now(), self._speed)
