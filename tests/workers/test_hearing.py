"""A worker that hears no wake-ups any more ends, even one that does not hear that it is to end."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from app.settings import Settings
from workers.celery_app import make_celery
from workers.queues import WORK

DEAF = """
import signal, sys, time
from app.settings import Settings
from workers import hearing
from workers.celery_app import make_celery

if sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
hearing.DEAF_SECONDS, hearing._LOOK_SECONDS, hearing._END_SECONDS = 0.3, 0.1, 0.5
hearing.Hearing(make_celery(Settings()))._start()
time.sleep(float(sys.argv[2]))
"""


async def ended(configuration: Settings, hears: str, seconds: float) -> int:
    """How a worker ends that is told nothing, and stays for so many seconds at most."""
    environment = {**os.environ, "GAIN_BROKER_URL": configuration.broker_url}
    command = [sys.executable, "-c", DEAF, hears, str(seconds)]
    done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, timeout=40)
    return done.returncode


@pytest.mark.parametrize(("hears", "by"), [("SIGTERM", signal.SIGTERM), ("deaf", signal.SIGKILL)])
async def test_a_worker_ends_while_wake_ups_wait_that_it_does_not_hear(
    configuration: Settings, hears: str, by: signal.Signals
) -> None:
    celery = make_celery(configuration)
    celery.send_task("gain.work", queue=WORK)
    try:
        assert await ended(configuration, hears, 30) == -by
    finally:
        celery.control.purge()


async def test_a_worker_that_nothing_waits_for_is_left_alone(configuration: Settings) -> None:
    make_celery(configuration).control.purge()
    assert await ended(configuration, "SIGTERM", 2) == 0
