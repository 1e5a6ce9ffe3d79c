"""A running system pushes to an agency that was set, and its secret rotated, while it ran; broker there or gone."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.journeys.processes import GAIN, eventually, started
from tests.journeys.test_up import REFERRAL, call, key_for

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


def channels(data: Path, errors: Path, *words: str) -> str:
    """What `gain channels …` prints; of a secret and its public key, the secret."""
    argv = (*GAIN, "channels", *words, "--data-dir", str(data))
    with started(argv, errors, {**os.environ, "GAIN_PUSH_HOSTS": HOST}) as command:
        printed, _ = command.process.communicate(timeout=60)
        assert command.process.returncode == 0, command.said
    return printed.split()[0]


def verifies(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    """Whether an agency that has this secret takes the notice."""
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


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
        secret = channels(data, tmp_path / "channels.txt", "push", "HMRC", url)
        eventually(lambda: len(told) == 1, seconds=60)
        call(f"{gateway}/v1/referrals", force, REFERRAL)
        eventually(lambda: len(told) == 2, seconds=60)
        items = [Webhook(secret).verify(body, headers)["data"] for body, headers in told]
        assert {item["url"] for item in items} == {f"{gateway}/v1/inbox/{item['id']}" for item in items}
        inbox = call(f"{gateway}/v1/inbox", key_for("HMRC", data, tmp_path))["items"]
        assert isinstance(inbox, list)
        assert {item["id"] for item in inbox} == {item["id"] for item in items}

        leaked = secret
        secret = channels(data, tmp_path / "channels.txt", "rotate", "HMRC", "--at-once")

        def told_with_the_new_one() -> bool:
            """Within seconds; what is told before is signed with the old one."""
            known = len(told)
            call(f"{gateway}/v1/referrals", force, REFERRAL)
            eventually(lambda: len(told) > known, seconds=60)
            return verifies(secret, *told[-1])

        eventually(told_with_the_new_one, seconds=60)
        assert not verifies(leaked, *told[-1])
