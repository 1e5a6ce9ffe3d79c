"""The task behind a wake-up: fan out and deliver whatever is due."""

from celery import Celery

from workers.process import Process
from workers.queues import WORK


def register(celery: Celery, process: Process) -> None:
    """Make the task known to a worker."""

    @celery.task(name=f"gain.{WORK}")
    def work() -> None:
        process.pump()
