"""`gain worker --no-broker` with one agency that never answers its calls, and nothing else changed."""

import asyncio

from app.settings import Settings
from workers import polling
from workers.adapters.contract import Adapter, Envelope, Result
from workers.channels import Fixed


class Hanging(Adapter):
    """An agency whose system takes a call and says nothing."""

    async def deliver(self, envelope: Envelope) -> Result:
        await asyncio.Event().wait()
        raise AssertionError


class _HangingAgency(Fixed):
    def __init__(self, _: Settings) -> None:
        super().__init__({"HMRC": Hanging()})

    def prepare(self) -> None:
        """Nothing to build."""

    async def close(self) -> None:
        """Nothing to close."""


def main() -> None:
    vars(polling)["Channels"] = _HangingAgency
    polling.run_worker(Settings())


if __name__ == "__main__":
    main()
