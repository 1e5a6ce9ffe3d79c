"""The wake-up port bound to Celery: a message that carries nothing, merged, never waited for.

A gateway sends it from its event loop, any other process from a thread.
"""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from kombu.transport import memory
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.logs import logger
from app.settings import Settings
from workers.celery_app import make_celery
from workers.queues import WORK

log = logger()

_MERGE_SECONDS = 0.05
"""Wake-ups closer together than this are one: a worker that is woken takes all that waits. Sending one costs a
millisecond of a gateway's CPU."""

_EXPIRES_SECONDS = 5
"""A wake-up nobody took by then is worth nothing: the scheduler has sent newer ones."""


class NoBroker:
    """The port of a system without a broker: workers poll PostgreSQL."""

    broker_away = False
    """What is not wanted is not missed."""

    def work(self) -> None:
        """Do nothing."""


class CeleryWake:
    """Sends wake-ups in the background. Losing one costs a second: the scheduler looks every second."""

    def __init__(self, configuration: Settings) -> None:
        self._celery = make_celery(configuration)
        self._wanted = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.broker_away = False
        """Whether the last wake-up could not be sent."""

    def work(self) -> None:
        """Referrals wait for their dispatches, rows of a batch to be accepted, or dispatches for an adapter."""
        if self._wanted:
            return
        with self._changed:
            self._wanted = True
            if self._thread is None:
                # Made at the first wake-up: a thread made earlier would not survive a fork.
                self._thread = threading.Thread(target=self._send_for_ever, name="wake", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _send_for_ever(self) -> None:
        while True:
            with self._changed:
                while not self._wanted:
                    self._changed.wait()
                # Cleared before sending: what is wanted while a slow broker holds us is sent again after.
                self._wanted = False
            self._send(WORK)
            time.sleep(_MERGE_SECONDS)

    def _send(self, queue: str) -> None:
        try:
            self._celery.send_task(f"gain.{queue}", queue=queue, retry=False, expires=_EXPIRES_SECONDS)
        except (OSError, OperationalError, KombuError, RedisError) as error:
            if not self.broker_away:
                log.warning("the broker is away; the scheduler does its work", error=type(error).__name__)
            self.broker_away = True
            return
        if self.broker_away:
            log.info("the broker is back")
        self.broker_away = False


class LoopWake:
    """Sends wake-ups from the event loop in which it is called, on the caller's connections to the broker.

    A thread that sends takes the interpreter from the loop at each of its steps: that cost a busy gateway a tenth of
    what each request took, and Celery's own sending more than the rest of the wake-up.
    """

    def __init__(self, broker: Redis) -> None:
        self._broker = broker
        self._message: dict[str, Any] | None = None
        self._wanted = False
        self._sending: asyncio.Task[None] | None = None
        self._away = False

    def work(self) -> None:
        """Referrals wait for their dispatches, or dispatches for an adapter."""
        if self._wanted:
            return
        self._wanted = True
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_wanted())

    async def _send_wanted(self) -> None:
        while self._wanted:
            # Cleared before sending: what is wanted while a slow broker holds us is sent again after.
            self._wanted = False
            await self._send()
            await asyncio.sleep(_MERGE_SECONDS)

    async def _send(self) -> None:
        try:
            await self._broker.lpush(WORK, self._rendered())
        except (OSError, RedisError) as error:
            if not self._away:
                log.warning("the broker is away; the scheduler does its work", error=type(error).__name__)
            self._away = True
            return
        if self._away:
            log.info("the broker is back")
        self._away = False

    def _rendered(self) -> bytes:
        """A message as kombu writes it to Redis, under an id of its own, and with the time from which it is nothing."""
        if self._message is None:
            self._message = _written_by_kombu()
        id = str(uuid4())
        expires = datetime.now(UTC) + timedelta(seconds=_EXPIRES_SECONDS)
        message = self._message
        message["headers"] |= {"id": id, "root_id": id, "expires": expires.isoformat()}
        message["properties"] |= {"correlation_id": id, "delivery_tag": str(uuid4())}
        return orjson.dumps(message)


def _written_by_kombu() -> dict[str, Any]:
    """The message of a wake-up, as Celery and kombu make it for any broker of queues, this one in memory."""
    with Celery("gain", broker="memory://") as celery:
        celery.send_task(f"gain.{WORK}", queue=WORK, retry=False, expires=_EXPIRES_SECONDS)
        message: dict[str, Any] = memory.Channel.queues[WORK].get(timeout=1)
    return message


def wake_of(configuration: Settings) -> CeleryWake | NoBroker:
    """The port as the settings have it."""
    return CeleryWake(configuration) if configuration.has_broker else NoBroker()
