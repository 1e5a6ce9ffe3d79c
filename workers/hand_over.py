"""One hand-over: the envelope to an adapter, and what its result means for the dispatch. No transaction is open."""

import asyncio
import math
import random
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from app.audit.record import Actor
from app.crypto.keys import Keys
from app.crypto.sameness import sameness
from app.logs import logger
from app.referrals.codes import priority_of
from app.referrals.delivery import MOST_TRIES, Postponed, Settled, retry_in
from app.referrals.documents import SubmittedResponse
from app.referrals.lifecycle import Answer, GivenUp, HandOver
from app.referrals.notices import NoticeFailed, is_known
from workers.adapters.contract import (
    Adapter,
    Answered,
    Delivered,
    Envelope,
    Gone,
    Later,
    Refused,
    Result,
    TransportError,
)

log = logger()

CALL_SECONDS = 30.0
"""The longest a hand-over may take."""

_REASON_LENGTH = 500
_SHORTEST, _LONGEST = 0.05, 86_400.0  # what an adapter may ask for as `Later`, in seconds
_JITTER = 0.2  # a wait is up to this share longer, so that what failed together is not tried again together

Finding = Answer | Postponed | Settled | GivenUp | NoticeFailed


class Call(StrEnum):
    """What a hand-over says of the agency's system."""

    DONE = "done"  # it did its part
    FAILED = "failed"  # it did not, this time or the last
    NONE = "none"  # it was not called


class Handed(NamedTuple):
    """What came of a hand-over: for its dispatch, and for the agency's circuit.

    `leave_alone` is for how many seconds the agency's system asks not to be called, 0 where it does not say.
    """

    finding: Finding
    call: Call
    leave_alone: float = 0.0


async def hand_over(item: HandOver, adapter: Adapter, keys: Keys) -> Handed:
    """Hand one claimed dispatch over and say what came of it. Never raises for what an adapter does."""
    if item.failures > MOST_TRIES:
        # The last try ended its worker, or nobody could record what came of it.
        return Handed(_given_up(item, adapter, "every try failed"), Call.NONE)
    if not adapter.answers and is_known(item):
        return Handed(Settled(item.id, item.attempt), Call.NONE)
    try:
        envelope = _envelope(item)
        if adapter.waits:
            async with asyncio.timeout(CALL_SECONDS):
                result = await adapter.deliver(envelope)
        else:
            result = await adapter.deliver(envelope)
        return Handed(_finding(item, adapter, result, keys), Call.DONE)
    except TransportError as error:
        return _failed(item, adapter, error)
    except TimeoutError:
        return _failed(item, adapter, TransportError(f"no answer within {CALL_SECONDS:.0f} s"))
    except ValidationError:
        return _failed(item, adapter, TransportError("its answer is malformed"))
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        # A defect of the adapter, not a wish to stop: left alone it would take down the calls to all other agencies.
        return _failed(item, adapter, TransportError(f"the adapter failed: {type(error).__name__}"))
    except Exception as error:
        # An adapter's defect must not stop the others; its text may quote what it handled, so only its type is told.
        log.exception("an adapter failed", agency=item.agency, exc_info=error)
        return _failed(item, adapter, TransportError(f"the adapter failed: {type(error).__name__}"))


def finish_at_once(call: Coroutine[Any, Any, Handed]) -> Handed:
    """What comes of a call whose adapter never waits. One that does wait is a defect, and counts as a failure."""
    try:
        call.send(None)
        call.throw(RuntimeError("an adapter that never waits has waited"))
    except StopIteration as done:
        handed: Handed = done.value
        return handed
    raise RuntimeError("an adapter that never waits goes on waiting")


def _finding(item: HandOver, adapter: Adapter, result: Result, keys: Keys) -> Finding:
    match result:
        case Answered() if not adapter.answers:
            raise TypeError("an adapter that only tells has answered")
        case Answered(response):
            return _answer(item, SubmittedResponse.model_validate(response), keys)
        case Later(seconds):
            return Postponed(item.id, item.attempt, _within_reason(seconds))
        case Refused(reason):
            return _given_up(item, adapter, _printable(reason))
        case Delivered():
            return Settled(item.id, item.attempt)
    raise TypeError("an adapter gave none of the four results")


def _within_reason(seconds: float) -> float:
    """NaN would reach the database otherwise, and fail every other finding of the batch with it."""
    return _LONGEST if math.isnan(seconds) else min(max(seconds, _SHORTEST), _LONGEST)


def _printable(reason: str) -> str:
    """A reason that the database can hold, whatever an agency's system said: it must not fail the batch."""
    return "".join(letter for letter in reason if letter.isprintable())[:_REASON_LENGTH]


def _failed(item: HandOver, adapter: Adapter, error: TransportError) -> Handed:
    reason = _printable(str(error))
    seconds = None if error.permanent else retry_in(item.failures)
    longer = random.uniform(1, 1 + _JITTER)  # noqa: S311
    # `Retry-After: 0` asks for nothing.
    asked = _within_reason(error.retry_after) * longer if error.retry_after else 0.0
    log.info("a hand-over failed", agency=item.agency, dispatch=str(item.id), attempt=item.attempt, reason=reason)
    if seconds is None:
        given_up = _given_up(item, adapter, reason, ended=error.address if isinstance(error, Gone) else None)
        # Who says that it will never take this one, or is gone, has spoken: only the last of many tries is a failure.
        return Handed(given_up, Call.DONE) if error.permanent else Handed(given_up, Call.FAILED, asked)
    return Handed(Postponed(item.id, item.attempt, max(seconds * longer, asked), failure=reason), Call.FAILED, asked)


def _given_up(item: HandOver, adapter: Adapter, reason: str, ended: str | None = None) -> Finding:
    """Who must answer and cannot leaves the dispatch undeliverable; who only tells leaves it to the inbox."""
    if adapter.answers:
        return GivenUp(item.id, item.attempt, reason)
    return NoticeFailed(item.id, item.attempt, item.agency, reason, ended)


def _answer(item: HandOver, response: SubmittedResponse, keys: Keys) -> Answer:
    content = response.content()
    return Answer(
        dispatch_id=item.id,
        actor=Actor(item.agency, "adapter"),
        outcome=response.outcome,
        content=orjson.dumps(content),
        sameness=sameness(keys, content),
        attempt=item.attempt,
        decline_reason=response.decline_reason,
    )


def _envelope(item: HandOver) -> Envelope:
    return Envelope(
        dispatch_id=item.id,
        reference=item.reference,
        agency=item.agency,
        round=item.round,
        priority=priority_of(item.priority),
        attempt=item.attempt,
        delivered_at=item.delivered_at,
        due_at=item.due_at,
        referral=item.referral,
        chases=item.chases,
        replied=item.replied,
        holds=item.holds,
    )
