"""The Celery application: messages are wake-ups, so nothing is kept, retried, chained or counted in the broker."""

from typing import Any

from celery import Celery, signals

from app import logs
from app.settings import Settings
from workers.channels import Channels
from workers.hearing import Hearing
from workers.process import Process, Stopping
from workers.queues import QUEUES

_SOCKET_SECONDS = 2.0  # a broker that accepts and never answers would otherwise hang a publish for most of a minute


def make_celery(configuration: Settings) -> Celery:
    """A Celery application for this broker, without a worker's parts: enough to send wake-ups."""
    celery = Celery("gain", broker=configuration.broker())
    celery.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        accept_content=["json"],
        task_routes={f"gain.{queue}": {"queue": queue} for queue in QUEUES},
        task_default_queue=QUEUES[0],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=_SOCKET_SECONDS,
        broker_transport_options={
            "socket_timeout": _SOCKET_SECONDS,
            "socket_connect_timeout": _SOCKET_SECONDS,
            "visibility_timeout": 120,  # twice what a task may take
        },
    )
    return celery


def run_worker(configuration: Settings) -> None:
    """Run a worker with its child processes until SIGTERM; the registers of simulated bodies are shared by fork."""
    from workers.tasks import work

    logs.configure("worker", configuration.log_level)
    celery = make_celery(configuration)
    channels = Channels(configuration)
    channels.prepare()
    process = Process(configuration, channels, Stopping())
    work.register(celery, process)
    Hearing(celery)
    signals.setup_logging.connect(_keep_logging, weak=False)
    signals.worker_process_init.connect(lambda **_: process.start(), weak=False)
    signals.worker_process_shutdown.connect(lambda **_: process.close(), weak=False)
    signals.worker_shutting_down.connect(lambda **_: process.stop(), weak=False)
    celery.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={configuration.worker_processes}",
            f"--queues={','.join(QUEUES)}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            f"--loglevel={configuration.log_level}",
        ]
    )


def _keep_logging(**_: Any) -> None:
    """Connected to `setup_logging`, so that Celery leaves our JSON logs alone."""
