"""A running system pushes to an agency whose channel was set while it ran, with the broker there and with it gone."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook

from app.crypto.keys import Keys
from app.crypto.webhooks import webhook_secret
from app.db import Database
from app.parties.channels import set_push_endpoint
from app.parties.hosts import ApprovedHosts
from app.runtime.moment import database_of
from tests.journeys.processes import GAIN, eventually, started
from tests.journeys.test_up import REFERRAL, call, key_for
from tests.workers.outside import ADMINISTRATOR

HOST = "127.0.0.1=127.0.0.0/8"


class Endpoint(BaseHTTPRequestHandler):
    """An agency's endpoint that keeps what it is told."""

    told: list[tuple[bytes, dict[str, str]]]

    def do_POST(self) -> None:
        """Take it."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.told.append((body, dict(self.headers.items())))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def agency() -> Iterator[tuple[str, list[tuple[bytes, dict[str, str]]]]]:
    """Where an agency is pushed to, and what it was told."""
    kept: list[tuple[bytes, dict[str, str]]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Kept", (Endpoint,), {"told": kept}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/gain", kept
    server.shutdown()
    server.server_close()


def push_to(data: Path, url: str) -> bytes:
    """Have HMRC pushed to; the master secret."""
    with database_of(data) as settings:

        async def change() -> None:
            database = Database(settings)
            async with database.transaction() as connection:
                await connection.execute(text("UPDATE party SET channel = 'push' WHERE code = 'HMRC'"))
                hosts = ApprovedHosts.parse(HOST, development=True)
                await set_push_endpoint(connection, ADMINISTRATOR, hosts, "HMRC", url)
            await database.close()

        asyncio.run(change())
        return settings.master_secret()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("broker", ["there", "gone"])
def test_an_agency_is_told_by_the_running_system(
    tmp_path: Path, agency: tuple[str, list[tuple[bytes, dict[str, str]]]], broker: str
) -> None:
    url, told = agency
    data = tmp_path / "data"
    environment = {**os.environ, "GAIN_PUSH_HOSTS": HOST}
    if broker == "gone":
        environment["GAIN_BROKER_URL"] = "valkey://127.0.0.1:1/0"
    with ExitStack() as stack:
        argv = (*GAIN, "up", "--port", "0", "--data-dir", str(data))
        gateway = stack.enter_context(started(argv, tmp_path / "errors.txt", environment)).ready()
        force = key_for("SWP", data, tmp_path)
        call(f"{gateway}/v1/referrals", force, REFERRAL)  # before its channel is set
        master = push_to(data, url)
        eventually(lambda: len(told) == 1, seconds=60)
        call(f"{gateway}/v1/referrals", force, REFERRAL)
        eventually(lambda: len(told) == 2, seconds=60)
        secret = webhook_secret(Keys(master), "HMRC", 1)
        items = [Webhook(secret).verify(body, headers)["data"] for body, headers in told]
        assert {item["url"] for item in items} == {f"{gateway}/v1/inbox/{item['id']}" for item in items}
        inbox = call(f"{gateway}/v1/inbox", key_for("HMRC", data, tmp_path))["items"]
        assert isinstance(inbox, list)
        assert {item["id"] for item in inbox} == {item["id"] for item in items}
