"""The gateway stops, whatever its helpers are in the middle of."""

import asyncio

import pytest

from app.main import _end


async def test_a_helper_that_takes_a_cancellation_for_an_error_still_ends() -> None:
    """As redis-py does with one that meets it in the middle of an exchange."""
    swallowed = 0

    async def helper() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    running = asyncio.create_task(helper())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await _end(running)
    assert swallowed == 3


async def test_what_a_helper_failed_with_is_told_at_the_end() -> None:
    async def helper() -> None:
        raise LookupError

    running = asyncio.create_task(helper())
    await asyncio.sleep(0)
    with pytest.raises(LookupError):
        await _end(running)
