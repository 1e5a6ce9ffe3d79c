"""A worker that hears no wake-ups, though some wait for it, ends itself; whoever supervises it starts it again.

Celery goes deaf like this: the broker's connection breaks while the last allowed messages are being worked on, their
acknowledgements fail and are only logged, the messages count against the prefetch limit for ever, and at that limit
Celery never looks at its connection again (celery and kombu 5.7; `make faults` shows it within one broken connection).
"""

import os
import signal
import threading
import time
from typing import Any

from celery import Celery, signals
from celery.worker import state
from kombu.exceptions import ChannelError, KombuError
from redis.exceptions import RedisError

from app.logs import logger
from workers.queues import WORK

log = logger()

DEAF_SECONDS = 12.0
"""How long a worker with nothing to do may hear nothing while messages wait: the scheduler sends one every 5 s."""

_LOOK_SECONDS = 3.0
_END_SECONDS = 15.0


class Hearing:
    """Watches whether the main process of a worker hears wake-ups."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._heard = time.monotonic()
        self._watching: threading.Thread | None = None
        signals.task_received.connect(self._hear, weak=False)
        signals.worker_ready.connect(self._start, weak=False)

    def _hear(self, **_: Any) -> None:
        self._heard = time.monotonic()

    def _start(self, **_: Any) -> None:
        self._hear()
        if self._watching is None:
            self._watching = threading.Thread(target=self._watch, name="hearing", daemon=True)
            self._watching.start()

    def _watch(self) -> None:
        while not self._is_deaf():
            time.sleep(_LOOK_SECONDS)
        log.critical("the worker hears no wake-ups any more: it ends, to be started again")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_END_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # it does not even hear that

    def _is_deaf(self) -> bool:
        if state.reserved_requests:  # it has heard, and is at work
            self._hear()
        return time.monotonic() - self._heard > DEAF_SECONDS and self._messages_wait()

    def _messages_wait(self) -> bool:
        """Whether the broker answers, and has wake-ups for us."""
        try:
            with self._celery.connection_for_read() as connection:
                return bool(connection.default_channel.queue_declare(WORK, passive=True).message_count)
        except ChannelError:
            return False  # an empty queue is none
        except (OSError, KombuError, RedisError):
            return False  # the broker is away: nothing can be heard
