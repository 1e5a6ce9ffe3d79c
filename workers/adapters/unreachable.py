"""The channel to an agency that is to be told and cannot be: nothing is set, or it has ended. Each item is an alert."""

from workers.adapters.contract import Adapter, Envelope, Result, TransportError


class Unreachable(Adapter):
    """Fails every notice at once, for a `reason` without personal data."""

    answers = False

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def deliver(self, envelope: Envelope) -> Result:
        """Raises `TransportError`."""
        raise TransportError(self._reason, permanent=True)
