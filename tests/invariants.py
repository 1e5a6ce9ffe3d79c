"""What must hold in the database whatever happened (design, section 5), as queries that must find nothing."""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.audit.note import Signer
from app.audit.seal import seal_all
from app.audit.verify import Tampered, verify
from app.crypto.keys import Keys
from app.crypto.refusal import Unopenable
from app.crypto.vault import Opener
from app.db import Connection, Database
from app.referrals.states import FINAL, OPEN
from app.settings import Settings
from tests.conftest import SECRET

# ruff: noqa: S608  the statements are made of other statements, all of them here

_STATES = {"open": sorted(OPEN), "final": sorted(FINAL)}

_ENDINGS = """
    SELECT dispatch_id, id FROM audit_event
     WHERE action IN ('dispatch.cancelled', 'dispatch.undeliverable', 'dispatch.expired')
        OR (action = 'response.recorded' AND detail ->> 'outcome' <> 'more_information')
"""

INVARIANTS: Mapping[str, str] = {
    "I1 a key stands for a referral that is there": """
        SELECT party, referral_id FROM submission
         WHERE NOT EXISTS (SELECT FROM referral WHERE referral.id = submission.referral_id)
    """,
    "I1 what is sealed has a data key, and no data key is without its referral or account": """
        SELECT referral.id, sealed, ring_key FROM referral FULL JOIN data_key ON referral_id = id
         WHERE id IS NULL AND referral_id NOT IN (SELECT id FROM account)
               AND referral_id NOT IN (SELECT id FROM batch WHERE completed_at IS NULL)
            OR sealed AND (ring_key IS NULL) <> (disposed_at IS NOT NULL)
    """,
    "I1 each row of a batch waits, stands for a referral or is told of": """
        SELECT id, state, total, accepted, rejected FROM batch
         WHERE state IN ('receiving', 'accepting', 'completed')
           AND (total <> accepted + rejected + (SELECT count(*) FROM batch_row WHERE batch_id = batch.id)
                OR rejected <> (SELECT count(*) FROM batch_error WHERE batch_id = batch.id)
                OR state = 'completed' AND total <> accepted + rejected)
    """,
    "I1 of a batch that was cut off nothing is left": """
        SELECT batch_id FROM batch_row JOIN batch ON batch.id = batch_id WHERE state IN ('incomplete', 'completed')
         UNION ALL SELECT batch_id FROM batch_error JOIN batch ON batch.id = batch_id
                    WHERE state = 'incomplete' AND completed_at IS NOT NULL
    """,
    "I8 nothing lies open": """
        SELECT id FROM referral WHERE NOT sealed OR reason IS NOT NULL
         UNION ALL SELECT id FROM response WHERE NOT sealed
         UNION ALL SELECT id FROM message WHERE NOT sealed
    """,
    "I8 nothing is in the index that is not there": """
        SELECT referral_id FROM subject_index
         WHERE NOT EXISTS (SELECT FROM referral WHERE id = referral_id)
    """,
    "I11 of what was disposed of nothing is left but its tombstone": """
        SELECT id FROM referral
         WHERE disposed_at IS NOT NULL
           AND (length(content) > 0 OR sealed_reason IS NOT NULL OR crime_types <> '{}' OR addressees IS NOT NULL
                OR retention_group IS NULL OR state NOT IN ('completed', 'cancelled', 'rejected')
                OR EXISTS (SELECT FROM response WHERE referral_id = referral.id AND length(content) > 0)
                OR EXISTS (SELECT FROM message WHERE referral_id = referral.id AND length(content) > 0)
                OR EXISTS (SELECT FROM dispatch WHERE referral_id = referral.id AND sealed_reason IS NOT NULL)
                OR EXISTS (SELECT FROM submission WHERE referral_id = referral.id AND length(sameness) > 0)
                OR EXISTS (SELECT FROM subject_index WHERE referral_id = referral.id)
                OR EXISTS (SELECT FROM retention WHERE referral_id = referral.id)
                OR EXISTS (SELECT FROM legal_hold WHERE referral_id = referral.id)
                OR EXISTS (SELECT FROM audit_salt JOIN audit_event ON audit_event.id = event_id
                            WHERE audit_event.referral_id = referral.id))
    """,
    "I11 each disposal is logged once, and no other": """
        SELECT referral.id FROM referral
         WHERE (disposed_at IS NOT NULL)::integer
               <> (SELECT count(*) FROM audit_event
                    WHERE audit_event.referral_id = referral.id AND action = 'referral.disposed'
                      AND operation = 'erasure')
    """,
    "I2 one dispatch for each referral, addressee and round": """
        SELECT referral_id, agency, round FROM dispatch GROUP BY 1, 2, 3 HAVING count(*) > 1
    """,
    "I2 at most one of an addressee's dispatches is open": """
        SELECT referral_id, agency FROM dispatch WHERE state = ANY(:open) GROUP BY 1, 2 HAVING count(*) > 1
    """,
    "I2 rounds are without gaps": """
        SELECT referral_id, agency FROM dispatch GROUP BY 1, 2 HAVING max(round) <> count(*) OR min(round) <> 1
    """,
    "I3 what is final has an end, and nothing is to be done about it": """
        SELECT id, state FROM dispatch
         WHERE state = ANY(:final) AND (closed_at IS NULL OR due_delivery_at IS NOT NULL OR next_check_at IS NOT NULL)
    """,
    "I7 a clock that runs has a next moment": """
        SELECT id, state FROM dispatch
         WHERE state IN ('queued', 'delivered', 'acknowledged') AND next_check_at IS NULL
    """,
    "I3 what is open has no end": """
        SELECT id, state FROM dispatch
         WHERE state = ANY(:open) AND (closed_at IS NOT NULL OR answered_at IS NOT NULL OR outcome IS NOT NULL)
    """,
    "I3 a referral's count of open dispatches is right": """
        SELECT referral.id, referral.state, referral.open_dispatches FROM referral
         WHERE open_dispatches <> (SELECT count(*) FROM dispatch
                                    WHERE dispatch.referral_id = referral.id AND dispatch.state = ANY(:open))
    """,
    "I3 a referral is in progress while a dispatch is open, and completed when none is": """
        SELECT id, state, open_dispatches FROM referral
         WHERE state = 'in_progress' AND open_dispatches = 0
            OR state IN ('completed', 'cancelled', 'rejected', 'accepted') AND open_dispatches <> 0
    """,
    "I3 what is final ended once, what is open never": f"""
        SELECT id, state, ends FROM dispatch LEFT JOIN (
               SELECT dispatch_id, count(*) AS ends FROM ({_ENDINGS}) AS ending GROUP BY dispatch_id) AS ended
            ON ended.dispatch_id = dispatch.id
         WHERE coalesce(ends, 0) <> (state = ANY(:final))::integer
    """,
    "I3 nothing is accepted after the end": f"""
        SELECT event.dispatch_id, event.action FROM audit_event AS event JOIN ({_ENDINGS}) AS ending USING (dispatch_id)
         WHERE event.id > ending.id AND event.action IN ('response.recorded', 'dispatch.acknowledged')
    """,
    "I4 one accepted answer for each answered dispatch, and it is the one the dispatch shows": """
        SELECT dispatch.id, dispatch.state FROM dispatch
         WHERE dispatch.state IN ('answered', 'declined')
           AND 1 <> (SELECT count(*) FROM response
                      WHERE response.dispatch_id = dispatch.id AND flag IS NULL AND outcome = dispatch.outcome)
    """,
    "I4 no accepted answer without an answered dispatch": """
        SELECT response.id, dispatch.state FROM response JOIN dispatch ON dispatch.id = response.dispatch_id
         WHERE response.flag IS NULL AND response.outcome <> 'more_information'
           AND dispatch.state NOT IN ('answered', 'declined')
    """,
    "I4 a conflicting answer stands beside an accepted one, a late one after another end": """
        SELECT response.id, flag, state FROM response JOIN dispatch ON dispatch.id = response.dispatch_id
         WHERE (flag = 'conflict' AND state NOT IN ('answered', 'declined'))
            OR (flag = 'late' AND state NOT IN ('cancelled', 'expired', 'undeliverable'))
    """,
    "I5 the acceptance of each referral is logged once": """
        SELECT referral.id FROM referral
         WHERE 1 <> (SELECT count(*) FROM audit_event
                      WHERE audit_event.referral_id = referral.id AND action = 'referral.accepted')
    """,
    "I5 the disclosure of each dispatch that was delivered is logged once, and of no other": """
        SELECT dispatch.id, dispatch.delivered_at FROM dispatch
         WHERE (delivered_at IS NOT NULL)::integer
               <> (SELECT count(*) FROM audit_event
                    WHERE audit_event.referral_id = dispatch.referral_id AND dispatch_id = dispatch.id
                      AND action = 'dispatch.delivered')
    """,
    "I5 what was acknowledged is logged, and of nothing else": """
        SELECT id, acknowledged_at FROM dispatch
         WHERE (acknowledged_at IS NOT NULL) <> EXISTS (
               SELECT FROM audit_event WHERE dispatch_id = dispatch.id AND action = 'dispatch.acknowledged')
    """,
    "I5 each response is logged once, and no other": """
        SELECT dispatch_id, kept, logged
          FROM (SELECT dispatch_id, count(*) AS kept FROM response GROUP BY dispatch_id) AS response
          FULL JOIN (SELECT dispatch_id, count(*) AS logged FROM audit_event
                      WHERE action LIKE 'response.%' GROUP BY dispatch_id) AS event USING (dispatch_id)
         WHERE kept IS DISTINCT FROM logged
    """,
    "I5 each end without an answer is logged once": """
        SELECT id, state FROM dispatch
         WHERE state IN ('expired', 'undeliverable', 'cancelled')
           AND 1 <> (SELECT count(*) FROM audit_event
                      WHERE audit_event.referral_id = dispatch.referral_id AND dispatch_id = dispatch.id
                        AND action = 'dispatch.' || dispatch.state)
    """,
    "I5 a referral in an end state was logged as such": """
        SELECT id, state FROM referral
         WHERE state IN ('completed', 'cancelled', 'rejected')
           AND NOT EXISTS (SELECT FROM audit_event
                            WHERE audit_event.referral_id = referral.id AND action = 'referral.' || referral.state)
    """,
    "I5 the opening of each dispatch is logged once, and of no other": """
        SELECT referral_id, agency, opened, logged
          FROM (SELECT referral_id, agency, count(*) AS opened FROM dispatch GROUP BY 1, 2) AS dispatch
          FULL JOIN (SELECT referral_id, agency, count(*) AS logged
                       FROM audit_event CROSS JOIN LATERAL jsonb_array_elements_text(detail -> 'agencies') AS agency
                      WHERE action IN ('referral.dispatched', 'referral.addressees_added', 'dispatch.redelivered')
                      GROUP BY 1, 2) AS event USING (referral_id, agency)
         WHERE opened IS DISTINCT FROM logged
    """,
    "I5 each reminder is logged once, and no other": """
        SELECT id, chases FROM dispatch
         WHERE chases <> (SELECT count(*) FROM audit_event
                           WHERE audit_event.referral_id = dispatch.referral_id AND dispatch_id = dispatch.id
                             AND action = 'dispatch.chased')
    """,
    "I5 each alert of the clock is logged once, and no other": """
        SELECT dispatch_id, raised, logged
          FROM (SELECT dispatch_id, count(*) AS raised FROM alert
                 WHERE kind = 'urgent_unacknowledged' GROUP BY 1) AS alert
          FULL JOIN (SELECT dispatch_id, count(*) AS logged FROM audit_event
                      WHERE action = 'dispatch.alerted' GROUP BY 1) AS event USING (dispatch_id)
         WHERE raised IS DISTINCT FROM logged
    """,
    "I5 what is overdue was logged as such": """
        SELECT id, overdue_at FROM dispatch
         WHERE overdue_at IS NOT NULL
           AND NOT EXISTS (SELECT FROM audit_event WHERE dispatch_id = dispatch.id AND action = 'dispatch.overdue')
    """,
    "I5 each message is logged once, and no other": """
        SELECT dispatch_id, kept, logged
          FROM (SELECT dispatch_id, count(*) AS kept FROM message GROUP BY 1) AS message
          FULL JOIN (SELECT dispatch_id, count(*) AS logged FROM audit_event
                      WHERE action = 'message.sent' GROUP BY 1) AS event USING (dispatch_id)
         WHERE kept IS DISTINCT FROM logged
    """,
    "I5 each message answered a question, and no question was answered without one": """
        SELECT id, replies FROM dispatch
         WHERE replies <> (SELECT count(*) FROM message WHERE dispatch_id = dispatch.id)
    """,
    "I5 each hold of an item is logged once, and no other": """
        SELECT id, holds FROM dispatch
         WHERE holds <> (SELECT count(*) FROM audit_event
                          WHERE audit_event.referral_id = dispatch.referral_id AND dispatch_id = dispatch.id
                            AND action = 'dispatch.held')
    """,
    "I10 what was said about an item is measured": """
        SELECT dispatch.id, said_bytes, said
          FROM dispatch
          JOIN (SELECT dispatch_id, sum(octet_length(content)) AS said
                  FROM (SELECT dispatch_id, content FROM message
                         UNION ALL SELECT dispatch_id, content FROM response
                                    WHERE outcome = 'more_information' AND flag IS NULL) AS exchange
                 GROUP BY 1) AS measured ON dispatch_id = dispatch.id
          JOIN referral ON referral.id = referral_id
         WHERE said_bytes <> said AND disposed_at IS NULL
    """,
    "I5 nothing is logged of a referral that is not there": """
        SELECT id, action FROM audit_event
         WHERE referral_id IS NOT NULL AND NOT EXISTS (SELECT FROM referral WHERE referral.id = referral_id)
    """,
    "I10 the counters are what the rows add up to": """
        SELECT agency, region, figure, sum(number) FROM (
            SELECT agency, region, state AS figure, 1 AS number FROM dispatch WHERE state = ANY(:open)
             UNION ALL
            SELECT agency, region, 'overdue', 1 FROM dispatch
             WHERE overdue_at IS NOT NULL AND state IN ('queued', 'delivered', 'acknowledged')
             UNION ALL
            SELECT agency, region, 'failing', 1 FROM dispatch WHERE failures > 1 AND state = ANY(:open)
             UNION ALL
            SELECT agency, region, 'answered', 1 FROM dispatch
             WHERE state IN ('answered', 'declined') AND closed_at >= date_trunc('day', now(), 'Europe/London')
             UNION ALL
            SELECT agency, region, figure, -number FROM queue_count
             CROSS JOIN LATERAL (VALUES ('held', held), ('queued', queued), ('delivered', delivered),
                                        ('acknowledged', acknowledged), ('query', query), ('overdue', overdue),
                                        ('failing', failing)) AS counted (figure, number)
             UNION ALL
            SELECT agency, region, 'answered', -answered FROM queue_count
             WHERE day >= CAST(now() AT TIME ZONE 'Europe/London' AS date)) AS both_ways
         GROUP BY agency, region, figure HAVING sum(number) <> 0
    """,
    "I12 the reports count what the rows add up to": """
        SELECT month, party, region, figure, detail, sum(number) FROM (
            SELECT to_char(created_at AT TIME ZONE 'Europe/London', 'YYYY-MM') AS month, originator AS party, region,
                   'submitted' AS figure, '' AS detail, 1 AS number FROM referral
             UNION ALL
            SELECT to_char(closed_at AT TIME ZONE 'Europe/London', 'YYYY-MM'), agency, region,
                   CASE state WHEN 'answered' THEN outcome ELSE state END,
                   CASE WHEN state = 'declined' THEN coalesce(decline_reason, '')
                        WHEN state <> 'expired' THEN ''
                        WHEN queried_at IS NOT NULL THEN 'question_open'
                        WHEN acknowledged_at IS NOT NULL THEN 'acknowledged'
                        WHEN delivered_at IS NOT NULL THEN 'seen' ELSE 'unseen' END, 1
              FROM dispatch WHERE state = ANY(:final) AND closed_at IS NOT NULL
             UNION ALL
            SELECT to_char(closed_at AT TIME ZONE 'Europe/London', 'YYYY-MM'), agency, region, 'answer_time', '', 1
              FROM dispatch WHERE state IN ('answered', 'declined') AND closed_at IS NOT NULL
             UNION ALL
            SELECT to_char(acted_on, 'YYYY-MM'), originator, region, figure, detail, number
              FROM referral_outcome AS outcome
             CROSS JOIN LATERAL (VALUES
                   ('actions', '', 1), ('disruption', disruption, (disruption IS NOT NULL)::integer),
                   ('arrests', '', arrests), ('charged', '', charged), ('prohibition_orders', '', prohibition_orders),
                   ('children_safeguarded', '', children_safeguarded),
                   ('adults_safeguarded', '', adults_safeguarded),
                   ('assets_frozen_pence', '', assets_frozen_pence), ('seized_pence', '', seized_pence))
                   AS counted (figure, detail, number)
             WHERE number <> 0 AND id NOT IN (SELECT replaces FROM referral_outcome WHERE replaces IS NOT NULL)
             UNION ALL
            SELECT to_char(month, 'YYYY-MM'), party, nullif(region, ''), figure,
                   CASE figure WHEN 'answer_time' THEN '' ELSE detail END, -number FROM report_month WHERE region <> '*'
             UNION ALL
            SELECT to_char(hour AT TIME ZONE 'Europe/London', 'YYYY-MM'), party, nullif(region, ''), figure,
                   CASE figure WHEN 'answer_time' THEN '' ELSE detail END, -number FROM report_change
             UNION ALL
            SELECT to_char(hour AT TIME ZONE 'Europe/London', 'YYYY-MM'), party, nullif(region, ''), 'answer_time', '',
                   -number FROM report_change WHERE bucket IS NOT NULL) AS both_ways
         GROUP BY 1, 2, 3, 4, 5 HAVING sum(number) <> 0
    """,
    "I12 what the reports have of everywhere is the sum of the regions": """
        SELECT report, month, party, figure, detail FROM report_month GROUP BY report, month, party, figure, detail
        HAVING sum(number) <> 2 * sum(CASE region WHEN '*' THEN number ELSE 0 END)
    """,
    "I6 every answer is that of its dispatch's agency, and every referral's is its own": """
        SELECT response.id FROM response JOIN dispatch ON dispatch.id = response.dispatch_id
         WHERE response.agency <> dispatch.agency OR response.referral_id <> dispatch.referral_id
    """,
    "I6 a dispatch was disclosed to its agency only": """
        SELECT dispatch.id, recipients FROM audit_event JOIN dispatch ON dispatch.id = audit_event.dispatch_id
         WHERE action = 'dispatch.delivered' AND recipients IS DISTINCT FROM ARRAY[dispatch.agency]
    """,
    "I6 an agency read its own items only": """
        SELECT dispatch.id, audit_event.party FROM audit_event
          JOIN LATERAL jsonb_array_elements_text(detail -> 'ids') AS shown (id) ON true
          JOIN dispatch ON dispatch.id = CAST(shown.id AS uuid)
         WHERE action = 'inbox.read' AND dispatch.agency <> audit_event.party
    """,
    "I6 a referral was read by its originator or who oversees it only": """
        SELECT referral.id, audit_event.party FROM audit_event JOIN referral ON referral.id = audit_event.referral_id
         WHERE action IN ('responses.read', 'referral.read', 'referral.timeline_read')
           AND party NOT IN (referral.originator, coalesce(referral.region, referral.originator), 'GAIN')
    """,
}


class InvariantsBroken(AssertionError):
    """What does not hold; `violations` has a line for each."""

    def __init__(self, violations: list[str]) -> None:
        super().__init__("\n".join(violations))
        self.violations = violations


async def check(connection: Connection, receipts: Mapping[UUID, Mapping[str, Any]] | None = None) -> None:
    """Raise `InvariantsBroken` that names every invariant that does not hold, with rows that break it.

    `receipts` are the referrals that got a 2xx, by id, with the body that was sent: each must be stored, as sent (I1).
    """
    broken = []
    for name, statement in INVARIANTS.items():
        used = {key: value for key, value in _STATES.items() if f":{key}" in statement}
        rows = (await connection.execute(text(statement), used)).all()
        if rows:
            broken.append(f"{name}: {len(rows)} rows, such as {[tuple(map(str, row)) for row in rows[:3]]}")
    broken += await _lost(connection, receipts or {})
    if broken:
        raise InvariantsBroken(broken)


async def _lost(connection: Connection, receipts: Mapping[UUID, Mapping[str, Any]]) -> list[str]:
    statement = text("""
        SELECT id, content, sealed, ring_key, wrapped FROM referral LEFT JOIN data_key ON referral_id = id
         WHERE id = ANY(CAST(:ids AS uuid[]))
    """)
    opener, stored = Opener(connection), {}
    for row in await connection.execute(statement, {"ids": list(receipts)}):
        stored[row.id] = _opened(opener, row)
    lost = [f"I1 a receipt was given for what is not stored: {key}" for key in receipts if key not in stored]
    return lost + [
        f"I1 stored otherwise than sent: {key}"
        for key, sent in receipts.items()
        if key in stored and stored[key] != sent
    ]


def _opened(opener: Opener, row: Any) -> Any:
    """The content as it was sent, or None where it does not open."""
    try:
        return json.loads(opener.referral(row.id, row))
    except Unopenable:
        return None


async def audit_tree_verifies(database: Database, secret: str = SECRET, file: Path | None = None) -> None:
    """Raise `InvariantsBroken` where the log, once all of it is sealed, is not what was sealed and signed (I5).

    `secret` is the master secret of the processes that signed, `file` their file of checkpoints. Nobody may be writing.
    """
    deadline = time.monotonic() + 30
    while not await seal_all(database):
        assert time.monotonic() < deadline, "somebody holds the sealer's lock"
        await asyncio.sleep(0.05)
    key = Signer.of(Keys(secret.encode()), Settings.model_fields["log_origin"].default).key
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            try:
                found = await verify(connection, [key], file)
            except Tampered as finding:
                raise InvariantsBroken([f"I5 the tree verifies: {finding}"]) from finding
            events = await connection.scalar(text("SELECT count(*) FROM audit_event"))
    if found.size - found.pruned != events:
        raise InvariantsBroken([f"I5 every event is sealed: {events} events, {found.size} entries"])
