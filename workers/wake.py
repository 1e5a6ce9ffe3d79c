"""The wake-up port bound to Celery: a message that carries nothing, sent from a thread, merged, never waited for."""

import threading
import time

from kombu.exceptions import KombuError, OperationalError
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


def wake_of(configuration: Settings) -> CeleryWake | NoBroker:
    """The port as the settings have it."""
    return CeleryWake(configuration) if configuration.has_broker else NoBroker()
