"""A gateway of a system's own database beside the one that `up` keeps, with other settings."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.faults.plant import Plant


@asynccontextmanager
async def gateway(plant: Plant, **environment: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a further gateway, for the length of the block."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {"GAIN_PORT": str(port), "GAIN_GATEWAY_PROCESSES": "1", **environment}
    process = await asyncio.to_thread(plant.run_beside, "serve", **settings)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            deadline = time.monotonic() + 30
            while not await _lives(client):
                assert time.monotonic() < deadline, "the gateway does not start"
                await asyncio.sleep(0.1)
            yield client
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)


async def _lives(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health/live")).status_code == 200
    except httpx.TransportError:
        return False
