"""What cannot be opened or sealed: told to the client as 503, to the operator in one line, never got round."""

import time

from app.errors import UNAVAILABLE, Problem
from app.logs import logger

RETRY_SECONDS = 30
"""What `Retry-After` says: somebody has to put a key back."""

_TELL_AGAIN_SECONDS = 60.0

_told: dict[str, float] = {}


class Unopenable(Problem):
    """Content cannot be opened or sealed; `why` names no content and no key.

    Over HTTP it is 503: a missing or wrong key is the operator's to mend, and plain text is never an answer to it.
    """

    def __init__(self, why: str, *, ring_key: str = "") -> None:
        super().__init__(UNAVAILABLE, retry_after=RETRY_SECONDS)
        self.why = why
        self.ring_key = ring_key
        _tell(why, ring_key)


def _tell(why: str, ring_key: str) -> None:
    """One line a minute for each cause: ten thousand requests for the same missing key say nothing more."""
    now = time.monotonic()
    cause = f"{why} {ring_key}"
    if now < _told.get(cause, 0.0):
        return
    _told[cause] = now + _TELL_AGAIN_SECONDS
    logger().error("content cannot be opened or sealed", why=why, **({"ring_key": ring_key} if ring_key else {}))
