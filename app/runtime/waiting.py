"""Waiting for a process to answer."""

import time
from collections.abc import Callable

from app.runtime.refusal import StartRefused


def wait_for(
    answers: Callable[[], bool], seconds: float, complaint: Callable[[], str], *, ended: Callable[[], bool]
) -> None:
    """Return once `answers` is true. Raises `StartRefused` with the complaint after `seconds`, or once `ended`."""
    deadline = time.monotonic() + seconds
    while not answers():
        if ended() or time.monotonic() > deadline:
            raise StartRefused(complaint())
        time.sleep(0.03)
