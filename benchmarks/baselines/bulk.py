"""The floor: the broker's rows and moves of state by set-based SQL, a hundred referrals a transaction, one connection.

Nothing is fetched, decided or validated in Python, and no agency is called; ids are made by the server. The tables,
indexes and triggers are the broker's own, and so are the moves: opened, delivered, answered, each with its log entry.
"""

from typing import Any
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

SLICE = 100

_ACCEPT = """
    WITH accepted AS (
        INSERT INTO referral (id, reference, originator, region, state, priority, crime_types, addressees, content,
                              created_by, respond_by)
        SELECT id, next_reference(), 'SWP', 'TARIAN', 'accepted', 2, '{drug_trafficking}', $2, $3, 'bulk',
               now() + interval '14 days'
          FROM unnest($1::uuid[]) AS id
        RETURNING id
    )
    INSERT INTO audit_event (operation, action, party, actor, referral_id)
    SELECT 'collection', 'referral.accepted', 'SWP', 'bulk', id FROM accepted
"""

_OPEN = """
    WITH opened AS (
        INSERT INTO dispatch (id, referral_id, agency, state, priority, region, rule, release, reason, due_at,
                              expires_at, next_check_at, queued_at, due_delivery_at)
        SELECT uuidv7(), referral.id, agency, 'queued', referral.priority, referral.region, 'named', 1,
               'named by the originator', now() + interval '14 days', now() + interval '21 days',
               now() + interval '7 days', now(), now()
          FROM referral CROSS JOIN unnest(referral.addressees) AS agency
         WHERE referral.id = ANY($1::uuid[])
        RETURNING referral_id
    ), moved AS (
        UPDATE referral SET state = 'in_progress', updated_at = now(), open_dispatches = opened.number
          FROM (SELECT referral_id, count(*) AS number FROM opened GROUP BY referral_id) AS opened
         WHERE referral.id = opened.referral_id
        RETURNING id
    )
    INSERT INTO audit_event (operation, action, party, actor, referral_id)
    SELECT 'alteration', 'referral.dispatched', 'GAIN', 'bulk', id FROM moved
"""

_DELIVER = """
    WITH moved AS (
        UPDATE dispatch SET state = 'delivered', delivered_at = now(), attempt = attempt + 1,
                            due_delivery_at = now() + interval '90 seconds'
         WHERE referral_id = ANY($1::uuid[])
        RETURNING id, referral_id, agency
    )
    INSERT INTO audit_event (operation, action, party, actor, referral_id, dispatch_id, recipients)
    SELECT 'disclosure', 'dispatch.delivered', 'GAIN', 'bulk', referral_id, id, ARRAY[agency] FROM moved
"""

_ANSWER = """
    WITH moved AS (
        UPDATE dispatch SET state = 'answered', outcome = 'hit', answered_at = now(), closed_at = now(),
                            due_delivery_at = NULL, next_check_at = NULL
         WHERE referral_id = ANY($1::uuid[])
        RETURNING id, referral_id, agency
    ), stored AS (
        INSERT INTO response (id, dispatch_id, referral_id, agency, outcome, content, sameness, recorded_by)
        SELECT uuidv7(), id, referral_id, agency, 'hit', $2, sha256($2), 'bulk' FROM moved
    ), logged AS (
        INSERT INTO audit_event (operation, action, party, actor, referral_id, dispatch_id, detail)
        SELECT 'collection', 'response.recorded', agency, 'bulk', referral_id, id, '{"outcome": "hit"}' FROM moved
    ), closed AS (
        UPDATE referral SET state = 'completed', open_dispatches = 0, updated_at = now()
         WHERE id IN (SELECT referral_id FROM moved)
        RETURNING id
    )
    INSERT INTO audit_event (operation, action, party, actor, referral_id)
    SELECT 'alteration', 'referral.completed', 'GAIN', 'bulk', id FROM closed
"""


class Bulk:
    """All of it on one connection, with the statements prepared."""

    def __init__(self, connection: asyncpg.Connection, agencies: list[str], content: bytes, answer: bytes) -> None:
        self._connection = connection
        self._agencies = agencies
        self._content = content
        self._answer = answer
        self._prepared: list[Any] = []

    async def run(self, referrals: int) -> None:
        """Accept so many referrals and take each to its last answer."""
        await self._prepare()
        for _ in range(referrals // SLICE):
            await self._slice([uuid7() for _ in range(SLICE)])

    async def open(self, referrals: int) -> None:
        """Accept so many referrals and open their dispatches, due for a hand-over now: all at one commit."""
        await self._prepare()
        accept, opening, *_ = self._prepared
        async with self._connection.transaction():
            for _ in range(referrals // SLICE):
                ids = [uuid7() for _ in range(SLICE)]
                await accept.fetch(ids, self._agencies, self._content)
                await opening.fetch(ids)

    async def _prepare(self) -> None:
        if not self._prepared:
            self._prepared = [await self._connection.prepare(sql) for sql in (_ACCEPT, _OPEN, _DELIVER, _ANSWER)]

    async def _slice(self, ids: list[UUID]) -> None:
        accept, opening, deliver, answer = self._prepared
        async with self._connection.transaction():
            await accept.fetch(ids, self._agencies, self._content)
            await opening.fetch(ids)
            await deliver.fetch(ids)
            await answer.fetch(ids, self._answer)
