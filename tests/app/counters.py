"""Those who change the queues of agencies, and what the counters then say."""

import random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app.audit.record import Actor
from app.db import Connection, Database
from app.referrals.states import DISPATCH_MOVES, DispatchState
from app.reporting import counters
from app.reporting.queues import observed
from tests.acts import change, rows
from tests.invariants import INVARIANTS

EXACT = INVARIANTS["I10 the counters are what the rows add up to"]
OPEN = ["held", "queued", "delivered", "acknowledged", "query"]
COORDINATOR = Actor("TARIAN", "test")

_MADE = text("""
    INSERT INTO dispatch (id, referral_id, agency, state, priority, region, rule, release, reason, due_at, expires_at,
                          queued_at)
    SELECT id, :referral, agency, :state, 2, region, 'named', 1, 'of a test', now() + interval '1 day',
           now() + interval '2 days', now()
      FROM unnest(CAST(:ids AS uuid[]), CAST(:agencies AS text[]), CAST(:regions AS text[]))
           AS given (id, agency, region)
""")
_MOVED = text("""
    UPDATE dispatch SET state = :state, closed_at = CASE WHEN :closes THEN now() END,
                        overdue_at = CASE WHEN :overdue THEN now() END, failures = :failures
     WHERE id = ANY(CAST(:ids AS uuid[])) AND state = :was
""")


async def differences(database: Database) -> list[dict[str, Any]]:
    """Where the counters are not what the rows add up to."""
    return await rows(database, EXACT, open=OPEN)


async def queue(database: Database, agency: str = "HMRC", region: str | None = "TARIAN") -> dict[str, Any]:
    """An agency's figures, as a co-ordinator of the region gets them."""
    async with database.transaction() as connection:
        return next(row for row in await observed(connection, region) if row["agency"] == agency)


async def counted(connection: Connection) -> dict[str, int]:
    """The sum of each counter."""
    sums = ", ".join(f"sum({figure}) AS {figure}" for figure in counters.FIGURES)
    row = (await connection.execute(text(f"SELECT {sums} FROM queue_count"))).one()  # noqa: S608
    return {figure: int(number or 0) for figure, number in row._mapping.items()}


class Writer:
    """Makes dispatches and moves them about, many in a statement, several statements in a transaction."""

    AGENCIES = ("HMRC", "EA", "BF", "DWP")
    REGIONS = ("TARIAN", "TITAN", None)

    def __init__(self, database: Database, seed: int) -> None:
        self._database = database
        self._random = random.Random(seed)
        self._states: dict[UUID, DispatchState] = {}

    async def write(self, transactions: int) -> None:
        for _ in range(transactions):
            before = dict(self._states)
            async with self._database.engine.connect() as connection:
                for _ in range(self._random.randint(1, 4)):
                    await (self._make(connection) if self._random.random() < 0.4 else self._move(connection))
                if self._random.random() < 0.3:
                    await connection.rollback()
                    self._states = before
                else:
                    await connection.commit()

    async def _make(self, connection: Connection) -> None:
        ids = [uuid7() for _ in range(self._random.randint(1, 30))]
        state = self._random.choice([DispatchState.HELD, DispatchState.QUEUED])
        await connection.execute(
            _MADE,
            {
                "ids": ids,
                "state": state.value,
                "referral": await connection.scalar(text("SELECT id FROM referral LIMIT 1")),
                "agencies": self._random.choices(self.AGENCIES, k=len(ids)),
                "regions": self._random.choices(self.REGIONS, k=len(ids)),
            },
        )
        self._states |= dict.fromkeys(ids, state)

    async def _move(self, connection: Connection) -> None:
        was = self._random.choice(sorted({*self._states.values(), DispatchState.QUEUED}))
        state = self._random.choice(sorted(DISPATCH_MOVES[was]) or [was])
        ids = [key for key, current in self._states.items() if current is was and self._random.random() < 0.3]
        closes = not DISPATCH_MOVES[state]
        parameters: dict[str, Any] = {"state": state.value, "was": was.value, "ids": ids, "closes": closes}
        parameters |= {"overdue": self._random.random() < 0.3, "failures": self._random.randint(0, 3)}
        await connection.execute(_MOVED, parameters)
        self._states |= dict.fromkeys(ids, state)


@pytest.fixture
async def writers(database: Database) -> list[Writer]:
    """Writers that get into nobody's way but, if they could, through the counters."""
    await change(
        database,
        """
        INSERT INTO referral (id, reference, originator, state, priority, crime_types, content, created_by, respond_by)
        VALUES (gen_random_uuid(), 'GAIN-2026-000001', 'SWP', 'accepted', 2, '{}', '', 'test', now())
        """,
    )
    # One open dispatch for a referral and agency is another rule's business; so is the number of the round.
    await change(database, "DROP INDEX uq_dispatch_open")
    await change(database, "ALTER TABLE dispatch DROP CONSTRAINT uq_dispatch_referral_id_agency_round")
    return [Writer(database, seed) for seed in range(5)]
