"""The usual way with Celery: a task for each dispatch, a group of them for each referral, a chord to complete it.

Redis is broker and result backend. Each child keeps its connection and event loop; messages are acknowledged early and
four are prefetched, Celery's fast settings. What a task stores is one statement: the rows are the broker's own.
"""

import asyncio
import os
import sys
from typing import Any
from uuid import UUID

import asyncpg
from celery import Celery, chord, signals

from benchmarks.referrals import AGENCIES, ANSWER
from benchmarks.stage import driver_url

_OPEN = """
    WITH opened AS (
        INSERT INTO dispatch (id, referral_id, agency, state, priority, region, rule, release, reason, due_at,
                              expires_at, next_check_at, queued_at)
        SELECT uuidv7(), referral.id, agency, 'queued', referral.priority, referral.region, 'named', 1,
               'named by the originator', now() + interval '14 days', now() + interval '21 days',
               now() + interval '7 days', now()
          FROM referral CROSS JOIN unnest(referral.addressees) AS agency
         WHERE referral.id = $1
        RETURNING id, agency
    ), moved AS (
        UPDATE referral SET state = 'in_progress', updated_at = now(), open_dispatches = 20 WHERE id = $1
    ), logged AS (
        INSERT INTO audit_event (operation, action, party, actor, referral_id)
        VALUES ('alteration', 'referral.dispatched', 'GAIN', 'chord', $1)
    )
    SELECT id, agency FROM opened
"""

_DELIVER = """
    WITH moved AS (
        UPDATE dispatch SET state = 'delivered', delivered_at = now() WHERE id = $1 RETURNING referral_id, agency
    )
    INSERT INTO audit_event (operation, action, party, actor, referral_id, dispatch_id, recipients)
    SELECT 'disclosure', 'dispatch.delivered', 'GAIN', 'chord', referral_id, $1, ARRAY[agency] FROM moved
"""

_ANSWER = """
    WITH moved AS (
        UPDATE dispatch SET state = 'answered', outcome = 'hit', answered_at = now(), closed_at = now(),
                            next_check_at = NULL
         WHERE id = $1
        RETURNING referral_id, agency
    ), stored AS (
        INSERT INTO response (id, dispatch_id, referral_id, agency, outcome, content, sameness, recorded_by)
        SELECT uuidv7(), $1, referral_id, agency, 'hit', $2, sha256($2), 'chord' FROM moved
    )
    INSERT INTO audit_event (operation, action, party, actor, referral_id, dispatch_id, detail)
    SELECT 'collection', 'response.recorded', agency, 'chord', referral_id, $1, '{"outcome": "hit"}' FROM moved
"""

_COMPLETE = """
    WITH moved AS (UPDATE referral SET state = 'completed', open_dispatches = 0, updated_at = now() WHERE id = $1)
    INSERT INTO audit_event (operation, action, party, actor, referral_id)
    VALUES ('alteration', 'referral.completed', 'GAIN', 'chord', $1)
"""

broker = os.environ.get("GAIN_BROKER_URL", "")
celery = Celery("chord", broker=broker, backend=broker)
celery.conf.update(
    task_serializer="json",
    accept_content=["json"],
    task_default_queue="chord",
    result_expires=60,
    worker_prefetch_multiplier=4,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


class _Child:
    """What a child process keeps."""

    loop: asyncio.AbstractEventLoop
    connection: asyncpg.Connection

    @classmethod
    def start(cls, **_: Any) -> None:
        cls.loop = asyncio.new_event_loop()
        cls.connection = cls.loop.run_until_complete(asyncpg.connect(driver_url(os.environ["GAIN_DATABASE_URL"])))

    @classmethod
    def fetch(cls, statement: str, *values: object) -> list[Any]:
        rows: list[Any] = cls.loop.run_until_complete(cls.connection.fetch(statement, *values))
        return rows


signals.worker_process_init.connect(_Child.start, weak=False)


def _agency_answers(agency: str) -> bytes:
    """The instant agency."""
    assert agency in AGENCIES
    return _ANSWERED


_ANSWERED = str(ANSWER).encode()


@celery.task(name="chord.fan_out", ignore_result=True)  # type: ignore[untyped-decorator]
def fan_out(referral: str) -> None:
    opened = _Child.fetch(_OPEN, UUID(referral))
    chord([ask.s(str(row["id"]), row["agency"]) for row in opened])(complete.si(referral))


@celery.task(name="chord.ask")  # type: ignore[untyped-decorator]
def ask(dispatch: str, agency: str) -> None:
    _Child.fetch(_DELIVER, UUID(dispatch))
    _Child.fetch(_ANSWER, UUID(dispatch), _agency_answers(agency))


@celery.task(name="chord.complete", ignore_result=True)  # type: ignore[untyped-decorator]
def complete(referral: str) -> None:
    _Child.fetch(_COMPLETE, UUID(referral))


def main() -> None:
    options = ["--pool=prefork", f"--concurrency={sys.argv[1]}", "--queues=chord"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
    celery.worker_main(["worker", *options, *quiet])


if __name__ == "__main__":
    main()
